"""What a session file is made of: topics, versions, records (PROTOCOL.md, "Session file").

A session is one MCAP file. Frames come in groups: one chunk per topic with pixels, then one chunk
of small messages whose `/frame` messages name the places of their pixels. So a frame whose header
is in the file is whole. Shared by session_writer.py and session_reader.py.
"""

import base64
import binascii
import dataclasses
import enum
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import msgpack

from capture_bridge import wire
from capture_bridge.errors import LimitError, ProtocolError, SessionError
from capture_bridge.fields import DEFAULT_LIMITS, Fields, check_depth
from capture_bridge.messages import PROTOCOL_VERSION, FrameHeader, Hello

PROFILE: Final = "realmaster"
SCHEMA_VERSION: Final = (1, 0)
#: A group of chunks is closed after this time or this many bytes, or with one larger frame.
GROUP_NS: Final = 1_000_000_000
GROUP_BYTES: Final = 32 << 20

SESSION_METADATA: Final = "realmaster.session"
EPOCH_METADATA: Final = "realmaster.epoch"
SUMMARY_METADATA: Final = "realmaster.summary"

FRAME_TOPIC: Final = "/frame"
CAMERA_TOPIC: Final = "/camera"
TRANSFORM_TOPIC: Final = "/tf"
DROPS_TOPIC: Final = "/drops"
MARKS_TOPIC: Final = "/marks"
HEALTH_TOPIC: Final = "/health"
BUFFER_TOPIC: Final = "/buffer/"  # + name

SessionCodec = Literal["shuffle+zstd", "shuffle+lz4", "raw"]
#: MCAP's own compression that goes with a codec, for topics that other programs read.
CHUNK_COMPRESSION: Final[Mapping[SessionCodec, str]] = {
    "shuffle+zstd": "zstd",
    "shuffle+lz4": "lz4",
    "raw": "",
}


class DropStage(enum.StrEnum):
    """Where a frame was lost."""

    PLUGIN = "plugin"  # the plugin counted it; the cause is its own (messages.DropCause)
    LINK = "link"  # a gap in seq that no one accounts for
    DECODE = "decode"  # it arrived malformed or damaged
    DISK = "disk"  # the disk was full or refused


@dataclass(frozen=True, slots=True)
class Drop:
    """Lost frames. stage: a DropStage; count: how many since the last record of that cause.

    first_seq: the first of them where it is known, else -1.
    """

    stage: str
    cause: str
    count: int
    epoch: int
    t_recv_ns: int
    first_seq: int = -1


@dataclass(frozen=True, slots=True)
class SessionMark:
    """A named moment in a session."""

    label: str
    t_sim_ns: int
    t_recv_ns: int
    epoch: int


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """What is known of a session as a whole.

    hello: of the first epoch. hellos: of each epoch. summary: what the recorder noted at the end.
    finished: whether the file was closed in good order; note: a line for a person where it was not.
    """

    path: Path
    session_uuid: str
    hello: Hello
    hellos: Mapping[int, Hello]
    created_unix_ns: int
    created_monotonic_ns: int
    finished: bool
    note: str = ""
    summary: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FrameRecord:
    """A `/frame` message: the header, its epoch, and per buffer the offset in its topic's chunk."""

    header: FrameHeader
    epoch: int
    offsets: Mapping[str, int]


def pack_frame_record(record: FrameRecord) -> bytes:
    """The header as on the wire, and two more fields: `epoch` and `at`."""
    fields = wire.write_frame_header(record.header)
    extra = {"epoch": record.epoch, "at": dict(record.offsets)}
    head = {"v": list(PROTOCOL_VERSION), "kind": "frame"}
    packed: bytes = msgpack.packb({**head, **fields, **extra})
    return packed


def read_frame_record(data: bytes | memoryview) -> FrameRecord:
    """The inverse of `pack_frame_record`; ProtocolError names what is wrong."""
    fields = unpack(data, "frame")
    header = wire.read_frame_header(fields)
    num_bytes, limit = (
        sum(b.row_pitch * b.height for b in header.buffers),
        DEFAULT_LIMITS.frame_bytes,
    )
    if num_bytes > limit:
        raise LimitError(f"frame {header.seq} is {num_bytes} bytes unpacked; the limit is {limit}")
    offsets = fields.counts("at")
    for buffer in header.buffers:
        if buffer.name not in offsets:
            raise ProtocolError(f"frame {header.seq}: no place is given for buffer {buffer.name}")
    return FrameRecord(header, fields.integer("epoch"), offsets)


