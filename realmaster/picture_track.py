"""A video's frames handed out by time, in step with a session: matched by pts, never by index.

Knows no file format: frames come as (picture, t_ns) in order of time.
"""

import itertools
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from capture_bridge.errors import RealMasterError

U8 = NDArray[np.uint8]

#: How far apart two stamps may be where a session has one frame alone and so no interval.
LONE_FRAME_TOLERANCE_NS = 5_000_000


def match_tolerance_ns(times_ns: Sequence[int]) -> int:
    """Half the shortest interval between a session's frames."""
    gaps = [b - a for a, b in itertools.pairwise(times_ns)]
    return min(gaps) // 2 if gaps else LONE_FRAME_TOLERANCE_NS


class PictureTrack:
    """The frames of one video, taken in order of time.

    frames: (picture (H, W, 3) u8, t_ns) with t_ns on the session's time line, 0 at its first frame.
    name: how errors call the video. size: (width, height) that every picture must have.
    """

    def __init__(
        self, frames: Iterable[tuple[U8, int]], name: str, size: tuple[int, int], tolerance_ns: int
    ) -> None:
        self._frames = iter(frames)
        self._name, self._size, self._tolerance_ns = name, size, tolerance_ns
        self._next = self._read()

    def at(self, t_ns: int) -> U8 | None:
        """The picture at this time, None where the video has none; times must not go back.

        Raises RealMasterError for a frame of the video that lies between the times asked for.
        """
        if self._next is None:
            return None
        picture, time_ns = self._next
        if time_ns < t_ns - self._tolerance_ns:
            raise self._stray(time_ns)
        if time_ns > t_ns + self._tolerance_ns:
            return None
        self._next = self._read()
        return picture

    def must_have(self, t_ns: int, index: int) -> U8:
        """The picture at this time; RealMasterError where the video has none."""
        picture = self.at(t_ns)
        if picture is None:
            raise RealMasterError(
                f"{self._name} has no frame at {t_ns * 1e-9:.3f} s, where the session has its "
                f"frame {index}: it is not this session's video, or was cut short; enhance it again"
            )
        return picture

    def finish(self) -> None:
        """RealMasterError if frames are left over after the session's last one."""
        if self._next is not None:
            raise self._stray(self._next[1])

    def _read(self) -> tuple[U8, int] | None:
        frame = next(self._frames, None)
        if frame is not None:
            height, width = frame[0].shape[:2]
            if (width, height) != self._size:
                raise RealMasterError(
                    f"{self._name} is {width}x{height} and the session {self._size[0]}x"
                    f"{self._size[1]}: only pictures of one size can be compared"
                )
        return frame

    def _stray(self, time_ns: int) -> RealMasterError:
        return RealMasterError(
            f"{self._name} has a frame at {time_ns * 1e-9:.3f} s and the session has none within "
            f"{self._tolerance_ns * 1e-6:.1f} ms of it: it was not made from this session"
        )
