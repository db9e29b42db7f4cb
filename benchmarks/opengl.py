"""What the OpenGL interposer costs a game: minetest and neverball at 640x360 on llvmpipe.

Swaps are counted by a library of some lines (swap_counter.cpp) that is loaded in all ways. Shared
machines drift, so ways alternate and the figure is the median of the rounds' ratios: without the
interposer against with it and no client (two processes, one after the other, the same world), and
within one process windows of seconds with credit against windows without. Streaming is at most 30
frames/s of color, color_ui, depth, normal and motion over tcp to a client that throws them away.
Games that are not installed are left out.
"""

import os
import shutil
import statistics
import struct
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from capture_bridge.client_link import ClientLink
from capture_bridge.errors import SetupError
from capture_bridge.link import FrameReceived
from realmaster.opengl_game import OpenGLGame, capture_environment

NUM_ROUNDS, WINDOW_S, WARM_S, START_LIMIT_S = 3, 5.0, 12.0, 60.0
SETTINGS = (
    "screen_w=640\nscreen_h=360\nautosave_screensize=false\nvsync=false\nenable_sound=false\n"
    "fixed_map_seed=1234\nmg_name=v7\nworld_start_time=12000\ntime_speed=0\ncreative_mode=true\n"
    "enable_damage=false\ncontinuous_forward=true\nautojump=true\nviewing_range=80\nfps_max=200\n"
    "fps_max_unfocused=200\npause_on_lost_focus=false\nbind_address=127.0.0.1\n"
)
WORLD = "gameid = minetest\nbackend = sqlite3\nplayer_backend = sqlite3\nauth_backend = sqlite3\n"


def measure() -> dict[str, float]:
    """game_idle_cost, game_no_credit_cost, game_stream_cost: shares of frames/s that are lost."""
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as name, _screen() as display:
        folder = Path(name)
        counter = folder / "swap_counter.so"
        source = Path(__file__).with_name("swap_counter.cpp")
        build = ["g++", "-std=c++17", "-O2", "-shared", "-fPIC", str(source), "-o", str(counter)]
        subprocess.run([*build, "-ldl"], check=True)
        for game in ("minetest", "neverball"):
            if shutil.which(game, path=f"{os.environ.get('PATH', '')}:/usr/games") is None:
                continue
            bench = _Bench(game, folder, counter, display)
            figures |= {f"{game}_{key}": value for key, value in bench.measure().items()}
    return figures


