"""Single pictures: PNG, and OpenEXR files with all buffers of a frame as named channels.

An EXR holds scene-linear colour (R, G, B, A as half floats: 8-bit sRGB comes back exactly), planar
metric depth (Z), camera-space normals (N.X, N.Y, N.Z), motion in pixels (motion.U, motion.V), ids
(id.instance, id.semantic) and materials: the names that compositing programs look for. The only
file that knows OpenEXR and OpenCV's image files.
"""

import io
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import OpenEXR
from numpy.typing import NDArray

from capture_bridge.buffers import BUFFERS, FrameArrays
from capture_bridge.errors import LimitError, OutputError, SessionError
from capture_bridge.exr_header import ExrHeader
from capture_bridge.fields import DEFAULT_LIMITS

Array = NDArray[np.generic]
_CODES = np.arange(256) / 255.0
#: Linear light of each 8-bit sRGB code (IEC 61966-2-1), as half floats: all 256 stay distinct.
_SRGB_TO_LINEAR: Final = np.where(
    _CODES <= 0.04045, _CODES / 12.92, ((_CODES + 0.055) / 1.055) ** 2.4
).astype(np.float16)


def write_png(path: str | Path, image: NDArray[np.uint8] | NDArray[np.uint16]) -> None:
    """Write (H, W), (H, W, 3) RGB or (H, W, 4) RGBA; replaces the file in one step. OutputError."""
    target = Path(path)
    swap = {3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}
    pixels = cv2.cvtColor(image, swap[image.shape[2]]) if image.ndim == 3 else image
    _, data = cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, 3])
    part = target.with_name(target.name + ".part")
    try:
        part.write_bytes(data.tobytes())
        part.replace(target)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise OutputError(f"cannot write {target}: {error.strerror}") from error


def read_png(path: str | Path) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """(H, W), (H, W, 3) RGB or (H, W, 4) RGBA; SessionError where it is missing or no picture."""
    try:
        data = np.frombuffer(Path(path).read_bytes(), np.uint8)
    except OSError as error:
        raise SessionError(f"cannot read {path}: {error.strerror}") from error
    pixels = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if data.size else None
    if pixels is None:
        raise SessionError(f"{path} is no picture that can be read")
    swap = {3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGBA}
    if pixels.ndim == 3:
        pixels = cv2.cvtColor(pixels, swap[pixels.shape[2]])
    if pixels.dtype == np.uint16:
        return pixels.astype(np.uint16, copy=False)
    return pixels.astype(np.uint8, copy=False)


def write_exr(
    path: str | Path, arrays: FrameArrays, attributes: Mapping[str, str] | None = None
) -> None:
    """Write a frame's buffers as the channels of one file, ZIP compressed (lossless).

    arrays: as in BUFFERS, all of one size; of color and color_hdr the latter is taken. attributes:
    texts for the header, e.g. session_uuid. Replaces the file in one step. Raises OutputError.
    """
    target = Path(path)
    names = [name for name in arrays if name in _LAYOUTS]
    if "color_hdr" in names and "color" in names:
        names.remove("color")
    sizes = {arrays[name].shape[:2] for name in names}
    if len(sizes) != 1:
        raise OutputError(f"cannot write {target}: an EXR has one size, the buffers have {sizes}")
    channels: dict[str, Array] = {}
    for name in names:
        layout, array = _LAYOUTS[name], arrays[name]
        planes = array[..., None] if array.ndim == 2 else array
        for index, channel in enumerate(layout.channels):
            plane = layout.to_channel(planes[..., index], index)
            channels[channel] = np.ascontiguousarray(plane)
    header = {
        **(attributes or {}),
        _BUFFERS_ATTRIBUTE: ",".join(names),
        "compression": OpenEXR.ZIP_COMPRESSION,
        "type": OpenEXR.scanlineimage,
    }
    part = target.with_name(target.name + ".part")
    try:
        with OpenEXR.File(header, channels) as file:
            file.write(str(part))
        part.replace(target)
    except (RuntimeError, OSError) as error:
        part.unlink(missing_ok=True)
        raise OutputError(f"cannot write {target}: {error}") from error


def read_exr(path: str | Path) -> tuple[FrameArrays, dict[str, str]]:
    """The buffers of a file that `write_exr` wrote, exactly as they were, and its attributes.

    Raises SessionError where it is missing, damaged or of another program.
    """
    try:
        with OpenEXR.File(str(path), separate_channels=True) as file:
            header = dict(file.header())  # the file empties its own when it closes
            names = str(header.get(_BUFFERS_ATTRIBUTE, "")).split(",")
            planes = {name: channel.pixels for name, channel in file.channels().items()}
        arrays = {name: _read_buffer(name, planes) for name in names}
    except (RuntimeError, KeyError) as error:
        raise SessionError(f"cannot read {path} as an EXR of this program: {error}") from error
    texts = {k: v for k, v in header.items() if isinstance(v, str) and k != _BUFFERS_ATTRIBUTE}
    return arrays, texts


