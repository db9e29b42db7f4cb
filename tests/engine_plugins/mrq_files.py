"""Movie Render Queue files of a scene that is known in closed form, named as Unreal names them.

The analytic engine's frames are turned back into Unreal's conventions (centimetres, left-handed
world normals, biased motion, a cryptomatte), so that an import must give the engine's own numbers.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import OpenEXR
from numpy.typing import NDArray

from capture_bridge.messages import Camera
from tests.capture_bridge.analytic_engine import AnalyticEngine, AnalyticFrame

Array = NDArray[Any]

DEPTH = "FinalImageMovieRenderQueue_WorldDepth"
MOTION = "FinalImageMovieRenderQueue_MotionVectors"
NORMAL = "FinalImageWorldNormal"
CRYPTOMATTE = "ActorHitProxyMask"
LAYERS = ("color", "depth", "normal", "motion", "instance")
RATE = (24000, 1001)
SKY_CM = 1e9
ENGINE = AnalyticEngine(width=96, height=54, fps=RATE[0] / RATE[1])


@dataclass(frozen=True)
class Render:
    """How a job was set up. dtype: of all layers but the cryptomatte."""

    dtype: str = "f4"
    layers: tuple[str, ...] = LAYERS
    packed_normal: bool = False
    metadata: bool = True
    compression: int = OpenEXR.ZIP_COMPRESSION
    engine: AnalyticEngine = field(default_factory=lambda: ENGINE)
    prefix: str = ""  # before each layer's name, as Movie Render Graph has it


def object_id(index: int) -> int:
    """A hash such as a cryptomatte has, whose bits are a float that is no NaN."""
    return (0x10000000 + index * 0x01234567) & 0x7F7FFFFF


def channels(render: Render, frame: AnalyticFrame) -> dict[str, Array]:
    """All channels of a frame as Unreal would write them."""
    arrays = frame.arrays
    planes: dict[str, Array] = {}
    if "color" in render.layers:
        srgb = np.asarray(arrays["color"])[..., :3] / 255
        linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
        planes |= {c: linear[..., i] for i, c in enumerate("RGB")}
        planes["A"] = np.ones(linear.shape[:2])
    if "depth" in render.layers:
        cm = np.asarray(arrays["depth"], np.float64) * 100
        limit = 65504.0 if render.dtype == "f2" else SKY_CM
        cm = np.minimum(np.where(np.isinf(cm), limit, cm), limit)
        planes |= {f"{render.prefix}{DEPTH}.{c}": cm for c in "RGB"}
    if "normal" in render.layers:
        turn = frame.camera.world_from_camera[:3, :3]
        world = np.asarray(arrays["normal"], np.float64) @ turn.T * (1, -1, 1)
        world = (world + 1) / 2 if render.packed_normal else world
        planes |= {f"{render.prefix}{NORMAL}.{c}": world[..., i] for i, c in enumerate("RGB")}
    if "motion" in render.layers:
        height, width = arrays["depth"].shape
        motion = np.asarray(arrays["motion"], np.float64)  # p_prev - p_cur
        shares = np.stack([-motion[..., 0] / width, motion[..., 1] / height], -1)
        biased = np.nan_to_num(0.5 + shares / 2)
        planes |= {f"{render.prefix}{MOTION}.{c}": biased[..., i] for i, c in enumerate("RG")}
    stored = {k: v.astype(render.dtype) for k, v in planes.items()}
    if "instance" in render.layers:
        ids = object_id(0) + np.zeros(arrays["instance"].shape, np.uint32)
        for index in np.unique(arrays["instance"]).tolist():
            ids[np.asarray(arrays["instance"]) == index] = object_id(index)
        for rank in range(3):
            for c in "RGBA":
                plane = ids.view(np.float32) if (rank, c) == (0, "R") else np.zeros(ids.shape, "f4")
                stored[f"{CRYPTOMATTE}{rank:02d}.{c}"] = np.ascontiguousarray(plane)
    return stored


def manifest(engine: AnalyticEngine, indices: list[int]) -> dict[str, str]:
    """Name to hex hash; what is nothing is called default, as Unreal has it."""
    names = {i: f"Actor{i}.StaticMeshComponent0" if i else "default" for i in indices}
    return {name: f"{object_id(i):08x}" for i, name in names.items()}


def unreal_pose(camera: Camera) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(location in cm, pitch, yaw, roll in degrees) of a camera without roll."""
    forward = camera.world_from_camera[:3, 2] * (1, -1, 1)
    yaw = math.degrees(math.atan2(forward[1], forward[0]))
    pitch = math.degrees(math.asin(forward[2]))
    location = camera.world_from_camera[:3, 3] * (100, -100, 100)
    return tuple(location.tolist()), (pitch, yaw, 0.0)


