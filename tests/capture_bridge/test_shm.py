"""The ring of shared memory without a plugin in C++: a writer that may be honest or not."""

import gc
import mmap
import os
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from capture_bridge import wire
from capture_bridge.codecs import decode_payload
from capture_bridge.errors import ProtocolError
from capture_bridge.link import ClientLink, FrameReceived, PeerFault, PluginConnected
from capture_bridge.messages import Credit, Error, Frame, FreedSlot, Hello, SharedSlot, Welcome
from capture_bridge.shm import HEAD_BYTES, SharedRing, offer_ring
from tests.capture_bridge.link_fixtures import (
    ANY_PORT,
    FRAME_BYTES,
    RawPeer,
    make_frame,
    make_hello,
    next_event,
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="opens the ring by its path")

SLOTS, SLOT_BYTES = 4, 4096


class Writer:
    """Fills slots as a plugin does."""

    def __init__(self, name: str, slots: int = SLOTS, slot_bytes: int = SLOT_BYTES) -> None:
        descriptor = os.open(name, os.O_RDWR)
        self.memory = mmap.mmap(descriptor, slots * slot_bytes)
        os.close(descriptor)
        self.name, self.slot_bytes = name, slot_bytes

    def frame(self, seq: int, at: int, filled: int, **place: object) -> Frame:
        """A frame in slot `at`, filled for the `filled`-th time; `place` alters what it says."""
        frame = make_frame(seq)
        start = at * self.slot_bytes
        if 0 <= start < len(self.memory):
            self.memory[start : start + 8] = struct.pack("<Q", filled)
            begin = start + HEAD_BYTES
            self.memory[begin : begin + FRAME_BYTES] = bytes(frame.payloads[0])
        shared = SharedSlot(self.name, at, filled, HEAD_BYTES, FRAME_BYTES)
        descriptor = replace(frame.header.buffers[0], shared=replace(shared, **place))  # type: ignore[arg-type]
        return Frame(replace(frame.header, buffers=(descriptor,)), (b"",))


def shared_hello(slots: int = SLOTS, slot_bytes: int = SLOT_BYTES) -> Hello:
    return replace(make_hello(), shared_slots=slots, shared_slot_bytes=slot_bytes)


@pytest.fixture
def ring() -> Iterator[SharedRing]:
    made = offer_ring(shared_hello(), 1 << 20)
    assert made is not None
    yield made
    made.close()


@pytest.fixture
def writer(ring: SharedRing) -> Writer:
    return Writer(ring.info.name)


def test_payloads_are_those_of_the_slot_and_free_it_once(ring: SharedRing, writer: Writer) -> None:
    frame = ring.take(writer.frame(3, 1, 1))
    assert bytes(frame.payloads[0]) == bytes(make_frame(3).payloads[0])
    assert frame.header.buffers[0].shared is None
    array = decode_payload(frame.header.buffers[0], frame.payloads[0])
    del frame
    gc.collect()
    assert ring.drain() == ()  # the array looks at it still
    del array
    assert ring.drain() == (FreedSlot(1, 1),)
    assert ring.drain() == ()


def test_a_reader_who_keeps_frames_gets_copies_before_slots_run_out(
    ring: SharedRing, writer: Writer
) -> None:
    kept = [ring.take(writer.frame(seq, seq % 2, 1)) for seq in range(2)]
    for seq in range(2, 20):
        slot, generation = 2 + seq % 2, seq
        kept.append(ring.take(writer.frame(seq, slot, generation)))
        assert ring.drain() == (FreedSlot(slot, generation),)
    for seq, frame in enumerate(kept):
        assert bytes(frame.payloads[0]) == bytes(make_frame(seq).payloads[0])


@pytest.mark.parametrize(
    ("place", "names"),
    [
        ({"slot": SLOTS}, "slot 4"),
        ({"name": "/proc/1/fd/1"}, "/proc/1/fd/1"),
        ({"offset": SLOT_BYTES - 8}, "4184"),
        ({"offset": 8}, "8"),
        ({"offset": 2**32}, "4294967296"),
        ({"generation": 6}, "generation 6"),
        ({"slot": 0}, "stale"),
    ],
)
def test_a_place_that_is_wrong_is_refused(
    ring: SharedRing, writer: Writer, place: dict[str, object], names: str
) -> None:
    with pytest.raises(ProtocolError, match=names):
        ring.take(writer.frame(0, 1, 5, **place))


def test_a_slot_that_is_held_or_was_read_is_not_taken_again(
    ring: SharedRing, writer: Writer
) -> None:
    frame = ring.take(writer.frame(0, 1, 5))
    with pytest.raises(ProtocolError, match="stale"):
        ring.take(writer.frame(1, 1, 6))
    del frame
    with pytest.raises(ProtocolError, match="stale"):
        ring.take(writer.frame(2, 1, 5))
    ring.take(writer.frame(3, 1, 6))


def test_buffers_of_a_frame_lie_in_one_slot(ring: SharedRing, writer: Writer) -> None:
    one, other = writer.frame(0, 0, 1), writer.frame(0, 1, 1)
    descriptors = (
        one.header.buffers[0],
        replace(other.header.buffers[0], name="x_second"),
    )
    both = Frame(replace(one.header, buffers=descriptors), (b"", b""))
    with pytest.raises(ProtocolError, match="several slots"):
        ring.take(both)


