"""What is done to every enhanced picture, whichever model made it: steadied, parts kept, HUD back.

A `Finish` is a table of options; `FinishedModel` wraps a model of enhancer.py and is one itself.
Each step is a function of the frame, its picture and the state. Works on one frame at a time; the
frames that a model has read ahead wait in a queue.
"""

import hashlib
import json
import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from capture_bridge.buffers import SEMANTIC_CLASSES
from capture_bridge.continuity import clock_of, follows
from capture_bridge.errors import RealMasterError
from realmaster.geometry import occlusion_mask, warp_by_motion

if TYPE_CHECKING:
    from capture_bridge.session import SessionFrame
    from realmaster.enhancer import Model, State

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]

#: Kept parts fade out over about this many pixels, at 720 rows.
_FEATHER_PX = 3.0
#: HUD pixels: below the first difference (sRGB levels) none, above the second opaque.
_HUD_LEVELS = (2.0, 24.0)


@dataclass(frozen=True, slots=True)
class Finish:
    """What is to be done.

    stabilize: how much of a steadied change comes from the frame before, 0 (off) to below 1.
    keep: (class name, or #id of an object) -> how much of the render stays, 0 to 1. hud: put the
    game's own HUD back, from color_ui.
    """

    stabilize: float = 0.0
    keep: tuple[tuple[str, float], ...] = ()
    hud: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.stabilize < 1:
            raise RealMasterError(f"--stabilize {self.stabilize:g}: from 0 to 0.95 makes sense")

    @property
    def requires(self) -> frozenset[str]:
        """The buffers that it needs."""
        needed = {"depth", "motion"} if self.stabilize else set[str]()
        if any(name.startswith("#") for name, _ in self.keep):
            needed.add("instance")
        if any(not name.startswith("#") for name, _ in self.keep):
            needed.add("semantic")
        return frozenset(needed | ({"color_ui"} if self.hud else set()))


def parse_keep(text: str) -> tuple[tuple[str, float], ...]:
    """The regions of a text such as "person=0.5,glass=1,#17=1". RealMasterError."""
    regions = []
    for part in filter(None, text.split(",")):
        found = re.fullmatch(r"\s*(#\d{1,10}|[\w.-]{1,64})\s*=\s*([01]|0?\.\d+|1\.0+)\s*", part)
        if found is None:
            raise RealMasterError(
                f"--keep {part!r}: write NAME=SHARE or #ID=SHARE with a share from 0 to 1, such as "
                "person=0.5,glass=1"
            )
        if not found[1].startswith("#") and found[1] not in SEMANTIC_CLASSES:
            raise RealMasterError(
                f"--keep {found[1]}: no such class; there are {', '.join(SEMANTIC_CLASSES)}"
            )
        regions.append((found[1], float(found[2])))
    return tuple(regions)


class FinishedModel:
    """A model whose pictures are finished; it fits wherever the model does."""

    def __init__(self, model: "Model", finish: Finish) -> None:
        self._model = model
        self._finish = finish
        self.name = model.name
        self.requires = model.requires | finish.requires
        told = json.dumps(asdict(finish), sort_keys=True).encode()
        self.fingerprint = f"{model.fingerprint}+{hashlib.sha256(told).hexdigest()[:8]}"

    def enhance(self, frames: "Iterable[SessionFrame]", state: "State") -> Iterator[U8]:
        """See enhancer.Model."""
        waiting: deque[SessionFrame] = deque()

        def noted() -> "Iterator[SessionFrame]":
            for frame in frames:
                waiting.append(frame)
                yield frame

        for picture in self._model.enhance(noted(), state):
            yield finished(waiting.popleft(), picture, self._finish, state)

    def summary(self, state: "State") -> Mapping[str, str]:
        """The model's own, and how it was finished."""
        return {**self._model.summary(state), "finish": json.dumps(asdict(self._finish))}


def finished(frame: "SessionFrame", picture: U8, finish: Finish, state: "State") -> U8:
    """The picture (H, W, 3) after all steps that `finish` names."""
    render = np.ascontiguousarray(frame.array("color")[..., :3])
    if finish.stabilize:
        picture = stabilized(frame, render, picture, finish.stabilize, state)
    if finish.keep:
        picture = blended(picture, render, kept_share(frame, finish.keep))
    if finish.hud:
        presented = np.asarray(frame.array("color_ui")[..., :3], np.uint8)
        picture = with_hud(picture, render, presented)
    return picture


def stabilized(frame: "SessionFrame", render: U8, picture: U8, amount: float, state: "State") -> U8:
    """The picture with its change of the render carried on along the engine's motion.

    What the model changed, picture - render, is averaged over time where the frame before shows
    the same surface; the render's own motion, detail and edges stay as they are. `state` keeps the
    change and the depth.
    """
    change = picture.astype(np.float32) - render
    depth = np.asarray(frame.array("depth"), np.float32)
    if _continues(frame, state, change.shape):
        motion = np.asarray(frame.array("motion"), np.float32)
        before, known = warp_by_motion(state["finish_change"].astype(np.float32), motion)
        depth_before = np.asarray(state["finish_depth"], np.float32)
        hidden = occlusion_mask(depth, depth_before, motion, frame.header.camera)
        share = np.float32(amount) * (known & ~hidden)[..., None]
        change += share * (before - change)
    state["finish_change"] = change.astype(np.float16)
    state["finish_depth"] = depth
    state["finish_clock"] = clock_of(frame)
    return _levels(render + change)


def _continues(frame: "SessionFrame", state: "State", shape: tuple[int, ...]) -> bool:
    """Whether the state is that of the frame just before, of the same size, without a cut."""
    if "finish_clock" not in state or not follows(frame, state["finish_clock"]):
        return False
    return state["finish_change"].shape == shape and frame.array("depth").shape == shape[:2]


def kept_share(frame: "SessionFrame", keep: tuple[tuple[str, float], ...]) -> F32:
    """(H, W) how much of the render stays, with soft edges."""
    height, width = frame.array("color").shape[:2]
    share = np.zeros((height, width), np.float32)
    for name, amount in keep:
        if name.startswith("#"):
            inside = frame.array("instance") == int(name[1:])
        else:
            inside = frame.array("semantic") == SEMANTIC_CLASSES.index(name)
        mask = cv2.resize(inside.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
        share = np.maximum(share, np.float32(amount) * mask)
    sigma = max(0.5, _FEATHER_PX * height / 720)
    return np.asarray(cv2.GaussianBlur(share, (0, 0), sigma), np.float32)


def blended(picture: U8, render: U8, share: F32) -> U8:
    """The picture with `share` (H, W) of the render."""
    mixed = picture.astype(np.float32)
    mixed += share[..., None] * (render - mixed)
    return _levels(mixed)


def with_hud(picture: U8, render: U8, presented: U8) -> U8:
    """The picture under the HUD by which `presented` differs from `render`.

    Opaque parts are taken as they are; where the HUD only tints the render a little, the picture
    is tinted alike.
    """
    shown = presented.astype(np.float32)
    difference = np.abs(shown - render).max(-1, keepdims=True)
    low, high = _HUD_LEVELS
    opaque = np.clip((difference - low) / (high - low), 0, 1)
    return _levels(shown + (1 - opaque) * (picture.astype(np.float32) - render))


def _levels(picture: F32) -> U8:
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)
