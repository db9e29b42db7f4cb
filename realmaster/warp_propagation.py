"""`warp`: the anchors themselves, moved to where their surfaces are in every frame. No weights.

Each frame samples each anchor once, bicubically, at positions that tracking.py followed through the
clip, so that nothing blurs with distance. Where that stretches an anchor, the render's own detail,
which the stretched anchor lacks, comes on top. Several anchors are blended by confidence; what none
of them shows is a hole, filled with the fast tier's picture (or the render) moved to the colors
around it. This file knows arrays and pictures; the choices of figures are ours.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from realmaster.propagation import Propagated, PropagationOptions, check_clip
from realmaster.tracking import Track, smallest_scale, track, view_of

if TYPE_CHECKING:
    from capture_bridge.session import SessionFrame
    from realmaster.enhancer import Model

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]

#: An anchor counts fully this far, in pixels, from where it ends, and less up to there: there its
#: pixels hold some of the surface behind. At 4, 0.1 dB over 1.5 on the street's validation seeds.
_FEATHER_PX = 4.0
#: Below this confidence the filling takes over, by degrees.
_SURE = 0.5
#: Anchors are smoothed before they shrink, at most by this many halvings.
_MAX_HALVINGS = 2


def make_warp(options: PropagationOptions) -> "WarpPropagator":
    """See propagation.load_propagator."""
    if options.fill == "render":
        return WarpPropagator(None)
    from realmaster.fast import FastModel

    return WarpPropagator(FastModel())


class WarpPropagator:
    """propagation.Propagator without a model. filler: what fills holes; None is the render.

    The filler is used where the frames have what it needs.
    """

    name = "warp"
    requires = frozenset({"color", "depth", "motion"})

    def __init__(self, filler: "Model | None" = None) -> None:
        self._filler = filler

    def propagate(self, frames: "Sequence[SessionFrame]", anchors: Mapping[int, U8]) -> Propagated:
        """See propagation.Propagator; figures: `holes`, the share of pixels that no anchor shows.

        RealMasterError where the buffers' sizes differ from color's.
        """
        size = check_clip(frames, anchors, self.requires)
        views = [view_of(frame) for frame in frames]
        renders = np.stack([_render_of(frame) for frame in frames])
        fillings = self._fillings(frames, renders)
        pictures = np.empty((len(frames), *size, 3), np.uint8)
        confidence = np.ones((len(frames), *size), np.float32)
        for at in tqdm(range(len(frames)), "warp", unit="frame", leave=False, disable=None):
            if at in anchors:
                pictures[at] = anchors[at]
                continue
            seen = [
                _carried(anchors[a], renders[a], renders[at], track(views, at, a), abs(at - a))
                for a in sorted(anchors)
            ]
            picture, confidence[at] = _blended(seen)
            pictures[at] = _filled(picture, confidence[at], fillings[at])
        return Propagated(pictures, confidence, {"holes": float((confidence == 0).mean())})

    def _fillings(self, frames: "Sequence[SessionFrame]", renders: U8) -> U8:
        filler = self._filler
        if filler is None or not all(_suits(frame, filler) for frame in frames):
            return renders
        return np.stack(list(filler.enhance(frames, {})))


@dataclass(frozen=True, slots=True, eq=False)
class _Carried:
    """An anchor in another frame. picture: (H, W, 3) float32 levels. confidence, weight: (H, W)."""

    picture: F32
    confidence: F32
    weight: F32


def _carried(anchor: U8, anchor_render: U8, render: U8, found: Track, distance: int) -> _Carried:
    """The anchor where the track leads, and how surely it shows what the frame shows.

    Sharpness s = min(1, anchor pixels per pixel along the direction of the worst stretch); of the
    render's change against the moved render, 1 - s is added; confidence falls with s².
    """
    scale = np.clip(smallest_scale(found), 0.05, 2**_MAX_HALVINGS)
    sharpness = np.minimum(scale, 1)
    moved = _sampled(anchor, found.positions, scale)
    moved_render = _sampled(anchor_render, found.positions, scale)
    picture = moved + (1 - sharpness)[..., None] * (render - moved_render)
    inside = cv2.distanceTransform(found.seen.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_3)
    confidence = np.clip(inside / _FEATHER_PX, 0, 1) * sharpness**2
    return _Carried(
        picture.astype(np.float32),
        confidence.astype(np.float32),
        (confidence / distance).astype(np.float32),
    )


def _sampled(picture: U8, positions: F32, scale: F32) -> F32:
    """The picture (H, W, 3) at positions, bicubic; where it shrinks, from smaller copies of it."""
    level = np.log2(np.maximum(scale, 1))
    made = _remapped(picture.astype(np.float32), positions)
    smaller = picture.astype(np.float32)
    for halving in range(1, _MAX_HALVINGS + 1):
        share = np.clip(level - (halving - 1), 0, 1)[..., None]
        if not share.any():
            break
        smaller = np.asarray(cv2.pyrDown(smaller), np.float32)
        factor = np.float32(0.5**halving)
        made += share * (_remapped(smaller, (positions + 0.5) * factor - 0.5) - made)
    return made


def _remapped(picture: F32, positions: F32) -> F32:
    x, y = np.ascontiguousarray(positions[..., 0]), np.ascontiguousarray(positions[..., 1])
    made = cv2.remap(picture, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(made, np.float32)


def _blended(seen: Sequence[_Carried]) -> tuple[F32, F32]:
    """The pictures' mean by weight (two anchors: a cross-fade), and the best one's confidence."""
    weights = np.stack([one.weight for one in seen])
    total = np.maximum(weights.sum(0), 1e-12)
    picture = sum(w[..., None] * one.picture for w, one in zip(weights, seen, strict=True))
    confidence = np.max([one.confidence for one in seen], axis=0)
    return np.asarray(picture / total[..., None], np.float32), confidence


def _filled(picture: F32, confidence: F32, filling: U8) -> U8:
    """The picture, and where it is not sure the filling with the change of what lies around it."""
    sure = np.clip(confidence / _SURE, 0, 1)
    base = filling.astype(np.float32)
    levels = base + _spread(picture - base, sure)
    return np.asarray(np.clip(np.rint(levels), 0, 255), np.uint8)


def _spread(values: F32, known: F32) -> F32:
    """Values (H, W, C) kept as far as they are `known` (H, W) in [0, 1], else from around.

    Pull-push: unknown pixels take what an image of half the size has there (Gortler, Grzeszczuk,
    Szeliski and Cohen 1996, "The Lumigraph", section 3.4).
    """
    height, width = known.shape
    share = known[..., None]
    if min(height, width) <= 2:
        everywhere = (values * share).sum((0, 1)) / max(float(known.sum()), 1e-6)
        return np.asarray(values * share + (1 - share) * everywhere, np.float32)
    half = ((width + 1) // 2, (height + 1) // 2)
    weight = cv2.resize(known, half, interpolation=cv2.INTER_AREA)
    mean = cv2.resize(values * share, half, interpolation=cv2.INTER_AREA)
    mean = mean / np.maximum(weight, 1e-6)[..., None]
    coarse = _spread(np.asarray(mean, np.float32), np.minimum(1, 2 * weight).astype(np.float32))
    around = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(values * share + around * (1 - share), np.float32)


def _render_of(frame: "SessionFrame") -> U8:
    return np.asarray(frame.array("color")[..., :3], np.uint8)


def _suits(frame: "SessionFrame", model: "Model") -> bool:
    return frame.header.camera is not None and all(frame.has(name) for name in model.requires)
