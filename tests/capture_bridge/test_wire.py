import contextlib
import math
import tracemalloc
import zlib
from dataclasses import fields, is_dataclass, replace
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capture_bridge import wire
from capture_bridge.codecs import CODECS, DTYPES
from capture_bridge.errors import LimitError, ProtocolError, VersionError
from capture_bridge.fields import DEFAULT_LIMITS, Limits
from capture_bridge.messages import (
    BufferDescriptor,
    Bye,
    Camera,
    Command,
    Credit,
    Enhanced,
    Error,
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

WITH_SHARED = replace(DEFAULT_LIMITS, shared_memory=True)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
counts = st.integers(0, 2**63 - 1)
times = st.integers(-(2**63), 2**63 - 1)
numbers = st.floats(allow_nan=False, allow_infinity=False)
text_maps = st.dictionaries(texts, texts, max_size=4)
count_maps = st.dictionaries(texts, counts, max_size=5)
sides = st.integers(1, DEFAULT_LIMITS.side)
sizes = st.tuples(sides, sides)
unknown_names = texts.map(lambda name: "x_" + name)
dtypes = st.sampled_from(sorted(DTYPES))


def matrices(side: int) -> st.SearchStrategy[np.ndarray[Any, np.dtype[np.float64]]]:
    count = side * side
    return st.lists(numbers, min_size=count, max_size=count).map(
        lambda values: np.array(values, np.float64).reshape(side, side)
    )


@st.composite
def cameras(draw: st.DrawFn) -> Camera:
    near_m = draw(st.floats(1e-6, 1e6))
    far_m = draw(st.just(math.inf) | st.floats(near_m, 1e9, exclude_min=True))
    return Camera(
        draw(matrices(3)), draw(matrices(4)), draw(matrices(4)), near_m, far_m, draw(st.booleans())
    )


@st.composite
def buffers(draw: st.DrawFn, name: str) -> tuple[BufferDescriptor, bytes]:
    dtype, components = draw(dtypes), draw(st.integers(1, 4))
    width, height = draw(st.integers(1, 5)), draw(st.integers(1, 3))
    item = DTYPES[dtype].itemsize
    pitch = (width * components + draw(st.integers(0, 3))) * item
    codec = draw(st.sampled_from(sorted(CODECS)))
    num_bytes = pitch * height if codec == "raw" else draw(st.integers(1, 60))
    places = st.builds(
        SharedSlot, texts, st.integers(0, 63), counts, st.integers(0, 2**32), st.just(num_bytes)
    )
    shared = draw(st.none() | places)
    payload = b"" if shared else draw(st.binary(min_size=num_bytes, max_size=num_bytes))
    checksum = zlib.crc32(payload) if draw(st.booleans()) else None
    return (
        BufferDescriptor(name, width, height, dtype, components, pitch, codec, checksum, shared),
        payload,
    )


@st.composite
def frames(draw: st.DrawFn) -> Frame:
    names = draw(st.lists(unknown_names, max_size=3, unique=True))
    pairs = [draw(buffers(name)) for name in names]
    header = FrameHeader(
        seq=draw(counts),
        frame_id=draw(counts),
        t_sim_ns=draw(times),
        t_render_ns=draw(times),
        t_send_ns=draw(times),
        render_size=draw(sizes),
        output_size=draw(sizes),
        camera=draw(st.none() | cameras()),
        buffers=tuple(descriptor for descriptor, _ in pairs),
        flags=FrameFlags(draw(st.integers(0, 2**32 - 1))),
        drops=draw(count_maps),
        jitter_px=draw(st.tuples(numbers, numbers)),
    )
    return Frame(header, tuple(payload for _, payload in pairs))


streams = st.builds(StreamInfo, unknown_names, sides, sides, dtypes, st.integers(1, 4), text_maps)
hellos = st.builds(
    Hello,
    session_uuid=st.uuids().map(lambda uuid: uuid.hex),
    engine=texts,
    engine_version=texts,
    plugin=texts,
    plugin_version=texts,
    game=texts,
    streams=st.lists(streams, max_size=4, unique_by=lambda stream: stream.name).map(tuple),
    lockstep=st.booleans(),
    dt_sim_ns=counts,
    same_frame=st.booleans(),
    token=texts,
    params=text_maps,
    shared_slots=st.integers(1, 64),
    shared_slot_bytes=counts,
)
rings = st.builds(RingInfo, texts, st.integers(1, 64), st.integers(1, 2**32))
freed = st.lists(st.builds(FreedSlot, st.integers(0, 63), counts), max_size=4).map(tuple)
messages: st.SearchStrategy[Message] = st.one_of(
    hellos,
    st.builds(Welcome, counts, counts, counts, st.none() | rings),
    st.builds(Credit, st.integers(0, 2**31 - 1), counts, freed),
    frames(),
    st.builds(Mark, times, texts),
    st.builds(Command, counts, texts, text_maps),
    st.builds(Result, counts, st.booleans(), texts),
    st.builds(Enhanced, counts, st.just(2), st.just(3), st.binary(min_size=24, max_size=24)),
    st.builds(Error, texts, texts),
    st.builds(Bye, texts, st.integers(-1, 2**63 - 1), count_maps),
)


def same(one: object, other: object) -> bool:
    """Equality through dataclasses that hold arrays and views."""
    if is_dataclass(one) and type(one) is type(other):
        return all(same(getattr(one, f.name), getattr(other, f.name)) for f in fields(one))
    if isinstance(one, np.ndarray):
        return bool(np.array_equal(one, np.asarray(other)))
    if isinstance(one, tuple) and isinstance(other, tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def a_frame() -> Frame:
    pose = np.eye(4)
    camera = Camera(np.eye(3), pose, pose, 0.1, 100.0)
    descriptor = BufferDescriptor("depth", 4, 2, "<f4", 1, 16)
    header = FrameHeader(1, 1, 0, 0, 0, (4, 2), (4, 2), camera, (descriptor,))
    return Frame(header, (bytes(32),))


def altered(**changes: object) -> list[bytes]:
    """A frame whose header has other fields."""
    parts = [bytes(part) for part in wire.encode(a_frame())]
    return [msgpack.packb({**msgpack.unpackb(parts[0]), **changes}), *parts[1:]]


@given(messages)
def test_decode_is_the_inverse_of_encode(message: Message) -> None:
    assert same(wire.decode(wire.encode(message, WITH_SHARED), WITH_SHARED), message)


@settings(max_examples=200)
@given(messages, st.data())
def test_damage_gives_a_message_or_our_own_error(message: Message, data: st.DataObject) -> None:
    parts = [bytearray(part) for part in wire.encode(message, WITH_SHARED)]
    for _ in range(data.draw(st.integers(1, 4))):
        part = parts[data.draw(st.integers(0, len(parts) - 1))]
        if part and data.draw(st.booleans()):
            part[data.draw(st.integers(0, len(part) - 1))] ^= 1 << data.draw(st.integers(0, 7))
        elif part:
            del part[data.draw(st.integers(0, len(part) - 1)) :]
        elif len(parts) > 1:
            parts.pop()
    with contextlib.suppress(ProtocolError):
        wire.decode([bytes(part) for part in parts])


@settings(max_examples=300)
@given(st.lists(st.binary(max_size=200), max_size=4))
def test_any_bytes_give_a_message_or_our_own_error(parts: list[bytes]) -> None:
    with contextlib.suppress(ProtocolError):
        wire.decode(parts)


packables = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | texts
    | st.binary(),
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(texts, inner, max_size=5),
    max_leaves=30,
)


@settings(max_examples=300)
@given(st.sampled_from(sorted(wire.KINDS)), st.data())
def test_any_value_in_any_field_gives_a_message_or_our_own_error(
    kind: str, data: st.DataObject
) -> None:
    header: dict[str, object] = {"v": [1, 0], "kind": kind}
    known = msgpack.unpackb(wire.encode(a_frame())[0]) if kind == "frame" else {}
    header = {**known, **header}
    names = sorted({*known, "v", "streams", "drops", "params", "seq", "text", "nbytes", "camera"})
    for name in data.draw(st.lists(st.sampled_from(names), min_size=1, max_size=4)):
        header[name] = data.draw(packables)
    with contextlib.suppress(ProtocolError):
        wire.decode([msgpack.packb(header), bytes(32)])


@pytest.mark.parametrize(
    "head",
    [
        b"\xdf\xff\xff\xff\xff",  # a map of 4 G entries
        b"\xdd\xff\xff\xff\xff",  # a list of 4 G entries
        b"\xdb\xff\xff\xff\xff",  # a text of 4 GB
        b"\xc6\xff\xff\xff\xff",  # 4 GB of bytes
        b"\xc9\xff\xff\xff\xff\x01",  # an extension of 4 GB
        b"\x91" * 200_000,  # lists in lists
        b"\x81\xa1v" * 60_000,  # maps in maps
        b"\xdc\x01\x00" + b"\x90" * 256,
        b"\xd6\xff\x00\x00\x00\x00",  # a timestamp
        b"\x81\xa1\xff\x01",  # a key that is not UTF-8
        b"\x81\x90\x01",  # a list as key
        b"",
        b"\xc1",
        b"\x01\x02",
        bytes(1 << 20),
    ],
)
def test_absurd_headers_are_refused_without_taking_memory(head: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(ProtocolError):
            wire.decode([head])
        assert tracemalloc.get_traced_memory()[1] < 16 * DEFAULT_LIMITS.header_bytes
    finally:
        tracemalloc.stop()


def test_the_worst_header_within_limits_stays_small_in_memory() -> None:
    """Empty lists cost one byte on the wire and 56 in memory; 256 of 256 of them are allowed."""
    head = msgpack.packb({"v": [1, 0], "kind": "mark", "x": [[[]] * 255] * 255})
    tracemalloc.start()
    try:
        with pytest.raises(ProtocolError, match="lacks"):
            wire.decode([head])
        assert tracemalloc.get_traced_memory()[1] < 64 * DEFAULT_LIMITS.header_bytes
    finally:
        tracemalloc.stop()


def test_payloads_are_not_copied() -> None:
    payload = np.zeros((2, 4), np.float32)
    frame = replace(a_frame(), payloads=(payload.data.cast("B"),))
    parts = wire.encode(frame)
    assert np.shares_memory(np.frombuffer(parts[1], np.uint8), payload)
    decoded = wire.decode(parts)
    assert isinstance(decoded, Frame)
    assert np.shares_memory(np.frombuffer(decoded.payloads[0], np.uint8), payload)


def test_a_newer_minor_is_understood_and_another_major_is_not() -> None:
    later = altered(v=[1, 9], weather={"rain": 0.5})
    assert same(wire.decode(later), a_frame())
    assert wire.decode(altered(v=[1, 9], kind="weather")) == wire.Unknown("weather")
    with pytest.raises(VersionError, match=r"2\.3.*1\.1"):
        wire.decode(altered(v=[2, 3]))
    with pytest.raises(ProtocolError, match="weather"):
        wire.decode(altered(kind="weather"))


@pytest.mark.parametrize("field", ["K", "world_from_camera", "world_from_camera_prev", "near_m"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_camera_that_is_not_finite_is_refused_by_name(field: str, value: float) -> None:
    camera = msgpack.unpackb(wire.encode(a_frame())[0])["camera"]
    bad = [value, *camera[field][1:]] if isinstance(camera[field], list) else value
    with pytest.raises(ProtocolError, match=rf"frame\.camera.*{field}"):
        wire.decode(altered(camera={**camera, field: bad}))


def test_we_do_not_send_what_we_would_refuse() -> None:
    frame = a_frame()
    assert frame.header.camera is not None
    camera = replace(frame.header.camera, world_from_camera=np.full((4, 4), np.nan))
    with pytest.raises(ProtocolError, match="world_from_camera"):
        wire.encode(replace(frame, header=replace(frame.header, camera=camera)))
    with pytest.raises(LimitError, match="label"):
        wire.encode(Mark(0, "x" * 20_000))
    with pytest.raises(LimitError, match="header"):
        wire.encode(Command(0, "x", {str(i): "x" * 10_000 for i in range(100)}))
    with pytest.raises(ProtocolError, match="Unicode"):
        wire.encode(Mark(0, "\ud800"))


def test_a_payload_of_the_wrong_size_is_refused_with_both_sizes() -> None:
    with pytest.raises(ProtocolError, match=r"31 bytes.* is 32"):
        wire.decode([wire.encode(a_frame())[0], bytes(31)])


def test_total_size_of_a_frame_is_limited_as_sent_and_unpacked() -> None:
    parts = wire.encode(a_frame())
    with pytest.raises(LimitError, match="32 bytes unpacked; the limit is 31"):
        wire.decode(parts, Limits(frame_bytes=31))
    bomb = msgpack.unpackb(parts[0])["buffers"][0] | {
        "width": 16384,
        "height": 16384,
        "row_pitch": 16384 * 4,
        "codec": "zstd",
    }
    names = [f"x_{index}" for index in range(4)]
    head = altered(buffers=[{**bomb, "name": name} for name in names])[0]
    with pytest.raises(LimitError, match="unpacked"):
        wire.decode([head, *[b"x"] * 4])
    with pytest.raises(LimitError, match="parts"):
        wire.decode([parts[0]] * 40)


def test_shared_memory_needs_to_be_announced() -> None:
    place = SharedSlot("ring", 1, 2, 64, 32)
    descriptor = replace(a_frame().header.buffers[0], shared=place)
    header = replace(a_frame().header, buffers=(descriptor,))
    parts = wire.encode(Frame(header, (b"",)), WITH_SHARED)
    with pytest.raises(ProtocolError, match="shared memory"):
        wire.decode(parts)
    assert isinstance(wire.decode(parts, WITH_SHARED), Frame)
    before = msgpack.packb({**msgpack.unpackb(parts[0]), "v": [1, 0]})
    with pytest.raises(ProtocolError, match="shared memory"):
        wire.decode([before, b""], WITH_SHARED)


def test_checksums_find_a_flipped_bit() -> None:
    payload = bytearray(32)
    descriptor = replace(a_frame().header.buffers[0], checksum=zlib.crc32(payload))
    header = replace(a_frame().header, buffers=(descriptor,))
    wire.verify_checksums(Frame(header, (bytes(payload),)))
    payload[5] ^= 4
    with pytest.raises(ProtocolError, match="depth"):
        wire.verify_checksums(Frame(header, (bytes(payload),)))
