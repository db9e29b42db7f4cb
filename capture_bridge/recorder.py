"""Records what a link receives into a session file, and loses nothing silently.

A frame's credit goes back to its plugin when the frame is queued or, once the queue is full, when
it is written. So a slow disk never overflows the queue: it shows as the plugin's own `no_credit`
drops, which its headers count. This file knows links and sessions; writing is write_queue.py's.
"""

import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from capture_bridge import wire
from capture_bridge.errors import LinkError, OutputError, ProtocolError, VersionError
from capture_bridge.link import (
    Event,
    FrameReceived,
    MarkReceived,
    PeerFault,
    PluginConnected,
    PluginEnded,
    PluginLost,
    PluginRefused,
)
from capture_bridge.losses import LossAccount
from capture_bridge.messages import Hello
from capture_bridge.session import Drop, SessionCodec, SessionWriter
from capture_bridge.write_queue import Probe, WriteQueue

_RECEIVE_S: Final = 0.1
_PROGRESS_S: Final = 0.25
_MAX_FAULTS: Final = 20


class EventSource(Protocol):
    """What frames come from: a ClientLink, or anything that gives the same events."""

    def receive(self, timeout_s: float) -> Event | None:
        """The next event, waiting at most `timeout_s`."""

    def release(self, event: FrameReceived) -> None:
        """The frame is taken; another may come. Called from any thread."""


@dataclass(frozen=True, slots=True)
class RecordingProgress:
    """How far a recording has come. seconds: since the first frame. num_dropped: by anybody."""

    frames: int
    seconds: float
    num_bytes: int
    num_dropped: int


@dataclass(frozen=True, slots=True)
class RecordingSummary:
    """What was recorded and what was lost.

    seconds, fps: measured at receipt. drops: frames lost by "stage/cause". gaps: places where seq
    jumps. epochs: connections that sent frames. faults: the first messages of peers that were
    refused. reason: why it ended.
    """

    path: Path
    session_uuid: str
    frames: int
    seconds: float
    fps: float
    num_bytes: int
    drops: Mapping[str, int]
    gaps: int
    epochs: tuple[int, ...]
    faults: tuple[str, ...]
    reason: str

    @property
    def num_dropped(self) -> int:
        """All frames that were lost."""
        return sum(self.drops.values())

    def to_metadata(self) -> dict[str, str]:
        """As it stands in the session file."""
        return {
            "frames": str(self.frames),
            "seconds": f"{self.seconds:.9f}",
            "fps": f"{self.fps:.6f}",
            "gaps": str(self.gaps),
            "epochs": ",".join(map(str, self.epochs)),
            "reason": self.reason,
            **{f"dropped/{cause}": str(count) for cause, count in self.drops.items()},
        }


@dataclass(frozen=True, slots=True)
class RecordingOptions:
    """How to record.

    connect_s: how long to wait for a plugin (None: for ever). reconnect_s: how long a lost one may
    stay away. max_queue_bytes: what may wait for the disk. min_free_bytes: see WriteQueue.
    """

    codec: SessionCodec = "shuffle+zstd"
    overwrite: bool = False
    connect_s: float | None = None
    reconnect_s: float = 10.0
    max_queue_bytes: int = 256 << 20
    min_free_bytes: int | None = None


def record_link(
    link: EventSource,
    path: str | Path,
    *,
    seconds: float | None = None,
    frames: int | None = None,
    options: RecordingOptions | None = None,
    progress: Callable[[RecordingProgress], None] | None = None,
    probe: Callable[[Hello], Probe] | None = None,
    stop: threading.Event | None = None,
) -> RecordingSummary:
    """Record until the plugin says bye, a limit is reached, `stop` is set or Ctrl-C is pressed.

    seconds: of game time in lockstep, else as received; from the first frame. probe: makes the
    health probe for a hello; its findings go into the file. Raises OutputError where the file
    exists, cannot be written, or the disk is full (what was written stays readable); VersionError
    and LinkError where no plugin came that could be recorded.
    """
    path, options = Path(path), options or RecordingOptions()
    if path.exists() and not options.overwrite:
        raise OutputError(f"{path} exists already; choose another name or pass --overwrite")
    if not os.access(path.absolute().parent, os.W_OK):
        raise OutputError(f"cannot write {path}: its folder is missing or may not be written to")
    recording = _Recording(link, path, options, seconds, frames, progress, probe)
    try:
        recording.run(stop or threading.Event())
    except KeyboardInterrupt:
        recording.reason = "Ctrl-C"
    finally:
        recording.finish()
    return recording.summary()


