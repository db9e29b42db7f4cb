"""The header of an OpenEXR file, read without decoding a pixel and with a limit on every length.

What a file claims (size, channels, attributes, where its chunks lie) is held against limits and
against its real length before OpenEXR may allocate for it. Knows the file layout of "OpenEXR File
Layout" (openexr.com) and numpy's dtypes; no library, no engine.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO, Final

from capture_bridge.errors import LimitError, SessionError
from capture_bridge.fields import DEFAULT_LIMITS

MAX_HEADER_BYTES: Final = 32 << 20  # a cryptomatte manifest of 100 000 objects is about 5 MB
MAX_ATTRIBUTES: Final = 4096
MAX_CHANNELS: Final = 1024
MAX_PARTS: Final = 64
MAX_NAME_BYTES: Final = 255

_MAGIC = b"v/1\x01"
_MULTI_PART, _DEEP, _TILED = 0x1000, 0x800, 0x200
_PIXEL_TYPES: Mapping[int, str] = MappingProxyType({0: "<u4", 1: "<f2", 2: "<f4"})
_NUMBERS: Mapping[str, str] = MappingProxyType({"int": "<i", "float": "<f", "double": "<d"})
#: Rows of one chunk by compression: none, RLE, ZIPS, ZIP, PIZ, PXR24, B44, B44A, DWAA, DWAB.
_ROWS_OF_CHUNK = (1, 1, 1, 16, 32, 16, 32, 32, 32, 256)

Window = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class ExrPart:
    """One part. channels: name to numpy dtype. windows: x and y of the first and last pixel."""

    name: str
    channels: Mapping[str, str]
    data_window: Window
    display_window: Window
    compression: int
    num_chunks: int  # 0: tiled

    @property
    def width(self) -> int:
        """Columns of the stored picture."""
        return self.data_window[2] - self.data_window[0] + 1

    @property
    def height(self) -> int:
        """Rows of the stored picture."""
        return self.data_window[3] - self.data_window[1] + 1


@dataclass(frozen=True, slots=True)
class ExrHeader:
    """A file's parts, and what stands among its attributes (of all parts).

    texts: also plain numbers, written out. primaries: x, y of red, green, blue and white; empty
    where the file does not say.
    """

    path: Path
    parts: tuple[ExrPart, ...]
    texts: Mapping[str, str]
    rationals: Mapping[str, Fraction]
    primaries: tuple[float, ...] = ()

    @property
    def channels(self) -> dict[str, str]:
        """Name to dtype, over all parts; several parts' channels are named "part.channel"."""
        if len(self.parts) == 1:
            return dict(self.parts[0].channels)
        return {
            f"{part.name}.{name}": dtype
            for part in self.parts
            for name, dtype in part.channels.items()
        }


def read_exr_header(path: Path) -> ExrHeader:
    """What the file says of itself; chunks of a single-part file are known to lie within it.

    Raises SessionError, one line: missing, no EXR, deep data, truncated; LimitError: too large.
    """
    try:
        num_bytes = path.stat().st_size
        with path.open("rb") as file:
            data = file.read(min(num_bytes, MAX_HEADER_BYTES))
            reader = _Reader(path, data, num_bytes)
            flags = reader.begin()
            if flags & _DEEP:
                raise SessionError(f"{path} holds deep data, which has no one value a pixel")
            header = reader.header(bool(flags & _MULTI_PART), bool(flags & _TILED))
            if len(header.parts) == 1 and not flags & _MULTI_PART:
                _check_chunks(file, header, reader.position, num_bytes)
            return header
    except OSError as error:
        raise SessionError(f"cannot read {path}: {error.strerror}") from error


