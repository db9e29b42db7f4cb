import collections
import dataclasses
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from capture_bridge.errors import LinkError, OutputError, ProtocolError, VersionError
from capture_bridge.link import (
    ClientLink,
    Event,
    FrameReceived,
    MarkReceived,
    PeerFault,
    PluginConnected,
    PluginEnded,
    PluginLink,
    PluginLost,
    PluginRefused,
)
from capture_bridge.messages import Bye, Frame, Hello, Mark
from capture_bridge.recorder import RecordingOptions, RecordingProgress, record_link
from capture_bridge.session import SessionReader, SessionWriter
from capture_bridge.write_queue import Arrays, WriteQueue
from tests.capture_bridge.analytic_engine import AnalyticEngine
from tests.capture_bridge.session_fixtures import frame, hello, message, t_recv_ns

PEER = b"plugin"


class Script:
    """An event source that plays what it is told: raises what is an exception, keeps to credit."""

    def __init__(
        self,
        *events: Event | BaseException,
        when_over: Callable[[], None] = lambda: None,
        num_credits: int = 4,
    ) -> None:
        self._events: Iterator[Event | BaseException] = iter(events)
        self._when_over = when_over
        self._credits = threading.Semaphore(num_credits)
        self.released: list[int] = []

    @classmethod
    def of(cls, events: Iterator[Event]) -> "Script":
        script = cls()
        script._events = events
        return script

    def receive(self, timeout_s: float) -> Event | None:
        event = next(self._events, None)
        if event is None:
            self._when_over()
        elif isinstance(event, BaseException):
            raise event
        elif isinstance(event, FrameReceived):
            assert self._credits.acquire(timeout=60)
        return event

    def release(self, event: FrameReceived) -> None:
        self.released.append(event.frame.header.seq)
        self._credits.release()


def connected(epoch: int = 1, greeting: Hello | None = None) -> Event:
    return PluginConnected(PEER, epoch, t_recv_ns(0), greeting or hello())


def received(seq: int, epoch: int = 1, **drops: int) -> FrameReceived:
    sent = message(seq % 6)
    header = dataclasses.replace(sent.header, seq=seq, drops=drops)
    return FrameReceived(PEER, epoch, t_recv_ns(seq), Frame(header, sent.payloads))


def ended(last_seq: int, epoch: int = 1, **drops: int) -> Event:
    return PluginEnded(PEER, epoch, t_recv_ns(last_seq), Bye("done", last_seq, drops))


def seqs(path: Path) -> list[int]:
    with SessionReader(path) as reader:
        return [int(seq) for seq in reader.seqs]


def recorded_drops(path: Path) -> Mapping[str, int]:
    totals: collections.Counter[str] = collections.Counter()
    with SessionReader(path) as reader:
        for drop in reader.drops():
            totals[f"{drop.stage}/{drop.cause}"] += drop.count
    return dict(totals)


def test_records_through_a_real_link_in_lockstep_without_loss(tmp_path: Path) -> None:
    path, num_frames = tmp_path / "s.mcap", 24
    told: list[RecordingProgress] = []

    def play(endpoint: str) -> None:
        with PluginLink(hello(), endpoint, checksum=True) as plugin:
            plugin.connect()
            for index in range(num_frames):
                shown = frame(index % 6)
                plugin.send_frame(shown.arrays, camera=shown.camera, t_sim_ns=index * 10**7)

    with ClientLink("tcp://127.0.0.1:0") as link:
        engine = threading.Thread(target=play, args=(link.endpoint,))
        engine.start()
        summary = record_link(link, path, progress=told.append)
        engine.join()
    assert summary.frames == num_frames and summary.num_dropped == 0 and summary.gaps == 0
    assert summary.reason.startswith("the plugin ended") and summary.epochs == (1,)
    assert summary.num_bytes == path.stat().st_size
    assert told
    with SessionReader(path) as reader:
        assert reader.info.summary["frames"] == str(num_frames)
        for got in reader.frames():
            truth = frame(got.index % 6).arrays
            assert got.array("motion").tobytes() == truth["motion"].tobytes()


