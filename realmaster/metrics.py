"""What is measured, each a pure function on arrays with its equation and source.

Pictures are sRGB (H, W, 3) u8 of one size; Lab pictures are (H, W, 3) float32 (color.py). Knows no
file and no model. How figures are summed over frames stands in accumulator.py.
"""

import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from realmaster.geometry import warp_by_motion

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Mask = NDArray[np.bool_]
Floats = NDArray[np.floating[Any]]

#: PSNR of equal pictures, which would be infinite and is not a JSON number.
MAX_PSNR_DB = 100.0
#: Wang, Simoncelli and Bovik 2003, section 3.2: weights of the five scales, finest first.
MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
#: Wang et al. 2004: window side and sigma in pixels, and the two stabilising constants.
SSIM_WINDOW, SSIM_SIGMA = 11, 1.5
SSIM_C1, SSIM_C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
#: Ring around geometric edges that edge_agreement compares them with, in pixels.
EDGE_RING_PX = (3.0, 8.0)
_EDGE_LEVELS_PER_UNIT = 16
_EDGE_LEVELS = 4096


def lab_distance_map(lab: F32, lab_truth: F32) -> F32:
    """Mean of |ΔL|, |Δa|, |Δb| per pixel: (H, W, 3) twice to (H, W). Its mean is G's d."""
    return np.asarray(cv2.transform(cv2.absdiff(lab, lab_truth), _THIRDS), np.float32)


_THIRDS = np.full((1, 3), 1 / 3, np.float32)


def gap_closure(distance: float, distance_of_reference: float) -> float:
    """G = 1 - d(output, truth) / d(reference, truth): 1 is the truth, 0 no better than reference.

    The reference is the render, or the render through the best global LUT (G over LUT). NaN where
    the reference is the truth itself.
    """
    return 1 - distance / distance_of_reference if distance_of_reference > 0 else math.nan


def psnr_db(mean_squared_error: float) -> float:
    """10 log10(255² / MSE) in dB, at most MAX_PSNR_DB."""
    if mean_squared_error <= 0:
        return MAX_PSNR_DB
    return min(MAX_PSNR_DB, 10 * math.log10(255**2 / mean_squared_error))


def mean_squared_error(image: U8, truth: U8) -> float:
    """Mean over pixels and R, G, B of the squared difference of sRGB codes."""
    return float(cv2.norm(image, truth, cv2.NORM_L2SQR)) / image.size


def ssim(image: U8, truth: U8) -> float:
    """SSIM of the luma, Gaussian window 11, sigma 1.5, whole windows only.

    Wang, Bovik, Sheikh and Simoncelli 2004, "Image quality assessment: from error visibility to
    structural similarity", equation 13. Pictures of less than 11 pixels a side raise ValueError.
    """
    similarity, _ = _ssim_and_contrast(_luma(image), _luma(truth))
    return similarity


def ms_ssim(image: U8, truth: U8) -> float:
    """Multi-scale SSIM of the luma, in [0, 1].

    Wang, Simoncelli and Bovik 2003, "Multi-scale structural similarity for image quality
    assessment", equation 7: the product over scales of contrast-structure^weight, with luminance at
    the coarsest; each scale halves the size by 2x2 means. A picture with a side under 176 pixels
    has fewer scales, their weights scaled to the sum of 1. Negative terms count as 0.
    """
    luma, luma_truth = _luma(image), _luma(truth)
    shorter = min(luma.shape)
    num_scales = min(len(MS_SSIM_WEIGHTS), int(math.log2(max(1.0, shorter / SSIM_WINDOW))) + 1)
    weights = np.array(MS_SSIM_WEIGHTS[:num_scales])
    weights /= weights.sum()
    product = 1.0
    for scale, weight in enumerate(weights):
        similarity, contrast = _ssim_and_contrast(luma, luma_truth)
        term = similarity if scale == num_scales - 1 else contrast
        product *= max(0.0, term) ** float(weight)
        luma, luma_truth = _halve(luma), _halve(luma_truth)
    return product


def edge_agreement(lab: Floats, edges: Mask) -> float:
    """How surely the picture changes where the engine's geometry ends rather than beside it.

    The probability that the picture's gradient is stronger at a geometric edge (`edges`, from
    geometry.edges_from_buffers) than at a pixel 3 to 8 pixels beside one, ties counting half: the
    area under the ROC curve (Mann-Whitney's U over the product of the two counts). No threshold,
    and no change under any increasing map of the gradient, so contrast alone wins nothing. The
    gradient is Scharr's over L, a, b, the maximum of 3x3 pixels: one pixel off is still at it.
    1: edges where geometry has them; 0.5: unrelated. NaN without edges or without pixels beside.
    """
    beside = cv2.distanceTransform((~edges).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)
    ring = (beside >= EDGE_RING_PX[0]) & (beside <= EDGE_RING_PX[1])
    if not edges.any() or not ring.any():
        return math.nan
    levels = _gradient_levels(lab)
    at_edge = np.bincount(levels[edges], minlength=_EDGE_LEVELS)
    at_ring = np.bincount(levels[ring], minlength=_EDGE_LEVELS)
    below = np.cumsum(at_ring) - at_ring
    wins = float(np.dot(at_edge, below + at_ring / 2))
    return wins / (float(at_edge.sum()) * float(at_ring.sum()))


