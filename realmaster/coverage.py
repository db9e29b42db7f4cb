"""How much of a frame others of its clip show: what anchors there are worth to it.

Pixels on a thinned-out grid are looked for in the others: objects by their ids, surfaces by depth
and both cameras, as if nothing moved by itself. Knows buffers and cameras; no pictures.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from capture_bridge.clips import new_share
from realmaster.geometry import inverse_depth
from realmaster.tracking import View, smallest_scale, track

if TYPE_CHECKING:
    from capture_bridge.session import SessionFrame

Ids = NDArray[np.uint32]
Scalar = TypeVar("Scalar", bound=np.generic)

#: About so many columns are looked at.
_COLUMNS = 320
#: A surface that another frame shows with fewer pixels than this, per pixel and in the direction
#: where they are fewest, is not shown.
_SHARP = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Sight:
    """A frame, thinned out. ids: (h, w) of its objects, None without an instance buffer.

    objects: all that occur in ids. view: None without depth or a camera.
    """

    ids: Ids | None
    objects: Ids
    view: View | None


def sight_of(frame: "SessionFrame") -> Sight:
    """The sight of a frame of a session."""
    ids = None
    if frame.has("instance"):
        ids = _thinned(frame.array("instance").astype(np.uint32, copy=False))
    objects = np.zeros(0, np.uint32) if ids is None else np.unique(ids)
    camera = frame.header.camera
    if camera is None or not frame.has("depth"):
        return Sight(ids, objects, None)
    depth = np.asarray(frame.array("depth"), np.float32)
    inverse = inverse_depth(_thinned(depth))
    step = _step(depth.shape[1])
    lens = np.diag([1 / step, 1 / step, 1, 1])  # pixel j of the grid is j * step
    lens[:2, 2] = 0.5 - 0.5 / step
    lens[:3, :3] = lens[:3, :3] @ camera.K
    view = View(
        inverse=inverse,
        motion=np.zeros((*inverse.shape, 2), np.float32),
        instance=np.zeros(inverse.shape, np.int32),
        moving=np.zeros(inverse.shape, np.bool_),
        image_from_world=lens @ np.linalg.inv(camera.world_from_camera),
    )
    return Sight(ids, objects, view)


def new_objects(frame: Sight, others: Sequence[Sight]) -> float:
    """The share of the frame that objects cover which none of the others shows, 0 where unknown."""
    if frame.ids is None or any(other.ids is None for other in others):
        return 0.0
    return new_share(frame.ids, np.concatenate([other.objects for other in others]))


def unshown(frame: Sight, others: Sequence[Sight]) -> float:
    """The share of the frame that none of the others shows sharply, 0 where that is unknown."""
    if frame.view is None:
        return 0.0
    shown = np.zeros(frame.view.inverse.shape, np.bool_)
    for other in others:
        if other.view is None:
            return 0.0
        found = track([frame.view, other.view], 0, 1)
        shown |= found.seen & (smallest_scale(found) >= _SHARP)
    return float(1 - shown.mean())


def _thinned(values: NDArray[Scalar]) -> NDArray[Scalar]:
    step = _step(values.shape[1])
    return values[::step, ::step]


def _step(columns: int) -> int:
    return -(-columns // _COLUMNS)
