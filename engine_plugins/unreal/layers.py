"""Which channels of an Unreal EXR are which of our buffers, and how their numbers become ours.

Names are matched by substring, since jobs, layers and plugins prefix them at will. Depth is planar,
in centimetres; world normals are Unreal's (left-handed, z up); motion comes in one of the encodings
of MOTION_ENCODINGS, which only the user or the sidecar can tell. Pure functions on arrays.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from capture_bridge.buffers import BUFFERS
from capture_bridge.exr_header import ExrHeader
from engine_plugins.unreal.camera import METRES_PER_CM, WORLD_FROM_UNREAL

Array = NDArray[np.generic]
F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

_R, _RG, _RGB = ("R",), ("R", "G"), ("R", "G", "B")
#: (buffer, substrings of layer names in lower case, channels); the first row that fits is taken.
_RULES: Final[tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...]] = (
    ("depth", ("worlddepth", "scenedepth", "imagedepth"), _R),
    ("motion", ("motionvector", "pwmv1"), _RG),
    ("normal", ("worldnormal",), _RGB),
    ("instance", ("actorhitproxymask00",), _R),
    ("albedo", ("basecolor",), _RGB),
    ("roughness", ("roughness",), _R),
    ("metallic", ("metallic",), _R),
)
_OTHER_CRYPTOMATTE = "actorhitproxymask"
_BEAUTY_ENDS = ("finalimage", "beauty", "rgba")
_CHANNELS = {"red": "R", "green": "G", "blue": "B", "alpha": "A", "z": "R"}
#: What a render can hold, in the order in which it is asked for.
WANTED: Final = ("color", "depth", "normal", "motion", "instance")

#: p_prev - p_cur in pixels = (R - bias) * x share of the width, (G - bias) * y share of the height.
#: biased: Movie Render Queue's own MotionVectors material, 0.5 + (current - previous) / 4 in clip
#: space, y up. clip: current - previous in clip space, y up. uv: the same in texture units, y down.
#: pixels: previous - current in pixels, y down, as our table has it.
MOTION_ENCODINGS: Final[Mapping[str, tuple[float, float, float]]] = MappingProxyType(
    {
        "biased": (0.5, -2.0, 2.0),
        "clip": (0.0, -0.5, 0.5),
        "uv": (0.0, -1.0, -1.0),
        "pixels": (0.0, 0.0, 0.0),
    }
)
#: Half floats end here: a distance that large is the sky, or at least beyond what can be told.
HALF_MAX: Final = 65504.0


@dataclass(frozen=True, slots=True)
class Layer:
    """Where a buffer lies in one file. channels: full names, in the buffer's order."""

    buffer: str
    name: str
    channels: tuple[str, ...]
    dtype: str


def find_layers(header: ExrHeader, pass_of_file: str) -> dict[str, Layer]:
    """The buffers of a file. pass_of_file: what its name says that channels without a layer are."""
    groups: dict[str, dict[str, str]] = {}
    for full in header.channels:
        layer, _, channel = full.rpartition(".")
        if len(header.parts) > 1 and layer in {part.name for part in header.parts}:
            layer = layer if _rule(layer) else ""  # a part per layer, or one plain part
        short = _CHANNELS.get(channel.lower(), channel)
        groups.setdefault(layer or pass_of_file, {}).setdefault(short, full)
    found: dict[str, Layer] = {}
    for name in sorted(groups, key=lambda n: (len(n), n)):
        rule = _rule(name)
        if rule is None:
            continue
        buffer, wanted = rule
        channels = tuple(groups[name].get(channel, "") for channel in wanted)
        if not all(channels) and len(wanted) == 1:  # some writers spoil the suffix, not the layer
            channels = tuple(sorted(groups[name].values())[:1])
        if buffer not in found and all(channels):
            dtype = header.channels[channels[0]]
            found[buffer] = Layer(buffer, name, channels, dtype)
    return found


def _rule(layer: str) -> tuple[str, tuple[str, ...]] | None:
    """(buffer, channels) of a layer's name; None for one that we have no buffer for."""
    low = layer.lower()
    for buffer, parts, channels in _RULES:
        if any(part in low for part in parts):
            return buffer, channels
    if _OTHER_CRYPTOMATTE in low:
        return None
    return ("color", _RGB) if not low or low.endswith(_BEAUTY_ENDS) else None


# --- numbers -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Reading:
    """How numbers are to be read.

    motion: of MOTION_ENCODINGS. packed_normal: whether normals lie in 0..1. tone_curve: whether
    Unreal has applied its own; exposure_stops is added where it has not. sky_m: depth from which on
    there is sky. no_object: ids of a cryptomatte that mean no object at all.
    """

    motion: str = "biased"
    packed_normal: bool = False
    tone_curve: bool = True
    exposure_stops: float = 0.0
    sky_m: float = 50_000.0
    no_object: frozenset[int] = frozenset()


def to_buffer(
    buffer: str, planes: Sequence[Array], reading: Reading, world_from_camera: F64 | None
) -> dict[str, Array]:
    """The arrays that a layer's planes (H, W) give, by buffer, as BUFFERS has them.

    Color gives two (color, color_hdr). Normals need world_from_camera.
    """
    if buffer == "color":
        linear = np.nan_to_num(_stack(planes), nan=0.0, posinf=HALF_MAX, neginf=0.0)
        linear = linear.clip(0, HALF_MAX)
        return {"color": _to_srgb(linear, reading), "color_hdr": _with_alpha(linear, np.float16)}
    if buffer == "normal":
        assert world_from_camera is not None, "normals are asked for only where there is a camera"
        return {"normal": to_camera_normals(planes, reading.packed_normal, world_from_camera)}
    array = _CONVERT[buffer](planes, reading)
    return {buffer: np.ascontiguousarray(array, BUFFERS[buffer].numpy_dtype)}


