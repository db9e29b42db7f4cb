"""How fast and how lean a recording is: the whole recorder beside plain write() of the same bytes.

The bundle is color, depth, normal and motion at 1080p, 37 MB a frame, recorded with codec raw
through the public door: an event source that has frames in memory. Both ways write to the same
folder and end with fsync. A shared machine's speed drifts, so the ways alternate and the ratio is
the median of the rounds' ratios. Memory is the process's resident set over ten minutes of 30
frames/s, recorded as fast as it goes, after as many that let the allocator settle.
"""

import dataclasses
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from capture_bridge.buffers import BUFFERS, FrameArrays
from capture_bridge.codecs import pack_buffer
from capture_bridge.link import Event, FrameReceived, PluginConnected, PluginEnded
from capture_bridge.messages import (
    Bye,
    Camera,
    Frame,
    FrameHeader,
    Hello,
    StreamInfo,
)
from capture_bridge.recorder import RecordingOptions, record_link
from capture_bridge.session import SessionReader

NAMES = ("color", "depth", "normal", "motion")
NUM_FRAMES, NUM_ROUNDS = 8, 7
SOAK_FRAMES, SOAK_SIZE = 2 * 10 * 60 * 30, (64, 36)  # the first half settles
NUM_CREDITS = 4


def measure() -> dict[str, float]:
    """Ratios and figures, each with its unit in its name."""
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".bench-") as folder:
        # The soak first: what large frames leave in the heap would hide a growth.
        growth_mib, peak_mib = _soak(Path(folder) / "soak.mcap")
        rates = _rates(Path(folder))
    return {
        "recorder_raw_vs_write": _ratio(rates["recorder"], rates["write"]),
        "recorder_raw_gigabytes_per_s": statistics.median(rates["recorder"]) / 1e9,
        "recorder_zstd_frames_per_s_1080p": statistics.median(rates["zstd"]) / _frame_bytes(1080),
        "write_gigabytes_per_s": statistics.median(rates["write"]) / 1e9,
        "recorder_memory_growth_mib_10min": growth_mib,
        "recorder_memory_peak_mib_10min": peak_mib,
    }


class FramesInMemory:
    """An event source that gives the same frame again and again, as fast as credit allows."""

    def __init__(self, frame: Frame, count: int, looked_at: Callable[[int], None]) -> None:
        self._credits = threading.Semaphore(NUM_CREDITS)
        self._events = self._make(frame, count)
        self._looked_at = looked_at

    def receive(self, timeout_s: float) -> Event | None:
        """The next event, as soon as there is credit for it."""
        return next(self._events)

    def release(self, event: FrameReceived) -> None:
        """Return its credit."""
        self._credits.release()

    def _make(self, frame: Frame, count: int) -> Iterator[Event]:
        yield PluginConnected(b"bench", 1, time.monotonic_ns(), _hello(frame.header))
        for seq in range(count):
            self._credits.acquire()
            self._looked_at(seq)
            header = _header(seq, frame.header)
            now = time.monotonic_ns()
            yield FrameReceived(b"bench", 1, now, Frame(header, frame.payloads))
        yield PluginEnded(b"bench", 1, time.monotonic_ns(), Bye("done", count - 1))


def _rates(folder: Path) -> dict[str, list[float]]:
    """Bytes per second of each way, round by round."""
    frame = _frame(1920, 1080)
    ways: dict[str, Callable[[Path], None]] = {
        "write": lambda path: _write(path, frame),
        "recorder": lambda path: _record(path, frame, RecordingOptions(codec="raw")),
        "zstd": lambda path: _record(path, frame, RecordingOptions()),
    }
    rates: dict[str, list[float]] = {name: [] for name in ways}
    path, num_bytes = folder / "frames", NUM_FRAMES * _frame_bytes(1080)
    for number in range(NUM_ROUNDS + 1):
        for name in sorted(ways, reverse=number % 2 == 0):
            start = time.perf_counter()
            ways[name](path)
            if number:  # the first round warms up
                rates[name].append(num_bytes / (time.perf_counter() - start))
            path.unlink()
    return rates


