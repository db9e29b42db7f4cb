"""Where pixels are in the world, where they were a frame ago, and where surfaces end.

Pure functions on arrays; knows numpy, OpenCV and the camera's dataclass, no file and no model.
Camera axes are OpenCV's (+x right, +y down, +z forward), metres; depth is planar z (+inf sky, NaN
unknown); pixel centres lie at +0.5; p_prev = p_cur + motion in pixels (NaN unknown).
"""

from typing import Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from capture_bridge.messages import Camera

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Mask = NDArray[np.bool_]
Floats = NDArray[np.floating[Any]]
Pixels = TypeVar("Pixels", bound=np.generic)

#: Two inverse depths agree within this share of the larger one. Our choice: it passes float16
#: motion and bilinear sampling on slanted ground, and fails on any two separate objects.
DEPTH_TOLERANCE = 0.05
#: The same for pixels that move by themselves: their depth a frame ago is known only roughly.
MOVER_DEPTH_TOLERANCE = 0.15
#: Inverse depths closer than this (1/m) agree: everything beyond 10 km is sky.
SKY_INVERSE_DEPTH = 1e-4


def inverse_depth(depth: Floats) -> F32:
    """1/z per pixel, float32: 0 for sky, NaN for unknown or non-positive depth.

    Linear in the image plane on a flat surface, so that it may be interpolated, which z may not.
    """
    z = np.asarray(depth, dtype=np.float32)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(z > 0, np.float32(1) / z, np.float32(np.nan))


def unproject(depth: Floats, K: F64) -> F32:
    """Camera-space points (H, W, 3) float32, metres, of planar depth (H, W); sky is not finite."""
    height, width = depth.shape
    x, y = _ray_slopes(width, height, K)
    z = np.asarray(depth, dtype=np.float32)
    with np.errstate(invalid="ignore"):
        return np.stack([x * z, y * z, z], axis=-1)


def world_points(depth: Floats, camera: Camera) -> F32:
    """World-space points (H, W, 3) float32, metres, of planar depth (H, W); sky is not finite."""
    with np.errstate(invalid="ignore"):
        points = unproject(depth, camera.K).astype(np.float64)
        pose = camera.world_from_camera
        return (points @ pose[:3, :3].T + pose[:3, 3]).astype(np.float32)


def reproject(depth: Floats, camera: Camera) -> tuple[F32, F32]:
    """Motion (H, W, 2) and inverse depth a frame ago (H, W) of a world that stands still.

    Sky moves with the camera's rotation only. NaN where depth is unknown or the point lay behind
    the camera of the frame before.
    """
    height, width = depth.shape
    x, y = _ray_slopes(width, height, camera.K)
    w = inverse_depth(depth)
    prev_from_cur = np.linalg.solve(camera.world_from_camera_prev, camera.world_from_camera)
    (r0, r1, r2), t = prev_from_cur[:3, :3].astype(np.float32), prev_from_cur[:3, 3]
    ahead = r2[0] * x + r2[1] * y + r2[2] + np.float32(t[2]) * w  # z_prev / z
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = np.where(ahead > 0, np.float32(1) / ahead, np.float32(np.nan))
    fx, skew, fy = (np.float32(camera.K[i, j]) for i, j in ((0, 0), (0, 1), (1, 1)))
    x_prev = (r0[0] * x + r0[1] * y + r0[2] + np.float32(t[0]) * w) * scale
    y_prev = (r1[0] * x + r1[1] * y + r1[2] + np.float32(t[1]) * w) * scale
    motion = np.empty((height, width, 2), np.float32)
    motion[..., 0] = fx * (x_prev - x) + skew * (y_prev - y)
    motion[..., 1] = fy * (y_prev - y)
    return motion, w * scale


def motion_from_depth(depth: Floats, camera: Camera) -> F32:
    """Motion vectors (H, W, 2) float32 that the camera alone causes (see `reproject`)."""
    return reproject(depth, camera)[0]


def warp_by_motion(
    prev: NDArray[Pixels], motion: Floats, *, nearest: bool = False
) -> tuple[NDArray[Pixels], Mask]:
    """The frame before, moved to where its surfaces are now, and where that is known.

    prev: (H, W) or (H, W, C), u8, u16, f32 (or f64). motion: (H, W, 2) pixels, p_prev = p_cur +
    motion. Returns (warped, valid): warped of prev's shape and dtype, bilinear (or nearest); valid
    (H, W), False where motion is not finite or p_prev lies outside the image; warped is 0 there.
    """
    height, width = motion.shape[:2]
    flow = np.asarray(motion, dtype=np.float32)
    map_x = flow[..., 0] + np.arange(width, dtype=np.float32)
    map_y = flow[..., 1] + np.arange(height, dtype=np.float32)[:, None]
    with np.errstate(invalid="ignore"):
        valid = (map_x >= -0.5) & (map_x <= width - 0.5) & (map_y >= -0.5) & (map_y <= height - 0.5)
    map_x[~valid] = 0
    map_y[~valid] = 0
    mode = cv2.INTER_NEAREST if nearest else cv2.INTER_LINEAR
    source = np.ascontiguousarray(prev)
    warped: Any = cv2.remap(source, map_x, map_y, mode, borderMode=cv2.BORDER_REPLICATE)
    warped = warped.reshape(prev.shape)
    warped[~valid] = 0
    return warped, valid


