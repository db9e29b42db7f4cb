"""Recounts and re-checks everything in a session; what does not hold is a finding.

Every chunk and payload is read and its CRC compared, every frame decoded and held against its
stream's declaration, every gap against the recorded drops, every clock and camera looked at, and
the health probe sees the frames. This file knows sessions and the probe; it changes nothing.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from capture_bridge.buffers import BUFFERS
from capture_bridge.container_reader import Container
from capture_bridge.errors import SessionError
from capture_bridge.health import Finding, HealthProbe
from capture_bridge.inspection import drops_in, find_gaps
from capture_bridge.losses import LossAccount
from capture_bridge.messages import FrameFlags, FrameHeader, Hello
from capture_bridge.session import Drop, DropStage, SessionFrame, SessionReader

#: Beyond so many frames the probe looks at pairs spread over the session, at about 30 ms each.
MAX_PROBED_FRAMES = 2000
#: Real clocks waver by more than this between frames; a rate that someone multiplied out does not.
MADE_UP_STEP_NS = 1_000
#: Steps that must agree before they count as made up.
MIN_STEPS = 16

#: Losses that no plugin chose. What it drops itself, by cause, is how real time is meant to work.
_OUR_LOSSES: Mapping[str, tuple[str, str]] = {
    DropStage.LINK: (
        "between two frames that arrived, and nobody counted them",
        "the plugin must count every frame that it drops, by cause, in its headers",
    ),
    DropStage.DECODE: ("they arrived malformed", "mend the plugin: PROTOCOL.md, or buffers.json"),
    DropStage.DISK: ("the disk refused them", "record to a disk with more space"),
}

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Verification:
    """What was checked and what did not hold; an empty `findings` is a sound session."""

    frames: int
    buffers: int
    num_bytes: int
    findings: tuple[Finding, ...]


class _Findings:
    """Findings of the file, one per fault: the first place, and how many."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str], Finding] = {}

    def add(self, buffer: str, fault: str, seq: int, text: str, cure: str, count: int = 1) -> None:
        """Note `count` cases of a fault; text and cure of the first case stay."""
        first = self._rows.get((buffer, fault))
        self._rows[buffer, fault] = Finding(
            buffer,
            fault,
            float(count if first is None else first.count + count),
            0.0,
            seq if first is None else first.first_seq,
            count if first is None else first.count + count,
            text if first is None else first.text,
            cure,
        )

    def all(self) -> Iterator[Finding]:
        """In the order in which they were found first."""
        yield from self._rows.values()


def verify(
    path: str | Path, *, progress: Progress | None = None, health: bool = True
) -> Verification:
    """Check the whole session. SessionError only where the file is no session at all.

    progress: called with (frames done, frames in all). health: whether the probe looks on, too.
    """
    findings, path = _Findings(), Path(path)
    sound = _check_chunks(path, findings)
    reader = SessionReader(path, unfinished_ok=True, use_index=sound)
    with reader:
        if sound and not reader.info.finished:
            findings.add(
                "", "unfinished", -1, reader.info.note, f"`realmaster recover {path} -o FIXED.mcap`"
            )
        probes, num_buffers = _check_frames(reader, findings, progress, health)
        _check_counts(reader, findings)
        found = [*findings.all(), *(f for probe in probes for f in probe.findings())]
        return Verification(len(reader), num_buffers, reader.num_bytes, tuple(found))


def _check_chunks(path: Path, findings: _Findings) -> bool:
    """Read the file once, record by record, without its index; whether both are good."""
    sound, seen = True, []
    cure = f"`realmaster recover {path} -o FIXED.mcap` keeps all that is whole"
    for use_summary in (False, True):
        try:
            file = Container(path, use_summary=use_summary)
        except SessionError as error:
            if not use_summary:
                raise
            findings.add("", "damaged_index", -1, str(error).removesuffix(f"; {cure}"), cure)
            return False
        try:
            places = [(chunk.start, chunk.length) for chunk in file.contents.chunks]
            seen.append((places, file.contents.topics, sorted(_texts(file))))
            for chunk in () if use_summary else file.contents.chunks:
                try:
                    file.chunk_data(chunk)
                except SessionError as error:
                    sound = False
                    findings.add(
                        "", "damaged_chunk", -1, str(error).removesuffix(f"; {cure}"), cure
                    )
        finally:
            file.close()
    if len(seen) == 2 and seen[0] != seen[1]:
        text = f"its index ({len(seen[1][0])} chunks) is not that of its {len(seen[0][0])} chunks"
        findings.add("", "wrong_index", -1, text, cure)
        sound = False
    return sound


