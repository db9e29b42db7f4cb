"""Records the embedded street game: starts its process, which connects to our link over TCP.

This file knows how the game is started, not what it draws; the two meet through the protocol alone.
"""

import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TextIO

from capture_bridge.errors import LinkError, RealMasterError
from capture_bridge.health import HealthProbe
from capture_bridge.link import ClientLink
from capture_bridge.recorder import (
    RecordingOptions,
    RecordingProgress,
    RecordingSummary,
    record_link,
)
from realmaster.factories import require

GAME_MODULE = "engine_plugins.street.game"
START_LIMIT_S = 60.0
_STOP_LIMIT_S = 10.0


@dataclass(frozen=True, slots=True)
class StreetSession:
    """What to play: one seeded street, along one path, at a fixed game-time step (lockstep)."""

    seed: int = 907
    width: int = 640
    height: int = 360
    fps: float = 24.0
    seconds: float = 4.0
    path: Literal["drive", "walk"] = "drive"

    @property
    def frames(self) -> int:
        """How many frames that makes."""
        return round(self.seconds * self.fps)


def record_street(
    session: StreetSession,
    output: Path,
    *,
    options: RecordingOptions | None = None,
    progress: Callable[[RecordingProgress], None] | None = None,
) -> RecordingSummary:
    """Play the street game in a process of its own and record it; nothing is dropped in lockstep.

    Raises SetupError without Panda3D, LinkError when the game fails (with its own last line).
    """
    require_panda3d()
    with (
        ClientLink("tcp://127.0.0.1:0") as link,
        tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as words,
    ):
        game = subprocess.Popen(
            game_command(session, link.endpoint), stdout=words, stderr=subprocess.STDOUT
        )
        try:
            summary = record_link(
                link,
                output,
                options=options or RecordingOptions(connect_s=START_LIMIT_S),
                progress=progress,
                probe=HealthProbe,
            )
            game.wait(_STOP_LIMIT_S)
        except RealMasterError as error:
            if game.poll():
                raise LinkError(f"the street game failed: {_last_line(words)}") from error
            raise
        finally:
            if game.poll() is None:
                game.kill()
                game.wait()
        if game.returncode:
            raise LinkError(f"the street game failed: {_last_line(words)}")
        return summary


def game_command(session: StreetSession, endpoint: str) -> list[str]:
    """The command line of the game's process."""
    return [
        *(sys.executable, "-m", GAME_MODULE),
        *("--seed", str(session.seed), "--path", session.path),
        *("--size", f"{session.width}x{session.height}"),
        *("--fps", str(session.fps), "--seconds", str(session.seconds)),
        *("--connect", endpoint),
    ]


def require_panda3d() -> None:
    """Raise SetupError with the cure where Panda3D is not installed."""
    require("the street game", ["panda3d"], "street")


def _last_line(words: TextIO) -> str:
    words.seek(0)
    lines = [line.strip() for line in words.read()[-20_000:].splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"