def fov_deg(engine: AnalyticEngine) -> float:
    return math.degrees(2 * math.atan(0.5 * engine.width / engine.camera(0).K[0, 0]))


def metadata(render: Render, frame: AnalyticFrame) -> dict[str, str]:
    """The attributes that Movie Render Queue writes."""
    engine = render.engine
    texts: dict[str, str] = {"unreal/jobName": "Drive", "unreal/engineVersion": "5.5.4-test"}
    previous = engine.camera(frame.index - 1)
    for time, camera in (("cur", frame.camera), ("prev", previous)):
        location, turn = unreal_pose(camera)
        start = f"unreal/camera/{time}"
        texts |= {f"{start}Pos/{c}": f"{v:.9f}" for c, v in zip("xyz", location, strict=True)}
        names = ("pitch", "yaw", "roll")
        texts |= {f"{start}Rot/{c}": f"{v:.9f}" for c, v in zip(names, turn, strict=True)}
    sensor_mm = 36.0
    focal_mm = sensor_mm * engine.camera(0).K[0, 0] / engine.width
    texts["unreal/camera/FinalImage/focalLength"] = f"{focal_mm:.9f}"
    texts["unreal/camera/FinalImage/sensorWidth"] = f"{sensor_mm}"
    texts["unreal/camera/ActorHitProxyMask/fov"] = "10.0"  # another pass: not to be taken
    return texts


def write_frame(path: Path, render: Render, frame: AnalyticFrame) -> None:
    """One multi-layer file."""
    texts = metadata(render, frame) if render.metadata else {}
    if "instance" in render.layers:
        ids = np.unique(frame.arrays["instance"]).tolist()
        texts["cryptomatte/1234567/name"] = CRYPTOMATTE
        texts["cryptomatte/1234567/manifest"] = json.dumps(manifest(render.engine, [0, *ids]))
    write_exr_file(path, channels(render, frame), texts, render.compression)


def write_exr_file(
    path: Path,
    planes: Mapping[str, Array],
    texts: Mapping[str, Any],
    compression: int = OpenEXR.ZIP_COMPRESSION,
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    header = {**texts, "compression": compression, "type": OpenEXR.scanlineimage}
    with OpenEXR.File(header, dict(planes)) as file:
        file.write(str(path))


def write_render(
    folder: Path, render: Render, numbers: range | list[int], *, name: str = "Drive"
) -> None:
    """A multi-layer sequence; the frame number is the analytic engine's index."""
    for number in numbers:
        frame = render.engine.frame(number)
        write_frame(folder / f"{name}.{number:04d}.exr", render, frame)


def write_layer_files(folder: Path, render: Render, numbers: range) -> None:
    """A sequence with one file a layer: R, G, B, A in each, the layer in the file's name."""
    for number in numbers:
        frame = render.engine.frame(number)
        texts = metadata(render, frame)
        groups: dict[str, dict[str, Array]] = {}
        for full, plane in channels(render, frame).items():
            layer, _, channel = full.rpartition(".")
            groups.setdefault(layer or "FinalImage", {})[channel] = plane
        for layer, planes in groups.items():
            write_exr_file(folder / layer / f"Drive.{layer}.{number:04d}.exr", planes, texts)


def write_sidecar(
    folder: Path, engine: AnalyticEngine, numbers: range | list[int], **extra: Any
) -> Path:
    """What export_camera.py writes."""
    frames = []
    for number in numbers:
        location, turn = unreal_pose(engine.camera(number))
        frames.append(
            {
                "number": number,
                "location_cm": location,
                "rotation_deg": turn,
                "fov_deg": fov_deg(engine),
                "near_cm": 5.0,
            }
        )
    path = folder / "realmaster_camera.json"
    folder.mkdir(parents=True, exist_ok=True)
    told = {"format": "realmaster-unreal-camera-1", "frame_rate": RATE, "frames": frames}
    path.write_text(json.dumps(told | {"engine_version": "5.5.4", "project": "City"} | extra))
    return path
