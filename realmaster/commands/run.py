"""`run`: any OpenGL program, started under the interposer and recorded."""

from dataclasses import dataclass
from typing import Annotated

import tyro

from capture_bridge.errors import RealMasterError
from capture_bridge.recorder import RecordingOptions
from capture_bridge.session import SessionCodec
from realmaster.commands.capture import print_summary
from realmaster.commands.options import OutputPath
from realmaster.commands.progress import recording_bar
from realmaster.opengl_game import OpenGLGame, record_opengl_game


@dataclass(frozen=True)
class Run:
    """Start an OpenGL program and record it, until it ends, --seconds are over or Ctrl-C (Linux).

    realmaster run -o s.mcap --seconds 30 -- minetest --go
    """

    command: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="PROGRAM …")]
    """The program and its arguments, after `--`."""
    output: OutputPath
    """The session to write (.mcap)."""
    seconds: float | None = None
    """How much to record, from the first frame of the game's world on."""
    fps: float = 30.0
    """At most so many frames a second are captured; 0: all."""
    metres_per_unit: float = 1.0
    """How long the game's unit of length is; depth and poses are in metres."""
    wait: float = 120.0
    """How many seconds to wait for the game's world: menus and loading screens are not recorded."""
    codec: SessionCodec = "shuffle+lz4"
    """How buffers are stored; all are lossless, raw is the fastest."""
    overwrite: bool = False
    """Replace the output if it exists."""

    def run(self) -> int:
        """Record and say what was recorded and what was lost."""
        for name, value, low in (
            ("seconds", self.seconds, 0.0),
            ("wait", self.wait, 0.0),
            ("metres-per-unit", self.metres_per_unit, 0.0),
        ):
            if value is not None and not low < value <= 1e6:
                raise RealMasterError(f"--{name} {value:g}: must be above 0 and at most 1e6")
        if not 0 <= self.fps <= 1000:
            raise RealMasterError(f"--fps {self.fps:g}: must be 0 (all) to 1000")
        game = OpenGLGame(self.command, self.fps, self.metres_per_unit)
        options = RecordingOptions(
            codec=self.codec, overwrite=self.overwrite, connect_s=self.wait, reconnect_s=5.0
        )
        with recording_bar(0) as progress:
            summary = record_opengl_game(
                game, self.output, seconds=self.seconds, options=options, progress=progress
            )
        print_summary(summary)
        return 0
