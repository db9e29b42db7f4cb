"""What a session holds, without reading its pixels: `realmaster inspect`.

Rates, gaps and losses are those measured and recorded; nothing is derived from a nominal rate.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from capture_bridge.container_reader import Container
from capture_bridge.errors import SessionError
from capture_bridge.foxglove import IMAGE_ENCODINGS
from capture_bridge.messages import FrameFlags, FrameHeader
from capture_bridge.session import Drop, SessionInfo, SessionMark, SessionReader
from capture_bridge.session_format import BUFFER_TOPIC

#: Gaps and marks that the text lists one by one.
_LISTED = 8


@dataclass(frozen=True, slots=True)
class Gap:
    """Missing frames: `count` of them from `first_seq` on."""

    epoch: int
    first_seq: int
    count: int


@dataclass(frozen=True, slots=True)
class StreamReport:
    """One buffer. sizes: (width, height) of each size that occurs. codec: as it is stored.

    stored_bytes: in the file, its chunks' indices included; raw_bytes: unpacked.
    """

    name: str
    sizes: tuple[tuple[int, int], ...]
    dtype: str
    components: int
    codec: str
    frames: int
    stored_bytes: int
    raw_bytes: int


@dataclass(frozen=True, slots=True)
class Inspection:
    """A session at a glance.

    seconds, fps: measured on `clock` (see timeline.py). longest_ms: the longest time between two
    frames. drops: lost frames by "stage/cause". findings: of the health probe while recording.
    """

    info: SessionInfo
    num_bytes: int
    frames: int
    epochs: tuple[int, ...]
    clock: str
    seconds: float
    fps: float
    longest_ms: float
    streams: tuple[StreamReport, ...]
    gaps: tuple[Gap, ...]
    drops: Mapping[str, int]
    flags: Mapping[str, int]
    marks: tuple[SessionMark, ...]
    findings: tuple[Mapping[str, Any], ...]


def inspect(path: str | Path) -> Inspection:
    """Look at a session; one that was not closed is shown up to its last whole group.

    Raises SessionError where the file is missing, foreign, newer or damaged.
    """
    with SessionReader(path, unfinished_ok=True) as reader:
        timeline = _times(reader)
        streams, flags = _walk_headers(reader)
        lost: Counter[str] = Counter()
        for drop in reader.drops():
            lost[f"{drop.stage}/{drop.cause}"] += drop.count
        clock, seconds, fps, longest_ms = timeline
        return Inspection(
            info=reader.info,
            num_bytes=reader.num_bytes,
            frames=len(reader),
            epochs=tuple(int(epoch) for epoch in np.unique(reader.epochs)),
            clock=clock,
            seconds=seconds,
            fps=fps,
            longest_ms=longest_ms,
            streams=streams,
            gaps=tuple(find_gaps(reader)),
            drops=dict(sorted(lost.items())),
            flags=flags,
            marks=tuple(reader.marks()),
            findings=tuple(reader.findings()),
        )


def find_gaps(reader: SessionReader) -> Iterable[Gap]:
    """Where seq jumps between two frames of one engine run."""
    hellos = reader.info.hellos
    epochs, seqs = reader.epochs, reader.seqs
    for place in np.flatnonzero(np.diff(seqs) != 1):
        before, after = int(epochs[place]), int(epochs[place + 1])
        runs = [hellos[epoch].session_uuid if epoch in hellos else "" for epoch in (before, after)]
        missing = int(seqs[place + 1] - seqs[place]) - 1
        if runs[0] == runs[1] and missing > 0:
            yield Gap(after, int(seqs[place]) + 1, missing)


def drops_in(gap: Gap, drops: Iterable[Drop]) -> int:
    """How many of the gap's frames the records account for."""
    inside = range(gap.first_seq, gap.first_seq + gap.count)
    return sum(drop.count for drop in drops if drop.first_seq in inside)


def _times(reader: SessionReader) -> tuple[str, float, float, float]:
    """(clock, seconds, fps, longest ms between frames); zeros where no clock runs."""
    try:
        timeline = reader.timeline()
    except SessionError:
        return "none", 0.0, 0.0, 0.0
    steps = np.diff(np.array(timeline.times_ns, np.int64))
    longest_ms = float(steps.max()) / 1e6 if steps.size else 0.0
    return timeline.clock, timeline.seconds, timeline.fps, longest_ms