def warp_error(image: U8, image_prev: U8, motion: Floats, occluded: Mask) -> float:
    """Mean |image - warp(image_prev)| along the engine's motion, in sRGB levels (0-255).

    Over pixels that the frame before shows too (not `occluded`, motion known and inside). NaN where
    there is none. This is the warping error of Lai et al. 2018 ("Learning Blind Video Temporal
    Consistency"), absolute instead of squared, the engine's motion instead of an estimated flow.
    The flicker ratio is this figure of the output over that of the render.
    """
    warped, valid = warp_by_motion(image_prev.astype(np.float32), motion)
    seen = (valid & ~occluded).astype(np.uint8)
    if not seen.any():
        return math.nan
    difference = cv2.absdiff(image.astype(np.float32), warped)
    return float(sum(cv2.mean(difference, mask=seen)[:3])) / 3


def detail(image: U8) -> float:
    """Mean gradient of the luma, in sRGB levels per pixel (Scharr).

    A picture moved by a fraction of a pixel changes in proportion to this, so a warp error divided
    by it no longer grows with contrast: what is left is flicker.
    """
    luma = cv2.cvtColor(image.astype(np.float32), cv2.COLOR_RGB2GRAY)
    dx = cv2.Scharr(luma, cv2.CV_32F, 1, 0, scale=_SCHARR_SCALE)
    dy = cv2.Scharr(luma, cv2.CV_32F, 0, 1, scale=_SCHARR_SCALE)
    return float(cv2.magnitude(dx, dy).mean())


_SCHARR_SCALE = 1 / 32  # its weights sum to 32 per unit slope: (3 + 10 + 3) * 2


def _gradient_levels(lab: Floats) -> NDArray[np.intp]:
    """Gradient magnitude per pixel in steps of 1/16 Lab unit per pixel, maximum of 3x3."""
    lab = np.asarray(lab, np.float32)
    dx = cv2.Scharr(lab, cv2.CV_32F, 1, 0, scale=_SCHARR_SCALE)
    dy = cv2.Scharr(lab, cv2.CV_32F, 0, 1, scale=_SCHARR_SCALE)
    squared = cv2.transform(dx * dx + dy * dy, np.ones((1, 3), np.float32))
    magnitude = cv2.dilate(np.sqrt(squared), np.ones((3, 3), np.uint8))
    levels = np.minimum(magnitude * _EDGE_LEVELS_PER_UNIT, _EDGE_LEVELS - 1)
    return levels.astype(np.intp)


def _ssim_and_contrast(a: F64, b: F64) -> tuple[float, float]:
    """Means over whole windows of SSIM and of its contrast-structure factor."""
    if min(a.shape) < SSIM_WINDOW:
        raise ValueError(f"SSIM needs at least {SSIM_WINDOW} pixels a side, not {a.shape}")
    mean_a, mean_b = _window_mean(a), _window_mean(b)
    var_a = _window_mean(a * a) - mean_a * mean_a
    var_b = _window_mean(b * b) - mean_b * mean_b
    covariance = _window_mean(a * b) - mean_a * mean_b
    contrast = (2 * covariance + SSIM_C2) / (var_a + var_b + SSIM_C2)
    luminance = (2 * mean_a * mean_b + SSIM_C1) / (mean_a * mean_a + mean_b * mean_b + SSIM_C1)
    return float((luminance * contrast).mean()), float(contrast.mean())


def _window_mean(image: F64) -> F64:
    blurred = cv2.GaussianBlur(image, (SSIM_WINDOW, SSIM_WINDOW), SSIM_SIGMA)
    border = SSIM_WINDOW // 2
    height, width = image.shape
    return np.asarray(blurred[border : height - border, border : width - border], np.float64)


def _halve(image: F64) -> F64:
    height, width = image.shape
    even = image[: height // 2 * 2, : width // 2 * 2]
    half = cv2.resize(even, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    return np.asarray(half, np.float64)


def _luma(image: U8) -> F64:
    """Rec. 601 luma of sRGB codes, 0-255; float64, since variances are differences of squares."""
    codes = image.reshape(-1, 3).astype(np.float64)
    return np.asarray(codes @ np.array([0.299, 0.587, 0.114])).reshape(image.shape[:2])