def occlusion_mask(
    depth: Floats, depth_prev: Floats, motion: Floats, camera: Camera | None = None
) -> Mask:
    """(H, W) True where the frame before does not show this pixel's surface.

    True where p_prev lies outside the image, motion or either depth is unknown, or the depth found
    at p_prev is not the one expected there. With a camera, the expectation is exact for what stands
    still; what moves by itself (motion off the camera's by more than half a pixel) is held to
    `MOVER_DEPTH_TOLERANCE`. Without, everything is.
    """
    inverse = inverse_depth(depth)
    found, valid = warp_by_motion(inverse_depth(depth_prev), motion)
    expected, tolerance = inverse, np.full(inverse.shape, MOVER_DEPTH_TOLERANCE, np.float32)
    with np.errstate(invalid="ignore"):
        if camera is not None:
            still, expected = reproject(depth, camera)
            off = np.abs(np.asarray(motion, np.float32) - still).max(axis=-1)
            tolerance[off <= 0.5] = DEPTH_TOLERANCE
        limit = tolerance * np.maximum(expected, found) + np.float32(SKY_INVERSE_DEPTH)
        same = np.abs(found - expected) <= limit
    return np.asarray(~(same & valid), np.bool_)


def edges_from_buffers(
    depth: Floats,
    normal: Floats | None = None,
    instance: NDArray[np.integer[Any]] | None = None,
    *,
    depth_tolerance: float = 0.1,
    normal_angle_deg: float = 30.0,
) -> Mask:
    """(H, W) True on both sides of every geometric edge: no texture, no shadow.

    An edge lies between two neighbours where inverse depth departs from its straight continuation
    by more than `depth_tolerance` of the nearer one (so slanted planes have none), where normals
    differ by more than `normal_angle_deg`, where object ids differ, or where surface meets sky.
    """
    height, width = depth.shape
    edges = np.zeros((height, width), np.bool_)
    inverse = np.nan_to_num(inverse_depth(depth), nan=0.0)
    for axis in (0, 1):
        first, second = _pair(inverse, axis)
        between = _depth_breaks(inverse, axis, depth_tolerance)
        between |= (first > 0) != (second > 0)
        if normal is not None:
            n_first, n_second = _pair(np.asarray(normal, np.float32), axis)
            cosine = np.einsum("...c,...c->...", n_first, n_second)
            known = (first > 0) & (second > 0)
            between |= known & (cosine < np.float32(np.cos(np.radians(normal_angle_deg))))
        if instance is not None:
            i_first, i_second = _pair(instance, axis)
            between |= i_first != i_second
        e_first, e_second = _pair(edges, axis)
        e_first |= between
        e_second |= between
    return edges


def _depth_breaks(inverse: F32, axis: int, tolerance: float) -> Mask:
    """Between neighbours: True where neither side's slope carries over to the other pixel."""
    first, second = _pair(inverse, axis)
    step = second - first
    zero = np.zeros_like(np.take(step, [0], axis=axis))
    before, after = np.concatenate([zero, step], axis), np.concatenate([step, zero], axis)
    slope_before = before.take(range(step.shape[axis]), axis=axis)
    slope_after = after.take(range(1, step.shape[axis] + 1), axis=axis)
    limit = np.float32(tolerance) * np.maximum(first, second)
    breaks = (np.abs(step - slope_before) > limit) & (np.abs(step - slope_after) > limit)
    return np.asarray(breaks, np.bool_)


def _pair(array: NDArray[Pixels], axis: int) -> tuple[NDArray[Pixels], NDArray[Pixels]]:
    """Views of all pixels but the last, and all but the first, along a spatial axis."""
    if axis == 0:
        return array[:-1], array[1:]
    return array[:, :-1], array[:, 1:]


def _ray_slopes(width: int, height: int, K: F64) -> tuple[F32, F32]:
    """x/z as (1 or H, W) and y/z as (H, 1) of the rays through the pixel centres."""
    y = ((np.arange(height) + 0.5 - K[1, 2]) / K[1, 1])[:, None]
    x = (np.arange(width) + 0.5 - K[0, 2])[None, :] / K[0, 0] - K[0, 1] / K[0, 0] * y
    if K[0, 1] == 0:
        x = x[:1]
    return x.astype(np.float32), y.astype(np.float32)