def hello_to_metadata(hello: Hello, epoch: int) -> dict[str, str]:
    """A hello as MCAP metadata: readable lines, and the exact bytes with their CRC.

    The token is a secret of the link and stays out of the file.
    """
    packed = msgpack.packb(wire.write_hello(dataclasses.replace(hello, token="")))
    return {
        "epoch": str(epoch),
        "session_uuid": hello.session_uuid,
        "engine": f"{hello.engine} {hello.engine_version}",
        "plugin": f"{hello.plugin} {hello.plugin_version}",
        "game": hello.game,
        "hello_msgpack_base64": base64.b64encode(packed).decode(),
        "hello_crc32": str(zlib.crc32(packed)),
    }


def metadata_to_hello(values: Mapping[str, str]) -> tuple[int, Hello]:
    """(epoch, hello) of `hello_to_metadata`; ProtocolError where it is damaged."""
    try:
        packed = base64.b64decode(values["hello_msgpack_base64"], validate=True)
        crc, epoch = int(values["hello_crc32"]), int(values["epoch"])
    except (KeyError, ValueError, binascii.Error) as error:
        raise ProtocolError(f"the engine's hello cannot be read: {error}") from error
    if zlib.crc32(packed) != crc:
        raise ProtocolError("the CRC of the engine's hello differs")
    return epoch, wire.read_hello(unpack(packed, "hello"))


def to_json(record: Drop | SessionMark) -> bytes:
    """A small record as the JSON of its topic."""
    return json.dumps(dataclasses.asdict(record)).encode()


def read_drop(fields: Fields) -> Drop:
    """The record of lost frames in an untrusted map; ProtocolError names what is wrong."""
    return Drop(
        stage=fields.text("stage"),
        cause=fields.text("cause"),
        count=fields.integer("count"),
        epoch=fields.integer("epoch"),
        t_recv_ns=fields.time_ns("t_recv_ns"),
        first_seq=fields.integer("first_seq", low=-1, default=-1),
    )


def read_mark(fields: Fields) -> SessionMark:
    """The named moment in an untrusted map; ProtocolError names what is wrong."""
    return SessionMark(
        label=fields.text("label"),
        t_sim_ns=fields.time_ns("t_sim_ns"),
        t_recv_ns=fields.time_ns("t_recv_ns"),
        epoch=fields.integer("epoch"),
    )


def json_schema(record: type[Drop] | type[SessionMark]) -> bytes:
    """The JSON schema of a small record's topic."""
    kinds = {int: "integer", str: "string", float: "number"}
    properties = {
        item.name: {"type": kinds.get(_plain_type(item.type), "string")}
        for item in dataclasses.fields(record)
    }
    return json.dumps({"type": "object", "properties": properties}).encode()


def check_version(path: Path, text: str) -> None:
    """Raise SessionError where a session of schema version `text` ("1.0") cannot be read."""
    parts = text.split(".")
    if len(parts) != 2 or not all(part.isdecimal() and len(part) < 6 for part in parts):
        raise SessionError(f"{path} has no readable schema version: {text[:40]!r}")
    if int(parts[0]) != SCHEMA_VERSION[0]:
        raise SessionError(
            f"{path} has session schema {text}; this RealMaster reads "
            f"{SCHEMA_VERSION[0]}.x: use the RealMaster that made the file"
        )


def unpack(data: bytes | memoryview, where: str) -> Fields:
    """A msgpack map within the wire's limits."""
    limits = DEFAULT_LIMITS
    if len(data) > limits.header_bytes:
        raise ProtocolError(f"{where} has {len(data)} bytes; the limit is {limits.header_bytes}")
    try:
        value: Any = msgpack.unpackb(
            data,
            max_str_len=limits.text_bytes,
            max_bin_len=limits.text_bytes,
            max_array_len=limits.entries,
            max_map_len=limits.entries,
            max_ext_len=0,
        )
    except ValueError as error:
        raise ProtocolError(f"{where} is no msgpack map within limits: {error}") from error
    check_depth(value, limits.depth, where)
    return Fields(value, where, limits)


def _plain_type(annotation: Any) -> Any:
    return annotation if annotation in (int, float) else str
