"""A session writer on a thread of its own, behind a queue bounded by bytes.

It watches the free space of the disk and hands the health probe each frame. Whatever happens on the
thread, `close` accounts for every frame that was put in. This file knows sessions, not links.
"""

import collections
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from capture_bridge.codecs import decode_payload
from capture_bridge.errors import OutputError, ProtocolError
from capture_bridge.messages import Frame, FrameHeader, Hello, Mark
from capture_bridge.session import Drop, DropStage, SessionWriter

MIN_FREE_BYTES: Final = 1 << 30
MIN_FREE_S: Final = 5.0
_SPACE_CHECK_S: Final = 0.5
_FINDINGS_EVERY: Final = 64  # frames between two looks at the probe's findings
_WAIT_S: Final = 0.25

Arrays = Mapping[str, NDArray[np.generic]]


class Probe(Protocol):
    """What looks at frames while they are recorded (health.HealthProbe)."""

    def observe(
        self, header: FrameHeader, arrays: Arrays, *, t_recv_ns: int | None = None, epoch: int = 0
    ) -> None:
        """Look at the next frame; arrays are decoded on access."""

    def findings(self) -> Sequence[Any]:
        """Dataclasses with `buffer` and `fault`: what is wrong so far."""


class WriteQueue:
    """Takes frames from one thread and writes them on another.

    max_bytes: what may wait; a frame that finds the queue full is `taken` only once it is written.
    min_free_bytes: the recording stops with OutputError when less is left on the disk; by default
    the larger of 1 GiB and five seconds of the data that come.
    """

    def __init__(
        self,
        writer: SessionWriter,
        *,
        max_bytes: int,
        min_free_bytes: int | None = None,
        probe: Probe | None = None,
    ) -> None:
        self._writer = writer
        self._max_bytes = max_bytes
        self._min_free_bytes = min_free_bytes
        self._probe = probe
        self._known_faults: set[tuple[str, str]] = set()
        self._items: collections.deque[tuple[int, Callable[[], None]]] = collections.deque()
        self._num_bytes = self._num_put = self._last_epoch = 0
        self._wake = threading.Condition()
        self._closing = False
        self._start_s = self._next_check_s = time.monotonic()
        #: What stopped the writing, to be raised by `close`.
        self.error: Exception | None = None
        #: Frames lost on this side, by (stage, cause).
        self.totals: collections.Counter[tuple[str, str]] = collections.Counter()
        self._thread = threading.Thread(target=self._run, name="session-writer", daemon=True)
        self._thread.start()

    @property
    def num_bytes_written(self) -> int:
        """The file's length so far."""
        return self._writer.num_bytes

    def put_frame(
        self, frame: Frame, t_recv_ns: int, epoch: int, taken: Callable[[], None]
    ) -> None:
        """Queue a frame; never blocks. taken: called, on any thread, when another may come."""
        num_bytes = sum(map(len, frame.payloads))
        self._num_put += 1
        early = self._num_bytes + num_bytes <= self._max_bytes

        def write() -> None:
            try:
                self._write_frame(frame, t_recv_ns, epoch)
            finally:
                if not early:
                    taken()

        self._put(num_bytes, write)
        if early:
            taken()

    def put_drop(self, drop: Drop) -> None:
        """Queue a record of lost frames."""
        self._put(0, lambda: self._writer.write_drop(drop))

    def put_mark(self, mark: Mark, t_recv_ns: int, epoch: int) -> None:
        """Queue a named moment."""
        self._put(0, lambda: self._writer.write_mark(mark, t_recv_ns, epoch))

    def put_epoch(self, hello: Hello, epoch: int) -> None:
        """Queue the hello of a later epoch."""
        self._put(0, lambda: self._writer.write_epoch(hello, epoch))

    def close(self) -> None:
        """Wait until all is written and count what could not be.

        Afterwards `totals` and the writer's num_frames_in_file add up to the frames put in; the
        writer itself is the caller's to close.
        """
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join()
        self._guarded(self._flush)
        num_lost = self._num_put - sum(self.totals.values()) - self._writer.num_frames_in_file
        if num_lost:
            self.totals[DropStage.DISK, "write"] += num_lost
            if not self._writer.failed:
                now, epoch = time.monotonic_ns(), self._last_epoch
                drop = Drop(DropStage.DISK, "write", num_lost, epoch, now)
                self._guarded(lambda: self._writer.write_drop(drop))

    # --- the writing thread -------------------------------------------------------------------

    def _put(self, num_bytes: int, item: Callable[[], None]) -> None:
        with self._wake:
            self._num_bytes += num_bytes
            self._items.append((num_bytes, item))
            self._wake.notify()

    def _run(self) -> None:
        while True:
            with self._wake:
                if not self._items and not self._closing:
                    self._wake.wait(_WAIT_S)
                if not self._items and self._closing:
                    break
                num_bytes, item = self._items.popleft() if self._items else (0, None)
            self._guarded(self._check_space)
            self._guarded(item or self._flush_due)
            with self._wake:
                self._num_bytes -= num_bytes
        self._guarded(self._note_findings)

    def _guarded(self, item: Callable[[], None]) -> None:
        try:
            item()
        except Exception as error:  # noqa: BLE001 - raised again by the caller's thread
            self.error = self.error or error

    def _flush_due(self) -> None:
        if not self._writer.failed:
            self._writer.flush_due()

    def _flush(self) -> None:
        if not self._writer.failed:
            self._writer.flush()

    def _write_frame(self, frame: Frame, t_recv_ns: int, epoch: int) -> None:
        self._last_epoch = epoch
        if self.error is not None:
            return  # counted by close
        try:
            self._writer.write_frame(frame, t_recv_ns, epoch)
        except ProtocolError:
            self.totals[DropStage.DECODE, "payload"] += 1
            seq = frame.header.seq
            drop = Drop(DropStage.DECODE, "payload", 1, epoch, t_recv_ns, seq)
            self._writer.write_drop(drop)
            return
        if self._probe is not None:
            self._observe(self._probe, frame, t_recv_ns, epoch)

    def _check_space(self) -> None:
        now = time.monotonic()
        if now < self._next_check_s or self.error is not None:
            return
        self._next_check_s = now + _SPACE_CHECK_S
        folder = self._writer.path.absolute().parent
        try:
            free = shutil.disk_usage(folder).free
        except OSError as error:
            raise OutputError(f"cannot ask for the free space of {folder}: {error}") from error
        limit = self._min_free_bytes
        if limit is None:
            rate = self._writer.num_bytes / max(now - self._start_s, 1.0)
            limit = max(MIN_FREE_BYTES, round(MIN_FREE_S * rate))
        if free < limit:
            raise OutputError(
                f"recording to {self._writer.path} stopped: {free >> 20} MiB are left on its disk, "
                f"the limit is {limit >> 20} MiB; what was recorded is whole; free some space or "
                "record to another disk"
            )

    # --- the probe ----------------------------------------------------------------------------

    def _observe(self, probe: Probe, frame: Frame, t_recv_ns: int, epoch: int) -> None:
        try:
            arrays = DecodedOnAccess(frame)
            probe.observe(frame.header, arrays, t_recv_ns=t_recv_ns, epoch=epoch)
        except Exception as error:  # noqa: BLE001 - a broken probe must not end a recording
            self._probe = None
            text = f"the health probe failed and was switched off: {error!r}"
            finding = {"buffer": "", "fault": "probe failed", "text": text}
            self._writer.write_health(finding, t_recv_ns)
        if self._writer.num_frames % _FINDINGS_EVERY == 0:
            self._note_findings()

    def _note_findings(self) -> None:
        """Write what the probe has newly found."""
        if self._probe is None or self._writer.failed:
            return
        for finding in self._probe.findings():
            if (finding.buffer, finding.fault) not in self._known_faults:
                self._known_faults.add((finding.buffer, finding.fault))
                self._writer.write_health(asdict(finding), time.monotonic_ns())


class DecodedOnAccess(Mapping[str, NDArray[np.generic]]):
    """A frame's arrays by name, each decoded when it is asked for, once."""

    def __init__(self, frame: Frame) -> None:
        self._payloads = {
            descriptor.name: (descriptor, payload)
            for descriptor, payload in zip(frame.header.buffers, frame.payloads, strict=True)
        }
        self._decoded: dict[str, NDArray[np.generic]] = {}

    def __getitem__(self, name: str) -> NDArray[np.generic]:
        if name not in self._decoded:
            self._decoded[name] = decode_payload(*self._payloads[name])
        return self._decoded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._payloads)

    def __len__(self) -> int:
        return len(self._payloads)
