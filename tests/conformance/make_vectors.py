"""Writes the golden vectors that every implementation of PROTOCOL.md is checked against.

    python -m tests.conformance.make_vectors

NAME.bin holds the parts of one message, each after its length as a little-endian u32. NAME.json
says what it must decode to: {"message": {"kind": …, fields}} with matrices as nested lists,
payloads in hex and infinity as "inf"; or {"skipped": kind}; or {"error": class of the error,
"names": what its text must name}. With "announced": "shared memory" the reader must have announced
that before. msgpack allows several encodings of a value: compare values, not
bytes.
"""

import json
import math
import struct
from collections.abc import Sequence
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import msgpack
import numpy as np

from capture_bridge import wire
from capture_bridge.buffers import to_json
from capture_bridge.codecs import pack_buffer
from capture_bridge.messages import (
    Bye,
    Camera,
    Command,
    Credit,
    DropCause,
    Enhanced,
    Error,
    ErrorCode,
    Frame,
    FrameFlags,
    FrameHeader,
    FreedSlot,
    Hello,
    Mark,
    Message,
    Result,
    RingInfo,
    SharedSlot,
    StreamInfo,
    Welcome,
)

FOLDER = Path(__file__).parent
BUFFER_TABLE = FOLDER.parents[1] / "engine_plugins" / "buffers.json"
Parts = Sequence[bytes | memoryview]


def join(parts: Parts) -> bytes:
    """The parts as one file."""
    return b"".join(struct.pack("<I", len(part)) + part for part in parts)


def split(data: bytes) -> list[bytes]:
    """The parts in one file."""
    parts = []
    while data:
        (length,) = struct.unpack_from("<I", data)
        parts.append(data[4 : 4 + length])
        data = data[4 + length :]
    return parts


def to_plain(value: object) -> Any:
    """A message, or anything in one, as JSON can hold it."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, bytes | memoryview):
        return bytes(value).hex()
    if isinstance(value, float) and math.isinf(value):
        return "inf"
    if is_dataclass(value):
        return {field.name: to_plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, dict):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    return int(value) if isinstance(value, FrameFlags) else value


def message_to_plain(message: Message) -> dict[str, Any]:
    """The message as `NAME.json` shows it."""
    return {"kind": type(message).__name__.lower(), **to_plain(message)}


def _camera() -> Camera:
    pose = np.eye(4)
    pose[:3, 3] = (1.5, -2.0, 1.6)
    K = np.array([[500.0, 0.0, 2.0], [0.0, 500.0, 1.5], [0.0, 0.0, 1.0]])
    return Camera(K, pose, np.eye(4), near_m=0.1, far_m=math.inf, reversed_z=True)


def _frame() -> Frame:
    color = np.arange(48, dtype=np.uint8).reshape(3, 4, 4)
    depth = np.linspace(1, 12, 12, dtype=np.float32).reshape(3, 4)
    depth[0, 0], depth[0, 1] = np.inf, np.nan
    normal = np.zeros((3, 4, 3), np.float16)
    normal[..., 2] = -1
    packed = [
        pack_buffer("color", color, checksum=True),
        pack_buffer("depth", depth, "shuffle+lz4"),
        pack_buffer("normal", normal, "lz4"),
        pack_buffer("x_thickness", depth),  # a name that no table knows
    ]
    header = FrameHeader(
        seq=7,
        frame_id=2**40,
        t_sim_ns=-5,
        t_render_ns=1_000_000_001,
        t_send_ns=1_000_000_002,
        render_size=(4, 3),
        output_size=(8, 6),
        camera=_camera(),
        buffers=tuple(descriptor for descriptor, _ in packed),
        flags=FrameFlags.CUT | FrameFlags.HUD_IN_COLOR,
        drops={DropCause.NO_CREDIT: 3, DropCause.DISCONNECTED: 1},
        jitter_px=(0.25, -0.125),
    )
    return Frame(header, tuple(payload for _, payload in packed))


def _padded_frame() -> Frame:
    """Rows of 3 pixels in 16 bytes: the payload's padding must be skipped."""
    frame = _frame()
    descriptor = replace(frame.header.buffers[0], width=3, row_pitch=16, checksum=None)
    header = replace(frame.header, buffers=(descriptor,), camera=None)
    return Frame(header, (bytes(frame.payloads[0]),))


