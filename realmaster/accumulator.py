"""Sums of the measures over frames, in constant memory, and the figures that they end in.

One Accumulator per source of pictures (output, render, a baseline, the truth). Knows metrics and
color, no file.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from realmaster import metrics
from realmaster.color import delta_e2000, srgb_u8_to_lab

#: A measure that could not be taken (no truth, no motion, …) is None: null in JSON.
Figure = float | dict[str, float] | None


@dataclass(frozen=True, eq=False)
class Picture:
    """An sRGB picture (H, W, 3) u8 with its Lab picture, computed once at first need."""

    rgb: NDArray[np.uint8]

    @cached_property
    def lab(self) -> NDArray[np.float32]:
        """CIELAB (H, W, 3) float32."""
        return srgb_u8_to_lab(self.rgb)


class _Mean:
    """A running mean of the finite values it is given."""

    def __init__(self) -> None:
        self._sum, self._count = 0.0, 0

    def add(self, value: float) -> None:
        if math.isfinite(value):
            self._sum += value
            self._count += 1

    @property
    def value(self) -> float:
        return self._sum / self._count if self._count else math.nan


class Accumulator:
    """The measures of one source of pictures, summed over the frames given to it.

    Every figure is the mean over frames of the per-frame figure, except: PSNR is that of the mean
    squared error over all frames, and closures are ratios of sums over all pixels.
    """

    def __init__(self) -> None:
        self._lab_distance = _Mean()
        self._class_distance: NDArray[np.float64] = np.zeros(256)
        self._ms_ssim = _Mean()
        self._ssim = _Mean()
        self._squared_error = _Mean()
        self._delta_e = _Mean()
        self._edge = _Mean()
        self._warp = _Mean()
        self._detail = _Mean()

    def add_fidelity(
        self, picture: Picture, truth: Picture, semantic: NDArray[np.uint8] | None = None
    ) -> None:
        """Compare a picture with the truth of the same frame; semantic: (H, W) class ids."""
        distance = metrics.lab_distance_map(picture.lab, truth.lab)
        self._lab_distance.add(float(distance.mean()))
        if semantic is not None:
            self._class_distance += np.bincount(semantic.ravel(), distance.ravel(), minlength=256)
        self._ms_ssim.add(metrics.ms_ssim(picture.rgb, truth.rgb))
        self._ssim.add(metrics.ssim(picture.rgb, truth.rgb))
        self._squared_error.add(metrics.mean_squared_error(picture.rgb, truth.rgb))
        self._delta_e.add(float(delta_e2000(picture.lab, truth.lab).mean()))

    def add_structure(self, picture: Picture, edges: NDArray[np.bool_]) -> None:
        """Compare a picture's edges with the engine's geometric ones."""
        self._edge.add(metrics.edge_agreement(picture.lab, edges))

    def add_temporal(
        self,
        picture: Picture,
        picture_prev: Picture,
        motion: NDArray[np.floating[Any]],
        occluded: NDArray[np.bool_],
    ) -> None:
        """Compare a picture with the one before it along the engine's motion."""
        self._warp.add(metrics.warp_error(picture.rgb, picture_prev.rgb, motion, occluded))
        self._detail.add(metrics.detail(picture.rgb))

    def figures(
        self, render: "Accumulator", lut: "Accumulator", class_names: Sequence[str]
    ) -> dict[str, Figure]:
        """The figures by their names in metrics.json, against the render and the LUT baseline.

        gap_closure_by_class has the classes that the frames showed, "none" (id 0) left out.
        """
        own, base = self._lab_distance.value, render._lab_distance.value
        own_loss, base_loss = 1 - self._ms_ssim.value, 1 - render._ms_ssim.value
        return {
            "gap_closure_lab": _number(metrics.gap_closure(own, base)),
            "gap_closure_over_lut": _number(metrics.gap_closure(own, lut._lab_distance.value)),
            "gap_closure_msssim": _number(metrics.gap_closure(own_loss, base_loss)),
            "gap_closure_by_class": self._closure_by_class(render, class_names),
            "gap_closure_over_lut_by_class": self._closure_by_class(lut, class_names),
            "lab_distance": _number(own),
            "delta_e": _number(self._delta_e.value),
            "psnr_db": self._psnr_db(),
            "ssim": _number(self._ssim.value),
            "edge_agreement": _number(self._edge.value),
            "warp_error": _number(self._warp.value),
            "flicker_ratio": _number(_ratio(self._warp.value, render._warp.value)),
            "flicker_ratio_per_detail": _number(
                _ratio(
                    _ratio(self._warp.value, self._detail.value),
                    _ratio(render._warp.value, render._detail.value),
                )
            ),
        }

    def _psnr_db(self) -> float | None:
        error = self._squared_error.value
        return None if math.isnan(error) else _number(metrics.psnr_db(error))

    def _closure_by_class(
        self, reference: "Accumulator", class_names: Sequence[str]
    ) -> dict[str, float] | None:
        if not reference._class_distance.any():
            return None
        return {
            name: round(metrics.gap_closure(float(own), float(base)), 5)
            for name, own, base in zip(
                class_names, self._class_distance, reference._class_distance, strict=False
            )
            if name != "none" and base > 0
        }


def _ratio(value: float, of: float) -> float:
    return value / of if of > 0 else math.nan


def _number(value: float) -> float | None:
    return round(value, 5) if math.isfinite(value) else None
