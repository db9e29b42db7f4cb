"""The true depth, normals and pose of the OpenGL test programs: what opengl_apps/scene.h draws.

Everything follows from the frame's number, which stands in the picture itself.
"""

import math

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]

BOXES = (np.array([1.0, 1.0, -5.0]), np.array([-2.0, 1.0, -4.0]))
BOX_HALF = 1.0


def frame_number(color: NDArray[np.uint8], *, scale: float = 1.0) -> int:
    """The number in the picture's lower left corner, 8 * scale pixels wide."""
    y, x = color.shape[0] - 1 - round(3 * scale), round(3 * scale)
    return int(color[y, x, 0]) + 256 * int(color[y, x, 1])


def cv_from_world(frame: int) -> F64:
    """(4, 4): OpenCV camera axes from the scene's world (y up)."""
    t = np.float64(frame)
    yaw, pitch = 0.3 * math.sin(0.05 * t), -0.2
    place = np.array([0.02 * t - 4.0 * math.floor(np.float32(0.005) * np.float32(t)), 1.6, 2.0])
    cy, sy, cp, sp = math.cos(yaw), math.sin(yaw), math.cos(pitch), math.sin(pitch)
    right = np.array([cy, 0.0, -sy])
    back = np.array([sy * cp, -sp, cy * cp])
    rotation = np.stack([right, -np.cross(back, right), -back])
    out = np.eye(4)
    out[:3, :3] = rotation
    out[:3, 3] = -rotation @ place
    return out


def depth_and_normal(frame: int, K: F64, size: tuple[int, int]) -> tuple[F64, F64]:
    """Planar depth (h, w), +inf where nothing is, and camera-space normals (h, w, 3)."""
    width, height = size
    u, v = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    rays = np.stack([(u - K[0, 2]) / K[0, 0], (v - K[1, 2]) / K[1, 1], np.ones_like(u)], -1)
    pose = cv_from_world(frame)
    rotation = pose[:3, :3]
    origin = -rotation.T @ pose[:3, 3]
    along = rays @ rotation
    with np.errstate(divide="ignore", invalid="ignore"):
        depth = -origin[1] / along[..., 1]
        hit = origin + along * depth[..., None]
    inside = (np.abs(hit[..., 0]) < 10) & (hit[..., 2] < 10) & (hit[..., 2] > -30)
    depth = np.where((depth > 0) & inside, depth, np.inf)
    world_normal = np.broadcast_to([0.0, 1.0, 0.0], rays.shape).copy()
    for center in BOXES:
        with np.errstate(divide="ignore", invalid="ignore"):
            ends = [(center + side * BOX_HALF - origin) / along for side in (-1, 1)]
        enter = np.minimum(*ends)
        into, out_of = enter.max(-1), np.maximum(*ends).min(-1)
        on_box = (into < out_of) & (into > 0) & (into < depth)
        depth = np.where(on_box, into, depth)
        sides = -np.sign(along) * (np.arange(3) == enter.argmax(-1)[..., None])
        world_normal[on_box] = sides[on_box]
    return depth, world_normal @ rotation.T


def steps_between(frame: int, later: int) -> F64:
    """(4, 4): the earlier camera's axes from the later one's, both OpenCV's."""
    return np.asarray(cv_from_world(frame) @ np.linalg.inv(cv_from_world(later)))