def _shared_frame() -> Frame:
    """The same rows in slot 3 of a ring; the message carries an empty payload."""
    padded = _padded_frame()
    place = SharedSlot("/proc/4242/fd/17", slot=3, generation=2**33, offset=64, nbytes=48)
    descriptor = replace(padded.header.buffers[0], checksum=0xFEDCBA98, shared=place)
    return Frame(replace(padded.header, buffers=(descriptor,)), (b"",))


_HELLO = Hello(
    session_uuid="0123456789abcdef" * 2,
    engine="street",
    engine_version="1.10.16",
    plugin="panda3d",
    plugin_version="0.1.0",
    game="straße",
    streams=(
        StreamInfo("color", 640, 360, "u1", 4),
        StreamInfo("semantic", 640, 360, "u1", 1, {"classes": "none,sky"}),
    ),
    lockstep=True,
    dt_sim_ns=41_666_667,
    token="secret",
    params={"seed": "907"},
)
_WELCOME = Welcome(epoch=2, max_frame_bytes=1 << 29, heartbeat_ns=10**9)

MESSAGES: dict[str, Message] = {
    "hello": _HELLO,
    "hello_shared": replace(_HELLO, shared_slots=6, shared_slot_bytes=16 << 20),
    "welcome": _WELCOME,
    "welcome_shared": replace(_WELCOME, shared=RingInfo("/proc/4242/fd/17", 6, 16 << 20)),
    "credit": Credit(frames=4, nbytes=1 << 33),
    "credit_freed": Credit(1, 48, (FreedSlot(3, 2**33), FreedSlot(0, 1))),
    "frame": _frame(),
    "frame_padded": _padded_frame(),
    "frame_shared": _shared_frame(),
    "mark": Mark(t_sim_ns=-(2**63), label="level 2"),
    "command": Command(1, "start", {"fps": "24"}),
    "result": Result(1, ok=False, text="no such level"),
    "enhanced": Enhanced(7, 2, 1, bytes(range(8))),
    "error": Error(ErrorCode.BUSY, "another plugin is connected"),
    "bye": Bye("quit", last_seq=240, drops={DropCause.NO_CREDIT: 12}),
}


#: These may only be read where shared memory was announced.
SHARED = ("frame_shared", "bad_shared_payload", "bad_shared_size", "bad_shared_before_1_1")
SHARED_LIMITS = wire.Limits(shared_memory=True)


def limits_of(name: str) -> wire.Limits:
    """The limits under which a vector is read and written."""
    return SHARED_LIMITS if name in SHARED else wire.DEFAULT_LIMITS


def _altered(name: str, version: tuple[int, int] = (1, 1), **changes: object) -> list[bytes]:
    """The parts of a message with other fields in its header."""
    parts = [bytes(part) for part in wire.encode(MESSAGES[name], limits_of(name))]
    header = {**msgpack.unpackb(parts[0]), "v": list(version), **changes}
    return [msgpack.packb(header), *parts[1:]]


def _with_camera(**changes: object) -> list[bytes]:
    camera = msgpack.unpackb(wire.encode(MESSAGES["frame"])[0])["camera"]
    return _altered("frame", camera={**camera, **changes})


def _with_buffer(**changes: object) -> list[bytes]:
    buffers = msgpack.unpackb(wire.encode(MESSAGES["frame"])[0])["buffers"]
    return _altered("frame", buffers=[{**buffers[0], **changes}, *buffers[1:]])


def _with_place(**changes: object) -> list[bytes]:
    buffers = msgpack.unpackb(wire.encode(MESSAGES["frame_shared"], SHARED_LIMITS)[0])["buffers"]
    place = {**buffers[0]["shared"], **changes}
    return _altered("frame_shared", buffers=[{**buffers[0], "shared": place}])