def test_every_loss_is_in_the_file_and_in_the_summary(tmp_path: Path) -> None:
    damaged = received(6)
    spoiled = bytes([damaged.frame.payloads[0][0] ^ 1]) + bytes(damaged.frame.payloads[0][1:])
    payloads = (spoiled, *damaged.frame.payloads[1:])
    link = Script(
        connected(),
        received(0),
        received(3, no_credit=2),  # the plugin says where they are
        received(5, no_credit=2),  # nobody explains seq 4
        dataclasses.replace(damaged, frame=Frame(damaged.frame.header, payloads)),
        PeerFault(PEER, 1, t_recv_ns(7), ProtocolError("frame 7 is odd")),
        received(8, no_credit=2),
        ended(9, no_credit=3),
    )
    path = tmp_path / "s.mcap"
    summary = record_link(link, path)
    assert seqs(path) == [0, 3, 5, 8]
    expected = {
        "plugin/no_credit": 3,
        "link/gap": 1,
        "decode/damaged": 1,
        "decode/malformed": 1,
    }
    assert summary.drops == expected == recorded_drops(path)
    assert summary.num_dropped == 6 and summary.frames == 4 and summary.gaps == 4
    assert summary.faults[0].startswith("frame 6: buffer color arrived damaged")
    assert summary.faults[1] == "frame 7 is odd"
    assert link.released == [0, 3, 5, 6, 8]
    with SessionReader(path) as reader:
        assert reader.info.summary["dropped/link/gap"] == "1"


def test_a_frame_that_cannot_be_decoded_is_counted_and_the_rest_kept(tmp_path: Path) -> None:
    odd = received(1)
    buffers = tuple(
        dataclasses.replace(b, codec="zstd", checksum=None) if b.name == "depth" else b
        for b in odd.frame.header.buffers
    )
    header = dataclasses.replace(odd.frame.header, buffers=buffers)
    odd = dataclasses.replace(odd, frame=Frame(header, odd.frame.payloads))
    link = Script(connected(), received(0), odd, received(2), ended(2))
    summary = record_link(link, tmp_path / "s.mcap")
    assert seqs(tmp_path / "s.mcap") == [0, 2]
    assert summary.frames == 2
    assert summary.drops == recorded_drops(tmp_path / "s.mcap") == {"decode/payload": 1}


def test_a_reconnection_is_a_new_epoch(tmp_path: Path) -> None:
    link = Script(
        connected(),
        received(0),
        MarkReceived(PEER, 1, t_recv_ns(1), Mark(3, "level 2")),
        PluginLost(PEER, 1, t_recv_ns(1), "it stopped answering"),
        connected(2),
        received(4, 2, disconnected=3),
        ended(4, 2, disconnected=3),
    )
    path = tmp_path / "s.mcap"
    summary = record_link(link, path)
    assert summary.epochs == (1, 2) and summary.drops == {"plugin/disconnected": 3}
    with SessionReader(path) as reader:
        assert reader.epochs.tolist() == [1, 2] and set(reader.info.hellos) == {1, 2}
        assert [mark.label for mark in reader.marks()] == ["level 2"]


def test_a_plugin_that_dies_ends_the_recording_in_good_order(tmp_path: Path) -> None:
    link = Script(connected(), received(0), PluginLost(PEER, 1, t_recv_ns(1), "connection reset"))
    options = RecordingOptions(reconnect_s=0.0)
    summary = record_link(link, tmp_path / "s.mcap", options=options)
    assert summary.frames == 1 and "connection reset" in summary.reason


def test_stops_at_a_number_of_frames(tmp_path: Path) -> None:
    link = Script(connected(), *(received(i) for i in range(5)))
    summary = record_link(link, tmp_path / "s.mcap", frames=3)
    assert (summary.frames, summary.reason) == (3, "3 frames")
    assert seqs(tmp_path / "s.mcap") == [0, 1, 2]


def test_stops_after_seconds_of_game_time_in_lockstep(tmp_path: Path) -> None:
    events = []
    for seq in range(6):
        sent = received(seq)
        header = dataclasses.replace(sent.frame.header, t_sim_ns=seq * 250_000_000)
        events.append(dataclasses.replace(sent, frame=Frame(header, sent.frame.payloads)))
    summary = record_link(Script(connected(), *events), tmp_path / "s.mcap", seconds=0.75)
    assert (summary.frames, summary.reason) == (3, "0.75 s")


