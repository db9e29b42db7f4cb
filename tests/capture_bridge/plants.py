"""Faults to plant in an engine's frames: each takes a clean stretch and returns a spoiled one."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capture_bridge.buffers import BUFFERS, FrameArrays
from tests.capture_bridge.analytic_engine import AnalyticFrame

Frames = Sequence[AnalyticFrame]
Plant = Callable[[Frames], list[AnalyticFrame]]
Array = NDArray[Any]


def _with(frame: AnalyticFrame, **arrays: Array) -> AnalyticFrame:
    changed = {
        name: np.ascontiguousarray(array.astype(BUFFERS[name].numpy_dtype))
        for name, array in arrays.items()
    }
    return replace(frame, arrays=frame.arrays | changed)


def each(buffer: str, change: Callable[[Array], Array]) -> Plant:
    """Change one buffer of every frame."""
    return lambda frames: [_with(f, **{buffer: change(f.arrays[buffer])}) for f in frames]


def reversed_device_depth(frames: Frames) -> list[AnalyticFrame]:
    """Linearise device depth as if near were far."""
    spoiled = []
    for frame in frames:
        near, far = frame.camera.near_m, frame.camera.far_m
        depth = np.minimum(frame.arrays["depth"].astype(np.float64), far)
        spoiled.append(_with(frame, depth=1 / (1 / near + 1 / far - 1 / depth)))
    return spoiled


def mirrored_depth(frames: Frames) -> list[AnalyticFrame]:
    """Far minus depth."""
    return [_with(f, depth=120.0 - np.minimum(f.arrays["depth"], 119.0)) for f in frames]


def radial_depth(frames: Frames) -> list[AnalyticFrame]:
    """Distance along the ray instead of planar z."""
    spoiled = []
    for frame in frames:
        height, width = frame.arrays["depth"].shape
        rows, cols = np.mgrid[:height, :width] + 0.5
        k = frame.camera.K
        ray = np.hypot((cols - k[0, 2]) / k[0, 0], (rows - k[1, 2]) / k[1, 1])
        spoiled.append(_with(frame, depth=frame.arrays["depth"] * np.hypot(ray, 1)))
    return spoiled


def flipping_depth(frames: Frames) -> list[AnalyticFrame]:
    """Every fourth frame comes from another target."""
    return [
        _with(f, depth=np.full_like(f.arrays["depth"], 1.0)) if i % 4 == 3 else f
        for i, f in enumerate(frames)
    ]


def world_normals(frames: Frames) -> list[AnalyticFrame]:
    """Normals rotated into the world."""
    return [
        _with(f, normal=f.arrays["normal"].astype(float) @ f.camera.world_from_camera[:3, :3].T)
        for f in frames
    ]


def late(*buffers: str) -> Plant:
    """The named buffers are those of the frame before."""

    def plant(frames: Frames) -> list[AnalyticFrame]:
        return [
            replace(now, arrays=now.arrays | {name: before.arrays[name] for name in buffers})
            for before, now in itertools.pairwise(frames)
        ]

    return plant


def padded(buffer: str, columns: int) -> Plant:
    """Rows that are `columns` longer than the image, read as if they were not."""

    def skew(array: Array) -> Array:
        height, width = array.shape[:2]
        gap = np.zeros((height, columns, *array.shape[2:]), array.dtype)
        stream = np.concatenate([array, gap], 1).reshape(-1, *array.shape[2:])
        return np.array(stream[: height * width].reshape(array.shape))

    return each(buffer, skew)


def duplicated(frames: Frames) -> list[AnalyticFrame]:
    """Every third frame repeats all pixels of the one before, to fake a constant rate."""
    spoiled = list(frames)
    for i in range(3, len(spoiled), 3):
        spoiled[i] = replace(spoiled[i], arrays=spoiled[i - 1].arrays)
    return spoiled


def clock_jump(seconds: float) -> Plant:
    """Game time leaps in the middle."""

    def plant(frames: Frames) -> list[AnalyticFrame]:
        middle = len(frames) // 2
        leap = round(seconds * 1e9)
        return [
            replace(f, t_sim_ns=f.t_sim_ns + (leap if i >= middle else 0))
            for i, f in enumerate(frames)
        ]

    return plant


def opengl_poses(frames: Frames) -> list[AnalyticFrame]:
    """Poses with OpenGL's camera axes."""
    flip = np.diag([1.0, -1.0, -1.0, 1.0])
    return [_with_poses(f, lambda pose: pose @ flip) for f in frames]


