"""How fast a native plugin's frames reach the Python client: by TCP and by shared memory.

The bundle is color, depth, normal and motion at 720p, 16.6 MB a frame, copied into the slot from
memory by the feeder (tests/native), as a mapped GPU buffer would be. Beside them stand the physical
limits of the same run: a plain memcpy of the bundle, and a plain TCP socket between two processes
that sends it from memory and reads it into memory. A shared machine's speed drifts, so the ways
alternate in short rounds, and ratios are medians of the rounds' ratios. `…_per_cpu_s` divides by
the CPU time of both processes: what one idle core would do, however many others share it now.

`native_shm_read_gb_s` also reads every byte in the client (CRC-32), as a recorder does.
"""

import argparse
import contextlib
import json
import os
import resource
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from capture_bridge.crc import crc32
from capture_bridge.link import ClientLink, FrameReceived, PluginConnected, PluginEnded

ROOT: Final = Path(__file__).parents[1]
FRAME_BYTES: Final = 1280 * 720 * (4 + 4 + 6 + 4)
NUM_FRAMES = 60
NUM_ROUNDS = 5
SOAK_S: Final = 600.0
_GIVE_UP_S: Final = 60.0


def build_feeder() -> Path:
    """The feeder, built by cmake (tests/native builds the same tree)."""
    tree = Path(os.environ.get("REALMASTER_NATIVE_BUILD", ROOT / "build" / "native")) / "plain"
    configure = ["cmake", "-S", str(ROOT / "engine_plugins"), "-B", str(tree)]
    for command in (
        [*configure, "-DCMAKE_BUILD_TYPE=Release", "-DREALMASTER_TESTS=ON"],
        ["cmake", "--build", str(tree), "--target", "feeder"],
    ):
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return next(path for path in tree.rglob("feeder") if path.is_file())


def measure() -> dict[str, float]:
    """Gigabytes a second of each way, and their ratios."""
    feeder = build_feeder()
    ways: Mapping[str, Callable[[], float]] = {
        "native_tcp": lambda: _link(feeder, "--no-shared"),
        "native_shm": lambda: _link(feeder),
        "native_shm_read": lambda: _link(feeder, reads=True),
        "plain_socket": _plain_socket,
        "plain_memcpy": _plain_memcpy,
    }
    rates: dict[str, list[float]] = {name: [] for name in ways}
    per_cpu: dict[str, list[float]] = {name: [] for name in ways}
    for index in range(NUM_ROUNDS):
        for name in sorted(ways, reverse=index % 2 == 0):
            before = _cpu_s()
            rates[name].append(ways[name]())
            per_cpu[name].append(NUM_FRAMES * FRAME_BYTES / (_cpu_s() - before) / 1e9)
    return {
        **{f"{name}_gb_per_cpu_s": statistics.median(values) for name, values in per_cpu.items()},
        **{f"{name}_gb_s": statistics.median(values) for name, values in rates.items()},
        "native_shm_vs_tcp": _ratio(rates["native_shm"], rates["native_tcp"]),
        "native_tcp_vs_plain_socket": _ratio(rates["native_tcp"], rates["plain_socket"]),
        "native_shm_vs_plain_memcpy": _ratio(rates["native_shm"], rates["plain_memcpy"]),
    }


def soak(seconds: float) -> dict[str, float]:
    """Stream 720p colour and depth at 60 frames/s for so long; both sides' memory at both ends."""
    feeder = build_feeder()
    with _feeding(feeder, "--size", "1280x720", "--fps", "60", "--frames", "100000000") as (
        client,
        process,
    ):
        frames, ends = 0, time.monotonic() + seconds
        settles = time.monotonic() + min(20.0, seconds / 4)
        first: tuple[float, float] | None = None
        while time.monotonic() < ends:
            event = client.receive(1.0)
            if isinstance(event, FrameReceived):
                frames += 1
                client.release(event)
            del event
            if first is None and time.monotonic() > settles:
                first = _rss_mb(process.pid), _rss_mb(os.getpid())
        last = _rss_mb(process.pid), _rss_mb(os.getpid())
    assert first is not None
    return {
        "soak_seconds": seconds,
        "soak_frames": frames,
        "soak_plugin_growth_mb": last[0] - first[0],
        "soak_client_growth_mb": last[1] - first[1],
    }


@contextlib.contextmanager
def _feeding(feeder: Path, *options: str) -> Any:
    with ClientLink("tcp://127.0.0.1:0") as client:
        port = client.endpoint.rsplit(":", 1)[1]
        process = subprocess.Popen(
            [feeder, "--port", port, *options, "--prefill"], stdout=subprocess.PIPE, text=True
        )
        try:
            yield client, process
        finally:
            process.kill()
            process.communicate()


def _link(feeder: Path, *options: str, reads: bool = False) -> float:
    bundle = ("--size", "1280x720", "--bundle", "full", "--fps", "0", "--lockstep")
    with _feeding(feeder, *bundle, "--frames", str(NUM_FRAMES), *options) as (client, process):
        times: list[float] = []
        while True:
            event = client.receive(_GIVE_UP_S)
            if event is None:
                raise RuntimeError("the feeder says nothing")
            if isinstance(event, PluginConnected | PluginEnded):
                if isinstance(event, PluginEnded):
                    break
                continue
            assert isinstance(event, FrameReceived), event
            if reads:
                for payload in event.frame.payloads:
                    crc32(payload)
            times.append(time.perf_counter())
            client.release(event)
            del event
        account = json.loads(process.stdout.readline())
    if account["sent"] != NUM_FRAMES or account["shared_memory"] == ("--no-shared" in options):
        raise RuntimeError(f"the feeder did something else: {account}")
    return _rate(times)


_SENDER: Final = """
import socket, sys
data = bytes(int(sys.argv[2]))
with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as connection:
    for _ in range(int(sys.argv[3])):
        connection.sendall(data)
"""


def _plain_socket() -> float:
    buffer = memoryview(bytearray(FRAME_BYTES))
    with socket.create_server(("127.0.0.1", 0)) as server:
        command = [sys.executable, "-c", _SENDER, str(server.getsockname()[1])]
        sender = subprocess.Popen([*command, str(FRAME_BYTES), str(NUM_FRAMES)])
        connection, _ = server.accept()
        times = []
        with connection:
            for _ in range(NUM_FRAMES):
                filled = 0
                while filled < FRAME_BYTES:
                    filled += connection.recv_into(buffer[filled:])
                times.append(time.perf_counter())
        sender.wait(_GIVE_UP_S)
    return _rate(times)


def _plain_memcpy() -> float:
    source, target = np.ones(FRAME_BYTES, np.uint8), np.zeros(FRAME_BYTES, np.uint8)
    times = []
    for _ in range(NUM_FRAMES):
        np.copyto(target, source)
        times.append(time.perf_counter())
    return _rate(times)


def _cpu_s() -> float:
    """User and system time of this process and of its children that ended."""
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _rate(times: list[float]) -> float:
    return (len(times) - 1) * FRAME_BYTES / (times[-1] - times[0]) / 1e9


def _ratio(ours: list[float], theirs: list[float]) -> float:
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))


def _rss_mb(process: int) -> float:
    pages = int(Path(f"/proc/{process}/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--soak", type=float, nargs="?", const=SOAK_S, help="seconds, else 600")
    options = parser.parse_args()
    for key, value in (measure() if options.soak is None else soak(options.soak)).items():
        print(f"{key:<30} {value:.3f}")
