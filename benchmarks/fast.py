"""Frames per second of the fast tier, end to end on frames held in memory, and where the time goes.

The frames are the analytic engine's at 640x360 with albedo and roughness, so that every stage has
its full work; reading a session and writing a video are not part of it.
"""

import statistics
import time
from collections.abc import Callable

from realmaster.fast import FastModel, prepare, recall
from tests.realmaster.fast_frames import MemoryFrame, memory_frames

SIZE = (640, 360)
FRAMES = 8
RUNS = 5


def measure() -> dict[str, float]:
    """fast_fps_640x360 (median of several runs) and the stages' milliseconds per frame."""
    model = FastModel()
    frames = memory_frames(FRAMES, SIZE)
    _run(model, frames)
    rates = [FRAMES / _seconds(lambda: _run(model, frames)) for _ in range(RUNS)]
    plain = [frame.without("albedo", "roughness") for frame in frames]
    rates_plain = [FRAMES / _seconds(lambda: _run(model, plain)) for _ in range(RUNS)]
    state = {}
    for frame in frames[:-1]:
        model.enhance_frame(frame, state)
    last = frames[-1]
    feed, depth, _ = prepare(last)
    feed |= recall(last, state, depth, feed)
    return {
        "fast_fps_640x360": statistics.median(rates),
        "fast_fps_640x360_without_material": statistics.median(rates_plain),
        "fast_prepare_ms": _median_ms(lambda: prepare(last)),
        "fast_recall_ms": _median_ms(lambda: recall(last, state, depth, feed)),
        "fast_network_ms": _median_ms(lambda: model.infer(feed)),
    }


def _run(model: FastModel, frames: list[MemoryFrame]) -> None:
    for _ in model.enhance(frames, {}):
        pass


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _median_ms(work: Callable[[], object]) -> float:
    return 1e3 * statistics.median(_seconds(work) for _ in range(2 * RUNS))
