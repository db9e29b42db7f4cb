"""`record`, `street` and `keys`."""

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from capture_bridge.errors import RealMasterError
from capture_bridge.health import HealthProbe
from capture_bridge.keys import read_key_file, write_key_files
from capture_bridge.link import DEFAULT_ENDPOINT, ClientLink
from capture_bridge.recorder import (
    RecordingOptions,
    RecordingSummary,
    record_link,
)
from capture_bridge.session import SessionCodec
from capture_bridge.sockets import curve_keypair
from realmaster.commands.options import OutputPath, parse_size
from realmaster.commands.progress import recording_bar
from realmaster.street_game import (
    StreetSession,
    game_command,
    record_street,
    require_panda3d,
)


@dataclass(frozen=True)
class Record:
    """Record a session into one .mcap file, until its source ends, --seconds are over or Ctrl-C.

    Sources: `street`, the embedded game (in lockstep: no frame is lost); `listen`, any plugin that
    connects; `screen`, colour alone, for games without a plugin.
    """

    output: OutputPath
    """The session to write (.mcap)."""
    source: Literal["street", "listen", "screen"] = "listen"
    """Where the frames come from."""
    seconds: float | None = None
    """How much to record (street: 4 by default; else until the source ends or Ctrl-C)."""
    size: str = "640x360"
    """street: the size of its frames."""
    fps: float = 24.0
    """street: frames per second of game time; screen: at most so many a second."""
    seed: int = 907
    """street: which street."""
    path: Literal["drive", "walk"] = "drive"
    """street: by car or on foot."""
    endpoint: str = DEFAULT_ENDPOINT
    """listen: where plugins connect to."""
    keys: Path | None = None
    """listen: the client.keys file (`realmaster keys`), without which no other host may connect."""
    codec: SessionCodec = "shuffle+zstd"
    """How buffers are stored; all are lossless, raw is the fastest."""
    overwrite: bool = False
    """Replace the output if it exists."""

    def run(self) -> int:
        """Record and say what was recorded and what was lost."""
        if self.seconds is not None and not 0 < self.seconds <= 1e6:
            raise RealMasterError(f"--seconds {self.seconds:g}: must be above 0 and below 1e6")
        if not 0 < self.fps <= 1000:
            raise RealMasterError(f"--fps {self.fps:g}: must be above 0 and at most 1000")
        summary = {"street": self._street, "listen": self._listen, "screen": self._screen}[
            self.source
        ]()
        print_summary(summary)
        return 0

    def _options(self, connect_s: float | None) -> RecordingOptions:
        return RecordingOptions(codec=self.codec, overwrite=self.overwrite, connect_s=connect_s)

    def _street(self) -> RecordingSummary:
        width, height = parse_size(self.size)
        session = StreetSession(self.seed, width, height, self.fps, self.seconds or 4.0, self.path)
        with recording_bar(session.frames) as progress:
            return record_street(
                session, self.output, options=self._options(60.0), progress=progress
            )

    def _listen(self) -> RecordingSummary:
        credentials = read_key_file(self.keys) if self.keys else None
        with ClientLink(
            self.endpoint,
            curve=credentials.curve if credentials else None,
            token=credentials.token if credentials else None,
            allow_off_loopback=credentials is not None,
        ) as link:
            print(f"waiting for a plugin at {link.endpoint}; Ctrl-C ends the recording")
            with recording_bar(0) as progress:
                return record_link(
                    link,
                    self.output,
                    seconds=self.seconds,
                    options=self._options(None),
                    progress=progress,
                    probe=HealthProbe,
                )

    def _screen(self) -> RecordingSummary:
        from capture_bridge.screen import record_screen

        with recording_bar(0) as progress:
            return record_screen(
                self.output,
                fps=self.fps,
                seconds=self.seconds,
                options=self._options(10.0),
                progress=progress,
            )


@dataclass(frozen=True)
class Street:
    """Play the street game in a window: W A S D or arrow keys, F9 records, Esc ends."""

    seed: int = 907
    """Which street."""
    path: Literal["drive", "walk"] = "drive"
    """By car or on foot."""
    size: str = "1280x720"
    """The size of the window."""
    endpoint: str = DEFAULT_ENDPOINT
    """Where `realmaster record --source listen` waits; F9 connects to it."""

    def run(self) -> int:
        """Open the window; its exit status."""
        require_panda3d()
        width, height = parse_size(self.size)
        session = StreetSession(self.seed, width, height, path=self.path)
        command = [*game_command(session, self.endpoint), "--window"]
        return subprocess.run(command, check=False).returncode


@dataclass(frozen=True)
class Keys:
    """Make the key files for a link that leaves this machine: client.keys and plugin.keys."""

    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("keys")
    """The folder to write them to."""
    overwrite: bool = False
    """Replace keys that are there already; plugins with the old ones can no longer connect."""

    def run(self) -> int:
        """Write both files and say where they go."""
        client, plugin = write_key_files(self.output, curve_keypair, overwrite=self.overwrite)
        print(f"{client}: keep it here; realmaster record --source listen --keys {client}")
        print(f"{plugin}: copy it to the machine of the game")
        return 0


def print_summary(summary: RecordingSummary) -> None:
    """Say in a line or two what a recording holds and what was lost on the way."""
    print(
        f"{summary.path}: {summary.frames} frames, {summary.num_bytes / 1e6:.1f} MB, "
        f"{summary.num_dropped} lost, received in {summary.seconds:.1f} s ({summary.reason})"
    )
    for cause, count in summary.drops.items():
        print(f"  lost {count}: {cause}")
    for fault in summary.faults:
        print(f"  refused: {fault}")
