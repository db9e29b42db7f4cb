"""One clip's line in a manifest of pairs: what became of it, and where it came from.

Knows JSON and nothing of files.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from capture_bridge.errors import ProtocolError

MAX_LINE_BYTES = 1 << 20
_MAX_ITEMS = 1 << 14
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,119}")


@dataclass(frozen=True, slots=True)
class PairRecord:
    """One line.

    accepted, reasons, figures: the gates' verdict; a clip of which no picture could be made has
    size (0, 0) and no files. session: the file's name; seqs, epoch: which frames of it; t_ns: when
    each is shown there, measured. fps: of both videos, constant; measured_fps: of the session.
    size: (width, height) of both videos; crop: (x, y, width, height) of the session's picture that
    they show. intrinsics: (fx, fy, cx, cy) in pixels of the videos, one row per frame, or one alone
    where it never changes. anchors: which frames of the clip were edited.
    """

    name: str
    accepted: bool
    reasons: tuple[str, ...]
    figures: Mapping[str, float]
    session: str
    session_uuid: str
    epoch: int
    seqs: tuple[int, ...]
    t_ns: tuple[int, ...]
    measured_fps: float
    editor: str
    propagator: str
    caption: str
    fps: float = 0.0
    size: tuple[int, int] = (0, 0)
    crop: tuple[int, int, int, int] = (0, 0, 0, 0)
    intrinsics: tuple[tuple[float, float, float, float], ...] = ()
    anchors: tuple[int, ...] = ()
    extra: Mapping[str, str] = field(default_factory=dict)

    @property
    def has_videos(self) -> bool:
        """Whether there are a target and a reference of this clip."""
        return self.size != (0, 0)

    def to_line(self) -> bytes:
        """The record as a line of JSON; what is no finite number becomes null."""
        values = asdict(self)
        values["figures"] = {
            name: value if math.isfinite(value) else None for name, value in self.figures.items()
        }
        return json.dumps(values, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def read_record(line: bytes) -> PairRecord:
    """The record of a line; ProtocolError names what is wrong. Unknown fields are skipped."""
    if len(line) > MAX_LINE_BYTES:
        raise ProtocolError(f"it has {len(line)} bytes; the limit is {MAX_LINE_BYTES}")
    try:
        values = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"it is no JSON: {error}") from error
    if not isinstance(values, dict):
        raise ProtocolError("it is no JSON object")
    known = {item.name for item in fields(PairRecord)}
    try:
        return _record({name: values[name] for name in values if name in known})
    except (TypeError, ValueError, KeyError) as error:
        raise ProtocolError(f"a field is missing or of another kind: {error}") from error


def check_name(name: object) -> str:
    """A clip's name, which becomes file names; ProtocolError where it could lead elsewhere."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ProtocolError(f"{str(name)[:40]!r} is no name of a clip")
    return name


def _record(values: Mapping[str, Any]) -> PairRecord:
    crop, size = _numbers(values["crop"]), _numbers(values["size"])
    if len(crop) != 4 or len(size) != 2:
        raise ValueError("size is two numbers, crop four")
    return PairRecord(
        name=check_name(values["name"]),
        accepted=values["accepted"] is True,
        reasons=tuple(str(reason) for reason in _items(values["reasons"])),
        figures={
            str(name): math.nan if value is None else float(value)
            for name, value in dict(values["figures"]).items()
        },
        session=str(values["session"]),
        session_uuid=str(values["session_uuid"]),
        epoch=int(values["epoch"]),
        seqs=_numbers(values["seqs"]),
        t_ns=_numbers(values["t_ns"]),
        measured_fps=float(values["measured_fps"]),
        editor=str(values["editor"]),
        propagator=str(values["propagator"]),
        caption=str(values["caption"]),
        fps=float(values["fps"]),
        size=(size[0], size[1]),
        crop=(crop[0], crop[1], crop[2], crop[3]),
        intrinsics=tuple(_camera(row) for row in _items(values["intrinsics"])),
        anchors=_numbers(values["anchors"]),
        extra={str(name): str(value) for name, value in dict(values.get("extra", {})).items()},
    )


def _items(value: object) -> list[Any]:
    if not isinstance(value, list) or len(value) > _MAX_ITEMS:
        raise ValueError(f"a list of at most {_MAX_ITEMS} is wanted")
    return value


def _numbers(value: object) -> tuple[int, ...]:
    return tuple(int(item) for item in _items(value))


def _camera(row: object) -> tuple[float, float, float, float]:
    fx, fy, cx, cy = (float(item) for item in _items(row))
    return fx, fy, cx, cy
