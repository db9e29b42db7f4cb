"""What the OpenGL interposer costs a game: minetest and neverball at 640x360 on llvmpipe.

    python -m benchmarks.opengl

Three processes of a game play the same: bare, with the interposer and a client that grants nothing
(`held`), and with one that takes up to 30 frames/s of color, color_ui, depth, normal and motion
and throws them away (`streaming`). Only one runs at a time, the others are stopped (SIGSTOP), so
that each window of one stands beside windows of the others and a shared machine's drift cancels;
costs are medians of the rounds' ratios. Swaps are counted by a library (swap_counter.cpp) that is
loaded in all ways, CPU time by the system. On a machine that is busy otherwise only CPU time means
something. A game that is not installed is left out; each takes about a minute, at most
`LIMIT_S`.
"""

import argparse
import itertools
import json
import os
import shutil
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from capture_bridge.client_link import ClientLink
from capture_bridge.errors import SetupError
from capture_bridge.link import FrameReceived
from realmaster.opengl_game import OpenGLGame, capture_environment

Way = Literal["bare", "held", "streaming"]
WAYS: Final[tuple[Way, ...]] = ("bare", "held", "streaming")
NUM_ROUNDS: Final = 7
WINDOW_S: Final = 2.0
SETTLE_S: Final = 0.3  # after a process goes on, before its window begins
WARM_CPU_S: Final = 7.0  # what a game computes until it is past its loading screens
LIMIT_S: Final = 80.0  # of one game, unless --limit says otherwise
HEARTBEAT_S: Final = 60.0  # a stopped process does not answer
SETTINGS = (
    "screen_w=640\nscreen_h=360\nautosave_screensize=false\nvsync=false\nenable_sound=false\n"
    "fixed_map_seed=1234\nmg_name=v7\nworld_start_time=12000\ntime_speed=0\ncreative_mode=true\n"
    "enable_damage=false\ncontinuous_forward=true\nautojump=true\nviewing_range=80\nfps_max=200\n"
    "fps_max_unfocused=200\npause_on_lost_focus=false\nbind_address=127.0.0.1\n"
)
WORLD = "gameid = minetest\nbackend = sqlite3\nplayer_backend = sqlite3\nauth_backend = sqlite3\n"


@dataclass(frozen=True, slots=True)
class Window:
    """What one process did in one window: frames/s and CPU seconds a frame."""

    fps: float
    cpu_s: float


def measure(
    games: Sequence[str] = ("minetest", "neverball"), limit_s: float = LIMIT_S
) -> dict[str, float]:
    """Figures by `game_figure`: costs are shares of frames/s lost, or of CPU time a frame more."""
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as name, _screen() as display:
        folder = Path(name)
        counter = folder / "swap_counter.so"
        source = Path(__file__).with_name("swap_counter.cpp")
        build = ["g++", "-std=c++17", "-O2", "-shared", "-fPIC", str(source), "-o", str(counter)]
        subprocess.run([*build, "-ldl"], check=True)
        for game in games:
            if shutil.which(game, path=f"{os.environ.get('PATH', '')}:/usr/games") is None:
                _say(f"{game} is not installed (.ci/system-packages games)")
                continue
            bench = _Bench(game, folder, counter, display, limit_s)
            figures |= {f"{game}_{key}": value for key, value in bench.measure().items()}
    return figures


