"""A message becomes a list of byte buffers, and back: PROTOCOL.md's "Wire", sans I/O.

Part 0 is a msgpack map with `v`, `kind` and the message's fields; then follows one part per image
buffer, not copied. `KINDS` is the table of kinds, records.py has the longer of them. What `encode`
accepts, `decode` accepts under the same limits. Everything that comes from a peer is
checked; the only exceptions raised for it are ProtocolError and its kinds. No sockets here.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import msgpack

from capture_bridge.crc import crc32
from capture_bridge.errors import LimitError, ProtocolError, VersionError
from capture_bridge.fields import DEFAULT_LIMITS, Fields, Limits, check_depth
from capture_bridge.messages import (
    PROTOCOL_VERSION,
    Bye,
    Command,
    Credit,
    Enhanced,
    Error,
    Frame,
    Hello,
    Mark,
    Message,
    Result,
    Welcome,
)
from capture_bridge.records import (
    FieldMap,
    Part,
    read_credit,
    read_enhanced,
    read_frame,
    read_frame_header,
    read_hello,
    read_welcome,
    write_credit,
    write_frame_header,
    write_hello,
    write_welcome,
)

__all__ = [
    "DEFAULT_LIMITS",
    "KINDS",
    "Limits",
    "Unknown",
    "decode",
    "encode",
    "kind_of",
    "read_frame_header",
    "read_hello",
    "verify_checksums",
    "write_frame_header",
    "write_hello",
]

MAJOR, MINOR = PROTOCOL_VERSION
#: Readable whatever the sender's major version, so that a refusal can be understood.
VERSIONLESS_KIND: Final = "error"
#: Before this minor, `shared` was reserved and nothing could be announced.
SHARED_MEMORY_MINOR: Final = 1


@dataclass(frozen=True, slots=True)
class Unknown:
    """A message of a newer minor version whose kind we do not know: to be skipped."""

    kind: str


# --- the table of kinds ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Kind:
    """One row: the fields of a message as a map, and the message in an untrusted map."""

    message_type: type[Message]
    write: Callable[[Any], FieldMap]
    read: Callable[[Fields, Sequence[Part]], Message]
    has_payloads: bool = False


KINDS: Final[Mapping[str, Kind]] = {
    "hello": Kind(Hello, write_hello, lambda fields, _: read_hello(fields)),
    "welcome": Kind(Welcome, write_welcome, lambda fields, _: read_welcome(fields)),
    "credit": Kind(Credit, write_credit, lambda fields, _: read_credit(fields)),
    "frame": Kind(Frame, lambda m: write_frame_header(m.header), read_frame, has_payloads=True),
    "mark": Kind(
        Mark,
        lambda m: {"t_sim_ns": m.t_sim_ns, "label": m.label},
        lambda fields, _: Mark(fields.time_ns("t_sim_ns"), fields.text("label")),
    ),
    "command": Kind(
        Command,
        lambda m: {"request_id": m.request_id, "name": m.name, "args": dict(m.args)},
        lambda fields, _: Command(
            fields.integer("request_id"), fields.text("name"), fields.texts("args")
        ),
    ),
    "result": Kind(
        Result,
        lambda m: {"request_id": m.request_id, "ok": m.ok, "text": m.text},
        lambda fields, _: Result(
            fields.integer("request_id"), fields.boolean("ok"), fields.text("text", "")
        ),
    ),
    "enhanced": Kind(
        Enhanced,
        lambda m: {"seq": m.seq, "width": m.width, "height": m.height},
        read_enhanced,
        has_payloads=True,
    ),
    "error": Kind(
        Error,
        lambda m: {"code": m.code, "text": m.text},
        lambda fields, _: Error(fields.text("code"), fields.text("text")),
    ),
    "bye": Kind(
        Bye,
        lambda m: {
            "reason": m.reason,
            "last_seq": m.last_seq,
            "drops": {str(cause): count for cause, count in m.drops.items()},
        },
        lambda fields, _: Bye(
            reason=fields.text("reason"),
            last_seq=fields.integer("last_seq", low=-1, default=-1),
            drops=fields.counts("drops"),
        ),
    ),
}
_KIND_OF_TYPE: Final = {kind.message_type: name for name, kind in KINDS.items()}


# --- the two directions ---------------------------------------------------------------------------


def encode(message: Message, limits: Limits = DEFAULT_LIMITS) -> list[Part]:
    """The parts of the message: the header, then each payload as it is, not copied.

    Raises ProtocolError where `decode` would refuse the message under the same limits.
    """
    name = _KIND_OF_TYPE[type(message)]
    fields = KINDS[name].write(message)
    payloads = [memoryview(part).cast("B") for part in _payloads_of(message)]
    KINDS[name].read(Fields(fields, name, limits), payloads)
    head: bytes = msgpack.packb({"v": list(PROTOCOL_VERSION), "kind": name, **fields})
    if len(head) > limits.header_bytes:
        raise LimitError(f"{name}: header of {len(head)} bytes; the limit is {limits.header_bytes}")
    return [head, *payloads]


def decode(parts: Sequence[Part], limits: Limits = DEFAULT_LIMITS) -> Message | Unknown:
    """The message in the parts, which stay referenced where they are payloads.

    Unknown fields are skipped. A kind we do not know is `Unknown` if the sender's minor version is
    newer than ours, else a ProtocolError. Another major version is a VersionError.
    """
    header = _unpack_header(parts, limits)
    major, minor = _read_version(header)
    name = header.text("kind")
    if major != MAJOR and name != VERSIONLESS_KIND:
        raise VersionError(
            f"the other side speaks protocol {major}.{minor}, this side {MAJOR}.{MINOR}; "
            "the majors must match: update the older one"
        )
    kind = KINDS.get(name)
    if kind is None:
        if minor > MINOR:
            return Unknown(name)
        raise ProtocolError(f"unknown kind of message {name!r}; known are {', '.join(KINDS)}")
    header.where = name
    if minor < SHARED_MEMORY_MINOR:
        header.limits = replace(limits, shared_memory=False)
    if len(parts) > 1 and not kind.has_payloads:
        raise ProtocolError(f"{name} carries {len(parts) - 1} payloads; it must carry none")
    return kind.read(header, [memoryview(part).cast("B") for part in parts[1:]])


def kind_of(parts: Sequence[Part], limits: Limits = DEFAULT_LIMITS) -> str | None:
    """The kind that a message claims to be, or None where even that cannot be read."""
    try:
        return _unpack_header(parts, limits).text("kind")
    except ProtocolError:
        return None


def verify_checksums(frame: Frame) -> None:
    """Raise ProtocolError, naming the buffer, where a payload is not what its CRC-32 says."""
    for descriptor, payload in zip(frame.header.buffers, frame.payloads, strict=True):
        if descriptor.checksum is not None and crc32(payload) != descriptor.checksum:
            raise ProtocolError(
                f"frame {frame.header.seq}: buffer {descriptor.name} arrived damaged: "
                "its CRC-32 differs"
            )


def _payloads_of(message: Message) -> Sequence[Part]:
    if isinstance(message, Frame):
        return message.payloads
    return (message.payload,) if isinstance(message, Enhanced) else ()


def _unpack_header(parts: Sequence[Part], limits: Limits) -> Fields:
    if not 1 <= len(parts) <= limits.buffers + 1:
        raise LimitError(f"a message of {len(parts)} parts; it must have 1..{limits.buffers + 1}")
    head = parts[0]
    if len(head) > limits.header_bytes:
        raise LimitError(f"a header of {len(head)} bytes; the limit is {limits.header_bytes}")
    try:
        value = msgpack.unpackb(
            head,
            max_str_len=limits.text_bytes,
            max_bin_len=limits.text_bytes,
            max_array_len=limits.entries,
            max_map_len=limits.entries,
            max_ext_len=limits.text_bytes,
        )
    except ValueError as error:
        raise ProtocolError(f"a header that is no msgpack map within limits: {error}") from error
    check_depth(value, limits.depth, "a header")
    return Fields(value, "a message", limits)


def _read_version(header: Fields) -> tuple[int, int]:
    version = header.numbers("v", 2)
    if any(number != int(number) or number < 0 for number in version):
        raise ProtocolError(f"v is {list(version)}; it must be [major, minor]")
    return int(version[0]), int(version[1])
