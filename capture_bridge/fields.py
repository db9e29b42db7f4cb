"""Typed reading of one untrusted map: every field by name, every length limited.

`Fields` turns what msgpack (or a file) gave into numbers, texts and matrices, or raises a
ProtocolError that names the field, e.g. "frame.camera.K". Fields nobody asks for are skipped, which
is how a newer minor version adds some. This file knows neither messages nor sockets.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from capture_bridge.errors import LimitError, ProtocolError

INT64_MAX: Final = 2**63 - 1
INT64_MIN: Final = -(2**63)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one message may hold at most; lengths of texts are bytes of UTF-8."""

    header_bytes: int = 256 * 1024
    text_bytes: int = 16 * 1024
    entries: int = 256  # of one map or one list
    depth: int = 8  # of maps and lists within each other
    buffers: int = 32  # of a frame; also the streams of a hello
    side: int = 16384  # width and height of an image
    frame_bytes: int = 1 << 30  # all payloads of one frame, as sent and unpacked
    shared_slots: int = 64  # of a ring of shared memory
    shared_memory: bool = False  # whether payloads in shared memory were announced


DEFAULT_LIMITS: Final = Limits()


class Fields:
    """One untrusted map; `where` is the path that errors name."""

    __slots__ = ("_map", "limits", "where")

    def __init__(self, value: object, where: str, limits: Limits) -> None:
        if not isinstance(value, dict):
            raise ProtocolError(f"{where} is {_kind_of(value)}; it must be a map")
        if len(value) > limits.entries:
            raise LimitError(f"{where} has {len(value)} fields; the limit is {limits.entries}")
        self._map = value
        self.where = where
        self.limits = limits

    def has(self, name: str) -> bool:
        """Whether the field is there and not nil."""
        return self._map.get(name) is not None

    def integer(
        self, name: str, *, low: int = 0, high: int = INT64_MAX, default: int | None = None
    ) -> int:
        """An integer in [low, high]."""
        value = self._get(name, default)
        if type(value) is not int:
            raise self._wrong(name, value, "an integer")
        if not low <= value <= high:
            raise LimitError(f"{self.where}.{name} is {value}; it must lie in {low}..{high}")
        return value

    def time_ns(self, name: str, default: int | None = None) -> int:
        """An int64 of nanoseconds."""
        return self.integer(name, low=INT64_MIN, default=default)

    def boolean(self, name: str, default: bool | None = None) -> bool:
        """True or false."""
        value = self._get(name, default)
        if type(value) is not bool:
            raise self._wrong(name, value, "true or false")
        return value

    def text(self, name: str, default: str | None = None) -> str:
        """A text within the limit."""
        return self._text(name, self._get(name, default))

    def number(self, name: str, *, may_be_infinite: bool = False) -> float:
        """A float (an integer will do): finite, or also +inf."""
        value = self._number(name, self._get(name, None))
        if not math.isfinite(value) and not (may_be_infinite and value == math.inf):
            raise ProtocolError(f"{self.where}.{name} is {value}; it must be finite")
        return value

    def numbers(
        self, name: str, count: int, default: Sequence[float] | None = None
    ) -> tuple[float, ...]:
        """Exactly `count` finite floats."""
        values = self._list(name, self._get(name, default))
        if len(values) != count:
            raise ProtocolError(f"{self.where}.{name} has {len(values)} numbers, not {count}")
        numbers = tuple(self._number(name, value) for value in values)
        if not all(map(math.isfinite, numbers)):
            raise ProtocolError(f"{self.where}.{name} holds a NaN or an infinity: {numbers}")
        return numbers

    def matrix(self, name: str, side: int) -> NDArray[np.float64]:
        """A (side, side) matrix of finite float64, row-major on the wire."""
        return np.array(self.numbers(name, side * side), np.float64).reshape(side, side)

    def size(self, name: str) -> tuple[int, int]:
        """(width, height), each in 1..limits.side."""
        values = self._list(name, self._get(name, None))
        if len(values) != 2:
            raise ProtocolError(f"{self.where}.{name} has {len(values)} entries, not 2")
        pair = Fields({"width": values[0], "height": values[1]}, self._at(name), self.limits)
        return pair.side("width"), pair.side("height")

    def side(self, name: str) -> int:
        """A width or height, 1..limits.side."""
        return self.integer(name, low=1, high=self.limits.side)

    def maps(self, name: str, limit: int) -> "list[Fields]":
        """A list of at most `limit` maps."""
        values = self._list(name, self._get(name, None))
        if len(values) > limit:
            raise LimitError(f"{self.where}.{name} has {len(values)} entries; the limit is {limit}")
        return [
            Fields(value, f"{self._at(name)}[{index}]", self.limits)
            for index, value in enumerate(values)
        ]

    def optional(self, name: str) -> "Fields | None":
        """The map of that name, or None where there is none."""
        return self.map(name) if self.has(name) else None

    def map(self, name: str) -> "Fields":
        """The map of that name."""
        return Fields(self._get(name, None), self._at(name), self.limits)

    def texts(self, name: str) -> dict[str, str]:
        """A map of text to text; empty where there is none."""
        inner = Fields(self._get(name, {}), self._at(name), self.limits)
        return {inner._text("(key)", key): inner.text(key) for key in inner._map}

    def counts(self, name: str) -> dict[str, int]:
        """A map of text to a count; empty where there is none."""
        inner = Fields(self._get(name, {}), self._at(name), self.limits)
        return {inner._text("(key)", key): inner.integer(key) for key in inner._map}

    def _at(self, name: str) -> str:
        return f"{self.where}.{name}"

    def _get(self, name: str, default: object) -> object:
        value = self._map.get(name)
        if value is not None:
            return value
        if default is None:
            raise ProtocolError(f"{self.where} lacks the field {name!r}")
        return default

    def _list(self, name: str, value: object) -> Sequence[object]:
        if not isinstance(value, list | tuple):
            raise self._wrong(name, value, "a list")
        return value

    def _number(self, name: str, value: object) -> float:
        if type(value) is float:
            return value
        if type(value) is int:
            return float(value)
        raise self._wrong(name, value, "a number")

    def _text(self, name: str, value: object) -> str:
        if not isinstance(value, str):
            raise self._wrong(name, value, "a text")
        try:
            num_bytes = len(value.encode())
        except UnicodeEncodeError as error:
            raise ProtocolError(f"{self.where}.{name} is not valid Unicode") from error
        if num_bytes > self.limits.text_bytes:
            raise LimitError(
                f"{self.where}.{name} is {num_bytes} bytes long; "
                f"the limit is {self.limits.text_bytes}"
            )
        return value

    def _wrong(self, name: str, value: object, wanted: str) -> ProtocolError:
        return ProtocolError(f"{self.where}.{name} is {_kind_of(value)}; it must be {wanted}")


def check_depth(value: object, limit: int, where: str) -> None:
    """Raise LimitError where maps and lists lie within each other deeper than `limit`."""
    if not isinstance(value, dict | list):
        return
    if limit == 0:
        raise LimitError(f"{where} has maps and lists nested too deep within each other")
    for item in value.values() if isinstance(value, dict) else value:
        check_depth(item, limit - 1, where)


def _kind_of(value: object) -> str:
    return "nil" if value is None else f"of type {type(value).__name__}"