def test_stops_after_seconds_as_received_in_real_time(tmp_path: Path) -> None:
    greeting = dataclasses.replace(hello(), lockstep=False)
    events = [received(i) for i in range(6)]  # a millisecond apart
    link = Script(connected(greeting=greeting), *events)
    summary = record_link(link, tmp_path / "s.mcap", seconds=0.004)
    assert (summary.frames, summary.seconds) == (4, pytest.approx(0.003))
    assert summary.fps == pytest.approx(1000)


def test_stops_when_told_and_at_ctrl_c(tmp_path: Path) -> None:
    stop = threading.Event()
    link = Script(connected(), received(0), received(1), when_over=stop.set)
    summary = record_link(link, tmp_path / "stop.mcap", stop=stop)
    assert (summary.frames, summary.reason) == (2, "stopped")
    link = Script(connected(), received(0), KeyboardInterrupt())
    summary = record_link(link, tmp_path / "ctrl-c.mcap")
    assert (summary.frames, summary.reason) == (1, "Ctrl-C")
    assert seqs(tmp_path / "ctrl-c.mcap") == [0]


def test_no_plugin_no_frames_and_other_majors_are_one_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "s.mcap"
    at_once = RecordingOptions(connect_s=0.0)
    with pytest.raises(LinkError, match="no plugin connected"):
        record_link(Script(), path, options=at_once)
    refused = PluginRefused(PEER, 0, 0, hello(), "the token is wrong")
    with pytest.raises(LinkError, match="the token is wrong"):
        record_link(Script(refused), path, options=at_once)
    error = VersionError("the other side speaks protocol 2.0, this side 1.0")
    with pytest.raises(VersionError, match=r"2\.0"):
        record_link(Script(PeerFault(PEER, 0, 0, error)), path)
    fault = PeerFault(PEER, 1, 0, ProtocolError("frame.camera.K holds a NaN"))
    with pytest.raises(LinkError, match="holds a NaN"):
        record_link(Script(connected(), fault, ended(0)), path)
    assert not path.exists()


def test_an_existing_output_is_refused_before_anything_is_received(tmp_path: Path) -> None:
    path = tmp_path / "s.mcap"
    path.write_bytes(b"precious")
    with pytest.raises(OutputError, match="--overwrite"):
        record_link(Script(AssertionError("received")), path)
    assert path.read_bytes() == b"precious"
    with pytest.raises(OutputError, match="its folder is missing"):
        record_link(Script(AssertionError("received")), tmp_path / "absent" / "s.mcap")
    summary = record_link(
        Script(connected(), received(0), ended(0)), path, options=RecordingOptions(overwrite=True)
    )
    assert summary.frames == 1


def test_too_little_free_space_stops_with_a_readable_file(tmp_path: Path) -> None:
    path = tmp_path / "s.mcap"
    link = Script(connected(), *(received(i) for i in range(4)))
    with pytest.raises(OutputError, match=r"MiB are left.*the limit is"):
        record_link(link, path, options=RecordingOptions(min_free_bytes=1 << 60))
    if path.exists():  # frames may have been written before the first look at the disk
        kept = len(seqs(path))
        assert kept + recorded_drops(path).get("disk/write", 0) == len(link.released)


_FULL_DISK = """
import dataclasses, resource, sys
from pathlib import Path
from capture_bridge.errors import OutputError
from capture_bridge.messages import Frame
from capture_bridge.recorder import RecordingOptions, record_link
from tests.capture_bridge.analytic_engine import AnalyticEngine
from tests.capture_bridge.test_recorder import Script, connected, ended, received

limit = int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))  # Python ignores SIGXFSZ: write() fails
sent = AnalyticEngine(256, 144).message(0)
def at(seq):
    frame = Frame(dataclasses.replace(sent.header, seq=seq), sent.payloads)
    return dataclasses.replace(received(seq), frame=frame)
link = Script(connected(), *(at(seq) for seq in range(100)), ended(99))
options = RecordingOptions(codec="raw", min_free_bytes=0, max_queue_bytes=1 << 30)
try:
    record_link(link, Path(sys.argv[1]), options=options)
except OutputError as error:
    print(error)
"""


