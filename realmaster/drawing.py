"""Words, frames and heat maps on pictures: what the contact sheet and the before/after video draw.

Pictures are sRGB (H, W, 3) u8, R G B. Knows OpenCV and numpy, no file.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]
Color = tuple[int, int, int]

INK: Color = (236, 238, 242)
DIM: Color = (150, 156, 168)
PAPER: Color = (17, 19, 24)
ACCENT: Color = (255, 179, 71)
_FONT = cv2.FONT_HERSHEY_SIMPLEX


def write_text(
    picture: U8, text: str, at: tuple[int, int], *, height_px: float, color: Color = INK
) -> int:
    """Write one line of ASCII in place, its baseline starting at (x, y); returns its width."""
    scale = height_px / 22  # the font's capitals are 22 px high at scale 1
    thickness = max(1, round(height_px / 11))
    cv2.putText(picture, text, at, _FONT, scale, color, thickness, cv2.LINE_AA)
    return text_width(text, height_px)


def text_width(text: str, height_px: float) -> int:
    """Width in pixels of what write_text writes."""
    (width, _), _ = cv2.getTextSize(text, _FONT, height_px / 22, max(1, round(height_px / 11)))
    return int(width)


def write_label(picture: U8, text: str, *, right: bool = False, height_px: float = 12) -> None:
    """Write a label in place into an upper corner, on a darkened box."""
    pad = round(height_px * 0.8)
    width, height = text_width(text, height_px) + 2 * pad, round(height_px) + 2 * pad
    left = picture.shape[1] - width - pad if right else pad
    box = picture[pad : pad + height, max(0, left) : left + width]
    box[:] = (box * np.float32(0.35)).astype(np.uint8)
    write_text(picture, text, (left + pad, 2 * pad + round(height_px)), height_px=height_px)


def heat_map(values: F32, top: float) -> U8:
    """Values (H, W) from 0 (black) to `top` and above (pale yellow) as a picture (H, W, 3)."""
    levels = np.clip(values * np.float32(255 / top), 0, 255).astype(np.uint8)
    bgr = cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO)
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)


def fit_width(picture: U8, width: int) -> U8:
    """The picture scaled to a width, its shape kept."""
    height = max(1, round(picture.shape[0] * width / picture.shape[1]))
    shrinks = width < picture.shape[1]
    mode = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(picture, (width, height), interpolation=mode), np.uint8)
