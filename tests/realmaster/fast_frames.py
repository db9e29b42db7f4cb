"""Frames for the fast tier's tests and benchmark: the analytic engine's, held in memory."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from capture_bridge.errors import MissingBufferError
from capture_bridge.messages import FrameFlags, FrameHeader
from tests.capture_bridge.analytic_engine import AnalyticEngine, to_message

GEOMETRY = ("color", "depth", "normal", "motion")
MATERIAL = ("albedo", "roughness")


@dataclass(frozen=True)
class MemoryFrame:
    """What the models use of a SessionFrame, without a session."""

    index: int
    header: FrameHeader
    buffers: dict[str, NDArray[np.generic]]
    epoch: int = 0
    is_last: bool = False

    def has(self, name: str) -> bool:
        return name in self.buffers

    def array(self, name: str) -> NDArray[np.generic]:
        if name not in self.buffers:
            raise MissingBufferError(f"frame {self.index} has no {name}")
        return self.buffers[name]

    def without(self, *names: str) -> "MemoryFrame":
        return replace(self, buffers={k: v for k, v in self.buffers.items() if k not in names})

    def with_header(self, **changes: object) -> "MemoryFrame":
        return replace(self, header=replace(self.header, **changes))


def memory_frames(
    count: int,
    size: tuple[int, int] = (96, 64),
    *,
    buffers: Sequence[str] = GEOMETRY + MATERIAL,
    cuts: Sequence[int] = (),
) -> list[MemoryFrame]:
    """`count` consecutive frames of (width, height) `size`; those in `cuts` carry the flag."""
    engine = AnalyticEngine(*size, buffers=tuple(buffers))
    frames = []
    for index in range(count):
        frame = engine.frame(index)
        header = to_message(frame).header
        if index in cuts:
            header = replace(header, flags=FrameFlags.CUT)
        frames.append(MemoryFrame(index, header, frame.arrays))
    return frames