def test_a_full_disk_stops_with_one_line_and_a_readable_file(tmp_path: Path) -> None:
    path, limit = tmp_path / "s.mcap", 45 << 20
    done = subprocess.run(
        [sys.executable, "-c", _FULL_DISK, str(path), str(limit)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "File too large" in done.stdout and "can be read" in done.stdout
    assert done.stdout.count("\n") == 1
    with SessionReader(path) as reader:
        assert path.stat().st_size <= limit
        assert reader.info.finished and len(reader) > 10
        assert reader.seqs.tolist() == list(range(len(reader)))
        summary = reader.info.summary
        assert int(summary["frames"]) == len(reader)
        assert int(summary["dropped/disk/write"]) > 0
        truth = AnalyticEngine(256, 144).frame(0).arrays["depth"]
        assert reader.frame(-1).array("depth").tobytes() == truth.tobytes()


class GatedWriter(SessionWriter):
    """A session writer on a disk that waits for a permit per frame."""

    permits = threading.Semaphore(0)

    def write_frame(self, frame: Frame, t_recv_ns: int, epoch: int) -> None:
        assert self.permits.acquire(timeout=30)
        super().write_frame(frame, t_recv_ns, epoch)


def test_a_slow_disk_withholds_credit_and_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "s.mcap"
    size = sum(map(len, message(0).payloads))
    taken: list[int] = []
    with GatedWriter(path, hello()) as writer:
        queue = WriteQueue(writer, max_bytes=3 * size, min_free_bytes=0)
        for seq in range(8):
            event = received(seq)
            queue.put_frame(event.frame, event.t_recv_ns, 1, lambda seq=seq: taken.append(seq))
        assert taken == [0, 1, 2]  # what fits the queue; the others wait for the disk
        GatedWriter.permits.release(8)
        queue.close()
        assert taken == list(range(8)) and not queue.totals and queue.error is None
    assert seqs(path) == list(range(8))


@dataclasses.dataclass
class Finding:
    buffer: str
    fault: str
    figure: float


class LookingProbe:
    def __init__(self, breaks: bool) -> None:
        self.seen: list[float] = []
        self.breaks = breaks

    def observe(
        self, header: Any, arrays: Arrays, *, t_recv_ns: int | None = None, epoch: int = 0
    ) -> None:
        if self.breaks:
            raise ZeroDivisionError("a bug in the probe")
        assert set(arrays) == set(frame(0).arrays) and len(arrays) == len(frame(0).arrays)
        self.seen.append(float(np.asarray(arrays["color"], np.float64).mean()))

    def findings(self) -> list[Finding]:
        return [Finding("color", "flat", self.seen[0])] if self.seen else []


def test_the_probes_findings_are_in_the_file(tmp_path: Path) -> None:
    probe = LookingProbe(breaks=False)
    link = Script(connected(), *(received(i) for i in range(3)), ended(2))
    record_link(link, tmp_path / "s.mcap", probe=lambda _: probe)
    assert probe.seen == [float(frame(i).arrays["color"].mean()) for i in range(3)]
    with SessionReader(tmp_path / "s.mcap") as reader:
        (finding,) = reader.findings()
        assert finding == {"buffer": "color", "fault": "flat", "figure": probe.seen[0]}


def test_a_broken_probe_does_not_end_a_recording(tmp_path: Path) -> None:
    link = Script(connected(), *(received(i) for i in range(3)), ended(2))
    record_link(link, tmp_path / "s.mcap", probe=lambda _: LookingProbe(breaks=True))
    assert seqs(tmp_path / "s.mcap") == [0, 1, 2]
    with SessionReader(tmp_path / "s.mcap") as reader:
        (finding,) = reader.findings()
        assert "ZeroDivisionError" in finding["text"]


def test_memory_stays_flat_while_recording(tmp_path: Path) -> None:
    num_frames, held = 400, []

    def events() -> Iterator[Event]:
        yield connected()
        for seq in range(num_frames):
            yield received(seq)
            if seq in (200, num_frames - 1):
                held.append(tracemalloc.get_traced_memory()[0])
        yield ended(num_frames - 1)

    options = RecordingOptions(codec="raw", max_queue_bytes=1 << 20, min_free_bytes=0)
    tracemalloc.start()
    try:
        summary = record_link(Script.of(events()), tmp_path / "s.mcap", options=options)
    finally:
        tracemalloc.stop()
    assert summary.frames == num_frames
    # Payloads are shared by all frames here, so what may grow is bookkeeping alone.
    assert held[1] - held[0] < 3 << 20, held
