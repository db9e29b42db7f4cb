"""Colour spaces: sRGB, linear light, CIELAB (D65), and the distance between two Lab images.

Knows numpy and OpenCV alone. Images are (..., 3), R G B. Sources: IEC 61966-2-1 (sRGB), CIE 15:2004
(Lab), Sharma, Wu and Dalal 2005, "The CIEDE2000 color-difference formula" (ΔE00).
"""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]
Floats = NDArray[np.floating[Any]]

#: CIE XYZ from linear Rec.709 / sRGB primaries, white D65 (IEC 61966-2-1).
XYZ_FROM_LINEAR: NDArray[np.float64] = np.array(
    [
        [0.412453, 0.357580, 0.180423],
        [0.212671, 0.715160, 0.072169],
        [0.019334, 0.119193, 0.950227],
    ]
)
WHITE_D65: NDArray[np.float64] = XYZ_FROM_LINEAR.sum(axis=1)
"""XYZ of (1, 1, 1): greys have a = b = 0 exactly."""

_KAPPA = 903.2962962962963  # 29³ / 3³
_EPSILON = 0.008856451679035631  # 6³ / 29³


def srgb_to_linear(srgb: Floats) -> F32:
    """Linear light in [0, 1] of sRGB values in [0, 1], float32, same shape."""
    x = np.clip(np.asarray(srgb, dtype=np.float32), 0.0, 1.0)
    return np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4).astype(np.float32)


def linear_to_srgb(linear: Floats) -> F32:
    """SRGB values in [0, 1] of linear light, clipped to [0, 1], float32, same shape."""
    x = np.clip(np.asarray(linear, dtype=np.float32), 0.0, 1.0)
    return np.where(x <= 0.0031308, x * 12.92, 1.055 * x ** (1 / 2.4) - 0.055).astype(np.float32)


#: Linear light of the 256 sRGB codes.
LINEAR_OF_CODE: F32 = srgb_to_linear(np.arange(256, dtype=np.float64) / 255)


def linear_to_lab(linear: Floats) -> F32:
    """CIELAB (D65) of linear Rec.709 colours (H, W, 3): L in [0, 100], a, b; float32."""
    scaled = (XYZ_FROM_LINEAR / WHITE_D65[:, None]).astype(np.float32)
    xyz = _transform(np.ascontiguousarray(linear, dtype=np.float32), scaled)
    root = np.cbrt(xyz)
    dark = xyz <= _EPSILON
    if dark.any():
        root[dark] = (_KAPPA * xyz[dark] + 16) / 116
    return _transform(
        root, np.array([[0, 116, 0, -16], [500, -500, 0, 0], [0, 200, -200, 0]], np.float32)
    )


def lab_to_linear(lab: Floats) -> F32:
    """Linear Rec.709 of CIELAB (H, W, 3), float32; out-of-gamut lies outside [0, 1]."""
    lab_f = np.ascontiguousarray(lab, dtype=np.float32)
    fy = (lab_f[..., 0] + 16) / 116
    root: F32 = np.stack([fy + lab_f[..., 1] / 500, fy, fy - lab_f[..., 2] / 200], axis=-1)
    xyz: F32 = root * root * root
    dark = xyz <= _EPSILON
    if dark.any():
        xyz[dark] = (116 * root[dark] - 16) / _KAPPA
    linear_from_scaled = np.linalg.inv(XYZ_FROM_LINEAR / WHITE_D65[:, None])
    return _transform(xyz, linear_from_scaled.astype(np.float32))


def srgb_u8_to_lab(rgb: U8) -> F32:
    """CIELAB (D65) of an sRGB image (H, W, 3) u8: (H, W, 3) float32, L in [0, 100]."""
    return linear_to_lab(LINEAR_OF_CODE[rgb])


def lab_to_srgb_u8(lab: Floats) -> U8:
    """The sRGB image (H, W, 3) u8 of CIELAB; what lies outside the gamut is clipped per channel."""
    return np.rint(linear_to_srgb(lab_to_linear(lab)) * 255).astype(np.uint8)


def delta_e76(lab_a: Floats, lab_b: Floats) -> F32:
    """Euclidean distance in Lab per pixel (CIE 1976): (..., 3) and (..., 3) to (...), float32."""
    difference = np.asarray(lab_a, np.float32) - np.asarray(lab_b, np.float32)
    return np.asarray(np.sqrt(np.einsum("...c,...c->...", difference, difference)), np.float32)


def delta_e2000(lab_a: Floats, lab_b: Floats) -> F32:
    """CIEDE2000 per pixel, kL = kC = kH = 1: (..., 3) and (..., 3) to (...), float32.

    The equation numbers are those of Sharma, Wu and Dalal 2005.
    """
    l1, a1, b1 = np.moveaxis(np.asarray(lab_a, np.float64), -1, 0)
    l2, a2, b2 = np.moveaxis(np.asarray(lab_b, np.float64), -1, 0)
    mean_c7 = ((np.hypot(a1, b1) + np.hypot(a2, b2)) / 2) ** 7
    g = 0.5 * (1 - np.sqrt(mean_c7 / (mean_c7 + 25.0**7)))  # (4)
    c1, c2 = np.hypot((1 + g) * a1, b1), np.hypot((1 + g) * a2, b2)  # (6)
    h1 = np.degrees(np.arctan2(b1, (1 + g) * a1)) % 360  # (7)
    h2 = np.degrees(np.arctan2(b2, (1 + g) * a2)) % 360
    chromatic = c1 * c2 != 0
    dh = np.where(chromatic, (h2 - h1 + 180) % 360 - 180, 0.0)  # (10)
    d_hue = 2 * np.sqrt(c1 * c2) * np.sin(np.radians(dh) / 2)  # (11)
    mean_l, mean_c = (l1 + l2) / 2, (c1 + c2) / 2
    wraps = np.abs(h1 - h2) > 180
    mean_h = (h1 + h2) / 2 + np.where(wraps, np.where(h1 + h2 < 360, 180.0, -180.0), 0.0)  # (14)
    mean_h = np.where(chromatic, mean_h, h1 + h2)
    t = (
        1
        - 0.17 * np.cos(np.radians(mean_h - 30))
        + 0.24 * np.cos(np.radians(2 * mean_h))
        + 0.32 * np.cos(np.radians(3 * mean_h + 6))
        - 0.20 * np.cos(np.radians(4 * mean_h - 63))
    )  # (15)
    c7 = mean_c**7
    rotation = -2 * np.sqrt(c7 / (c7 + 25.0**7))  # (17), sign of (21) included
    rotation *= np.sin(np.radians(60 * np.exp(-(((mean_h - 275) / 25) ** 2))))  # (16), (21)
    l50 = (mean_l - 50) ** 2
    term_l = (l2 - l1) / (1 + 0.015 * l50 / np.sqrt(20 + l50))  # (18)
    term_c = (c2 - c1) / (1 + 0.045 * mean_c)  # (19)
    term_h = d_hue / (1 + 0.015 * mean_c * t)  # (20)
    squared = term_l**2 + term_c**2 + term_h**2 + rotation * term_c * term_h  # (22)
    return np.asarray(np.sqrt(np.maximum(squared, 0)), np.float32)


def _transform(image: F32, matrix: F32) -> F32:
    """Every pixel times a (3, 3) or (3, 4) matrix."""
    return np.asarray(cv2.transform(image, matrix), np.float32)