def _walk_headers(reader: SessionReader) -> tuple[tuple[StreamReport, ...], dict[str, int]]:
    """The streams, and how many frames bear each flag."""
    stored = _stored_bytes(reader.path)
    counts: Counter[str] = Counter()
    raw: Counter[str] = Counter()
    sizes: dict[str, dict[tuple[int, int], None]] = {}
    first: dict[str, FrameHeader] = {}
    flags: Counter[str] = Counter()
    for header in reader.headers:
        flags.update(flag.name or "" for flag in header.flags & ~FrameFlags.NONE)
        for buffer in header.buffers:
            counts[buffer.name] += 1
            raw[buffer.name] += buffer.row_pitch * buffer.height
            sizes.setdefault(buffer.name, {})[buffer.width, buffer.height] = None
            first.setdefault(buffer.name, header)
    streams = []
    for name, header in first.items():
        descriptor = next(buffer for buffer in header.buffers if buffer.name == name)
        topic = f"/{name}" if name in IMAGE_ENCODINGS else BUFFER_TOPIC + name
        num_stored, compression = stored.get(topic, (0, ""))
        streams.append(
            StreamReport(
                name=name,
                sizes=tuple(sizes[name]),
                dtype=descriptor.dtype,
                components=descriptor.components,
                codec=compression or descriptor.codec,
                frames=counts[name],
                stored_bytes=num_stored,
                raw_bytes=raw[name],
            )
        )
    return tuple(streams), dict(flags)


def _stored_bytes(path: Path) -> dict[str, tuple[int, str]]:
    """By topic: the bytes of its chunks in the file, and the chunks' compression."""
    file = Container(path)
    try:
        found: dict[str, tuple[int, str]] = {}
        for chunk in file.contents.chunks:
            if len(chunk.channels) == 1:
                topic = file.contents.topics.get(chunk.channels[0], "")
                before, compression = found.get(topic, (0, ""))
                if not before:
                    compression = file.chunk_head(chunk).compression
                found[topic] = before + chunk.length, compression
        return found
    finally:
        file.close()


def to_text(seen: Inspection) -> str:
    """The inspection as lines for a terminal."""
    return "\n".join(_lines(seen))


def _lines(seen: Inspection) -> Iterable[str]:
    info, hello = seen.info, seen.info.hello
    yield f"{info.path}  {megabytes(seen.num_bytes)}" + ("" if info.finished else "  NOT CLOSED")
    if info.note:
        yield f"  {info.note}; `realmaster recover` makes it whole"
    yield f"  session   {info.session_uuid}"
    yield f"  engine    {hello.engine} {hello.engine_version}, game {hello.game or '-'}"
    yield f"  plugin    {hello.plugin} {hello.plugin_version}" + (
        f", lockstep {hello.dt_sim_ns / 1e6:.3f} ms" if hello.lockstep else ", real time"
    )
    epochs = f", {len(seen.epochs)} connections" if len(seen.epochs) > 1 else ""
    yield (
        f"  frames    {seen.frames} in {seen.seconds:.3f} s, {seen.fps:.3f} frames/s measured "
        f"(longest step {seen.longest_ms:.1f} ms, clock {seen.clock}){epochs}"
    )
    yield "  streams"
    for stream in seen.streams:
        yield "    " + _stream_line(stream, seen.frames)
    yield from _loss_lines(seen)
    if seen.flags:
        yield "  flags     " + ", ".join(f"{n} {c}" for n, c in sorted(seen.flags.items()))
    if seen.marks:
        yield f"  marks     {len(seen.marks)}"
        for mark in seen.marks[:_LISTED]:
            yield f"    {mark.t_sim_ns / 1e9:10.3f} s  {mark.label}"
    if not seen.findings:
        yield "  health    nothing found while recording; `realmaster verify` looks at all frames"
    else:
        yield f"  health    {len(seen.findings)} found while recording"
        for finding in seen.findings:
            yield f"    {finding.get('text', finding.get('fault', ''))}"
            if finding.get("cure"):
                yield f"      cure: {finding['cure']}"


def _stream_line(stream: StreamReport, frames: int) -> str:
    size = " ".join(f"{width}x{height}" for width, height in stream.sizes[:3])
    per_frame_kb = stream.stored_bytes / max(stream.frames, 1) / 1e3
    share = stream.stored_bytes / max(stream.raw_bytes, 1)
    missing = f"  in {stream.frames} of {frames} frames" if stream.frames != frames else ""
    kind = f"{stream.dtype}x{stream.components}"
    return (
        f"{stream.name:10} {size:10} {kind:6} {stream.codec:12} "
        f"{megabytes(stream.stored_bytes):>10}  {per_frame_kb:8.1f} kB/frame  "
        f"{share:4.0%}{missing}"
    )


def _loss_lines(seen: Inspection) -> Iterable[str]:
    missing = sum(gap.count for gap in seen.gaps)
    if not seen.drops and not seen.gaps:
        yield "  lost      no frame"
        return
    causes = (
        ", ".join(f"{cause} {count}" for cause, count in seen.drops.items()) or "no cause noted"
    )
    yield f"  lost      {sum(seen.drops.values())} frames: {causes}"
    yield f"  gaps      {len(seen.gaps)}, together {missing} frames"
    for gap in seen.gaps[:_LISTED]:
        yield f"    {gap.count} frames from seq {gap.first_seq} on"
    if len(seen.gaps) > _LISTED:
        yield f"    and {len(seen.gaps) - _LISTED} more"


def megabytes(num_bytes: int) -> str:
    """A size for people, in MB (10^6) or kB."""
    return f"{num_bytes / 1e6:.1f} MB" if num_bytes >= 1e6 else f"{num_bytes / 1e3:.1f} kB"