def poses_in_centimetres(frames: Frames) -> list[AnalyticFrame]:
    """Positions a hundred times too large."""
    scale = np.ones((4, 4))
    scale[:3, 3] = 100.0
    return [_with_poses(f, lambda pose: pose * scale) for f in frames]


def stale_previous_pose(frames: Frames) -> list[AnalyticFrame]:
    """The previous pose is this frame's own."""
    return [
        replace(f, camera=replace(f.camera, world_from_camera_prev=f.camera.world_from_camera))
        for f in frames
    ]


def _with_poses(frame: AnalyticFrame, change: Callable[[Array], Array]) -> AnalyticFrame:
    camera = replace(
        frame.camera,
        world_from_camera=np.asarray(change(frame.camera.world_from_camera), np.float64),
        world_from_camera_prev=np.asarray(change(frame.camera.world_from_camera_prev), np.float64),
    )
    return replace(frame, camera=camera)


def hud(frames: Frames) -> list[AnalyticFrame]:
    """Color taken after the HUD."""
    return [_with(f, color=f.arrays["color_ui"]) for f in frames]


def without(*buffers: str) -> Plant:
    """The engine does not send these buffers."""

    def drop(arrays: FrameArrays) -> FrameArrays:
        return {name: array for name, array in arrays.items() if name not in buffers}

    return lambda frames: [replace(f, arrays=drop(f.arrays)) for f in frames]


def nan_normals(frames: Frames) -> list[AnalyticFrame]:
    """A patch of normals is not a number."""
    spoiled = []
    for frame in frames:
        normal = frame.arrays["normal"].copy()
        normal[: normal.shape[0] // 10, : normal.shape[1] // 10] = np.nan
        spoiled.append(_with(frame, normal=normal))
    return spoiled


_FLIP = {"motion": np.array([-1.0, -1.0]), "y": np.array([1.0, -1.0])}

#: Fault name -> how to plant it; one test each sees exactly this name.
PLANTS: dict[str, tuple[str, Plant]] = {
    "flat depth": ("depth_flat", each("depth", lambda a: np.full_like(a, 1.0))),
    "zero depth": ("depth_flat", each("depth", np.zeros_like)),
    "absent depth": ("depth_absent", each("depth", lambda a: np.full_like(a, np.nan))),
    "flipping depth": ("depth_flips", flipping_depth),
    "reversed device depth": ("depth_reversed", reversed_device_depth),
    "mirrored depth": ("depth_reversed", mirrored_depth),
    "centimetres": ("depth_in_centimetres", each("depth", lambda a: a * np.float32(100))),
    "radial depth": ("depth_radial", radial_depth),
    "flipped normals": ("normal_flipped", each("normal", lambda a: -a)),
    "world normals": ("normal_world_space", world_normals),
    "opengl normals": (
        "normal_opengl_axes",
        each("normal", lambda a: a * np.array([1, -1, -1], np.float16)),
    ),
    "mirrored normals": ("normal_disagrees", each("normal", lambda a: a[:, ::-1])),
    "nan normals": ("normal_non_finite", nan_normals),
    "zero motion": ("motion_zero", each("motion", np.zeros_like)),
    "flipped motion": ("motion_sign_flipped", each("motion", lambda a: -a)),
    "motion y up": ("motion_y_flipped", each("motion", lambda a: a * _FLIP["y"])),
    "wrong motion": ("motion_disagrees", each("motion", lambda a: a[::-1] * 3)),
    "opengl poses": ("camera_disagrees", opengl_poses),
    "poses in centimetres": ("camera_disagrees", poses_in_centimetres),
    "stale previous pose": ("camera_previous_pose", stale_previous_pose),
    "late color": ("color_late", late("color")),
    "late depth": ("depth_late", late("depth")),
    "late ids": ("ids_late", late("instance")),
    "bgra": ("color_bgra", each("color", lambda a: a[..., [2, 1, 0, 3]])),
    "padded color": ("color_padded_pitch", padded("color", 42)),
    "padded depth": ("depth_padded_pitch", padded("depth", 16)),
    "padded normal": ("normal_padded_pitch", padded("normal", 8)),
    "duplicated frames": ("color_duplicated", duplicated),
    "clock jump": ("clock_jump", clock_jump(1.0)),
    "clock back": ("clock_backwards", clock_jump(-1.0)),
    "hud": ("hud_in_color", hud),
}
