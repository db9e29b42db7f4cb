"""The street game's display, drawn over a finished frame: speed, a small map, the seed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine_plugins.street.font import draw_word
from engine_plugins.street.model import F64
from engine_plugins.street.scene import Street

_INK = np.array([240, 240, 232], dtype=np.float32)


def draw_hud(
    color: NDArray[np.uint8], street: Street, t_s: float, world_from_camera: F64, speed: float
) -> NDArray[np.uint8]:
    """A copy of the (H, W, 4) frame with the display on it; frames under 160x90 stay bare.

    speed: of the camera, in metres per second.
    """
    image = color.copy()
    height, width = image.shape[:2]
    if width < 160 or height < 90:
        return image
    scale = max(1, height // 180)
    margin = 5 * scale
    _label(image, f"{speed * 3.6:.0f} KM/H", margin, height - margin - 13 * scale, scale)
    _label(image, f"STREET {street.seed}", margin, margin, scale)
    _map(image, street, t_s, world_from_camera[:3, 3], margin, scale)
    return image


def _label(image: NDArray[np.uint8], text: str, x: int, y: int, scale: int) -> None:
    width, height = (7 * len(text) + 6) * scale, 13 * scale
    patch = image[y : y + height, x : x + width, :3]
    shaded = patch * np.float32(0.5)
    ink = draw_word(text, *patch.shape[:2], scale=scale)
    shaded[ink] = _INK
    patch[:] = shaded.astype(np.uint8)


def _map(
    image: NDArray[np.uint8], street: Street, t_s: float, eye: F64, margin: int, scale: int
) -> None:
    """A north-up plan of 60 x 30 m around the camera with its moving parts as dots."""
    w, h = 60 * scale, 30 * scale
    y0, x0 = image.shape[0] - margin - h, image.shape[1] - margin - w
    patch = image[y0 : y0 + h, x0 : x0 + w, :3]
    patch[:] = (patch * np.float32(0.45)).astype(np.uint8)
    rows = np.arange(h)
    world_y = eye[1] - (rows + 0.5 - h / 2) / scale
    patch[np.abs(world_y) < 5.0] = (patch[np.abs(world_y) < 5.0] * 0.5 + 60).astype(np.uint8)

    def dot(position: NDArray[np.float64], ink: tuple[int, int, int]) -> None:
        c = int((position[0] - eye[0]) * scale + w / 2)
        r = int((eye[1] - position[1]) * scale + h / 2)
        if scale <= c < w - scale and scale <= r < h - scale:
            patch[r - scale : r + scale + 1, c - scale : c + scale + 1] = ink

    for mover in range(street.num_movers):
        dot(street.mover_pose(mover, t_s)[:3, 3], (216, 176, 72))
    dot(eye, (240, 240, 240))
