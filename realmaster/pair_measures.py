"""What is measured of an enhanced clip without a truth: against its render, buffers and anchors.

Pure functions of a clip's frames and pictures; knows no limits, files or models. Every figure that
a clip's buffers do not allow is left out. Pictures are sRGB (H, W, 3) u8 of color's size.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from capture_bridge.continuity import clock_of, follows
from realmaster import metrics
from realmaster.color import srgb_u8_to_lab
from realmaster.geometry import edges_from_buffers, inverse_depth, occlusion_mask, warp_by_motion

if TYPE_CHECKING:
    from capture_bridge.session import SessionFrame

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]
Mask = NDArray[np.bool_]

#: `unexplained` looks at pictures of this many rows, in squares of so many pixels, so far apart.
_ROWS, _SQUARE, _STRIDE = 90, 12, 4
#: A render that changes by less than this (sRGB levels) need not move its picture.
_STILL_LEVELS = 0.5
#: A picture that changes by less than this share of its render's change stands still.
_FROZEN_SHARE = 0.1


@dataclass(frozen=True, eq=False)
class Shot:
    """A frame with its picture, and what several measures need of them, computed once."""

    frame: "SessionFrame"
    picture: U8

    @cached_property
    def render(self) -> U8:
        """(H, W, 3)."""
        return np.ascontiguousarray(self.frame.array("color")[..., :3].astype(np.uint8, copy=False))

    @cached_property
    def lab(self) -> F32:
        """Of the picture."""
        return srgb_u8_to_lab(self.picture)

    @cached_property
    def render_lab(self) -> F32:
        """Of the render."""
        return srgb_u8_to_lab(self.render)

    @cached_property
    def edges(self) -> Mask:
        """(H, W) where the engine's geometry ends; without depth, the render's Canny edges."""
        if not self.has("depth"):
            luma = cv2.cvtColor(self.render, cv2.COLOR_RGB2GRAY)
            return np.asarray(cv2.Canny(luma, 100, 200) > 0, np.bool_)
        return edges_from_buffers(
            self.frame.array("depth").astype(np.float32, copy=False),
            self.frame.array("normal").astype(np.float32) if self.has("normal") else None,
            self.frame.array("instance").astype(np.uint32) if self.has("instance") else None,
        )

    def has(self, name: str) -> bool:
        """Whether the frame has that buffer at the picture's size."""
        return self.frame.has(name) and self.frame.array(name).shape[:2] == self.picture.shape[:2]


def measured(
    frames: "Sequence[SessionFrame]", pictures: Sequence[U8], anchors: Mapping[int, U8]
) -> dict[str, float]:
    """The clip's figures by name; gates.py says what each means. NaN ones are left out."""
    sums: dict[str, list[float]] = {}
    before: Shot | None = None
    for index, (frame, picture) in enumerate(zip(frames, pictures, strict=True)):
        shot = Shot(frame, picture)
        found = of_frame(shot)
        if index in anchors:
            found |= of_anchor(shot, anchors[index])
        if before is not None and follows(frame, clock_of(before.frame)):
            found |= of_step(shot, before)
        for name, value in found.items():
            sums.setdefault(name, []).append(value)
        before = shot
    return _summed(sums)


def of_frame(shot: Shot) -> dict[str, float]:
    """structure, structure_of_render: metrics.edge_agreement. unexplained: see `unexplained`."""
    return {
        "structure": metrics.edge_agreement(shot.lab, shot.edges),
        "structure_of_render": metrics.edge_agreement(shot.render_lab, shot.edges),
        "unexplained": unexplained(shot),
    }


def of_anchor(shot: Shot, anchor: U8) -> dict[str, float]:
    """anchor_distance: mean Lab distance of picture and anchor. anchor_structure, as structure."""
    lab = srgb_u8_to_lab(anchor)
    own = metrics.edge_agreement(shot.render_lab, shot.edges)
    return {
        "anchor_distance": float(metrics.lab_distance_map(shot.lab, lab).mean()),
        "anchor_structure": metrics.edge_agreement(lab, shot.edges) / own,
    }