def test_the_memory_can_neither_shrink_nor_leak(ring: SharedRing, writer: Writer) -> None:
    with pytest.raises(OSError, match="not permitted"):
        os.truncate(ring.info.name, 0)
    assert not [name for name in os.listdir("/dev/shm") if "realmaster" in name]  # noqa: PTH208
    frame = ring.take(writer.frame(0, 0, 1))
    ring.close()
    assert not Path(ring.info.name).exists()
    assert bytes(frame.payloads[0]) == bytes(make_frame(0).payloads[0])  # views outlive the ring


@pytest.mark.parametrize(
    ("slots", "slot_bytes", "max_bytes", "expected"),
    [
        (6, 4096, 1 << 20, 6),
        (6, 4096, 3 * 4096, 3),  # fewer, as the bytes in flight are limited
        (6, 4096, 4096, None),
        (1, 4096, 4096, 1),
        (0, 4096, 1 << 20, None),
        (6, 0, 1 << 20, None),
        (6, 2**62, 1 << 20, None),
    ],
)
def test_what_is_offered_for_what_is_asked(
    slots: int, slot_bytes: int, max_bytes: int, expected: int | None
) -> None:
    made = offer_ring(shared_hello(slots, slot_bytes), max_bytes)
    assert (None if made is None else made.info.slots) == expected
    if made is not None:
        made.close()


# --- through the link -----------------------------------------------------------------------------


@pytest.fixture
def link() -> Iterator[tuple[ClientLink, RawPeer, Writer]]:
    with ClientLink(ANY_PORT) as client:
        peer = RawPeer(client.endpoint)
        peer.send_message(shared_hello())
        assert isinstance(next_event(client), PluginConnected)
        welcome = peer.receive()
        assert isinstance(welcome, Welcome)
        assert welcome.shared is not None
        assert isinstance(peer.receive(), Credit)
        yield client, peer, Writer(welcome.shared.name)
        peer.close()


def send_shared(peer: RawPeer, frame: Frame) -> None:
    peer.send(*wire.encode(frame, wire.Limits(shared_memory=True)))


def credits_until(client: ClientLink, peer: RawPeer, done: Callable[[Credit], bool]) -> Credit:
    total = Credit(0, 0)
    while not done(total):
        assert client.receive(0) is None
        message = peer.receive() if peer.has_message() else Credit(0, 0)
        assert isinstance(message, Credit)
        total = Credit(
            total.frames + message.frames,
            total.nbytes + message.nbytes,
            total.freed + message.freed,
        )
    return total


def test_the_link_frees_a_slot_when_the_frame_is_gone(
    link: tuple[ClientLink, RawPeer, Writer],
) -> None:
    client, peer, writer = link
    send_shared(peer, writer.frame(0, 2, 7))
    event = next_event(client)
    assert isinstance(event, FrameReceived)
    assert bytes(event.frame.payloads[0]) == bytes(make_frame(0).payloads[0])
    client.release(event)
    assert credits_until(client, peer, lambda total: total.frames == 1).freed == ()
    del event
    total = credits_until(client, peer, lambda total: bool(total.freed))
    assert total == Credit(0, 0, (FreedSlot(2, 7),))  # it costs no bytes


def test_a_refused_frame_gives_its_slot_back(link: tuple[ClientLink, RawPeer, Writer]) -> None:
    client, peer, writer = link
    send_shared(peer, writer.frame(5, 0, 1))
    event = next_event(client)
    assert isinstance(event, FrameReceived)
    client.release(event)
    del event
    send_shared(peer, writer.frame(5, 1, 1))  # seq does not rise
    fault = next_event(client)
    assert isinstance(fault, PeerFault)
    freed: tuple[FreedSlot, ...] = ()
    while FreedSlot(1, 1) not in freed:
        assert client.receive(0) is None
        if peer.has_message():
            message = peer.receive()
            freed += message.freed if isinstance(message, Credit) else ()
            assert isinstance(message, Credit | Error)


def test_a_plugin_that_did_not_ask_may_not_share() -> None:
    with ClientLink(ANY_PORT) as client:
        peer = RawPeer(client.endpoint)
        try:
            peer.send_message(make_hello())
            assert isinstance(next_event(client), PluginConnected)
            welcome = peer.receive()
            assert isinstance(welcome, Welcome)
            assert welcome.shared is None
            ring = SharedRing(SLOTS, SLOT_BYTES, lambda: None)
            send_shared(peer, Writer(ring.info.name).frame(0, 0, 1))
            fault = next_event(client)
            ring.close()
        finally:
            peer.close()
    assert isinstance(fault, PeerFault)
    assert "not announced" in str(fault.error)


def test_a_killed_client_leaves_no_memory_behind() -> None:
    program = (
        "import sys, time\n"
        "from capture_bridge.shm import SharedRing\n"
        "ring = SharedRing(2, 1 << 20, lambda: None)\n"
        "print(ring.info.name, flush=True)\n"
        "time.sleep(60)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdout is not None
    name = process.stdout.readline().strip()
    before = set(os.listdir("/dev/shm"))  # noqa: PTH208
    assert Path(name).exists()
    process.kill()
    process.wait()
    process.stdout.close()
    assert not Path(name).exists()
    assert not {entry for entry in before if "realmaster" in entry}
