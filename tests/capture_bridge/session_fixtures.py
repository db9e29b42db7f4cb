"""Small sessions for tests: a few frames of the analytic engine, rendered once."""

import functools
from pathlib import Path

from capture_bridge.messages import Frame, Hello
from capture_bridge.session import SessionCodec, SessionWriter
from tests.capture_bridge.analytic_engine import AnalyticEngine, AnalyticFrame

ENGINE = AnalyticEngine(32, 18)
NUM_FRAMES = 9
GROUP_FRAMES = 2
T0_NS = 5_000_000_000


@functools.cache
def frame(index: int) -> AnalyticFrame:
    return ENGINE.frame(index)


@functools.cache
def message(index: int) -> Frame:
    return ENGINE.message(index)


def hello() -> Hello:
    return ENGINE.hello()


def t_recv_ns(index: int) -> int:
    return T0_NS + index * 1_000_000


def write_session(path: Path, *, codec: SessionCodec = "raw", num_frames: int = NUM_FRAMES) -> None:
    """Frames 0..num_frames-1 of epoch 1, a chunk group every GROUP_FRAMES."""
    with SessionWriter(path, hello(), codec=codec) as writer:
        for index in range(num_frames):
            writer.write_frame(message(index), t_recv_ns(index), 1)
            if index % GROUP_FRAMES == GROUP_FRAMES - 1:
                writer.flush()
