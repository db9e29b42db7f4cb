"""A ring of shared memory that one plugin fills and the client reads: PROTOCOL.md, "Shared memory".

The client makes it, and it never has a name in any file system that could outlive both sides: on
Linux it is a sealed memfd, which the plugin opens through /proc, on Windows a section of the page
file. Each slot starts with its generation. This file knows neither sockets nor the wire's bytes.
"""

import collections
import contextlib
import mmap
import os
import secrets
import struct
import sys
import weakref
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import numpy as np

from capture_bridge.errors import ProtocolError
from capture_bridge.messages import (
    BufferDescriptor,
    Frame,
    FrameHeader,
    FreedSlot,
    Hello,
    RingInfo,
    SharedSlot,
)

Part = bytes | memoryview

#: Bytes at the start of each slot: the generation (u64), then nothing.
HEAD_BYTES: Final = 64
_ALIGNMENT: Final = 64
_MIN_SLOTS: Final = 2
_GENERATION: Final = struct.Struct("<Q")


def offer_ring(
    hello: Hello, max_bytes: int, on_freed: Callable[[], None] = lambda: None
) -> "SharedRing | None":
    """The ring that a plugin asked for, with fewer slots where it would pass `max_bytes`.

    None where it asked for none, it cannot be had, or the system has no such memory.
    """
    slot_bytes = -(-hello.shared_slot_bytes // _ALIGNMENT) * _ALIGNMENT
    if not hello.shared_slots or slot_bytes <= HEAD_BYTES:
        return None
    slots = min(hello.shared_slots, max_bytes // slot_bytes)
    if slots < min(_MIN_SLOTS, hello.shared_slots):
        return None
    try:
        return SharedRing(slots, slot_bytes, on_freed)
    except (OSError, ValueError):
        return None  # the payloads then travel in the messages


class SharedRing:
    """Slots of memory; `take` gives a frame's payloads, `drain` the slots that are read.

    Payloads are read-only views of the slot, which is free when the last of them is gone. Once half
    of the slots are held by such views, payloads are copies, so that a reader who keeps frames
    never starves the plugin. on_freed: called, from any thread, when `drain` has something new.
    Raises OSError or ValueError where the memory cannot be had.
    """

    def __init__(self, slots: int, slot_bytes: int, on_freed: Callable[[], None]) -> None:
        self._memory, name, self._descriptor = _open_memory(slots * slot_bytes)
        self.info = RingInfo(name, slots, slot_bytes)
        self._on_freed = on_freed
        self._last = [0] * slots  # generation last taken, by slot
        self._held: set[int] = set()
        self._freed: collections.deque[FreedSlot] = collections.deque()

    def take(self, frame: Frame) -> Frame:
        """The frame with its payloads, as if they had come in the message.

        Raises ProtocolError where a place is outside the ring, stale, or not where it should be.
        """
        places = [buffer.shared for buffer in frame.header.buffers if buffer.shared is not None]
        if not places:
            return frame
        slot, generation = self._check(frame.header, places)
        self._last[slot] = generation
        copies = len(self._held) >= max(1, self.info.slots // 2)
        start = slot * self.info.slot_bytes
        keeper = np.frombuffer(self._memory, np.uint8, self.info.slot_bytes, start)
        view = keeper.data.toreadonly()
        descriptors: list[BufferDescriptor] = []
        payloads: list[Part] = []
        for descriptor, payload in zip(frame.header.buffers, frame.payloads, strict=True):
            place = descriptor.shared
            if place is not None:
                payload = view[place.offset : place.offset + place.nbytes]
                payload = bytes(payload) if copies else payload
            descriptors.append(replace(descriptor, shared=None))
            payloads.append(payload)
        freed = FreedSlot(slot, generation)
        if copies:
            self._freed.append(freed)
        else:
            self._held.add(slot)
            weakref.finalize(keeper, self._free, freed).atexit = False
        return Frame(replace(frame.header, buffers=tuple(descriptors)), tuple(payloads))

    def drain(self) -> tuple[FreedSlot, ...]:
        """The slots that became free since the last call."""
        freed = []
        with contextlib.suppress(IndexError):
            while True:
                freed.append(self._freed.popleft())
        return tuple(freed)

    @property
    def has_freed(self) -> bool:
        """Whether `drain` would give anything."""
        return bool(self._freed)

    def refuse(self, frame: Frame) -> None:
        """Free the slot of a frame that is not taken, as far as it names one that could be."""
        for descriptor in frame.header.buffers:
            place = descriptor.shared
            if place is not None and self._is_new(place):
                self._last[place.slot] = place.generation
                self._freed.append(FreedSlot(place.slot, place.generation))

    def close(self) -> None:
        """Let go of the memory; it is gone when the last view and the plugin let go too."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        self._on_freed = lambda: None

    def _free(self, freed: FreedSlot) -> None:
        """May run within any statement of any thread, so it takes no lock."""
        self._held.discard(freed.slot)
        self._freed.append(freed)
        self._on_freed()

    def _is_new(self, place: SharedSlot) -> bool:
        return (
            place.name == self.info.name
            and place.slot < self.info.slots
            and place.generation > self._last[place.slot]
            and place.slot not in self._held
        )

    def _check(self, header: FrameHeader, places: list[SharedSlot]) -> tuple[int, int]:
        """Slot and generation of all the places, which must be one slot's and within it."""
        where = f"frame {header.seq}: its shared memory"
        first = places[0]
        for place in places:
            if (place.name, place.slot, place.generation) != (
                first.name,
                first.slot,
                first.generation,
            ):
                raise ProtocolError(f"{where} lies in several slots; a frame has one")
            if place.name != self.info.name or place.slot >= self.info.slots:
                raise ProtocolError(
                    f"{where} is slot {place.slot} of {place.name!r}; "
                    f"the ring is {self.info.name!r} with {self.info.slots} slots"
                )
            if place.offset < HEAD_BYTES or place.offset + place.nbytes > self.info.slot_bytes:
                raise ProtocolError(
                    f"{where} lies at {place.offset}..{place.offset + place.nbytes} of its slot; "
                    f"payloads lie within {HEAD_BYTES}..{self.info.slot_bytes}"
                )
        start = first.slot * self.info.slot_bytes
        (written,) = _GENERATION.unpack_from(self._memory, start)
        if written != first.generation or not self._is_new(first):
            raise ProtocolError(
                f"{where} is stale: it names generation {first.generation} of slot {first.slot}, "
                f"which holds {written}"
            )
        return first.slot, first.generation


if sys.platform == "win32":

    def _open_memory(num_bytes: int) -> tuple[mmap.mmap, str, int]:
        """The memory, its name for the plugin, and the descriptor to close, -1 for none."""
        name = f"Local\\realmaster-{secrets.token_hex(16)}"
        return mmap.mmap(-1, num_bytes, tagname=name), name, -1

elif sys.platform == "linux":
    import fcntl

    def _open_memory(num_bytes: int) -> tuple[mmap.mmap, str, int]:
        """The memory, its name for the plugin, and the descriptor to close, -1 for none."""
        descriptor = os.memfd_create("realmaster", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(descriptor, num_bytes)
            # A plugin that could shrink it would crash this process at the next access.
            seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
            fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
            memory = mmap.mmap(descriptor, num_bytes)
        except BaseException:
            os.close(descriptor)
            raise
        return memory, f"/proc/{os.getpid()}/fd/{descriptor}", descriptor

else:

    def _open_memory(num_bytes: int) -> tuple[mmap.mmap, str, int]:
        """There is none on this system."""
        raise OSError("no shared memory that both sides could open")
