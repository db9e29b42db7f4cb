"""One frame of a render after the other: its files' layers as our buffers, and its camera.

A `Plan` is what all frames of a shot have in common; it is made from the shot's first frame, and
each further frame is read by it. This file knows EXR files and Unreal's conventions, no sessions.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from capture_bridge.buffers import FrameArrays
from capture_bridge.errors import RealMasterError, SessionError
from capture_bridge.exr_header import ExrHeader, read_exr_header
from capture_bridge.images import read_exr_channels
from engine_plugins.unreal.camera import (
    Sidecar,
    UnrealCamera,
    camera_of_metadata,
    intrinsics,
    overscan,
)
from engine_plugins.unreal.layers import (
    MOTION_ENCODINGS,
    WANTED,
    Layer,
    Reading,
    find_layers,
    is_packed,
    read_manifest,
    to_buffer,
)
from engine_plugins.unreal.render_files import RenderFile, Shot

F64 = NDArray[np.float64]
NormalEncoding = Literal["auto", "signed", "packed"]

#: x, y of red, green, blue and white (D65).
REC709 = (0.64, 0.33, 0.30, 0.60, 0.15, 0.06, 0.3127, 0.3290)
#: A camera in the sidecar that lies further off the EXR's own is another one.
SAME_PLACE_CM, SAME_ANGLE_DEG = 1.0, 0.1


@dataclass(frozen=True, slots=True)
class Choices:
    """What the user says of a render; None and "auto" ask the sidecar, then the files.

    motion: of MOTION_ENCODINGS. tone_curve: whether Unreal's own was on. sky_m: see Reading.
    """

    motion: str | None = None
    normal: NormalEncoding = "auto"
    tone_curve: bool | None = None
    exposure_stops: float = 0.0
    sky_m: float = 50_000.0


@dataclass(frozen=True, slots=True)
class Source:
    """Where one buffer of one frame lies."""

    header: ExrHeader
    layer: Layer


@dataclass(frozen=True, slots=True)
class Plan:
    """What a shot's frames have in common. names: ids of objects. notes: lines for people."""

    size: tuple[int, int]
    buffers: tuple[str, ...]  # layers that are read, in the order of the streams
    reading: Reading
    half: frozenset[str]  # buffers that are stored as half floats
    names: Mapping[int, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RenderedFrame:
    """One frame. camera: None where neither the sidecar nor the files tell.

    off_sidecar: whether the files' own camera stands elsewhere than the sidecar's.
    """

    arrays: FrameArrays
    camera: UnrealCamera | None
    camera_before: UnrealCamera | None
    K: F64 | None
    off_sidecar: bool


class MissingPart(Exception):  # noqa: N818 (no error of the user's: the frame is counted as lost)
    """A frame lacks what the shot's first frame had; `cause` is the drop's."""

    def __init__(self, cause: str) -> None:
        super().__init__(cause)
        self.cause = cause


def make_plan(shot: Shot, choices: Choices, sidecar: Sidecar | None) -> Plan:
    """How the shot is read, from its first frame.

    Raises SessionError, naming file and frame, where that is damaged or has no color.
    """
    try:
        return _plan(shot, choices, sidecar)
    except RealMasterError as error:
        raise SessionError(f"frame {shot.numbers[0]}: {error}") from error


def _plan(shot: Shot, choices: Choices, sidecar: Sidecar | None) -> Plan:
    number = shot.numbers[0]
    files = shot.frames[number]
    sources = _sources(files)
    if "color" not in sources:
        known = sorted({name for f in files for name in read_exr_header(f.path).channels})
        raise SessionError(
            f"{files[0].path} has no beauty layer R, G, B; it has "
            f"{', '.join(known)[:200] or 'no channel'}: add Deferred Rendering to the render"
        )
    header = sources["color"].header
    size = (header.parts[0].width, header.parts[0].height)
    camera = _camera(shot.label, number, sources, sidecar)
    left_out = _left_out(sources, choices, sidecar, camera is not None)
    buffers = tuple(b for b in _ORDER if b in sources and b not in left_out)
    reading, names = _reading(sources, buffers, choices, sidecar)
    half = frozenset(b for b in buffers if sources[b].layer.dtype == "<f2")
    notes = _notes(sources, left_out, half, reading, size[0])
    primaries = header.primaries
    if primaries and np.abs(np.subtract(primaries, REC709)).max() > 1e-3:
        notes.append("color has other primaries than Rec.709 (OCIO?) and is taken as it is")
    if camera is None:
        notes.append("without a camera: export a sidecar with export_camera.py")
    return Plan(size, buffers, reading, half, names, tuple(notes))


def _notes(
    sources: Mapping[str, Source],
    left_out: Mapping[str, str],
    half: frozenset[str],
    reading: Reading,
    width: int,
) -> list[str]:
    """Lines for people: what is missing, and what is coarser than it need be."""
    absent = [b for b in WANTED if b not in sources]
    notes = [f"without {', '.join(absent)}: the files have no such layer"] if absent else []
    notes += [f"without {name}: {why}" for name, why in left_out.items()]
    cure = "switch on 32-bit output for this pass"
    if "depth" in half:
        notes.append(f"depth is in half floats: 0.05 % steps, nothing beyond 655 m; {cure}")
    if "motion" in half and reading.motion == "biased":
        step_px = 2 * width * 2**-11
        notes.append(f"motion is in half floats: steps of {step_px:.2g} px; {cure}")
    return notes


def read_frame(shot: Shot, number: int, plan: Plan, sidecar: Sidecar | None) -> RenderedFrame:
    """The frame's buffers and camera.

    Raises MissingPart where it lacks a layer or the camera of the first frame, SessionError where a
    file is damaged or of another size; the message names the file and the frame.
    """
    try:
        sources = _sources(shot.frames[number])
        if any(b not in sources for b in plan.buffers):
            raise MissingPart("missing_layer")
        camera = _camera(shot.label, number, sources, sidecar)
        if camera is None and "normal" in plan.buffers:
            raise MissingPart("missing_camera")
        arrays = _arrays(sources, plan, camera)
    except RealMasterError as error:
        raise SessionError(f"frame {number}: {error}") from error
    header = sources["color"].header
    own, before = camera_of_metadata(header)
    if sidecar is not None:
        before = sidecar.find(shot.label, number - sidecar.frame_step) or before
    K = None if camera is None else intrinsics(camera.fov_deg, header)
    return RenderedFrame(arrays, camera, before, K, _is_off(camera, own))


# --- finding -------------------------------------------------------------------------------------

_ORDER = ("color", "depth", "normal", "motion", "instance", "albedo", "roughness", "metallic")


def _sources(files: tuple[RenderFile, ...]) -> dict[str, Source]:
    """The buffers of a frame, over all its files."""
    found: dict[str, Source] = {}
    for file in files:
        header = read_exr_header(file.path)
        for buffer, layer in find_layers(header, file.layer).items():
            found.setdefault(buffer, Source(header, layer))
    return found


def _camera(
    label: str, number: int, sources: Mapping[str, Source], sidecar: Sidecar | None
) -> UnrealCamera | None:
    """The sidecar's, else the files' own."""
    listed = sidecar.find(label, number) if sidecar is not None else None
    header = sources["color"].header
    part = header.parts[0]
    if overscan(header) > 0 and part.data_window == part.display_window:
        raise SessionError(
            f"{header.path} was rendered with {overscan(header):.0%} overscan, and its display "
            "window does not tell which part that is: render without overscan"
        )
    return listed or camera_of_metadata(header)[0]


def _is_off(camera: UnrealCamera | None, own: UnrealCamera | None) -> bool:
    if camera is None or own is None:
        return False
    away = np.linalg.norm(np.subtract(camera.location_cm, own.location_cm))
    turned = np.abs((np.subtract(camera.rotation_deg, own.rotation_deg) + 180) % 360 - 180).max()
    return bool(away > SAME_PLACE_CM or turned > SAME_ANGLE_DEG)


def _left_out(
    sources: Mapping[str, Source], choices: Choices, sidecar: Sidecar | None, has_camera: bool
) -> dict[str, str]:
    """Buffers that are there but cannot be read, and why."""
    why: dict[str, str] = {}
    if "normal" in sources and not has_camera:
        why["normal"] = "world normals need a camera to be turned by"
    if "motion" in sources and _motion_encoding(choices, sidecar) is None:
        why["motion"] = (
            "nothing says how it is encoded; pass --motion biased for Movie Render Queue's own "
            "material"
        )
    if "instance" in sources and sources["instance"].layer.dtype != "<f4":
        why["instance"] = "a cryptomatte's ids need 32 bits, the file has half floats"
    return why


def _motion_encoding(choices: Choices, sidecar: Sidecar | None) -> str | None:
    told = choices.motion or (sidecar.motion if sidecar is not None else "") or None
    if told is not None and told not in MOTION_ENCODINGS:
        raise SessionError(
            f"motion encoding {told!r} is unknown; there are {', '.join(MOTION_ENCODINGS)}"
        )
    return told


def _reading(
    sources: Mapping[str, Source],
    buffers: tuple[str, ...],
    choices: Choices,
    sidecar: Sidecar | None,
) -> tuple[Reading, dict[int, str]]:
    """How the shot's numbers are read, and the names of its objects."""
    tone_curve = choices.tone_curve
    if tone_curve is None and sidecar is not None:
        tone_curve = sidecar.tone_curve
    reading = Reading(
        motion=_motion_encoding(choices, sidecar) or "biased",
        tone_curve=tone_curve is not False,
        exposure_stops=choices.exposure_stops,
        sky_m=choices.sky_m,
    )
    if "normal" in buffers:
        told = choices.normal
        if told == "auto" and sidecar is not None and sidecar.normal in ("signed", "packed"):
            packed = sidecar.normal == "packed"
        elif told == "auto":
            packed = is_packed(list(_planes(sources["normal"]).values()))
        else:
            packed = told == "packed"
        reading = replace(reading, packed_normal=packed)
    names: dict[int, str] = {}
    if "instance" in buffers:
        names = read_manifest(sources["instance"].header, sources["instance"].layer.name)
        nothing = frozenset(i for i, name in names.items() if name == "default")
        reading = replace(reading, no_object=nothing)
    return reading, names


# --- pixels --------------------------------------------------------------------------------------


def _arrays(
    sources: Mapping[str, Source], plan: Plan, camera: UnrealCamera | None
) -> dict[str, NDArray[np.generic]]:
    """All buffers of the plan. A file with several of them is opened once."""
    pose = None if camera is None else camera.world_from_camera()
    by_file: dict[Path, list[Source]] = {}
    for buffer in plan.buffers:
        by_file.setdefault(sources[buffer].header.path, []).append(sources[buffer])
    arrays: dict[str, NDArray[np.generic]] = {}
    for path, wanted in by_file.items():
        names = [channel for source in wanted for channel in source.layer.channels]
        planes = read_exr_channels(wanted[0].header, names)
        for source in wanted:
            layer = source.layer
            for channel in layer.channels:
                height, width = planes[channel].shape
                if (width, height) != plan.size:
                    raise SessionError(
                        f"{path}: {channel} is {width}x{height}, the shot's pictures are "
                        f"{plan.size[0]}x{plan.size[1]}; render all layers and frames in one size"
                    )
            given = [planes[channel] for channel in layer.channels]
            arrays |= to_buffer(layer.buffer, given, plan.reading, pose)
    return arrays


def _planes(source: Source) -> dict[str, NDArray[np.generic]]:
    return read_exr_channels(source.header, source.layer.channels)