def _record(path: Path, frame: Frame, options: RecordingOptions) -> None:
    source = FramesInMemory(frame, NUM_FRAMES, lambda seq: None)
    summary = record_link(source, path, options=options)
    assert summary.frames == NUM_FRAMES and not summary.num_dropped


def _write(path: Path, frame: Frame) -> None:
    with path.open("xb", buffering=0) as file:
        for _ in range(NUM_FRAMES):
            for payload in frame.payloads:
                file.write(payload)
        os.fsync(file.fileno())


def _soak(path: Path) -> tuple[float, float]:
    """MiB of the last minute above that after settling (medians), and of the peak above the start.

    Faster than real time, a group of chunks holds a second of many more frames than 30.
    """
    frame, start = _frame(*SOAK_SIZE), _resident_mib()
    sampled: dict[int, float] = {}

    def look(seq: int) -> None:
        if seq % 300 == 0:
            sampled[seq] = _resident_mib()

    options = RecordingOptions(max_queue_bytes=16 << 20)
    summary = record_link(FramesInMemory(frame, SOAK_FRAMES, look), path, options=options)
    assert summary.frames == SOAK_FRAMES and not summary.num_dropped
    with SessionReader(path) as reader:
        assert len(reader) == SOAK_FRAMES
    twentieth = SOAK_FRAMES // 20
    first, last = (
        statistics.median(mib for seq, mib in sampled.items() if seq // twentieth == part)
        for part in (10, 19)
    )
    return last - first, max(sampled.values()) - start


def _resident_mib() -> float:
    """Of this process, now; 0 where the system does not tell."""
    if sys.platform != "linux":
        return 0.0
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _ratio(ours: list[float], bare: list[float]) -> float:
    return statistics.median(a / b for a, b in zip(ours, bare, strict=True))


def _frame_bytes(height: int) -> int:
    return sum(BUFFERS[name].pixel_bytes for name in NAMES) * (height * 16 // 9) * height


def _arrays(width: int, height: int) -> FrameArrays:
    """Smooth pictures with some grain, as an engine's are: they compress like those."""
    y, x = np.mgrid[:height, :width]
    grain = np.random.default_rng(0).integers(0, 8, (height, width), np.uint8)
    color = np.stack([x * 255 // width, y * 255 // height, (x + y) % 256, 0 * x], -1)
    flat = np.stack([0 * x, 0.5 + 0 * x, -1 + 0.1 * x / width], -1)
    return {
        "color": (color.astype(np.uint8) + grain[..., None]).astype(np.uint8),
        "depth": (5 + 90 * y / height + x / width).astype(np.float32),
        "normal": flat.astype(np.float16),
        "motion": np.stack([x / width, y / height], -1).astype(np.float16),
    }


def _frame(width: int, height: int) -> Frame:
    packed = [pack_buffer(name, array) for name, array in _arrays(width, height).items()]
    payloads = tuple(bytes(payload) for _, payload in packed)
    buffers = tuple(descriptor for descriptor, _ in packed)
    k = np.array([[width, 0, width / 2], [0, width, height / 2], [0, 0, 1.0]])
    camera = Camera(k, np.eye(4), np.eye(4), 0.1, 1000.0)
    size = (width, height)
    return Frame(FrameHeader(0, 0, 0, 0, 0, size, size, camera, buffers), payloads)


def _header(seq: int, header: FrameHeader) -> FrameHeader:
    t_ns = round(seq * 1e9 / 30)
    return dataclasses.replace(header, seq=seq, t_sim_ns=t_ns, t_render_ns=time.monotonic_ns())


def _hello(header: FrameHeader) -> Hello:
    streams = tuple(
        StreamInfo(b.name, b.width, b.height, b.dtype, b.components) for b in header.buffers
    )
    return Hello("b" * 32, "bench", "1", "bench", "1", "in memory", streams, lockstep=True)


if __name__ == "__main__":
    for name, figure in measure().items():
        print(f"{name:<40} {figure:.3f}")