class _Bench:
    def __init__(self, game: str, folder: Path, counter: Path, display: str) -> None:
        self.game, self.folder, self.counter, self.display = game, folder, counter, display

    def measure(self) -> dict[str, float]:
        idle, bare_fps = [], []
        for _ in range(NUM_ROUNDS):
            with self._running(preload=False) as swaps:
                bare = _rate(swaps, WARM_S, WINDOW_S)
            with self._running(preload=True) as swaps:
                idle.append(1 - _rate(swaps, WARM_S, WINDOW_S) / bare)
            bare_fps.append(bare)
        no_credit, stream = self._credits()
        share = 1 - statistics.median(idle)
        return {
            "bare_fps": statistics.median(bare_fps),
            "idle_cost": 1 - share,
            "no_credit_cost": 1 - share * no_credit,
            "stream_cost": 1 - share * stream,
        }

    def _credits(self) -> tuple[float, float]:
        """Frames/s with a client that grants nothing, and with one that takes all, over those
        without a client in the same round."""
        held: list[float] = []
        streamed: list[float] = []
        with self._running(preload=True, port=_free_port()) as swaps:
            time.sleep(WARM_S)
            for _ in range(2 * NUM_ROUNDS):
                with ClientLink(f"tcp://127.0.0.1:{self.port}") as link, _Receiver(link) as client:
                    client.wait_for_frame()
                    with_all = _rate(swaps, 1.0, WINDOW_S)
                    client.release = False
                    with_none = _rate(swaps, 1.0, WINDOW_S)
                without = _rate(swaps, 1.0, WINDOW_S)
                held.append(with_none / without)
                streamed.append(with_all / without)
        return statistics.median(held), statistics.median(streamed)

    @contextmanager
    def _running(self, *, preload: bool, port: int = 1) -> Iterator[Path]:
        """The game in a fresh home; gives the file that counts its swaps."""
        self.port = port
        home = Path(tempfile.mkdtemp(dir=self.folder))
        swaps = home / "swaps"
        swaps.write_bytes(bytes(8))
        command = self._command(home)
        environment: Mapping[str, str] = os.environ
        if preload:
            environment = capture_environment(OpenGLGame(command))
        loads = [str(self.counter), *filter(None, [environment.get("LD_PRELOAD")])]
        process = subprocess.Popen(
            command,
            env={
                **environment,
                "LD_PRELOAD": ":".join(loads),
                "SWAP_COUNTER": str(swaps),
                "HOME": str(home),
                "DISPLAY": self.display,
                "REALMASTER_CONNECT": f"127.0.0.1:{port}",
                "SDL_AUDIODRIVER": "dummy",
                "ALSOFT_DRIVERS": "null",
            },
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=home,
        )
        try:
            yield swaps
        finally:
            process.kill()  # neverball asks before it ends
            process.wait()

    def _command(self, home: Path) -> list[str]:
        path = shutil.which(self.game, path=f"{os.environ.get('PATH', '')}:/usr/games")
        assert path is not None
        if self.game == "neverball":
            (home / ".neverball").mkdir()
            words = "fullscreen 0\nwidth 640\nheight 360\nvsync 0\n"
            (home / ".neverball" / "neverballrc").write_text(words)
            return [path]
        (home / "world").mkdir()
        (home / "world" / "world.mt").write_text(WORLD)
        (home / "settings").write_text(SETTINGS)
        return [
            *(path, "--go", "--world", "world", "--gameid", "minetest"),
            *("--config", "settings", "--name", "tester"),
        ]


class _Receiver:
    """Takes frames in a thread; gives credit back only while `release` is true."""

    def __init__(self, link: ClientLink) -> None:
        self.link, self.release = link, True
        self._ended, self._came = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._loop)

    def __enter__(self) -> "_Receiver":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def wait_for_frame(self) -> None:
        if not self._came.wait(START_LIMIT_S):
            raise SetupError(f"no frame came from the game within {START_LIMIT_S:g} s")

    def _loop(self) -> None:
        held: list[FrameReceived] = []
        while not self._ended.is_set():
            event = self.link.receive(0.05)
            if isinstance(event, FrameReceived):
                self._came.set()
                held.append(event)
            while self.release and held:
                self.link.release(held.pop())


def _rate(swaps: Path, settle_s: float, window_s: float) -> float:
    """Swaps a second over a window that begins after `settle_s`."""
    time.sleep(settle_s)
    first, start = _count(swaps), time.monotonic()
    time.sleep(window_s)
    return max(_count(swaps) - first, 1) / (time.monotonic() - start)


def _count(swaps: Path) -> int:
    return int(struct.unpack("<Q", swaps.read_bytes())[0])


def _free_port() -> int:
    with ClientLink("tcp://127.0.0.1:0") as link:
        return int(link.endpoint.rsplit(":", 1)[1])


@contextmanager
def _screen() -> Iterator[str]:
    """An X server of its own."""
    if shutil.which("Xvfb") is None:
        raise SetupError("the benchmark needs Xvfb: .ci/system-packages games")
    reading, writing = os.pipe()
    command = ["Xvfb", "-displayfd", str(writing), "-screen", "0", "1280x720x24", "-nolisten"]
    server = subprocess.Popen(
        [*command, "tcp"], pass_fds=[writing], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    os.close(writing)
    try:
        with os.fdopen(reading) as told:
            yield f":{told.readline().strip()}"
    finally:
        server.terminate()
        server.wait(10)
