"""Unreal's cameras as ours: axes, units, the sidecar JSON and the metadata inside an EXR.

Unreal's world is left-handed, z up, in centimetres; its camera looks along +x, with y right and z
up. Ours is right-handed, z up, in metres, and the camera's axes are OpenCV's. So the world's y is
flipped, and x_cv = y, y_cv = -z, z_cv = x. FRotator is pitch, yaw, roll in degrees, applied in the
order roll, pitch, yaw (Unreal's FRotationMatrix). RealMasterCapture/Source/.../math/axes.h holds
the same in C++. This file knows no pixels.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from capture_bridge.errors import SessionError
from capture_bridge.exr_header import ExrHeader
from capture_bridge.fields import Fields, Limits

F64 = NDArray[np.float64]

SIDECAR_NAME: Final = "realmaster_camera.json"
SIDECAR_FORMAT: Final = "realmaster-unreal-camera-1"
MAX_SIDECAR_BYTES: Final = 256 << 20
MAX_SIDECAR_FRAMES: Final = 1_000_000
#: Unreal's GNearClippingPlane where nobody says otherwise.
NEAR_CM: Final = 10.0

METRES_PER_CM: Final = 0.01
#: Our world from Unreal's: y changes its sign. Vectors only; lengths are METRES_PER_CM's matter.
WORLD_FROM_UNREAL: Final[F64] = np.diag([1.0, -1.0, 1.0])


@dataclass(frozen=True, slots=True)
class UnrealCamera:
    """One frame's camera as Unreal says it. rotation_deg: pitch, yaw, roll.

    fov_deg: of the picture's width. shot, camera: names, empty where they are not known.
    """

    location_cm: tuple[float, float, float]
    rotation_deg: tuple[float, float, float]
    fov_deg: float
    near_cm: float = NEAR_CM
    shot: str = ""
    camera: str = ""

    def world_from_camera(self) -> F64:
        """(4, 4), metres, our axes."""
        pose = np.eye(4)
        x, y, z = rotation(*self.rotation_deg).T
        pose[:3, :3] = WORLD_FROM_UNREAL @ np.stack([y, -z, x], axis=1)
        pose[:3, 3] = METRES_PER_CM * (WORLD_FROM_UNREAL @ np.array(self.location_cm))
        return pose


def rotation(pitch_deg: float, yaw_deg: float, roll_deg: float) -> F64:
    """(3, 3): the columns are the rotated x, y and z axes in Unreal's world (FRotationMatrix)."""
    sp, sy, sr = (math.sin(math.radians(a)) for a in (pitch_deg, yaw_deg, roll_deg))
    cp, cy, cr = (math.cos(math.radians(a)) for a in (pitch_deg, yaw_deg, roll_deg))
    return np.array(
        [
            [cp * cy, sr * sp * cy - cr * sy, -(cr * sp * cy + sr * sy)],
            [cp * sy, sr * sp * sy + cr * cy, cy * sr - cr * sp * sy],
            [sp, -sr * cp, cr * cp],
        ]
    )


def intrinsics(fov_deg: float, header: ExrHeader) -> F64:
    """K (3, 3) in pixels of the stored picture, of a symmetric lens with square pixels.

    The field of view is that of the display window; a larger or smaller data window (overscan,
    crop) only moves the principal point.
    """
    part = header.parts[0]
    x0, y0, x1, y1 = part.display_window
    width, height = x1 - x0 + 1, y1 - y0 + 1
    focal_px = 0.5 * width / math.tan(math.radians(fov_deg) / 2)
    cx = x0 + width / 2 - part.data_window[0]
    cy = y0 + height / 2 - part.data_window[1]
    return np.array([[focal_px, 0, cx], [0, focal_px, cy], [0, 0, 1.0]])


# --- the sidecar ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sidecar:
    """What export_camera.py wrote beside a render. frame_step: of frame numbers, usually 1.

    motion, normal: encodings of those layers, "" where the script could not tell. tone_curve:
    whether Unreal's was on. frames: all cameras of a frame number.
    """

    path: Path
    frame_rate: Fraction
    frame_step: int
    engine_version: str
    project: str
    sequence: str
    motion: str
    normal: str
    tone_curve: bool | None
    frames: Mapping[int, tuple[UnrealCamera, ...]]

    def find(self, shot: str, number: int) -> UnrealCamera | None:
        """The camera of a frame; among several, the one whose shot or camera the label names."""
        found = self.frames.get(number, ())
        if len(found) > 1:
            found = tuple(c for c in found if _names(shot, c.shot) and _names(shot, c.camera))
        return found[0] if len(found) == 1 else None


