"""The two videos of a pair: which part of the session's picture they show, at which constant rate.

One policy of sizes: the largest part of the aspect of the wanted size, cut from the middle, then
scaled down; nothing is enlarged or stretched beyond what whole pixels force. By default the size is
the session's rounded down to multiples of SIDE_STEP, so that no pixel is resampled. `Fit` moves the
camera's K along. This file knows media and pictures.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from capture_bridge.errors import OutputError, RealMasterError
from capture_bridge.media import TICKS_PER_S, VideoReader, VideoWriter, from_ticks

U8 = NDArray[np.uint8]

#: What every side must be a multiple of: LTX and Wan2.2's 5B model compress by 32.
SIDE_STEP = 32
#: H.264 quality of the videos, in 4:4:4: below what a video model's own codec loses.
PAIR_CRF = 8


@dataclass(frozen=True, slots=True)
class Fit:
    """How a session's picture becomes a pair's.

    crop: (x, y, width, height) of it in pixels. size: (width, height) to which that is scaled.
    """

    crop: tuple[int, int, int, int]
    size: tuple[int, int]

    def picture(self, rgb: U8) -> U8:
        """The part (height, width, 3) of a picture (H, W, 3)."""
        x, y, width, height = self.crop
        part = np.ascontiguousarray(rgb[y : y + height, x : x + width])
        if (width, height) == self.size:
            return part
        return np.asarray(cv2.resize(part, self.size, interpolation=cv2.INTER_AREA), np.uint8)

    def intrinsics(self, K: NDArray[np.generic]) -> tuple[float, float, float, float]:
        """(fx, fy, cx, cy) of the part, of the whole picture's K (3, 3); pixel centres at +0.5."""
        x, y, width, height = self.crop
        sx, sy = self.size[0] / width, self.size[1] / height
        fx, fy, cx, cy = (float(K[i]) for i in ((0, 0), (1, 1), (0, 2), (1, 2)))
        return fx * sx, fy * sy, (cx - x) * sx, (cy - y) * sy


def fit(source: tuple[int, int], size: tuple[int, int] | None = None) -> Fit:
    """The policy for pictures of `source` (width, height). RealMasterError where none fits."""
    if size is None:
        width, height = (side // SIDE_STEP * SIDE_STEP for side in source)
        if not (width and height):
            raise RealMasterError(
                f"frames of {source[0]}x{source[1]} are too small for pairs: a side must have "
                f"{SIDE_STEP} pixels; record larger ones"
            )
        size = (width, height)
    if size[0] % SIDE_STEP or size[1] % SIDE_STEP:
        low = tuple(max(1, side // SIDE_STEP) * SIDE_STEP for side in size)
        raise RealMasterError(
            f"--size {size[0]}x{size[1]}: sides must be multiples of {SIDE_STEP}, which the video "
            f"models compress by; try {low[0]}x{low[1]}"
        )
    if size[0] > source[0] or size[1] > source[1]:
        raise RealMasterError(
            f"--size {size[0]}x{size[1]}: the session's frames are {source[0]}x{source[1]}, and "
            "nothing is enlarged; take a smaller size or record larger frames"
        )
    scale = min(source[0] / size[0], source[1] / size[1])
    width, height = round(size[0] * scale), round(size[1] * scale)
    return Fit(((source[0] - width) // 2, (source[1] - height) // 2, width, height), size)


def constant_rate(measured_fps: float) -> Fraction:
    """The measured rate as a video can hold it: a whole number of its ticks from frame to frame."""
    return Fraction(TICKS_PER_S, round(TICKS_PER_S / measured_fps))


def write_pair_video(
    path: Path, pictures: Iterable[U8], fit: Fit, fps: Fraction, tags: dict[str, str]
) -> None:
    """A video of these pictures (H, W, 3) at a constant rate, without sound. Raises OutputError.

    fps: one that `constant_rate` gives.
    """
    ticks = TICKS_PER_S // fps
    width, height = fit.size
    with VideoWriter(
        path,
        width,
        height,
        crf=PAIR_CRF,
        preset="medium",
        chroma="444",
        fps=fps,
        origin_ns=0,
        tags=tags,
    ) as writer:
        count = 0
        for count, picture in enumerate(pictures, 1):
            writer.write(fit.picture(picture), from_ticks((count - 1) * ticks))
    with VideoReader(path) as reader:
        if reader.num_frames != count:  # a full disk may show only here
            raise OutputError(
                f"cannot write {path}: {reader.num_frames} of {count} frames are in it"
            )