def read_exr_channels(header: ExrHeader, names: Sequence[str]) -> dict[str, Array]:
    """Channels (H, W) of any program's file, in the type in which they are stored.

    header: of `read_exr_header`, which has checked what the file claims; names: of its channels.
    Raises SessionError where the pixels are damaged, LimitError where they are too many.
    """
    path = header.path
    decoded_bytes = sum(
        np.dtype(dtype).itemsize * part.width * part.height
        for part in header.parts
        for name, dtype in part.channels.items()
        if len(header.parts) > 1 or name in names
    )
    if decoded_bytes > DEFAULT_LIMITS.frame_bytes:
        raise LimitError(
            f"{path} holds {decoded_bytes} bytes of pixels; the limit is "
            f"{DEFAULT_LIMITS.frame_bytes}: render fewer layers into one file"
        )
    try:
        with _silence():
            planes = _all_parts(path) if len(header.parts) > 1 else _one_part(header, names)
    except (RuntimeError, OSError, ValueError, TypeError, MemoryError) as error:
        raise SessionError(
            f"{path} is damaged: its pixels cannot be decoded ({error}); render this frame again"
        ) from error
    lacking = [name for name in names if name not in planes]
    if lacking:
        raise SessionError(
            f"{path} is damaged: {', '.join(lacking)} cannot be decoded; render this frame again"
        )
    return {name: planes[name] for name in names}


def _one_part(header: ExrHeader, names: Sequence[str]) -> dict[str, Array]:
    """Only the channels that are named; the others are not unpacked into memory."""
    part = header.parts[0]
    file = OpenEXR.InputFile(str(header.path))
    try:
        planes = file.channels(list(names))
    finally:
        file.close()
    shape = (part.height, part.width)
    return {
        name: np.frombuffer(plane, np.dtype(part.channels[name])).reshape(shape)
        for name, plane in zip(names, planes, strict=True)
    }


def _all_parts(path: Path) -> dict[str, Array]:
    """Channels of all parts, named as ExrHeader.channels does."""
    with OpenEXR.File(str(path), separate_channels=True) as file:
        return {
            f"{part.name()}.{name}": channel.pixels
            for part in file.parts
            for name, channel in part.channels.items()
        }


@contextmanager
def _silence() -> Iterator[None]:
    """OpenEXR prints what it raises, from C and from Python; a person gets the exception's line."""
    sys.stderr.flush()
    kept = os.dup(2)
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 2)
        with redirect_stdout(io.StringIO()):
            yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(null)


@dataclass(frozen=True, slots=True)
class _Layout:
    """How a buffer stands in an EXR: its channels, and each plane's way there and back."""

    channels: tuple[str, ...]
    to_channel: Callable[[Array, int], Array]
    from_channel: Callable[[Array, int], Array]


def _read_buffer(name: str, planes: Mapping[str, Array]) -> Array:
    layout = _LAYOUTS[name]
    parts = [
        layout.from_channel(planes[channel], index) for index, channel in enumerate(layout.channels)
    ]
    dtype = BUFFERS[name].numpy_dtype
    return (parts[0] if len(parts) == 1 else np.stack(parts, -1)).astype(dtype, copy=False)


def _srgb_to_linear(plane: Array, index: int) -> Array:
    return _unit_to_half(plane, index) if index == 3 else _SRGB_TO_LINEAR[plane]


def _linear_to_srgb(plane: Array, index: int) -> Array:
    if index == 3:
        return _half_to_unit(plane, index)
    return np.searchsorted(_SRGB_TO_LINEAR, plane).clip(0, 255).astype(np.uint8)


def _unit_to_half(plane: Array, _: int) -> Array:
    return (plane.astype(np.float32) / 255).astype(np.float16)


def _half_to_unit(plane: Array, _: int) -> Array:
    return np.rint(plane.astype(np.float32) * 255).astype(np.uint8)


def _as_is(plane: Array, _: int) -> Array:
    return plane


def _as_uint32(plane: Array, _: int) -> Array:
    return plane.astype(np.uint32)


_BUFFERS_ATTRIBUTE: Final = "realmaster_buffers"
_LAYOUTS: Final[Mapping[str, _Layout]] = {
    "color": _Layout(("R", "G", "B", "A"), _srgb_to_linear, _linear_to_srgb),
    "color_hdr": _Layout(("R", "G", "B", "A"), _as_is, _as_is),
    "color_ui": _Layout(("ui.R", "ui.G", "ui.B", "ui.A"), _srgb_to_linear, _linear_to_srgb),
    "depth": _Layout(("Z",), _as_is, _as_is),
    "depth_raw": _Layout(("device.Z",), _as_is, _as_is),
    "normal": _Layout(("N.X", "N.Y", "N.Z"), _as_is, _as_is),
    "motion": _Layout(("motion.U", "motion.V"), _as_is, _as_is),
    "instance": _Layout(("id.instance",), _as_uint32, _as_is),
    "semantic": _Layout(("id.semantic",), _as_uint32, _as_is),
    "albedo": _Layout(("albedo.R", "albedo.G", "albedo.B"), _unit_to_half, _half_to_unit),
    "roughness": _Layout(("roughness.Y",), _unit_to_half, _half_to_unit),
    "metallic": _Layout(("metallic.Y",), _unit_to_half, _half_to_unit),
}
