"""Where a session is cut into clips for training pairs, and why: every frame is accounted for.

A take is a run of frames that motion connects; it is divided into clips of one length. What fits in
no clip is refused with a reason and a figure. Knows headers and, for what enters the picture at
once, the instance buffer; no colors and no model.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from capture_bridge.continuity import clock_of, follows
from capture_bridge.errors import RealMasterError, SessionError
from capture_bridge.messages import FrameFlags
from capture_bridge.session import SessionFrame, SessionReader
from capture_bridge.timeline import Clock, video_timeline

Reason = Literal[
    "menu", "loading", "paused", "generated", "too short", "uneven rate", "no running clock"
]
Progress = Callable[[int, int], None]
Ids = NDArray[np.integer[Any]]
#: seq, t_sim_ns, t_render_ns, t_recv_ns of a frame.
_Row = tuple[int, int, int, int]

#: Frames of a clip: both 4k + 1 (Wan) and 8k + 1 (LTX). Our choice, a little over 3 s at 24 Hz.
CLIP_LENGTH = 81
MIN_LENGTH, MAX_LENGTH = 9, 1025
#: Columns that are looked at of an instance buffer, at most: shares of an area need no more.
_SAMPLED_COLUMNS = 320

#: Frames that are no footage, by the flag that says so, first match first.
_NO_FOOTAGE: Mapping[FrameFlags, Reason] = MappingProxyType(
    {
        FrameFlags.LOADING: "loading",
        FrameFlags.MENU: "menu",
        FrameFlags.PAUSED: "paused",
        FrameFlags.GENERATED: "generated",
    }
)


@dataclass(frozen=True, slots=True)
class ClipRules:
    """How clips are cut.

    length: frames of a clip. minimum: what a take's remainder needs to become a shorter clip; None:
    `length`, so that all clips are equal. multiple: lengths are so many times k, plus 1: 8 suits
    LTX and Wan, 4 Wan alone. max_jitter: how far a time step may lie off the clip's median step,
    relative to it. max_new: the share of the picture that objects may cover which the frame before
    does not show at all; more is a cut that nobody flagged; 1 leaves pixels unread. The limits
    are our choices. Raises RealMasterError for what no model takes.
    """

    length: int = CLIP_LENGTH
    minimum: int | None = None
    multiple: Literal[4, 8] = 8
    max_jitter: float = 0.5
    max_new: float = 0.5

    def __post_init__(self) -> None:
        self._check("length", self.length, MAX_LENGTH)
        self._check("minimum", self.shortest, self.length)
        if not (0 < self.max_jitter <= 10 and 0 < self.max_new <= 1):
            raise RealMasterError(
                f"clips: jitter {self.max_jitter:g} must be above 0 and at most 10, new objects "
                f"{self.max_new:g} above 0 and at most 1"
            )

    @property
    def shortest(self) -> int:
        """The fewest frames of a clip."""
        return self.length if self.minimum is None else self.minimum

    def _check(self, name: str, frames: int, most: int) -> None:
        if not MIN_LENGTH <= frames <= most:
            raise RealMasterError(f"clip {name} {frames}: must be {MIN_LENGTH} to {most} frames")
        if rest := (frames - 1) % self.multiple:
            below = frames - rest
            above = below + self.multiple
            near = f"{below} or {above}" if above <= most else f"{below}"
            raise RealMasterError(
                f"clip {name} {frames}: {'LTX' if self.multiple == 8 else 'Wan'} takes "
                f"{self.multiple}k + 1 frames; {near} will do"
            )


@dataclass(frozen=True, slots=True)
class Clip:
    """Frames `start` to `stop` - 1 of a session, connected by motion.

    name: unique among sessions; fit for a file. fps: measured on `clock` (timeline.py); jitter: the
    largest distance of a time step from the median step, relative to it. ends: why it goes no
    further.
    """

    name: str
    start: int
    stop: int
    first_seq: int
    last_seq: int
    epoch: int
    fps: float
    jitter: float
    clock: Clock
    ends: str

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def indices(self) -> range:
        """The clip's frames in the session."""
        return range(self.start, self.stop)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Frames `start` to `stop` - 1, which are in no clip. figure against limit is the reason."""

    start: int
    stop: int
    first_seq: int
    last_seq: int
    epoch: int
    reason: Reason
    figure: float
    limit: float
    text: str

    def __len__(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True, slots=True)
class ClipPlan:
    """How a session is cut: each of its frames is in one clip or in one refusal."""

    session_uuid: str
    num_frames: int
    clips: tuple[Clip, ...]
    refusals: tuple[Refusal, ...]


@dataclass(frozen=True, slots=True)
class _Run:
    """Frames that belong together: a take, or frames of no footage. times_ns: (N, 3) clocks."""

    start: int
    stop: int
    epoch: int
    seqs: NDArray[np.int64]
    times_ns: NDArray[np.int64]
    no_footage: Reason | None
    ends: str


def find_clips(
    session: SessionReader, rules: ClipRules | None = None, *, progress: Progress | None = None
) -> ClipPlan:
    """How the session is cut. progress: called with (frames looked at, frames in all).

    Raises SessionError where it holds no frames or cannot be read.
    """
    session.require(["color"], "cutting clips")
    rules = rules or ClipRules()
    clips: list[Clip] = []
    refusals: list[Refusal] = []
    for run in _runs(session, rules, progress):
        if run.no_footage is not None:
            frames = run.stop - run.start
            text = f"{frames} frames of {run.no_footage}"
            refusals.append(_refuse(run, run.start, run.stop, run.no_footage, frames, 0, text))
            continue
        for part in _divide(run, rules, session.info.session_uuid):
            if isinstance(part, Clip):
                clips.append(part)
            else:
                refusals.append(part)
    return ClipPlan(session.info.session_uuid, len(session), tuple(clips), tuple(refusals))


def new_share(instance: Ids, known: Ids) -> float:
    """Share of the picture that objects cover which are not in `known` (any shape); 0 is no id."""
    ids, counts = np.unique(instance, return_counts=True)
    return float(counts[(ids != 0) & ~np.isin(ids, known)].sum()) / instance.size


# --- takes -----------------------------------------------------------------------------------


def _runs(session: SessionReader, rules: ClipRules, progress: Progress | None) -> Iterator[_Run]:
    """The session's frames in runs, in order; one frame's pixels are held at a time."""
    first = before = session.frame(0)
    rows: list[_Row] = []
    ids: Ids | None = None
    for frame in session.frames():
        ids_before, ids = ids, _sampled_ids(frame, rules)
        ends = _break(before, frame, ids_before, ids, rules) if rows else None
        if ends is not None:
            yield _run(first, rows, ends)
            first, rows = frame, []
        header = frame.header
        rows.append((header.seq, header.t_sim_ns, header.t_render_ns, frame.t_recv_ns))
        before = frame
        if progress:
            progress(frame.index + 1, len(session))
    yield _run(first, rows, "the session ends")


def _run(first: SessionFrame, rows: list[_Row], ends: str) -> _Run:
    numbers = np.array(rows, np.int64)
    return _Run(
        start=first.index,
        stop=first.index + len(rows),
        epoch=first.epoch,
        seqs=numbers[:, 0],
        times_ns=numbers[:, 1:],
        no_footage=_no_footage(first),
        ends=ends,
    )


def _no_footage(frame: SessionFrame) -> Reason | None:
    return next((r for flag, r in _NO_FOOTAGE.items() if frame.header.flags & flag), None)


def _break(
    before: SessionFrame,
    frame: SessionFrame,
    ids_before: Ids | None,
    ids: Ids | None,
    rules: ClipRules,
) -> str | None:
    """Why the run that `before` is in ends there, and `frame` begins another; None: it goes on."""
    kind = _no_footage(frame)
    if kind is not None or _no_footage(before) is not None:
        return None if kind == _no_footage(before) else f"{kind or 'footage'} begins"
    at = f"at seq {frame.header.seq}"
    if frame.epoch != before.epoch:
        return f"the engine connected anew (epoch {frame.epoch})"
    for flag, name in ((FrameFlags.CUT, "cut"), (FrameFlags.TELEPORT, "teleport")):
        if frame.header.flags & flag:
            return f"{name} {at}"
    if not follows(frame, clock_of(before)):
        return f"{frame.header.seq - before.header.seq - 1} frames were lost before {at[3:]}"
    if _layout(frame) != _layout(before):
        return f"the buffers or their sizes change {at}"
    if ids is not None and ids_before is not None:
        share = new_share(ids, ids_before)
        if share > rules.max_new:
            return f"objects never seen before cover {share:.0%} of the picture {at}"
    return None


def _layout(frame: SessionFrame) -> list[tuple[str, int, int]]:
    return [(buffer.name, buffer.width, buffer.height) for buffer in frame.header.buffers]


def _sampled_ids(frame: SessionFrame, rules: ClipRules) -> Ids | None:
    """Every n-th pixel's instance; None where there is none or none is asked for."""
    if rules.max_new >= 1 or not frame.has("instance"):
        return None
    instance = frame.array("instance").astype(np.uint32, copy=False)
    step = -(-instance.shape[1] // _SAMPLED_COLUMNS)
    return instance[::step, ::step].copy()


# --- clips of a take -------------------------------------------------------------------------


def _divide(take: _Run, rules: ClipRules, session_uuid: str) -> Iterator[Clip | Refusal]:
    """The take in clips and refusals, in order and without a gap.

    After a step of uneven length the next clip begins behind it, so that it spoils one clip only.
    """
    at = take.start
    while at < take.stop:
        frames = min(rules.length, take.stop - at)
        frames -= (frames - 1) % rules.multiple
        if frames < rules.shortest:
            rest = take.stop - at
            text = f"{rest} frames are left where {take.ends}; a clip has {rules.shortest} or more"
            yield _refuse(take, at, take.stop, "too short", rest, rules.shortest, text)
            return
        part = _clip(take, at, at + frames, rules, session_uuid)
        yield part
        at = part.stop


def _clip(take: _Run, start: int, stop: int, rules: ClipRules, session_uuid: str) -> Clip | Refusal:
    """One clip, or the refusal of its frames up to its last uneven step."""
    at = slice(start - take.start, stop - take.start)
    try:
        timeline = video_timeline(*take.times_ns[at].T.tolist())
    except SessionError:
        text = "no clock (t_sim, t_render, t_recv) increases from frame to frame"
        return _refuse(take, start, stop, "no running clock", 0, 1, text)
    steps = np.diff(np.array(timeline.times_ns, np.int64))
    off = np.abs(steps / np.median(steps) - 1)
    jitter = float(off.max())
    if jitter > rules.max_jitter:
        last = int(np.flatnonzero(off > rules.max_jitter)[-1])
        text = (
            f"a step of {steps[int(off.argmax())] / 1e6:.1f} ms among steps of "
            f"{float(np.median(steps)) / 1e6:.1f} ms, {jitter:.0%} off; "
            f"{rules.max_jitter:.0%} is allowed"
        )
        until = start + last + 1
        return _refuse(take, start, until, "uneven rate", jitter, rules.max_jitter, text)
    first_seq, last_seq = (int(seq) for seq in take.seqs[at][[0, -1]])
    full = stop - start == rules.length
    return Clip(
        name=f"{session_uuid[:8]}-{take.epoch}-{first_seq:06d}-{stop - start}",
        start=start,
        stop=stop,
        first_seq=first_seq,
        last_seq=last_seq,
        epoch=take.epoch,
        fps=timeline.fps,
        jitter=jitter,
        clock=timeline.clock,
        ends=f"{rules.length} frames are full" if full else take.ends,
    )


def _refuse(
    run: _Run, start: int, stop: int, reason: Reason, figure: float, limit: float, text: str
) -> Refusal:
    first, last = (int(seq) for seq in run.seqs[[start - run.start, stop - 1 - run.start]])
    return Refusal(start, stop, first, last, run.epoch, reason, figure, limit, text)