def _vectors() -> dict[str, tuple[Parts, dict[str, Any]]]:
    good = {
        name: (wire.encode(message, limits_of(name)), {"message": message_to_plain(message)})
        for name, message in MESSAGES.items()
    }
    later = {
        "later_field": (
            _altered("credit", (1, 7), urgency={"of": ["a", "later", "minor"]}),
            {"message": message_to_plain(MESSAGES["credit"])},
        ),
        "later_kind": (_altered("credit", (1, 7), kind="audio"), {"skipped": "audio"}),
        "later_major_error": (
            _altered("error", (2, 0)),
            {"message": message_to_plain(MESSAGES["error"])},
        ),
    }
    frame = wire.encode(MESSAGES["frame"])
    shared_frame = wire.encode(MESSAGES["frame_shared"], SHARED_LIMITS)
    shared = {"name": "ring", "slot": 0, "generation": 1, "offset": 64, "nbytes": 48}
    bad: dict[str, tuple[Parts, str, str]] = {
        "bad_major": (_altered("hello", (2, 0)), "VersionError", "2.0"),
        "bad_kind": (_altered("credit", kind="audio"), "ProtocolError", "audio"),
        "bad_nan_pose": (
            _with_camera(world_from_camera=[math.nan] * 16),
            "ProtocolError",
            "world_from_camera",
        ),
        "bad_infinite_k": (_with_camera(K=[math.inf] * 9), "ProtocolError", "camera.K"),
        "bad_near_far": (_with_camera(near_m=5.0, far_m=1.0), "ProtocolError", "near_m"),
        "bad_payload_size": ([frame[0], frame[1][:-1], *frame[2:]], "ProtocolError", "color"),
        "bad_payload_count": (frame[:-1], "ProtocolError", "payloads"),
        "bad_dtype": (_with_buffer(dtype="<f4"), "ProtocolError", "color"),
        "bad_codec": (_with_buffer(codec="jpeg"), "ProtocolError", "jpeg"),
        "bad_row_pitch": (_with_buffer(row_pitch=15), "LimitError", "row_pitch"),
        "bad_width": (_with_buffer(width=16385), "LimitError", "width"),
        "bad_shared": (_with_buffer(shared=shared), "ProtocolError", "shared memory"),
        "bad_shared_before_1_1": (_altered("frame_shared", (1, 0)), "ProtocolError", "announced"),
        "bad_shared_payload": ([shared_frame[0], b"x"], "ProtocolError", "empty"),
        "bad_shared_size": (_with_place(nbytes=47), "ProtocolError", "47 bytes"),
        "bad_slot": (
            _altered("credit_freed", freed=[{"slot": 64, "generation": 1}]),
            "LimitError",
            "slot",
        ),
        "bad_twice": (_with_buffer(name="x_thickness"), "ProtocolError", "x_thickness"),
        "bad_truncated": ([frame[0][:-1], *frame[1:]], "ProtocolError", "header"),
        "bad_long_text": (_altered("mark", label="x" * 16385), "ProtocolError", "16384"),
        "bad_uuid": (_altered("hello", session_uuid="7"), "ProtocolError", "session_uuid"),
    }
    errors = {
        name: (parts, {"error": error, "names": names})
        for name, (parts, error, names) in bad.items()
    }
    return {**good, **later, **errors}


VECTORS = _vectors()


def files() -> dict[str, bytes]:
    """File name to content, for all vectors."""
    out = {}
    for name, (parts, expected) in VECTORS.items():
        out[f"{name}.bin"] = join(parts)
        expected = {**expected, "announced": "shared memory"} if name in SHARED else expected
        text = json.dumps(expected, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        out[f"{name}.json"] = text.encode()
    return out


def main() -> None:
    """Write all files, and the table of buffers for other languages."""
    BUFFER_TABLE.write_text(to_json(), encoding="utf-8")
    for name, content in files().items():
        (FOLDER / name).write_bytes(content)


if __name__ == "__main__":
    main()
