"""The test games' pixels worked out by ray casting: depth, normals and objects of any frame.

Knows only the scene's description (apps/describe.cpp) and geometry; no graphics API.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]


@dataclass(frozen=True)
class View:
    """One frame's truth, (H, W): metres (+inf sky), normals (H, W, 3), object (-1 sky).

    inner: pixels whose eight neighbours show the same face, where rasterization cannot differ.
    """

    depth: F64
    normal: F64
    box: NDArray[np.int64]
    inner: NDArray[np.bool_]


class Scene:
    """The boxes, poses and projection of a test game."""

    def __init__(self, path: Path) -> None:
        told = json.loads(path.read_text())
        self.near_m, self.far_m, self.fov_y_deg = told["near"], told["far"], told["fov_y"]
        self.low = np.array([box["low"] for box in told["boxes"]])
        self.high = np.array([box["high"] for box in told["boxes"]])
        self.colors = np.array([box["color"] for box in told["boxes"]], np.uint8)
        self.poses = np.array(told["poses"]).reshape(-1, 4, 4)

    def view(self, frame: int, width: int, height: int) -> View:
        """What the camera sees in frame number `frame` (slab method, Kay and Kajiya 1986)."""
        pose = self.poses[frame]
        focal = 0.5 * height / np.tan(np.radians(self.fov_y_deg) / 2)
        x = (np.arange(width) + 0.5 - 0.5 * width) / focal
        y = (np.arange(height) + 0.5 - 0.5 * height) / focal
        rays = np.stack(np.broadcast_arrays(x[None, :], y[:, None], 1.0), -1)  # z = 1: planar depth
        directions = rays @ pose[:3, :3].T
        origin = pose[:3, 3]
        depth = np.full((height, width), np.inf)
        box = np.full((height, width), -1)
        axis = np.zeros((height, width), np.int64)
        with np.errstate(divide="ignore", invalid="ignore"):
            for number, (low, high) in enumerate(zip(self.low, self.high, strict=True)):
                one, two = (low - origin) / directions, (high - origin) / directions
                entries = np.minimum(one, two)
                entry, leave = entries.max(-1), np.maximum(one, two).min(-1)
                hit = (entry <= leave) & (entry > self.near_m) & (entry < depth)
                depth[hit], box[hit], axis[hit] = entry[hit], number, entries.argmax(-1)[hit]
        world = np.zeros((height, width, 3))
        np.put_along_axis(world, axis[..., None], 1.0, -1)
        world *= -np.sign(directions)
        normal = world @ pose[:3, :3]
        normal[box < 0] = 0
        face = box * 3 + axis
        inner = np.zeros((height, width), bool)
        middle = face[1:-1, 1:-1]
        same = np.ones_like(middle, bool)
        for dy in (-1, 0, 1):
            for dx in (-1, 0, 1):
                same &= face[1 + dy : height - 1 + dy, 1 + dx : width - 1 + dx] == middle
        inner[1:-1, 1:-1] = same
        return View(depth, normal, box, inner)

    def color(self, view: View) -> NDArray[np.uint8]:
        """The picture before the HUD, (H, W, 3), without the stamp."""
        sky = np.array([102, 153, 204], np.uint8)
        return np.where(view.box[..., None] >= 0, self.colors[view.box], sky)


STAMP = 8  # pixels, at the bottom left


def frame_of(color: NDArray[np.uint8]) -> int:
    """The number that the game painted into the picture."""
    red, green, blue = color[-STAMP // 2, STAMP // 2, :3].tolist()
    assert blue == 77, "the stamp is missing"
    return int(red) + 256 * int(green)
