"""The model that changes nothing: the pipeline's test double, which enters by the public door."""

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from capture_bridge.session import SessionFrame
from realmaster.enhancer import State


class CopyModel:
    """Gives back every frame's color; its state counts the frames, so that a resume can be told."""

    name = "copy"
    fingerprint = "copy-1"
    requires = frozenset[str]()

    def enhance(self, frames: Iterable[SessionFrame], state: State) -> Iterator[NDArray[np.uint8]]:
        """One (H, W, 3) sRGB picture per frame: `color` without its alpha."""
        for frame in frames:
            state["frames"] = np.array(int(state.get("frames", np.array(0))) + 1)
            yield np.ascontiguousarray(frame.array("color")[..., :3])

    def summary(self, state: State) -> Mapping[str, str]:
        """How many frames went through."""
        return {"copied": str(int(state["frames"]))}