def read_sidecar(path: Path) -> Sidecar:
    """The sidecar of a render; SessionError or ProtocolError name what is wrong with it."""
    try:
        size = path.stat().st_size
        if size > MAX_SIDECAR_BYTES:
            raise SessionError(f"{path} has {size} bytes; the limit is {MAX_SIDECAR_BYTES}")
        value: Any = json.loads(path.read_bytes())
    except OSError as error:
        raise SessionError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise SessionError(f"{path} is no JSON: {error}; export the camera again") from error
    fields = Fields(value, str(path), Limits(text_bytes=4096))
    if fields.text("format", "") != SIDECAR_FORMAT:
        raise SessionError(
            f"{path} is not of format {SIDECAR_FORMAT}: write it with export_camera.py"
        )
    above, below = fields.numbers("frame_rate", 2)
    counts = above == int(above) and below == int(below)
    if not (counts and 0 < above <= 1000 * below):
        raise SessionError(f"{path}.frame_rate is {above}/{below}; it must be two counts, as 24, 1")
    tone_curve = fields.boolean("tone_curve") if fields.has("tone_curve") else None
    frames: dict[int, tuple[UnrealCamera, ...]] = {}
    for row in fields.maps("frames", MAX_SIDECAR_FRAMES):
        number = row.integer("number", low=-(2**31), high=2**31)
        frames[number] = (*frames.get(number, ()), _read_camera(row))
    return Sidecar(
        path=path,
        frame_rate=Fraction(int(above), int(below)),
        frame_step=fields.integer("frame_step", low=1, high=100_000, default=1),
        engine_version=fields.text("engine_version", ""),
        project=fields.text("project", ""),
        sequence=fields.text("sequence", ""),
        motion=fields.text("motion_encoding", ""),
        normal=fields.text("normal_encoding", ""),
        tone_curve=tone_curve,
        frames=frames,
    )


def _read_camera(row: Fields) -> UnrealCamera:
    location, turn = row.numbers("location_cm", 3), row.numbers("rotation_deg", 3)
    if row.has("fov_deg"):
        fov_deg = row.number("fov_deg")
    else:
        fov_deg = fov_of_lens(row.number("focal_length_mm"), row.number("sensor_width_mm"))
    near_cm = row.number("near_cm") if row.has("near_cm") else NEAR_CM
    if not 0 < fov_deg < 180 or not near_cm > 0:
        raise SessionError(
            f"{row.where}: the field of view is {fov_deg:g} degrees and near {near_cm:g} cm; they "
            "must be above 0, and the first below 180"
        )
    return UnrealCamera(
        (location[0], location[1], location[2]),
        (turn[0], turn[1], turn[2]),
        fov_deg,
        near_cm,
        row.text("shot", ""),
        row.text("camera", ""),
    )


def fov_of_lens(focal_mm: float, sensor_width_mm: float) -> float:
    """Horizontal field of view in degrees; 0 for a lens that cannot be."""
    if focal_mm <= 0 or sensor_width_mm <= 0:
        return 0.0
    return math.degrees(2 * math.atan(sensor_width_mm / (2 * focal_mm)))


def _names(label: str, name: str) -> bool:
    return not name or name.lower() in label.lower()


# --- metadata ------------------------------------------------------------------------------------

_POSE = ("Pos/x", "Pos/y", "Pos/z", "Rot/pitch", "Rot/yaw", "Rot/roll")


def camera_of_metadata(header: ExrHeader) -> tuple[UnrealCamera | None, UnrealCamera | None]:
    """(camera, camera of the frame before) of the EXR's own attributes; None where they lack.

    Movie Render Queue writes `unreal/<camera>/curPos/x`, …/curRot/yaw, the same with prev, and
    `unreal/<camera>/<pass>/fov` or focalLength and sensorWidth. The player's camera is `camera`.
    """
    texts = {k: v for k, v in header.texts.items() if k.startswith("unreal/")}
    roots = sorted(key.removesuffix("/curPos/x") for key in texts if key.endswith("/curPos/x"))
    if "unreal/camera" in roots:
        roots = ["unreal/camera"]
    if len(roots) != 1:
        return None, None
    root = roots[0]
    fov_deg = _fov(texts, root)
    now, before = (_pose_of(texts, f"{root}/{time}", fov_deg) for time in ("cur", "prev"))
    return now, before


def overscan(header: ExrHeader) -> float:
    """The overscan that the metadata tells, as a share; 0 where there is none."""
    found = (_number(v) for k, v in header.texts.items() if k.lower().endswith("/overscanpercent"))
    return max((value for value in found if value is not None), default=0.0)


def _pose_of(texts: Mapping[str, str], start: str, fov_deg: float) -> UnrealCamera | None:
    x, y, z, pitch, yaw, roll = (_number(texts.get(start + end, "")) for end in _POSE)
    if x is None or y is None or z is None or pitch is None or yaw is None or roll is None:
        return None
    return UnrealCamera((x, y, z), (pitch, yaw, roll), fov_deg) if 0 < fov_deg < 180 else None


def _fov(texts: Mapping[str, str], root: str) -> float:
    """Of the beauty pass, else of the first pass that tells; 0 where none does."""
    passes = sorted({k.rsplit("/", 1)[0] for k in texts if k.startswith(root + "/")})
    passes.sort(key=lambda name: not name.endswith("/FinalImage"))
    for name in passes:
        focal, sensor = (_number(texts.get(f"{name}/{w}", "")) for w in _LENS)
        if focal and sensor:
            return fov_of_lens(focal, sensor)
        fov = _number(texts.get(f"{name}/fov", ""))
        if fov:
            return fov
    return 0.0


_LENS = ("focalLength", "sensorWidth")


def _number(text: str) -> float | None:
    try:
        value = float(text[:64])
    except ValueError:
        return None
    return value if math.isfinite(value) else None