@dataclass(eq=False)
class _Recording:
    link: EventSource
    path: Path
    options: RecordingOptions
    max_seconds: float | None
    max_frames: int | None
    progress: Callable[[RecordingProgress], None] | None
    probe: Callable[[Hello], Probe] | None
    reason: str = ""
    hello: Hello | None = None
    writer: SessionWriter | None = None
    queue: WriteQueue | None = None
    account: LossAccount = field(default_factory=LossAccount)
    num_frames: int = 0
    epochs: list[int] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    first_ns: int = 0
    last_ns: int = 0
    first_sim_ns: int = 0
    wait_until: float | None = None
    waits_for: str = ""
    next_progress: float = 0.0

    # --- the loop -----------------------------------------------------------------------------

    def run(self, stop: threading.Event) -> None:
        """Receive until there is a reason to end."""
        self._wait_for(self.options.connect_s, "no plugin connected")
        while not self.reason:
            event = self.link.receive(_RECEIVE_S)
            if event is not None:
                self._handle(event)
            if stop.is_set():
                self.reason = self.reason or "stopped"
            elif self.queue is not None and self.queue.error is not None:
                self.reason = "the disk"
            elif self.wait_until is not None and time.monotonic() > self.wait_until:
                self.reason = self.waits_for
            self._tell_progress()

    def _handle(self, event: Event) -> None:
        handler = _HANDLERS.get(type(event))
        if handler is not None:
            handler(self, event)

    def _on_connected(self, event: PluginConnected) -> None:
        self.wait_until = None
        self.account.connected(event.hello.session_uuid)
        if self.queue is not None:
            self.queue.put_epoch(event.hello, event.epoch)
            return
        self.hello = event.hello
        self.writer = SessionWriter(
            self.path,
            event.hello,
            codec=self.options.codec,
            overwrite=self.options.overwrite,
            first_epoch=event.epoch,
        )
        self.queue = WriteQueue(
            self.writer,
            max_bytes=self.options.max_queue_bytes,
            min_free_bytes=self.options.min_free_bytes,
            probe=None if self.probe is None else self.probe(event.hello),
        )

    def _on_frame(self, event: FrameReceived) -> None:
        queue, frame = self._queue(), event.frame
        try:
            wire.verify_checksums(frame)
        except ProtocolError as error:
            self._note_fault(str(error))
            self.account.refused("damaged")
            self.link.release(event)
            return
        if self._is_over(event):
            return
        self._put_drops(self.account.frame(frame.header, event.epoch, event.t_recv_ns))
        if not self.num_frames:
            self.first_ns, self.first_sim_ns = event.t_recv_ns, frame.header.t_sim_ns
        self.last_ns = event.t_recv_ns
        self.num_frames += 1
        if event.epoch not in self.epochs:
            self.epochs.append(event.epoch)
        queue.put_frame(event.frame, event.t_recv_ns, event.epoch, lambda: self.link.release(event))
        if self.num_frames == self.max_frames:
            self.reason = f"{self.num_frames} frames"

    def _is_over(self, event: FrameReceived) -> bool:
        """Whether the frame lies past the time that was asked for."""
        limit, hello = self.max_seconds, self.hello
        if limit is None or not self.num_frames or hello is None:
            return False
        header = event.frame.header
        game_time, host_time = header.t_sim_ns - self.first_sim_ns, event.t_recv_ns - self.first_ns
        if (game_time if hello.lockstep else host_time) * 1e-9 < limit - 1e-9:
            return False
        self.reason = f"{limit:g} s"
        return True

    def _on_mark(self, event: MarkReceived) -> None:
        self._queue().put_mark(event.mark, event.t_recv_ns, event.epoch)

    def _on_ended(self, event: PluginEnded) -> None:
        self._put_drops(self.account.ended(event.bye, event.epoch, event.t_recv_ns))
        self.reason = f"the plugin ended: {event.bye.reason}"

    def _on_lost(self, event: PluginLost) -> None:
        self._put_drops(self.account.lost(event.epoch, event.t_recv_ns))
        self._wait_for(self.options.reconnect_s, f"the plugin is gone: {event.reason}")

    def _on_refused(self, event: PluginRefused) -> None:
        self._note_fault(f"{event.hello.plugin} was refused: {event.reason}")

    def _on_fault(self, event: PeerFault) -> None:
        if self.queue is None and isinstance(event.error, VersionError):
            raise event.error
        self._note_fault(str(event.error))
        if event.epoch:
            self.account.refused("malformed")

    # --- the end ------------------------------------------------------------------------------

    def finish(self) -> None:
        """Write what is queued and close the file; raises what stopped the writing."""
        if self.queue is None or self.writer is None:
            return
        self.queue.close()
        self.writer.close(self._summary(self.writer, self.queue).to_metadata())
        if not self.num_frames:
            self.path.unlink()
        if self.queue.error is not None:
            raise self.queue.error

    def summary(self) -> RecordingSummary:
        """The account of the recording; LinkError where no frame came."""
        if self.writer is None or self.queue is None:
            raise LinkError(f"nothing was recorded: {self.reason}{self._first_fault()}")
        if not self.num_frames:
            raise LinkError(f"no whole frame came: {self.reason}{self._first_fault()}")
        return self._summary(self.writer, self.queue)

    def _summary(self, writer: SessionWriter, queue: WriteQueue) -> RecordingSummary:
        drops = self.account.totals + queue.totals
        seconds = (self.last_ns - self.first_ns) * 1e-9
        return RecordingSummary(
            path=self.path,
            session_uuid=self.hello.session_uuid if self.hello else "",
            frames=writer.num_frames_in_file,
            seconds=seconds,
            fps=(self.num_frames - 1) / seconds if seconds > 0 else 0.0,
            num_bytes=writer.num_bytes,
            drops={f"{stage}/{cause}": count for (stage, cause), count in sorted(drops.items())},
            gaps=self.account.num_gaps,
            epochs=tuple(self.epochs),
            faults=tuple(self.faults),
            reason=self.reason,
        )

    # --- small parts --------------------------------------------------------------------------

    def _queue(self) -> WriteQueue:
        assert self.queue is not None, "the link gives no frame before its hello"
        return self.queue

    def _put_drops(self, drops: list[Drop]) -> None:
        for drop in drops:
            self._queue().put_drop(drop)

    def _wait_for(self, seconds: float | None, else_reason: str) -> None:
        self.wait_until = None if seconds is None else time.monotonic() + seconds
        self.waits_for = else_reason

    def _note_fault(self, text: str) -> None:
        if len(self.faults) < _MAX_FAULTS:
            self.faults.append(text)

    def _first_fault(self) -> str:
        return f" ({self.faults[0]})" if self.faults else ""

    def _tell_progress(self) -> None:
        now = time.monotonic()
        if self.progress is None or self.queue is None or now < self.next_progress:
            return
        self.next_progress = now + _PROGRESS_S
        dropped = sum(self.account.totals.values()) + sum(self.queue.totals.values())
        self.progress(
            RecordingProgress(
                frames=self.num_frames,
                seconds=(self.last_ns - self.first_ns) * 1e-9,
                num_bytes=self.queue.num_bytes_written,
                num_dropped=dropped,
            )
        )


_HANDLERS: Final[Mapping[type[Any], Callable[[_Recording, Any], None]]] = {
    PluginConnected: _Recording._on_connected,
    FrameReceived: _Recording._on_frame,
    MarkReceived: _Recording._on_mark,
    PluginEnded: _Recording._on_ended,
    PluginLost: _Recording._on_lost,
    PluginRefused: _Recording._on_refused,
    PeerFault: _Recording._on_fault,
}
