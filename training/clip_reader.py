"""Reads a pair's two videos in step and cuts them into samples; knows pictures, no model."""

import itertools
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from capture_bridge.errors import SessionError
from capture_bridge.media import VideoReader
from realmaster.families.clips import resized, working_size
from training.config import Clip
from training.pairs_folder import Pair

U8 = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Cut:
    """One sample. target: (T, H, W, 3) sRGB, reference: the same moments, `stride` times smaller.

    fps: measured over the cut; 0 for one picture.
    """

    target: U8
    reference: U8
    fps: float


def cuts(pair: Pair, clip: Clip, multiple: int) -> Iterator[Cut]:
    """The samples of a pair, one after another; a remainder shorter than one is left out.

    multiple: of width and height of what the model works on. SessionError where the videos cannot
    be read or do not have as many frames each.
    """
    with ExitStack() as stack:
        readers = [stack.enter_context(VideoReader(path)) for path in (pair.target, pair.reference)]
        size = sample_size((readers[0].width, readers[0].height), clip, multiple)
        sizes = [size, _smaller(size, clip.reference_stride)]
        videos: tuple[list[U8], list[U8]] = ([], [])
        times_ns: list[int] = []
        for moment in itertools.zip_longest(*readers):
            if None in moment:
                raise SessionError(
                    f"{pair.target.name}: its reference has another number of frames; the pairs "
                    "folder is damaged, make it anew"
                )
            for video, (picture, _), at in zip(videos, moment, sizes, strict=True):
                video.append(resized(picture[None], at)[0])
            times_ns.append(moment[0][1])
            if len(times_ns) == clip.frames:
                span_s = (times_ns[-1] - times_ns[0]) / 1e9
                target, reference = (np.stack(video) for video in videos)
                yield Cut(target, reference, (clip.frames - 1) / span_s if span_s > 0 else 0.0)
                videos, times_ns = ([], []), []


def sample_size(size: tuple[int, int], clip: Clip, multiple: int) -> tuple[int, int]:
    """(width, height) of a sample of a video of `size`, as enhancing would choose it."""
    return working_size(size, clip.size, multiple * clip.reference_stride)


def _smaller(size: tuple[int, int], stride: int) -> tuple[int, int]:
    return (size[0] // stride, size[1] // stride)