class _Process:
    """A game that is stopped but while it is measured."""

    def __init__(self, process: "subprocess.Popen[bytes]", swaps: Path) -> None:
        self._process, self._swaps = process, swaps

    def measure(self) -> Window:
        """Let it run for one window. Raises SetupError where it ended."""
        self.go_on()
        try:
            time.sleep(SETTLE_S)
            swaps, cpu, start = self._num_swaps(), self.cpu_s(), time.monotonic()
            time.sleep(WINDOW_S)
            num = max(self._num_swaps() - swaps, 1)
            return Window(num / (time.monotonic() - start), (self.cpu_s() - cpu) / num)
        finally:
            self.stop()

    def go_on(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def end(self) -> None:
        self._process.kill()  # neverball asks before it ends
        self._process.wait()

    def cpu_s(self) -> float:
        """What its threads have computed, in seconds."""
        status = self._process.poll()
        if status is not None:
            raise SetupError(f"the game ended with status {status}")
        total_ns = 0
        for thread in Path(f"/proc/{self._process.pid}/task").iterdir():
            with suppress(FileNotFoundError, ProcessLookupError):  # it ended just now
                total_ns += int((thread / "schedstat").read_text().split()[0])
        return total_ns * 1e-9

    def _num_swaps(self) -> int:
        return int(struct.unpack("<Q", self._swaps.read_bytes())[0])


class _Bench:
    def __init__(
        self, game: str, folder: Path, counter: Path, display: str, limit_s: float
    ) -> None:
        self.game, self.folder, self.counter, self.display = game, folder, counter, display
        self.limit_s = limit_s

    def measure(self) -> dict[str, float]:
        deadline = time.monotonic() + self.limit_s
        windows: dict[Way, list[Window]] = {way: [] for way in WAYS}
        with ExitStack() as stack:
            held = stack.enter_context(_Receiver(release=False))
            streaming = stack.enter_context(_Receiver(release=True))
            processes: dict[Way, _Process] = {}
            for way, port in zip(WAYS, (None, held.port, streaming.port), strict=True):
                processes[way] = stack.enter_context(self._running(port))
            self._warm_up(processes, (held, streaming), deadline)
            for number in range(NUM_ROUNDS):
                if time.monotonic() + len(WAYS) * (SETTLE_S + WINDOW_S) > deadline:
                    break
                for way in itertools.islice(itertools.cycle(WAYS), number % 3, number % 3 + 3):
                    windows[way].append(processes[way].measure())
                last = {way: windows[way][-1] for way in WAYS}
                _say(
                    f"{self.game} {number + 1}/{NUM_ROUNDS}: "
                    + ", ".join(
                        f"{way} {window.fps:.1f} fps {1e3 * window.cpu_s:.1f} ms CPU"
                        for way, window in last.items()
                    )
                )
        if not windows[WAYS[-1]]:
            raise SetupError(
                f"{self.game} took all of {self.limit_s:g} s to start: free the machine"
            )
        return _figures(windows)

    def _warm_up(
        self, processes: dict[Way, _Process], clients: tuple["_Receiver", ...], deadline: float
    ) -> None:
        """Let each compute as much, then stop it; the clients must have seen a frame by then."""
        _say(f"{self.game}: starting {len(processes)} processes")
        waiting = set(processes)
        while waiting or not all(client.num_frames for client in clients):
            if time.monotonic() > deadline:
                raise SetupError(
                    f"{self.game} shows no world within {self.limit_s:g} s: free the machine"
                )
            time.sleep(0.05)
            for way in list(waiting):
                client = dict(zip(WAYS[1:], clients, strict=True)).get(way)
                seen = client is None or client.num_frames > 0
                if processes[way].cpu_s() >= WARM_CPU_S and seen:
                    processes[way].stop()
                    waiting.discard(way)

    @contextmanager
    def _running(self, port: int | None) -> Iterator[_Process]:
        """The game in a fresh home, captured where there is a port to connect to."""
        home = Path(tempfile.mkdtemp(dir=self.folder))
        swaps = home / "swaps"
        swaps.write_bytes(bytes(8))
        command = self._command(home)
        captured = {} if port is None else capture_environment(OpenGLGame(command))
        loads = [str(self.counter), *filter(None, [captured.get("LD_PRELOAD")])]
        process = subprocess.Popen(
            command,
            env={
                **os.environ,
                **captured,
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
        running = _Process(process, swaps)
        try:
            yield running
        finally:
            running.end()

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
            *("--config", "settings", "--name", "tester", "--port", str(_free_udp_port())),
        ]


def _figures(windows: dict[Way, list[Window]]) -> dict[str, float]:
    rounds = list(zip(*(windows[way] for way in WAYS), strict=True))
    figures = {
        "bare_fps": statistics.median(bare.fps for bare, _, _ in rounds),
        "bare_cpu_ms": 1e3 * statistics.median(bare.cpu_s for bare, _, _ in rounds),
        "rounds": len(rounds),
    }
    for place, way in enumerate(WAYS[1:], 1):
        pairs = [(windows_of[0], windows_of[place]) for windows_of in rounds]
        figures[f"{way}_cost"] = 1 - statistics.median(
            with_it.fps / bare.fps for bare, with_it in pairs
        )
        figures[f"{way}_cpu_cost"] = (
            statistics.median(with_it.cpu_s / bare.cpu_s for bare, with_it in pairs) - 1
        )
    return figures


class _Receiver:
    """A client that takes frames in a thread, and gives their credit back where `release`."""

    def __init__(self, *, release: bool) -> None:
        self._link = ClientLink("tcp://127.0.0.1:0", heartbeat_s=HEARTBEAT_S)
        self._release = release
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._loop)
        self.port = int(self._link.endpoint.rsplit(":", 1)[1])
        self.num_frames = 0

    def __enter__(self) -> "_Receiver":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._link.close()

    def _loop(self) -> None:
        while not self._ended.is_set():
            event = self._link.receive(0.05)
            if isinstance(event, FrameReceived):
                self.num_frames += 1
                if self._release:
                    self._link.release(event)


def _free_udp_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


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


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("games", nargs="*", default=["minetest", "neverball"])
    parser.add_argument("--limit", type=float, default=LIMIT_S, help="seconds for one game")
    options = parser.parse_args()
    figures = measure(options.games, options.limit)
    print(json.dumps({key: round(value, 4) for key, value in figures.items()}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
