"""Records any OpenGL program: starts it under our interposer, which connects to our link over TCP.

This file knows how the program is started, watched and ended, not how it draws; the two meet
through the protocol and a status file that the interposer writes a line to at each milestone.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Final, TextIO

from capture_bridge.errors import LinkError, SetupError
from capture_bridge.health import HealthProbe
from capture_bridge.link import ClientLink
from capture_bridge.recorder import (
    RecordingOptions,
    RecordingProgress,
    RecordingSummary,
    record_link,
)

PLUGIN_VARIABLE: Final = "REALMASTER_OPENGL_PLUGIN"
_BUILT_PLUGIN: Final = "build/plugins/linux-gcc/opengl/librealmaster_opengl.so"
_GAME_FOLDERS: Final = ("/usr/local/games", "/usr/games")
_STOP_LIMIT_S: Final = 5.0
#: How long a program that ended may leave its last frames unread.
_GRACE_S: Final = 3.0
_MAX_WORDS: Final = 20_000
_ENDING_SIGNALS: Final = (
    (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    if sys.platform != "win32"
    else (signal.SIGINT, signal.SIGTERM)
)


@dataclass(frozen=True, slots=True)
class OpenGLGame:
    """A program and how to capture it.

    max_fps: frames a second that are captured (0: all). metres_per_unit: of the game's units.
    """

    command: Sequence[str]
    max_fps: float = 30.0
    metres_per_unit: float = 1.0

    @property
    def name(self) -> str:
        """The program's file name."""
        return Path(self.command[0]).name


def record_opengl_game(
    game: OpenGLGame,
    output: Path,
    *,
    seconds: float | None,
    options: RecordingOptions,
    progress: Callable[[RecordingProgress], None] | None = None,
) -> RecordingSummary:
    """Start the program, record what it shows, end it with all its children.

    SIGTERM, SIGHUP and Ctrl-C end the recording with a whole file. Raises SetupError (plugin not
    built, program not found) before anything is started, LinkError where no frame came, with the
    reason and the program's own last line.
    """
    environment = capture_environment(game)
    with (
        ClientLink("tcp://127.0.0.1:0") as link,
        tempfile.TemporaryDirectory(prefix="realmaster-") as folder,
        (Path(folder) / "output").open("w+", encoding="utf-8", errors="replace") as words,
    ):
        status = Path(folder) / "status"
        environment["REALMASTER_CONNECT"] = link.endpoint.removeprefix("tcp://")
        environment["REALMASTER_STATUS"] = str(status)
        stop, asked = threading.Event(), threading.Event()
        with _signals_set(stop, asked), _running(game, environment, words) as process:
            watcher = threading.Thread(target=_stop_when_ended, args=(process, stop), daemon=True)
            watcher.start()
            try:
                return record_link(
                    link,
                    output,
                    seconds=seconds,
                    options=options,
                    progress=progress,
                    probe=HealthProbe,
                    stop=stop,
                )
            except LinkError as error:
                waited = (
                    "was stopped" if asked.is_set() else f"was waited for {options.connect_s:g} s"
                )
                reason = _why_nothing(game, process, status, words, waited)
                raise LinkError(reason) from error
            finally:
                stop.set()


def capture_environment(game: OpenGLGame) -> dict[str, str]:
    """The program's environment. Raises SetupError where it cannot be started or captured."""
    if sys.platform != "linux":
        raise SetupError(
            "`realmaster run` needs Linux: on Windows use the plugin for your game, or "
            "`realmaster record --source screen`"
        )
    if not game.command:
        raise SetupError("no program was named: realmaster run -o s.mcap -- PROGRAM ARGUMENTS")
    program_path(game.command[0])
    plugin = plugin_path()
    preloads = [str(plugin), *filter(None, [os.environ.get("LD_PRELOAD")])]
    return {
        **os.environ,
        "LD_PRELOAD": ":".join(preloads),
        "REALMASTER_GAME": game.name,
        "REALMASTER_FPS": f"{game.max_fps:g}",
        "REALMASTER_METRES_PER_UNIT": f"{game.metres_per_unit:g}",
    }