def of_step(shot: Shot, before: Shot) -> dict[str, float]:
    """Of a frame and the one before it.

    change, change_of_render: mean absolute difference in place, levels. With motion also warp_error
    and detail of both, and color_jump: by how much the mean color of what both frames show changes,
    less what the render's does (Lab units, the length of the difference).
    """
    found = {
        "change": float(cv2.absdiff(shot.picture, before.picture).mean()),
        "change_of_render": float(cv2.absdiff(shot.render, before.render).mean()),
    }
    if not shot.has("motion"):
        return found
    motion = shot.frame.array("motion").astype(np.float32)
    hidden = np.zeros(motion.shape[:2], np.bool_)
    if shot.has("depth") and before.has("depth"):
        depth, depth_prev = (one.frame.array("depth").astype(np.float32) for one in (shot, before))
        hidden = occlusion_mask(depth, depth_prev, motion, shot.frame.header.camera)
    found |= {
        "warp_error": metrics.warp_error(shot.picture, before.picture, motion, hidden),
        "warp_error_of_render": metrics.warp_error(shot.render, before.render, motion, hidden),
        "detail": metrics.detail(shot.picture),
        "detail_of_render": metrics.detail(shot.render),
    }
    both = np.dstack([before.lab, before.render_lab])
    moved, valid = warp_by_motion(both, motion)
    seen = valid & ~hidden
    if seen.any():
        shift = (np.dstack([shot.lab, shot.render_lab]) - moved)[seen].mean(0)
        found["color_jump"] = float(np.linalg.norm(shift[:3] - shift[3:]))
    return found


def unexplained(shot: Shot) -> float:
    """How much of the worst place the engine's buffers cannot account for, in Lab units.

    In every small square, the picture's Lab is predicted by the linear map of the render's Lab, the
    inverse depth and the normal that fits it best there (the model of He, Sun and Tang 2010,
    "Guided image filtering", with more guides). What is left is small for any change of light,
    color and material, and large where the picture shows what is not there. The largest root mean
    square over a square.
    """
    height, width = shot.picture.shape[:2]
    size = (max(_SQUARE, round(width * _ROWS / height)), _ROWS)
    guides: list[F32] = [shot.render_lab / np.float32(50)]
    if shot.has("depth"):
        inverse = inverse_depth(shot.frame.array("depth").astype(np.float32, copy=False))
        guides.append(10 * np.nan_to_num(inverse)[..., None])
    if shot.has("normal"):
        guides.append(shot.frame.array("normal").astype(np.float32))
    small = [cv2.resize(g, size, interpolation=cv2.INTER_AREA) for g in guides]
    known = _squares(np.dstack(small))
    shown = _squares(np.asarray(cv2.resize(shot.lab, size, interpolation=cv2.INTER_AREA)))
    across = known.swapaxes(-1, -2)
    gram = across @ known + np.float32(1e-3 * _SQUARE**2) * np.eye(known.shape[-1], dtype="f4")
    left = shown - known @ np.linalg.solve(gram, across @ shown)
    return float(np.sqrt((left**2).sum(-1).mean(-1)).max())


def _squares(image: NDArray[Any]) -> F32:
    """Squares of the image (H, W, C), each less its mean: (N, pixels, C) float32."""
    window = (_SQUARE, _SQUARE)
    found = np.lib.stride_tricks.sliding_window_view(image, window, (0, 1))[::_STRIDE, ::_STRIDE]
    pixels = found.reshape(-1, image.shape[2], _SQUARE**2).swapaxes(-1, -2)
    return np.asarray(pixels - pixels.mean(-2, keepdims=True), np.float32)


def _summed(sums: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """The clip's figures of its frames' figures."""
    mean = {name: float(np.nanmean(values)) for name, values in sums.items() if _known(values)}
    figures = {}
    if "structure" in mean:
        figures["structure"] = mean["structure"] / mean["structure_of_render"]
    if "unexplained" in mean:
        figures["unexplained"] = mean["unexplained"]
    if "anchor_distance" in mean:
        figures["first_anchor"] = sums["anchor_distance"][0]
        figures["last_anchor"] = sums["anchor_distance"][-1]
        figures["worst_anchor"] = max(sums["anchor_distance"])
    if "anchor_structure" in mean:
        figures["anchor_structure"] = float(np.nanmin(sums["anchor_structure"]))
    if "change" in mean:
        figures["frozen"] = _frozen(sums["change"], sums["change_of_render"])
    if "warp_error" in mean:
        own = mean["warp_error"] / max(mean["detail"], 1e-6)
        of_render = mean["warp_error_of_render"] / max(mean["detail_of_render"], 1e-6)
        figures["flicker"] = own / max(of_render, 1e-6)
    if "color_jump" in mean:
        figures["color_jump"] = float(np.nanmax(sums["color_jump"]))
    return figures


def _frozen(change: Sequence[float], change_of_render: Sequence[float]) -> float:
    """The share of moving frames whose picture stands still."""
    own, of_render = np.array(change), np.array(change_of_render)
    moving = of_render >= _STILL_LEVELS
    if not moving.any():
        return 0.0
    return float((own[moving] < _FROZEN_SHARE * of_render[moving]).mean())


def _known(values: Sequence[float]) -> bool:
    return bool(np.isfinite(values).any())
