"""Whether motion connects a frame to the one before it. Knows headers alone."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from capture_bridge.messages import FrameFlags

if TYPE_CHECKING:
    from capture_bridge.session import SessionFrame

#: Where one of these is set, nothing connects a frame to the one before it.
BREAKS = FrameFlags.CUT | FrameFlags.TELEPORT | FrameFlags.LOADING | FrameFlags.MENU


def clock_of(frame: "SessionFrame") -> NDArray[np.int64]:
    """Where the frame stands, (2,): its seq and epoch; an array, so that a state can hold it."""
    return np.array([frame.header.seq, frame.epoch], np.int64)


def continues(frame: "SessionFrame", clock: NDArray[np.generic]) -> bool:
    """Whether the frame belongs to the same take as an earlier one, frames lost between or not."""
    seq, epoch = (int(value) for value in clock)
    return frame.epoch == epoch and frame.header.seq > seq and not frame.header.flags & BREAKS


def follows(frame: "SessionFrame", clock: NDArray[np.generic]) -> bool:
    """Whether the frame is the very next one of the same take, so that its motion leads there."""
    return continues(frame, clock) and frame.header.seq == int(clock[0]) + 1
