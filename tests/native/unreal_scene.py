"""The analytic engine's frames as Unreal's textures: what unreal_fake.cpp plays."""

import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.capture_bridge.analytic_engine import NEAR_M, SOLIDS, AnalyticEngine, AnalyticFrame

NEAR_CM = 100 * NEAR_M
#: Ids of what moves by itself: only these are in Unreal's velocity target.
MOVERS = [i + 1 for i, solid in enumerate(SOLIDS) if any(solid.velocity)]


def write_scene(path: Path, engine: AnalyticEngine, num_frames: int) -> None:
    """The file that unreal_fake reads."""
    with path.open("wb") as file:
        file.write(struct.pack("<3i", engine.width, engine.height, num_frames))
        for index in range(num_frames):
            frame = engine.frame(index)
            still = projection(engine)
            for matrix in (still, still, inverse_view(frame)):
                file.write(matrix.astype("<f8").tobytes())
            file.write(struct.pack("<d", frame.t_sim_ns * 1e-9))
            for texture in textures(engine, frame):
                file.write(np.ascontiguousarray(texture).tobytes())


def projection(engine: AnalyticEngine) -> NDArray[np.float64]:
    """Unreal's reversed, infinite one, for row vectors: z_device = near / z."""
    k = engine.camera(0).K
    made = np.zeros((4, 4))
    made[0, 0], made[1, 1] = 2 * k[0, 0] / engine.width, 2 * k[1, 1] / engine.height
    made[2, 3], made[3, 2] = 1, NEAR_CM
    return made


def inverse_view(frame: AnalyticFrame) -> NDArray[np.float64]:
    """Rows: right, up, forward, place; left-handed, centimetres."""
    pose, flip = frame.camera.world_from_camera, np.array([1, -1, 1])
    made = np.eye(4)
    made[0, :3], made[1, :3], made[2, :3] = (
        flip * pose[:3, 0], -flip * pose[:3, 1], flip * pose[:3, 2],
    )  # fmt: skip
    made[3, :3] = 100 * flip * pose[:3, 3]
    return made


def textures(engine: AnalyticEngine, frame: AnalyticFrame) -> list[NDArray[np.generic]]:
    """Color, device depth, G-buffer A, velocity, custom stencil."""
    arrays = frame.arrays
    color = np.asarray(arrays["color"]).copy()
    color[..., 3] = 17  # Unreal's alpha is no coverage
    with np.errstate(divide="ignore"):
        device = (NEAR_M / np.asarray(arrays["depth"], np.float64)).astype("<f4")
    world = np.asarray(arrays["normal"], np.float64) @ frame.camera.world_from_camera[:3, :3].T
    world *= (1, -1, 1)
    gbuffer = np.zeros((*device.shape, 4), "<u2")
    gbuffer[..., :3] = np.rint((world + 1) / 2 * 65535).clip(0, 65535)
    gbuffer[device == 0] = 0
    moved = np.isin(np.asarray(arrays["instance"]), MOVERS)
    motion = np.nan_to_num(np.asarray(arrays["motion"], np.float64))
    clip = np.stack([-motion[..., 0] * 2 / engine.width, motion[..., 1] * 2 / engine.height], -1)
    encoded = np.sign(clip) * np.sqrt(np.abs(clip)) * np.sqrt(2) * 0.499 / 2 + 32767 / 65535
    velocity = np.zeros((*device.shape, 4), "<u2")
    velocity[..., :2][moved] = np.rint(encoded[moved] * 65535)
    return [color, device, gbuffer, velocity, np.asarray(arrays["instance"]).astype(np.uint8)]
