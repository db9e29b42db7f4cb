"""Where the pixels of one frame of a clip are in another, forwards or backwards in time.

What stands still goes there directly, by depth and both cameras, so that no error grows with the
number of frames between. What moves by itself is followed frame by frame along the engine's motion
vectors, inverted where the way leads forwards. Positions are never resampled: each pixel carries
its own. This file knows buffers and cameras; it knows no pictures.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from capture_bridge.errors import RealMasterError
from realmaster.geometry import (
    DEPTH_TOLERANCE,
    MOVER_DEPTH_TOLERANCE,
    SKY_INVERSE_DEPTH,
    inverse_depth,
    reproject,
)

if TYPE_CHECKING:
    from capture_bridge.session import SessionFrame

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I32 = NDArray[np.int32]
Mask = NDArray[np.bool_]

#: A pixel moves by itself where its motion is off the camera's by this much, px, and this share of
#: its length: twice what float16 motion rounds by. Our choice.
_STILL_PX, _STILL_SHARE = 0.1, 0.002
#: Two neighbours whose motion differs by more than this belong to two things.
_ONE_THING_PX = 0.5
_INVERSION_STEPS = 3
#: Positions of what is not seen mean nothing; they stay where cv2.remap may be asked for them.
_FAR_PX = 30000.0


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """What tracking knows of a frame.

    inverse: (H, W) 1/z in 1/m, 0 for sky, NaN unknown. motion: (H, W, 2) pixels to the frame
    before. instance: (H, W), 0 throughout where the engine has none. moving: (H, W), by itself.
    image_from_world: (4, 4) takes world points (x, y, z, 1) to (u, v, 1, 1/z) times z; None without
    a camera, where everything counts as moving.
    """

    inverse: F32
    motion: F32
    instance: I32
    moving: Mask
    image_from_world: F64 | None


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """positions: (H, W, 2) x, y of cv2.remap in the other frame; seen: (H, W), False: not there."""

    positions: F32
    seen: Mask


def view_of(frame: "SessionFrame") -> View:
    """The view of a frame with color, depth and motion of one size. RealMasterError."""
    size = frame.array("color").shape[:2]
    depth = np.asarray(frame.array("depth"), np.float32)
    motion = np.asarray(frame.array("motion"), np.float32)
    if depth.shape != size or motion.shape[:2] != size:
        raise RealMasterError(
            f"frame {frame.header.seq}: color is {size[1]}x{size[0]}, depth {depth.shape[1]}x"
            f"{depth.shape[0]}, motion {motion.shape[1]}x{motion.shape[0]}; record them at one size"
        )
    instance = np.zeros(size, np.int32)
    if frame.has("instance") and frame.array("instance").shape == size:
        instance = np.asarray(frame.array("instance")).astype(np.uint32).view(np.int32)
    camera = frame.header.camera
    image_from_world = None
    moving = np.asarray(np.isfinite(motion).all(-1), np.bool_)
    if camera is not None:
        still, _ = reproject(depth, camera)
        off = np.hypot(*np.moveaxis(motion - still, -1, 0))
        length = np.hypot(motion[..., 0], motion[..., 1])
        with np.errstate(invalid="ignore"):
            moving = np.asarray(off > _STILL_PX + _STILL_SHARE * length, np.bool_)
        lens = np.eye(4)
        lens[:3, :3] = camera.K
        image_from_world = lens @ np.linalg.inv(camera.world_from_camera)
    return View(inverse_depth(depth), motion, instance, moving, image_from_world)


def track(views: Sequence[View], start: int, end: int) -> Track:
    """Where each pixel of frame `start` is in frame `end`."""
    height, width = views[start].inverse.shape
    points = _Points.of(views[start])
    step = 1 if end > start else -1
    for at in range(start, end, step):
        points.advance(views[at], views[at + step], forwards=step > 0)
    points.settle(views[end])
    positions = np.stack([points.x, points.y], -1).reshape(height, width, 2)
    positions = np.nan_to_num(positions).clip(-_FAR_PX, _FAR_PX)
    return Track(positions, points.alive.reshape(height, width))


def smallest_scale(found: Track) -> F32:
    """(H, W) pixels of the other frame per pixel, in the direction where there are fewest of them.

    The smaller singular value of the positions' derivative, the median of 5x5 pixels, since over
    edges it means nothing.
    """
    dx, dy = (np.gradient(found.positions, axis=axis) for axis in (1, 0))
    determinant = dx[..., 0] * dy[..., 1] - dx[..., 1] * dy[..., 0]
    half = ((dx**2).sum(-1) + (dy**2).sum(-1)) / 2
    squared = half - np.sqrt(np.maximum(half**2 - determinant**2, 0))
    smallest = np.sqrt(np.maximum(squared, 0)).astype(np.float32)
    return np.asarray(cv2.medianBlur(smallest, 5), np.float32)


class _Points:
    """All pixels of a frame on their way: x, y (N,) as cv2.remap counts, w (N,) inverse depth."""

    def __init__(self, x: F32, y: F32, w: F32, instance: I32) -> None:
        self.x, self.y, self.w, self.instance = x, y, w, instance
        self.alive: Mask = np.isfinite(w)
        self.moved: Mask = np.zeros(len(w), np.bool_)
        self.w[~self.alive] = 0

    @classmethod
    def of(cls, view: View) -> "_Points":
        height, width = view.inverse.shape
        y, x = np.divmod(np.arange(height * width, dtype=np.int32), np.int32(width))
        return cls(
            x.astype(np.float32),
            y.astype(np.float32),
            view.inverse.ravel().copy(),
            view.instance.ravel(),
        )

    def advance(self, here: View, there: View, *, forwards: bool) -> None:
        """One frame on: what stands still by the cameras, what moves along its motion."""
        moves, x, y = self._moved_by_motion(here, there, forwards=forwards)
        self._stand_still(here, there)
        if not len(moves):
            return
        self.x[moves], self.y[moves] = x, y
        w_expected = self.w[moves] if here.image_from_world is not None else None
        w, inside = _sampled(there.inverse, x, y)
        same = inside & (_nearest(there.instance, x, y, 0) == self.instance[moves])
        if w_expected is not None:
            same &= _alike(w, w_expected, MOVER_DEPTH_TOLERANCE)
        self.w[moves] = np.where(same, w, 0)
        self.alive[moves] &= same
        self.moved[moves] = True

    def settle(self, view: View) -> None:
        """Only those stay alive that this frame shows."""
        height, width = view.inverse.shape
        self.alive &= (np.abs(self.x - (width - 1) / 2) <= width / 2) & (
            np.abs(self.y - (height - 1) / 2) <= height / 2
        )
        found, _ = _sampled(view.inverse, self.x, self.y)
        tolerance = np.where(self.moved, MOVER_DEPTH_TOLERANCE, DEPTH_TOLERANCE)
        shown = _nearest(view.instance, self.x, self.y, 0) == self.instance
        shown &= _alike(found, self.w, tolerance)
        at = np.flatnonzero(self.alive & ~shown)
        shown[at] = self._shown_by_a_corner(view, at, tolerance[at])
        self.alive &= shown

    def _shown_by_a_corner(self, view: View, at: NDArray[np.intp], tolerance: F64) -> Mask:
        """Whether one of the four pixels around shows it: edges pass between pixels."""
        shown = np.zeros(len(at), np.bool_)
        left, top = np.floor(self.x[at]), np.floor(self.y[at])
        for x in (left, left + np.float32(1)):
            for y in (top, top + np.float32(1)):
                same = _nearest(view.instance, x, y, 0) == self.instance[at]
                found = _nearest(view.inverse, x, y, np.nan)
                shown |= same & _alike(found, self.w[at], tolerance)
        return shown

    def _stand_still(self, here: View, there: View) -> None:
        if here.image_from_world is None or there.image_from_world is None:
            return
        m = (there.image_from_world @ np.linalg.inv(here.image_from_world)).astype(np.float32)
        u, v, w = self.x + np.float32(0.5), self.y + np.float32(0.5), self.w
        ahead = m[2, 0] * u + m[2, 1] * v + m[2, 2] + m[2, 3] * w
        self.alive &= ahead > 1e-6
        scale = np.float32(1) / np.where(self.alive, ahead, np.float32(1))
        self.x = (m[0, 0] * u + m[0, 1] * v + m[0, 2] + m[0, 3] * w) * scale - np.float32(0.5)
        self.y = (m[1, 0] * u + m[1, 1] * v + m[1, 2] + m[1, 3] * w) * scale - np.float32(0.5)
        self.w = np.asarray(w * scale, np.float32)

    def _moved_by_motion(
        self, here: View, there: View, *, forwards: bool
    ) -> tuple[NDArray[np.intp], F32, F32]:
        """Which points move by themselves, and where to."""
        motion, moving = _forward_motion(there) if forwards else (here.motion, here.moving)
        moves = np.flatnonzero(self.alive & _nearest(moving, self.x, self.y, False))
        found, _ = _sampled(here.inverse, self.x[moves], self.y[moves])
        same = _nearest(here.instance, self.x[moves], self.y[moves], 0) == self.instance[moves]
        moves = moves[same & _alike(found, self.w[moves], MOVER_DEPTH_TOLERANCE)]
        x, y = self.x[moves], self.y[moves]
        dx, dy = _motion_at(motion, x, y)
        if not forwards:
            return moves, x + dx, y + dy
        to_x, to_y = x + dx, y + dy
        for _ in range(_INVERSION_STEPS):
            back_x, back_y = _motion_at(there.motion, to_x, to_y)
            better = np.hypot(to_x + back_x - x, to_y + back_y - y) < 2
            to_x = np.where(better, x - back_x, to_x).astype(np.float32)
            to_y = np.where(better, y - back_y, to_y).astype(np.float32)
        return moves, to_x, to_y


def _forward_motion(there: View) -> tuple[F32, Mask]:
    """Motion (H, W, 2) of the frame before to `there` of what moves, and where it is known.

    Each moving pixel is put down where it came from, the nearest last; gaps of one or two pixels,
    where things grow, take a neighbour's.
    """
    height, width = there.inverse.shape
    motion = np.zeros((height, width, 2), np.float32)
    known = np.zeros((height, width), np.bool_)
    rows, columns = np.nonzero(there.moving & np.isfinite(there.motion).all(-1))
    order = np.argsort(there.inverse[rows, columns], kind="stable")
    rows, columns = rows[order], columns[order]
    back = there.motion[rows, columns]
    x, y = np.rint(columns + back[:, 0]), np.rint(rows + back[:, 1])
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    x, y = x[inside].astype(np.intp), y[inside].astype(np.intp)
    motion[y, x] = -back[inside]
    known[y, x] = True
    for _ in range(2):
        motion, known = _grown(motion, known)
    return motion, known


def _grown(motion: F32, known: Mask) -> tuple[F32, Mask]:
    """Every unknown pixel beside a known one takes the mean of its known neighbours."""
    weight = cv2.blur(known.astype(np.float32), (3, 3))
    mean = cv2.blur(motion * known[..., None], (3, 3)) / np.maximum(weight, 1e-6)[..., None]
    return np.where(known[..., None], motion, mean).astype(np.float32), weight > 1e-3


def _motion_at(motion: F32, x: F32, y: F32) -> tuple[F32, F32]:
    """Motion at positions: between pixels of one thing interpolated, over an edge the nearest."""
    near = _nearest(motion, x, y, np.float32(np.nan))
    smooth = _bilinear(motion, x, y)
    with np.errstate(invalid="ignore"):
        split = ~(np.abs(smooth - near).max(-1) <= _ONE_THING_PX)
    found = np.asarray(np.where(split[:, None], near, smooth), np.float32)
    return found[:, 0], found[:, 1]


def _sampled(inverse: F32, x: F32, y: F32) -> tuple[F32, Mask]:
    """Inverse depth at positions, not mixed over edges; and whether they lie inside and are known.

    On a straight surface bilinear is exact; where the nearest pixel is far off it, that one counts.
    """
    near = _nearest(inverse, x, y, np.float32(np.nan))
    smooth = _bilinear(inverse, x, y)
    with np.errstate(invalid="ignore"):
        split = ~(np.abs(smooth - near) <= DEPTH_TOLERANCE * near)
    found = np.asarray(np.where(split, near, smooth), np.float32)
    return found, np.isfinite(found)


def _alike(found: F32, expected: F32, tolerance: "float | NDArray[np.floating[Any]]") -> Mask:
    with np.errstate(invalid="ignore"):
        limit = tolerance * np.maximum(found, expected) + SKY_INVERSE_DEPTH
        return np.asarray(np.abs(found - expected) <= limit, np.bool_)


def _nearest(image: NDArray[Any], x: F32, y: F32, outside: Any) -> NDArray[Any]:
    """The pixels (N, ...) nearest to positions (N,); `outside` where there is none."""
    height, width = image.shape[:2]
    with np.errstate(invalid="ignore"):
        inside = (x >= -0.5) & (x <= width - 0.5) & (y >= -0.5) & (y <= height - 0.5)
    column = np.where(inside, np.rint(x), 0).astype(np.intp).clip(0, width - 1)
    row = np.where(inside, np.rint(y), 0).astype(np.intp).clip(0, height - 1)
    found: NDArray[Any] = image[row, column]
    found[~inside] = outside
    return found


def _bilinear(image: F32, x: F32, y: F32) -> F32:
    """(N, ...) between pixels, those at the border continued. OpenCV takes maps of two axes."""
    rows = -(-len(x) // _MAP_WIDTH) or 1
    maps = np.zeros((2, rows * _MAP_WIDTH), np.float32)
    maps[0, : len(x)], maps[1, : len(x)] = x, y
    map_x, map_y = maps.reshape(2, rows, _MAP_WIDTH)
    found = cv2.remap(image, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(found.reshape(rows * _MAP_WIDTH, *image.shape[2:])[: len(x)], np.float32)


_MAP_WIDTH = 1024
