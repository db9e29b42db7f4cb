"""Records the screen, for games without a plugin: colour alone, with the time of each grab.

The grabber is a plugin like any other: it speaks the protocol to a ClientLink over loopback, in
real-time mode, so what the recorder cannot take is dropped and counted. This file knows mss.
"""

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import mss
import mss.exception
import numpy as np
from numpy.typing import NDArray

from capture_bridge.errors import SetupError
from capture_bridge.link import ClientLink, PluginLink
from capture_bridge.messages import FrameFlags, Hello, StreamInfo
from capture_bridge.recorder import (
    RecordingOptions,
    RecordingProgress,
    RecordingSummary,
    record_link,
)

U8 = NDArray[np.uint8]


class Screen(Protocol):
    """Where pictures come from."""

    def grab(self) -> U8:
        """What the screen shows now: (H, W, 4) u8, R G B A; H and W never change."""


class MssScreen:
    """The primary monitor. Raises SetupError where there is no screen that may be read."""

    def __init__(self) -> None:
        try:
            self._mss = mss.MSS()
            self._monitor = self._mss.primary_monitor
            self.grab()
        except mss.exception.ScreenShotError as error:
            raise SetupError(
                f"the screen cannot be read ({error}); start it within a desktop session "
                "(on Linux X11 with DISPLAY set; Wayland lets no program read the screen)"
            ) from error

    def grab(self) -> U8:
        """What the screen shows now: (H, W, 4) u8, R G B A."""
        shot = self._mss.grab(self._monitor)
        bgra = np.frombuffer(shot.raw, np.uint8).reshape(shot.height, shot.width, 4)
        return np.ascontiguousarray(bgra[..., [2, 1, 0, 3]])

    def close(self) -> None:
        """Let go of the screen."""
        self._mss.close()


def record_screen(
    output: Path,
    *,
    fps: float = 30.0,
    seconds: float | None = None,
    options: RecordingOptions | None = None,
    progress: Callable[[RecordingProgress], None] | None = None,
    open_screen: Callable[[], Screen] = MssScreen,
) -> RecordingSummary:
    """Record the screen at most `fps` times a second, until `seconds` are over or Ctrl-C.

    Timestamps are those of the grabs. Raises SetupError without a screen, OutputError where the
    file exists or cannot be written.
    """
    with ClientLink("tcp://127.0.0.1:0") as link, _grabbing(link.endpoint, fps, open_screen):
        return record_link(link, output, seconds=seconds, options=options, progress=progress)


@contextmanager
def _grabbing(endpoint: str, fps: float, open_screen: Callable[[], Screen]) -> Iterator[None]:
    """Grab in a thread for as long as the context lasts; an error of the thread is raised here."""
    stop, ready = threading.Event(), threading.Event()
    errors: list[Exception] = []

    def work() -> None:
        try:
            screen = open_screen()  # in its own thread: a connection to X11 belongs to one
            first = screen.grab()
            ready.set()
            _stream(screen, first, endpoint, fps, stop)
        except Exception as error:  # noqa: BLE001 (raised again by the thread that waits)
            errors.append(error)
        finally:
            ready.set()

    thread = threading.Thread(target=work, name="screen")
    thread.start()
    ready.wait()
    try:
        if errors:
            raise errors[0]
        yield
    finally:
        stop.set()
        thread.join()
    if errors:
        raise errors[0]


def _stream(screen: Screen, first: U8, endpoint: str, fps: float, stop: threading.Event) -> None:
    height, width = first.shape[:2]
    hello = Hello(
        session_uuid=uuid.uuid4().hex,
        engine="screen",
        engine_version=mss.__version__,
        plugin="realmaster-screen",
        plugin_version="1",
        game="screen",
        streams=(StreamInfo("color", width, height, "u1", 4),),
        same_frame=True,
    )
    start_ns = time.monotonic_ns()
    with PluginLink(hello, endpoint) as plugin:
        plugin.connect()
        due_ns = start_ns
        while not stop.is_set():
            picture = screen.grab()
            now_ns = time.monotonic_ns()
            plugin.send_frame(
                {"color": picture},
                t_sim_ns=now_ns - start_ns,
                t_render_ns=now_ns,
                camera=None,
                flags=FrameFlags.HUD_IN_COLOR,
            )
            due_ns = max(due_ns + round(1e9 / fps), time.monotonic_ns())
            stop.wait((due_ns - time.monotonic_ns()) * 1e-9)