def program_path(program: str) -> str:
    """Where the program is: in PATH, or where Debian puts games. Raises SetupError."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *_GAME_FOLDERS])
    found = shutil.which(program, path=path)
    if found is None:
        raise SetupError(f"there is no program '{program}' in PATH that may be run")
    return found


def plugin_path() -> Path:
    """The interposer: $REALMASTER_OPENGL_PLUGIN, or as `make plugins` builds it. SetupError."""
    named = os.environ.get(PLUGIN_VARIABLE)
    path = Path(named) if named else Path(__file__).parents[1] / _BUILT_PLUGIN
    if not path.is_file():
        cure = f"correct {PLUGIN_VARIABLE}" if named else "make plugins"
        raise SetupError(f"the OpenGL plugin is not there ({path}); build it: {cure}")
    if any(character in str(path) for character in " :"):
        raise SetupError(
            f"{path}: LD_PRELOAD takes no path with a blank or a colon; copy the plugin elsewhere "
            f"and set {PLUGIN_VARIABLE}"
        )
    return path.resolve()


@contextlib.contextmanager
def _running(
    game: OpenGLGame, environment: dict[str, str], words: TextIO
) -> Iterator["subprocess.Popen[bytes]"]:
    """The program in a session of its own, ended on the way out with all that it started."""
    process = subprocess.Popen(
        [program_path(game.command[0]), *game.command[1:]],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=words,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        _end(process)


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End the process group, gently first; a second Ctrl-C meanwhile does not leave it behind."""
    _signal_group(process, signal.SIGTERM)
    try:
        process.wait(_STOP_LIMIT_S)
    except subprocess.TimeoutExpired:
        pass
    finally:
        _signal_group(process, signal.SIGKILL)
        process.wait()


def _signal_group(process: "subprocess.Popen[bytes]", number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):  # all of the group has ended
        os.killpg(process.pid, number)


@contextlib.contextmanager
def _signals_set(*events: threading.Event) -> Iterator[None]:
    """While this lasts, a signal to end sets the events, so that nothing is left half done.

    A second Ctrl-C is a KeyboardInterrupt again, for who will not wait for the disk.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, _frame: FrameType | None) -> None:
        for event in events:
            event.set()
        if number == signal.SIGINT:
            signal.signal(number, before[signal.SIGINT])

    before = {number: signal.getsignal(number) for number in _ENDING_SIGNALS}
    try:
        for number in _ENDING_SIGNALS:
            signal.signal(number, stop)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _stop_when_ended(process: "subprocess.Popen[bytes]", stop: threading.Event) -> None:
    process.wait()
    stop.wait(_GRACE_S)
    stop.set()


def _why_nothing(
    game: OpenGLGame,
    process: "subprocess.Popen[bytes]",
    status: Path,
    words: TextIO,
    waited: str,
) -> str:
    """What kept frames from coming, from the interposer's milestones and the program's end."""
    seen = status.read_text(encoding="utf-8").split() if status.exists() else []
    ended = process.poll()
    last = f"; its last words: {_last_line(words)}" if ended is not None else ""
    when = f"ended with status {ended}" if ended is not None else waited
    if "unsupported" in seen:
        return f"{game.name} draws with an OpenGL that cannot be captured (3.0 is needed){last}"
    if "swap" not in seen:
        return (
            f"{game.name} {when} and never showed a picture with OpenGL (no buffer swap): it may "
            f"draw with Vulkan, be statically linked, or not have started{last}"
        )
    if "world" not in seen:
        return (
            f"{game.name} {when} and showed pictures, but no 3-D world (no perspective "
            f"projection): wait longer (--wait) or start it past its menus{last}"
        )
    return f"{game.name} {when} before a frame of its world came{last}"


def _last_line(words: TextIO) -> str:
    words.seek(0)
    lines = [line.strip() for line in words.read()[-_MAX_WORDS:].splitlines() if line.strip()]
    return lines[-1][:300] if lines else "none"