def to_metres(planes: Sequence[Array], reading: Reading) -> F32:
    """Planar depth: centimetres to metres, sky to +inf, what is not positive to NaN."""
    (plane,) = planes
    depth: F32 = plane.astype(np.float32) * np.float32(METRES_PER_CM)
    limit = HALF_MAX * METRES_PER_CM if plane.dtype == np.float16 else reading.sky_m
    depth[depth >= np.float32(min(limit, reading.sky_m))] = np.inf
    with np.errstate(invalid="ignore"):
        depth[~(depth > 0)] = np.nan
    return depth


def to_camera_normals(planes: Sequence[Array], packed: bool, world_from_camera: F64) -> Array:
    """World normals of Unreal as unit vectors in camera space, f16; 0, 0, 0 where there is none."""
    normal = _stack(planes)
    if packed:
        normal = 2 * normal - 1
    turn = (world_from_camera[:3, :3].T @ WORLD_FROM_UNREAL).astype(np.float32)
    with np.errstate(invalid="ignore", divide="ignore"):
        turned = normal @ turn.T
        length = np.linalg.norm(turned, axis=-1, keepdims=True)
        unit = np.where((length > 0.1) & np.isfinite(length), turned / length, 0)
    return np.ascontiguousarray(unit, np.float16)


def is_packed(planes: Sequence[Array]) -> bool:
    """Whether normals lie in 0..1: the reading under which more of them have unit length."""
    normal = _stack(planes)[::4, ::4].reshape(-1, 3)
    normal = normal[np.isfinite(normal).all(-1) & (np.abs(normal).max(-1, initial=0) > 0)]
    if not normal.size or normal.min() < -0.01:
        return False
    off = [np.abs(np.linalg.norm(n, axis=-1) - 1) for n in (normal, 2 * normal - 1)]
    return bool(np.median(off[1]) < np.median(off[0]))


def to_motion(planes: Sequence[Array], reading: Reading) -> F32:
    """p_prev - p_cur in pixels (H, W, 2); NaN where the file has no finite value."""
    bias, x_share, y_share = MOTION_ENCODINGS[reading.motion]
    motion = _stack(planes) - np.float32(bias)
    height, width = motion.shape[:2]
    if reading.motion != "pixels":
        motion *= np.array([x_share * width, y_share * height], np.float32)
    motion[~np.isfinite(motion) | (np.abs(motion) > HALF_MAX)] = np.nan
    return motion


def to_instance(planes: Sequence[Array], reading: Reading) -> NDArray[np.uint32]:
    """The ids of the object with the largest share of each pixel: a cryptomatte's bits as u32."""
    ids: NDArray[np.uint32] = np.ascontiguousarray(planes[0], np.float32).view(np.uint32).copy()
    for nothing in reading.no_object:
        ids[ids == nothing] = 0
    return ids


def _to_u8(planes: Sequence[Array], reading: Reading) -> NDArray[np.uint8]:
    stacked = _stack(planes) if len(planes) > 1 else planes[0].astype(np.float32)
    codes: NDArray[np.uint8] = np.rint(np.nan_to_num(stacked).clip(0, 1) * 255).astype(np.uint8)
    return codes


_CONVERT: Final[Mapping[str, Callable[[Sequence[Array], Reading], Array]]] = MappingProxyType(
    {
        "depth": to_metres,
        "motion": to_motion,
        "instance": to_instance,
        "albedo": _to_u8,
        "roughness": _to_u8,
        "metallic": _to_u8,
    }
)


def _to_srgb(linear: F32, reading: Reading) -> Array:
    """(H, W, 4) u8 of linear light; scene light goes through a filmic curve first.

    The curve is Narkowicz's fit of ACES ("ACES Filmic Tone Mapping Curve", 2016).
    """
    x: NDArray[np.floating[Any]] = linear
    if not reading.tone_curve:
        x = x * np.float32(2.0**reading.exposure_stops)
        x = np.minimum(x, np.float32(1e4))  # beyond it the curve is 1, and x * x stays in range
        x = (x * (2.51 * x + 0.03)) / (x * (2.43 * x + 0.59) + 0.14)
    x = x.clip(0, 1)
    srgb: Array = np.where(x <= 0.0031308, 12.92 * x, 1.055 * x ** (1 / 2.4) - 0.055)
    return _with_alpha(np.rint(255 * srgb), np.uint8, 255)


def _with_alpha(rgb: Array, dtype: type[np.generic], opaque: int = 1) -> Array:
    height, width = rgb.shape[:2]
    rgba = np.full((height, width, 4), opaque, dtype)
    rgba[..., :3] = rgb.astype(dtype)
    return rgba


def _stack(planes: Sequence[Array]) -> F32:
    return np.stack([plane.astype(np.float32) for plane in planes], axis=-1)


# --- cryptomatte ---------------------------------------------------------------------------------


def read_manifest(header: ExrHeader, layer: str) -> dict[int, str]:
    """Id to name of the cryptomatte that `layer` belongs to; empty where the file has none.

    An entry that is not eight hex digits is left out: names only help a person.
    """
    for key, name in header.texts.items():
        start, _, end = key.rpartition("/")
        if start.startswith("cryptomatte/") and end == "name" and layer.startswith(name):
            try:
                value: Any = json.loads(header.texts.get(f"{start}/manifest", ""))
            except (ValueError, RecursionError):
                return {}
            return _ids(value) if isinstance(value, dict) else {}
    return {}


def _ids(manifest: Mapping[str, Any]) -> dict[int, str]:
    names: dict[int, str] = {}
    for name, value in manifest.items():
        try:
            names[int(str(value), 16)] = str(name)
        except ValueError:
            continue
    return names