class _Reader:
    """Walks over the header's bytes; every step is checked."""

    def __init__(self, path: Path, data: bytes, num_bytes: int) -> None:
        self.path, self.data, self.num_bytes = path, data, num_bytes
        self.position = 0
        self._texts: dict[str, str] = {}
        self._rationals: dict[str, Fraction] = {}
        self._primaries: tuple[float, ...] = ()

    def begin(self) -> int:
        """The version flags behind the magic number."""
        if self.num_bytes == 0:
            raise SessionError(f"{self.path} is empty")
        if self._take(4) != _MAGIC:
            raise SessionError(f"{self.path} is no OpenEXR file")
        (version,) = struct.unpack("<I", self._take(4))
        if version & 0xFF != 2:
            raise SessionError(f"{self.path} is OpenEXR version {version & 0xFF}, not 2")
        return int(version)

    def header(self, is_multi_part: bool, is_tiled: bool) -> ExrHeader:
        """All parts up to the empty one that ends them."""
        parts: list[ExrPart] = []
        while True:
            values = self._attributes()
            if not values and is_multi_part:
                break
            parts.append(self._part(values, is_tiled))
            if len(parts) > MAX_PARTS:
                raise LimitError(f"{self.path} has more than {MAX_PARTS} parts")
            if not is_multi_part:
                break
        if not parts:
            raise SessionError(f"{self.path} has no picture in it")
        return ExrHeader(self.path, tuple(parts), self._texts, self._rationals, self._primaries)

    def _attributes(self) -> dict[str, bytes]:
        """Name to raw value, of one part; texts and rationals are kept for the file."""
        values: dict[str, bytes] = {}
        while name := self._name():
            kind = self._name()
            (size,) = struct.unpack("<i", self._take(4))
            if size < 0:
                raise self._broken(f"attribute {name!r} has {size} bytes")
            value = self._take(size)
            self._keep(name, kind, value)
            values[name] = value
            if len(values) > MAX_ATTRIBUTES:
                raise LimitError(f"{self.path} has more than {MAX_ATTRIBUTES} attributes")
        return values

    def _keep(self, name: str, kind: str, value: bytes) -> None:
        """Note an attribute of a kind that somebody asks for."""
        number = _NUMBERS.get(kind)
        if kind == "string":
            self._texts[name] = value.decode("utf-8", "replace")
        elif number is not None and len(value) == struct.calcsize(number):
            self._texts[name] = repr(struct.unpack(number, value)[0])
        elif kind == "rational" and len(value) == 8:
            above, below = struct.unpack("<iI", value)
            if below:
                self._rationals[name] = Fraction(above, below)
        elif kind == "chromaticities" and len(value) == 32:
            self._primaries = struct.unpack("<8f", value)

    def _part(self, values: Mapping[str, bytes], is_tiled: bool) -> ExrPart:
        for needed, size in (("dataWindow", 16), ("displayWindow", 16), ("compression", 1)):
            if len(values.get(needed, b"")) != size:
                raise self._broken(f"its {needed} is missing or malformed")
        if "channels" not in values:
            raise self._broken("it has no channels")
        window, display = (self._window(values[n]) for n in ("dataWindow", "displayWindow"))
        compression = values["compression"][0]
        if compression >= len(_ROWS_OF_CHUNK):
            raise SessionError(
                f"{self.path} is compressed in way {compression}, which is not known here; render "
                "with ZIP or PIZ"
            )
        kind = values.get("type", b"scanlineimage")
        if kind.startswith(b"deep"):
            raise SessionError(f"{self.path} holds deep data, which has no one value a pixel")
        rows = window[3] - window[1] + 1
        per_chunk = _ROWS_OF_CHUNK[compression]
        tiled = is_tiled or kind == b"tiledimage"
        return ExrPart(
            values.get("name", b"").decode("utf-8", "replace"),
            self._channels(values["channels"]),
            window,
            display,
            compression,
            0 if tiled else -(-rows // per_chunk),
        )

    def _window(self, value: bytes) -> Window:
        x0, y0, x1, y1 = struct.unpack("<4i", value)
        limit = DEFAULT_LIMITS.side
        for side in (x1 - x0 + 1, y1 - y0 + 1):
            if not 1 <= side <= limit:
                raise LimitError(
                    f"{self.path} claims {x1 - x0 + 1}x{y1 - y0 + 1} pixels; a side must be 1 to "
                    f"{limit}"
                )
        return x0, y0, x1, y1

    def _channels(self, value: bytes) -> dict[str, str]:
        """Name to dtype, of channels with a value for every pixel."""
        channels: dict[str, str] = {}
        inner = _Reader(self.path, value, len(value))
        while name := inner._name():
            kind, _, x_step, y_step = struct.unpack("<iIii", inner._take(16))
            if kind not in _PIXEL_TYPES:
                raise self._broken(f"channel {name!r} has the unknown type {kind}")
            if (x_step, y_step) != (1, 1):
                raise SessionError(f"{self.path}: channel {name!r} is subsampled")
            channels[name] = _PIXEL_TYPES[kind]
            if len(channels) > MAX_CHANNELS:
                raise LimitError(f"{self.path} has more than {MAX_CHANNELS} channels")
        return channels

    def _name(self) -> str:
        end = self.data.find(b"\0", self.position, self.position + MAX_NAME_BYTES + 1)
        if end < 0:
            raise self._broken("a name in its header does not end")
        name = self.data[self.position : end].decode("latin-1")
        self.position = end + 1
        return name

    def _take(self, count: int) -> bytes:
        end = self.position + count
        if end > len(self.data):
            if len(self.data) < self.num_bytes:
                raise LimitError(f"{self.path}: its header has more than {MAX_HEADER_BYTES} bytes")
            raise self._broken("it ends within its header")
        taken = self.data[self.position : end]
        self.position = end
        return taken

    def _broken(self, what: str) -> SessionError:
        return SessionError(f"{self.path} is damaged: {what}; render this frame again")


def _check_chunks(file: BinaryIO, header: ExrHeader, start: int, num_bytes: int) -> None:
    """Every chunk of a single scan-line part lies within the file."""
    num_chunks = header.parts[0].num_chunks
    file.seek(start)
    table = file.read(8 * num_chunks)
    if len(table) < 8 * num_chunks:
        raise _cut_off(header.path, 0, num_chunks)
    for index, (offset,) in enumerate(struct.iter_unpack("<Q", table)):
        if not start + len(table) <= offset <= num_bytes - 8:
            raise _cut_off(header.path, index, num_chunks)
        file.seek(offset)
        leader = file.read(8)  # y of the first row, bytes that follow
        (size,) = struct.unpack("<i", leader[4:]) if len(leader) == 8 else (-1,)
        if not 0 <= size <= num_bytes - offset - 8:
            raise _cut_off(header.path, index, num_chunks)


def _cut_off(path: Path, index: int, num_chunks: int) -> SessionError:
    return SessionError(
        f"{path} is cut off or damaged: block {index + 1} of {num_chunks} is not whole; render "
        "this frame again"
    )
