"""Camera paths: smooth functions of time for a drive along the road and a walk on the pavement."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from engine_plugins.street.model import F64, CameraPose

if TYPE_CHECKING:
    from engine_plugins.street.site import Layout

CameraPath = Callable[[float], CameraPose]


def soft_stop(distance: float, limit: float, softness: float = 3.0) -> float:
    """`distance` until shortly before `limit`, then gently less: it never passes `limit`."""
    return float(-softness * np.logaddexp(-distance / softness, -limit / softness))


def look(position: F64, yaw: float, pitch: float) -> F64:
    """world_from_camera (4, 4), OpenCV axes. yaw: from +x to the left; pitch: upwards; radians."""
    forward = np.array([np.cos(pitch) * np.cos(yaw), np.cos(pitch) * np.sin(yaw), np.sin(pitch)])
    right = np.array([np.sin(yaw), -np.cos(yaw), 0.0])
    pose = np.eye(4)
    pose[:3, 0], pose[:3, 1], pose[:3, 2], pose[:3, 3] = (
        right,
        np.cross(forward, right),
        forward,
        position,
    )
    return pose


def draw_camera_path(
    rng: np.random.Generator, layout: Layout, path: str, kerb_m: float
) -> CameraPath:
    """The camera of one street: "drive" or "walk"."""
    return _drive(rng, layout) if path == "drive" else _walk(rng, layout, kerb_m)


def _drive(rng: np.random.Generator, layout: Layout) -> CameraPath:
    speed, height = float(rng.uniform(6, 11)), float(rng.uniform(1.3, 1.5))
    sway, rate = float(rng.uniform(0.12, 0.3)), float(rng.uniform(0.45, 0.8))
    glance, glance_rate = np.radians(rng.uniform(1, 5)), float(rng.uniform(0.3, 0.6))
    base_pitch = np.radians(rng.uniform(-2.0, 1.0))
    phase, fov = rng.uniform(0, 2 * np.pi, 3), float(rng.uniform(66, 76))
    x0, lane = float(rng.uniform(-12, 4)), -layout.lane_y

    def pose(t_s: float) -> CameraPose:
        x = x0 + soft_stop(speed * t_s, 160.0)
        y = lane + sway * np.sin(rate * t_s + phase[0])
        drift = sway * rate * np.cos(rate * t_s + phase[0]) / speed
        yaw = drift + glance * np.sin(glance_rate * t_s + phase[1])
        z = height + 0.008 * np.sin(2 * np.pi * 1.3 * t_s + phase[2])
        pitch = base_pitch + 0.0025 * np.sin(2 * np.pi * 1.1 * t_s)
        return CameraPose(look(np.array([x, y, z]), yaw, pitch), fov)

    return pose


def _walk(rng: np.random.Generator, layout: Layout, kerb_m: float) -> CameraPath:
    speed, height = float(rng.uniform(1.2, 1.5)), float(rng.uniform(1.62, 1.76)) + kerb_m
    gaze = str(rng.choice(["ahead", "back", "across"], p=[0.6, 0.18, 0.22]))
    base_yaw = {"ahead": 0.03, "back": np.pi - 0.05, "across": np.radians(rng.uniform(38, 75))}[
        gaze
    ]
    turn, turn_rate = np.radians(rng.uniform(6, 15)), float(rng.uniform(0.35, 0.65))
    nod, base_pitch = np.radians(rng.uniform(0.5, 2)), np.radians(rng.uniform(-3, 3))
    phase, fov = rng.uniform(0, 2 * np.pi, 4), float(rng.uniform(60, 72))
    x0 = float(rng.uniform(-6, 8))
    y0 = -(layout.half_road + layout.pavement[1] / 2 + 0.15)
    steps = 2 * np.pi * speed / 0.72

    def pose(t_s: float) -> CameraPose:
        x = x0 + speed * t_s
        y = y0 + 0.12 * np.sin(0.4 * t_s + phase[0]) + 0.01 * np.sin(steps / 2 * t_s)
        z = height + 0.016 * np.sin(steps * t_s)
        yaw = (
            base_yaw
            + turn * np.sin(turn_rate * t_s + phase[1])
            + 0.02 * np.sin(1.7 * t_s + phase[2])
        )
        pitch = base_pitch + nod * np.sin(0.8 * t_s + phase[3])
        return CameraPose(look(np.array([x, y, z]), float(yaw), float(pitch)), fov)

    return pose
