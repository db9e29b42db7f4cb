"""The street game as a process of its own that speaks the protocol, like any other engine.

    python -m engine_plugins.street.game --seed 907 --path drive --seconds 4

Headless it follows the street's path, by default in lockstep, so that every frame arrives. With
--window a player drives or walks: arrow keys or WASD, F9 starts and stops recording, Esc quits.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import cast

from capture_bridge.errors import RealMasterError, SetupError
from capture_bridge.link import DEFAULT_ENDPOINT, PluginLink
from capture_bridge.messages import FrameFlags, Hello
from engine_plugins.street.scene import PathName, build_street

MAX_SIDE = 4096
MAX_SEED = 2**31 - 1


@dataclass(frozen=True, slots=True)
class GameOptions:
    """What the game plays, and to whom it sends. width, height: even; connect: an endpoint."""

    seed: int = 907
    width: int = 640
    height: int = 360
    fps: float = 24.0
    seconds: float = 4.0
    path: PathName = "drive"
    connect: str = DEFAULT_ENDPOINT
    lockstep: bool = True
    window: bool = False
    token: str = ""

    @property
    def num_frames(self) -> int:
        """Frames of a headless run."""
        return max(1, round(self.seconds * self.fps))


def make_hello(options: GameOptions) -> Hello:
    """The game's hello; its params name the street, so that a session's truth can be rebuilt.

    params: seed, path. Raises SetupError where Panda3D is not installed.
    """
    try:
        from engine_plugins.panda3d.capture import make_hello as panda_hello
    except ImportError as error:
        raise SetupError(
            f"the street game needs Panda3D ({error}): pip install 'realmaster[street]'"
        ) from error
    return panda_hello(
        "street",
        (options.width, options.height),
        lockstep=options.lockstep,
        fps=options.fps,
        token=options.token,
        params={"seed": str(options.seed), "path": options.path},
    )


def play(options: GameOptions) -> int:
    """Play headless along the path and send every frame; how many were sent.

    A client's command "stop" ends the run early. Raises LinkError (no client, or it went away in
    lockstep), SetupError (no Panda3D, no OpenGL).
    """
    hello = make_hello(options)
    from engine_plugins.street.raster import StreetRenderer

    link = PluginLink(hello, options.connect)
    reason = "the game was interrupted"
    sent = 0
    try:
        link.connect()
        street = build_street(options.seed, options.path)
        with StreetRenderer(street, options.width, options.height) as renderer:
            for index, t_s in _clock(options):
                arrays = renderer.render(t_s)
                flags = FrameFlags.CUT if index == 0 else FrameFlags.NONE
                sent += link.send_frame(
                    arrays,
                    t_sim_ns=round(t_s * 1e9),
                    camera=renderer.camera(t_s),
                    frame_id=index,
                    flags=flags,
                )
                if _told_to_stop(link):
                    reason = "the client asked for the end"
                    break
            else:
                reason = "the path is done"
    finally:
        link.close(reason)
    return sent


def _clock(options: GameOptions) -> Iterator[tuple[int, float]]:
    """(index, game time in s) of each frame: exact steps in lockstep, else the wall's time."""
    if options.lockstep:
        for index in range(options.num_frames):
            yield index, index / options.fps
        return
    start = time.monotonic()
    index = 0
    while (t_s := time.monotonic() - start) < options.seconds:
        yield index, t_s
        index += 1
        time.sleep(max(0.0, start + index / options.fps - time.monotonic()))


def _told_to_stop(link: PluginLink) -> bool:
    stop = False
    for command in link.poll():
        known = command.name == "stop"
        stop = stop or known
        link.answer(command, ok=known, text="" if known else f"unknown command {command.name!r}")
    return stop


def parse_options(argv: Sequence[str]) -> GameOptions:
    """The command line as options; exits with 2 and a message where it is wrong."""
    default = GameOptions()
    parser = argparse.ArgumentParser(
        "engine_plugins.street.game", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--seed", type=int, default=default.seed)
    parser.add_argument("--size", default=f"{default.width}x{default.height}", metavar="WxH")
    parser.add_argument("--fps", type=float, default=default.fps)
    parser.add_argument("--seconds", type=float, default=default.seconds)
    parser.add_argument("--path", choices=("drive", "walk"), default=default.path)
    parser.add_argument("--connect", default=default.connect, metavar="ENDPOINT")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--lockstep", action="store_true", help="every frame arrives (default)")
    mode.add_argument("--realtime", action="store_true", help="the wall's clock; frames may drop")
    parser.add_argument("--window", action="store_true", help="play in a window")
    parser.add_argument("--token", default="", help="what the client expects in the hello")
    given = parser.parse_args(argv)
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", given.size)
    width, height = (int(match[1]), int(match[2])) if match else (0, 0)
    if not (16 <= width <= MAX_SIDE and 16 <= height <= MAX_SIDE) or width % 2 or height % 2:
        parser.error(f"--size {given.size}: give WxH, both even, from 16 to {MAX_SIDE}")
    if not 0 <= given.seed <= MAX_SEED:
        parser.error(f"--seed {given.seed}: give a number from 0 to {MAX_SEED}")
    if not 1 <= given.fps <= 240:
        parser.error(f"--fps {given.fps}: give a number from 1 to 240")
    if not 0 < given.seconds <= 3600:
        parser.error(f"--seconds {given.seconds}: give more than 0, at most 3600")
    return GameOptions(
        given.seed, width, height, given.fps, given.seconds, cast(PathName, given.path),
        given.connect, not given.realtime and not given.window, given.window, given.token,
    )  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Run the game; the process's exit status, 1 after a one-line message for people."""
    options = parse_options(sys.argv[1:] if argv is None else argv)
    try:
        with _terminated_as_interrupted():
            if options.window:
                from engine_plugins.street.window import play_in_window

                play_in_window(options)
            else:
                play(options)
    except RealMasterError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


@contextlib.contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """Let SIGTERM end the game as Ctrl-C does, so that it says bye."""

    def interrupt(_: int, __: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


if __name__ == "__main__":
    raise SystemExit(main())
