"""Sessions for the tests of inspect, verify, export and health: spoilt where a test says so."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from capture_bridge.messages import Frame, Hello
from capture_bridge.session import Drop, SessionWriter
from tests.capture_bridge.analytic_engine import AnalyticEngine, AnalyticFrame, to_message

FRAMES = 6
ENGINE = AnalyticEngine(width=64, height=36)
T_RECV_NS = 3_000_000


def record(
    path: Path,
    change: Callable[[Frame], Frame] = lambda frame: frame,
    *,
    skip: Sequence[int] = (),
    drops: Sequence[Drop] = (),
    hello: Hello | None = None,
) -> Path:
    """FRAMES frames of a tiny engine; `skip` are the seqs that never arrived."""
    with SessionWriter(path, hello or ENGINE.hello()) as writer:
        for index in range(FRAMES):
            if index not in skip:
                frame = change(ENGINE.message(index))
                writer.write_frame(frame, frame.header.t_send_ns + T_RECV_NS, 1)
        for drop in drops:
            writer.write_drop(drop)
    return path


def record_frames(path: Path, hello: Hello, frames: Iterable[AnalyticFrame]) -> Path:
    """The given frames, received as they were sent; streams that no frame has are not declared."""
    found = list(frames)
    names = found[0].arrays.keys()
    hello = replace(hello, streams=tuple(s for s in hello.streams if s.name in names))
    with SessionWriter(path, hello, codec="raw") as writer:
        for frame in found:
            message = to_message(frame)
            writer.write_frame(message, message.header.t_send_ns + T_RECV_NS, 1)
    return path