def _texts(file: Container) -> Iterator[str]:
    """The metadata records, to be compared."""
    for name, values in file.contents.metadata:
        yield json.dumps([name, values], sort_keys=True)


# --- frames ----------------------------------------------------------------------------------


def _check_frames(
    reader: SessionReader, findings: _Findings, progress: Progress | None, health: bool
) -> tuple[list[HealthProbe], int]:
    """Look at each frame; the probes, one per engine run, and how many buffers were decoded."""
    every = max(1, 2 * len(reader) // MAX_PROBED_FRAMES)
    probes: dict[str, HealthProbe] = {}
    before: SessionFrame | None = None
    num_buffers = 0
    for index in range(len(reader)):
        try:
            frame = reader.frame(index)
            arrays = frame.arrays(frame.names)
        except SessionError as error:
            seq = int(reader.seqs[index])
            cure = f"`realmaster recover {reader.path} -o FIXED.mcap` leaves such frames out"
            findings.add("", "damaged_frame", seq, str(error), cure)
            before = None
            continue
        num_buffers += len(arrays)
        hello = reader.info.hellos.get(frame.epoch)
        _check_streams(frame, hello, findings)
        _check_header(frame.header, findings)
        if before is not None:
            _check_order(frame, before, findings)
        if health and hello is not None:
            probe = probes.setdefault(hello.session_uuid, HealthProbe(hello, every=every))
            probe.observe(frame.header, arrays, t_recv_ns=frame.t_recv_ns, epoch=frame.epoch)
        before = frame
        if progress:
            progress(index + 1, len(reader))
    return list(probes.values()), num_buffers


def _check_streams(frame: SessionFrame, hello: Hello | None, findings: _Findings) -> None:
    """Each declared stream is there, and each buffer is as declared."""
    seq = frame.header.seq
    if hello is None:
        text = f"epoch {frame.epoch} (seq {seq}) has no hello"
        findings.add("", "undeclared_epoch", seq, text, "record with this version's recorder")
        return
    declared = {stream.name: stream for stream in hello.streams}
    if not frame.header.flags & FrameFlags.GENERATED:
        for name in declared.keys() - set(frame.names):
            text = f"{name}: declared in the hello, but not in frame {seq}"
            findings.add(name, "missing_buffer", seq, text, "declare only what every frame has")
    for buffer in frame.header.buffers:
        stream, row = declared.get(buffer.name), BUFFERS.get(buffer.name)
        given = (buffer.width, buffer.height, buffer.dtype, buffer.components)
        if stream is None:
            text = f"{buffer.name}: in frame {seq}, but not declared in the hello"
            findings.add(buffer.name, "undeclared_buffer", seq, text, "declare it as a stream")
        elif given != (stream.width, stream.height, stream.dtype, stream.components):
            text = (
                f"{buffer.name}: {buffer.width}x{buffer.height} {buffer.dtype}x{buffer.components} "
                f"in frame {seq}, declared {stream.width}x{stream.height} "
                f"{stream.dtype}x{stream.components}"
            )
            findings.add(buffer.name, "other_size", seq, text, "say hello again on a new size")
        if row is not None and (buffer.dtype, buffer.components) != (row.dtype, row.components):
            text = (
                f"{buffer.name}: {buffer.dtype}x{buffer.components} in frame {seq}, the table of "
                f"buffers says {row.dtype}x{row.components}"
            )
            findings.add(buffer.name, "other_type", seq, text, "send it as buffers.json says")


def _check_header(header: FrameHeader, findings: _Findings) -> None:
    """The poses are rotations and translations; what is not finite, the probe names."""
    if header.t_send_ns < header.t_render_ns:
        text = f"frame {header.seq} was sent {header.t_render_ns - header.t_send_ns} ns too early"
        findings.add(
            "t_send_ns", "clock_order", header.seq, text, "stamp both with one monotonic clock"
        )
    if header.camera is None:
        return
    for name in ("world_from_camera", "world_from_camera_prev"):
        pose = getattr(header.camera, name)
        if not np.isfinite(pose).all():
            text = f"camera.{name} of frame {header.seq} holds NaN or infinity"
            findings.add("camera", "non_finite_pose", header.seq, text, "send no camera instead")
        elif not _is_rigid(pose):
            text = f"camera.{name} of frame {header.seq} is no rotation and translation"
            cure = "send a rigid, right-handed matrix with OpenCV axes"
            findings.add("camera", "pose_not_rigid", header.seq, text, cure)


def _is_rigid(pose: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> bool:
    rotation = pose[:3, :3]
    square = np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-3)
    return bool(square and np.linalg.det(rotation) > 0 and np.allclose(pose[3], (0, 0, 0, 1)))


def _check_order(frame: SessionFrame, before: SessionFrame, findings: _Findings) -> None:
    """Receipt and the plugin's own counts never run back."""
    seq = frame.header.seq
    if frame.t_recv_ns <= before.t_recv_ns:
        text = f"frame {seq} was received before the frame that it follows"
        findings.add("t_recv_ns", "received_out_of_order", seq, text, "record through one link")
    if frame.epoch == before.epoch:
        for cause, count in before.header.drops.items():
            if frame.header.drops.get(cause, 0) < count:
                text = f"frame {seq} counts fewer '{cause}' drops than the frame before"
                findings.add("", "drops_run_back", seq, text, "count drops from the hello on")


# --- counts and clocks -----------------------------------------------------------------------


def _check_counts(reader: SessionReader, findings: _Findings) -> None:
    """Gaps against drops, exactly; the recorder's own counts; copies; clocks made of a rate."""
    if reader.num_duplicates:
        text = f"{reader.num_duplicates} frames are in the file twice"
        findings.add("", "twice", -1, text, "record with one recorder", reader.num_duplicates)
    drops = list(reader.drops())
    for gap in find_gaps(reader):
        told = drops_in(gap, drops)
        if told != gap.count:
            text = (
                f"{gap.count} frames are missing from seq {gap.first_seq} on, the recorded drops "
                f"account for {told}"
            )
            cure = "a frame was lost that nobody counted: report it with the plugin's name"
            findings.add("", "unaccounted_gap", gap.first_seq, text, cure, abs(gap.count - told))
    for drop in drops:
        if drop.stage in _OUR_LOSSES:
            text, cure = _OUR_LOSSES[drop.stage]
            text = f"{drop.count} frames were lost: {text} ({drop.cause})"
            findings.add("", f"lost_{drop.stage}", drop.first_seq, text, cure, drop.count)
    _recount(reader, drops, findings)
    written: Counter[str] = Counter()
    for drop in drops:
        written[f"dropped/{drop.stage}/{drop.cause}"] += drop.count
    _check_summary(reader, written, findings)
    _check_made_up_times(reader, findings)


def _recount(reader: SessionReader, drops: list[Drop], findings: _Findings) -> None:
    """What the plugin's headers say was dropped between two frames, against the records of it."""
    plugins = [drop for drop in drops if drop.stage == DropStage.PLUGIN]
    account, epoch = LossAccount(), None
    for header, at in zip(reader.headers, reader.epochs.tolist(), strict=True):
        if at != epoch and at in reader.info.hellos:
            account.connected(reader.info.hellos[at].session_uuid)
        epoch = at
        for told in account.frame(header, at, 0):
            between = range(told.first_seq, header.seq)
            noted = sum(
                d.count for d in plugins if d.cause == told.cause and d.first_seq in between
            )
            if told.stage == DropStage.PLUGIN and noted != told.count:
                text = (
                    f"the plugin dropped {told.count} frames ({told.cause}) before seq "
                    f"{header.seq}, the file records {noted}"
                )
                cure = "record with this version's recorder"
                findings.add("", "drops_disagree", told.first_seq, text, cure)


def _check_summary(reader: SessionReader, written: Counter[str], findings: _Findings) -> None:
    """What the recorder noted at the end, against what is there."""
    noted = reader.info.summary
    frames = noted.get("frames", "")
    cure = "the file was changed after it was recorded: go back to the original"
    if frames.isdecimal() and int(frames) != len(reader):
        text = f"the recorder counted {frames} frames, {len(reader)} are in the file"
        findings.add("", "frames_disagree", -1, text, cure)
    for name, text in noted.items():
        if name.startswith("dropped/") and text.isdecimal() and int(text) != written[name]:
            line = f"the recorder counted {text} {name}, the file records {written[name]}"
            findings.add("", "losses_disagree", -1, line, cure)


def _check_made_up_times(reader: SessionReader, findings: _Findings) -> None:
    """Host times that step like a metronome were not read from a clock."""
    steps: list[int] = []
    before: FrameHeader | None = None
    for header in reader.headers:
        if before is not None and header.seq == before.seq + 1:
            steps.append(header.t_render_ns - before.t_render_ns)
        before = header
    enough = len(steps) >= MIN_STEPS and not reader.info.hello.lockstep
    if enough and max(steps) - min(steps) <= MADE_UP_STEP_NS:
        text = f"t_render_ns steps by {steps[0]} ns exactly, frame after frame: not measured"
        cure = "stamp each frame with the host's monotonic clock when it is submitted"
        findings.add("t_render_ns", "made_up_times", 0, text, cure, len(steps))
