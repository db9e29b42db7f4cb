"""Makes training pairs of sessions: clip by clip through anchors, propagation and gates to files.

The stages are seams (anchors.py, propagation.py, gates.py); this file knows their order, and what a
folder of pairs is told. One clip is in memory at a time. Whatever happens, each clip ends with one
line in the manifest, or with none and is made by the next run.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from capture_bridge.clips import MIN_LENGTH, Clip, ClipPlan, ClipRules, find_clips
from capture_bridge.errors import SessionError
from capture_bridge.session import SessionFrame, SessionReader
from realmaster.anchors import EditedAnchors
from realmaster.edit_prompts import game_prompts
from realmaster.editors import EditorOptions
from realmaster.gates import Limits, Verdict
from realmaster.pair_exports import write_exports
from realmaster.pair_folder import PairFolder, going_on
from realmaster.pair_record import PairRecord
from realmaster.pair_sheet import write_sheet
from realmaster.pair_videos import constant_rate, fit, write_pair_video
from realmaster.propagation import Propagated, PropagationOptions
from realmaster.shards import WHOLE, Shard

U8 = NDArray[np.uint8]

Progress = Callable[[int, int, str], None]
"""Called with (clips done, clips in all, which one is being made)."""


#: Options that say how a machine does it, and change no picture.
_NO_MATTER = {"editing": ("truth", "editor_fit"), "propagation": ("fit",)}


@dataclass(frozen=True, slots=True)
class PairSettings:
    """How all pairs of one folder are made; the folder keeps them and takes no others.

    editor, propagator: names of their tables. caption: what trainers are told of every clip; None:
    what prompts.toml says of the game. size: (width, height) of the videos; None: the session's,
    rounded down (pair_videos.py). faces: a folder of face models (faces.py), for the gate of
    identity.
    """

    editor: str
    propagator: str
    caption: str | None = None
    size: tuple[int, int] | None = None
    rules: ClipRules = field(default_factory=ClipRules)
    editing: EditorOptions = field(default_factory=EditorOptions)
    propagation: PropagationOptions = field(default_factory=PropagationOptions)
    limits: Limits = field(default_factory=Limits)
    faces: Path | None = None

    def to_json(self) -> Mapping[str, Any]:
        """As the folder keeps them: all that pictures depend on."""
        values = asdict(self)
        values["editing"]["prompts"] = self.editing.prompts and str(self.editing.prompts)
        values["faces"] = self.faces and str(self.faces)
        for stage, names in _NO_MATTER.items():
            for name in names:
                del values[stage][name]
        return values


class Stages(Protocol):
    """The three stages of a clip, with their models open."""

    @property
    def requires(self) -> frozenset[str]:
        """The buffers without which they cannot work."""

    def anchors(self, frames: Sequence[SessionFrame]) -> EditedAnchors:
        """Photoreal pictures of a few frames."""

    def propagate(self, frames: Sequence[SessionFrame], anchors: Mapping[int, U8]) -> Propagated:
        """Pictures of all frames."""

    def judge(
        self, frames: Sequence[SessionFrame], made: Propagated, anchors: Mapping[int, U8]
    ) -> Verdict:
        """Whether they may be trained on."""


@dataclass(frozen=True, slots=True)
class Job:
    """One clip of one session."""

    session: Path
    clip: Clip


Workers = Callable[[Sequence[Job], Callable[[str], None]], Iterator[bool]]
"""Makes jobs, saying which one begins; for each that ended, in any order, whether it was made."""


@dataclass(frozen=True, slots=True)
class PairsMade:
    """What a run found and did.

    clips: of all sessions and shards, of which are so far accepted and rejected; made: by this run;
    left: what other shards have not finished. reasons: how many clips were rejected for what, most
    first. listed: pairs of the whole folder, for trainers.
    """

    clips: int
    accepted: int
    rejected: int
    made: int
    left: int
    reasons: Mapping[str, int]
    listed: int
    sheet: Path | None


class PairMaker:
    """Makes one clip after another into a folder. The same for a process, a shard, a Ray worker."""

    def __init__(self, folder: PairFolder, settings: PairSettings, stages: Stages) -> None:
        self._folder = folder
        self._settings = settings
        self._stages = stages

    def make(self, job: Job) -> bool:
        """Make the clip; False where it is done already or another process makes it."""
        with self._folder.claim(job.clip.name) as room:
            if room is None:
                return False
            with SessionReader(job.session) as session:
                frames = [session.frame(index) for index in job.clip.indices]
                record = self._make(session, job.clip, frames, room)
            self._folder.commit(record, room)
            return True

    def make_all(self, jobs: Sequence[Job], announce: Callable[[str], None]) -> Iterator[bool]:
        """Workers of one: one job after the other."""
        for job in jobs:
            announce(job.clip.name)
            yield self.make(job)

    def _make(
        self, session: SessionReader, clip: Clip, frames: list[SessionFrame], room: Path
    ) -> PairRecord:
        about = _about(session, clip, frames, self._settings)
        how = fit(picture_size(frames[0]), self._settings.size)
        edited = self._stages.anchors(frames)
        if not edited.pictures:
            return PairRecord(
                **about, accepted=False, reasons=edited.reasons, figures=edited.figures
            )
        made = self._stages.propagate(frames, edited.pictures)
        verdict = self._stages.judge(frames, made, edited.pictures)
        rate = constant_rate(clip.fps)
        tags = {"session_uuid": session.info.session_uuid, "clip": clip.name}
        for name, pictures in (("target", made.pictures), ("reference", _renders(frames))):
            (room / name).mkdir()
            with going_on():
                write_pair_video(room / name / f"{clip.name}.mp4", pictures, how, rate, tags)
        caption = room / "target" / f"{clip.name}.txt"
        caption.write_text(about["caption"] + "\n", encoding="utf-8")
        cameras = [frame.header.camera for frame in frames]
        rows = tuple(how.intrinsics(np.asarray(c.K)) for c in cameras if c is not None)
        return PairRecord(
            **about,
            accepted=verdict.accepted,
            reasons=tuple(verdict.reasons),
            figures={**edited.figures, **made.figures, **verdict.figures},
            fps=float(rate),
            size=how.size,
            crop=how.crop,
            intrinsics=rows[:1] if len(set(rows)) == 1 else rows,
            anchors=tuple(sorted(edited.pictures)),
        )


def plan(
    sessions: Sequence[Path],
    rules: ClipRules,
    requires: frozenset[str],
    progress: Callable[[int, int], None] | None = None,
) -> tuple[list[Job], list[tuple[Path, ClipPlan]]]:
    """All clips in order of their names, and how each session is cut. Equal everywhere.

    Raises MissingBufferError, naming the session and the cure, before any work is done, and
    SessionError where there is no clip at all.
    """
    plans: list[tuple[Path, ClipPlan]] = []
    for path in sessions:
        with SessionReader(path) as session:
            session.require(sorted(requires | {"color"}), "making pairs")
            plans.append((path, find_clips(session, rules, progress=progress)))
    jobs = {clip.name: Job(path, clip) for path, cut in plans for clip in cut.clips}
    if not jobs:
        raise SessionError(_no_clips(plans, rules))
    return [jobs[name] for name in sorted(jobs)], plans


def make_pairs(
    jobs: Sequence[Job],
    folder: PairFolder,
    make_all: Workers,
    *,
    shard: Shard = WHOLE,
    progress: Progress | None = None,
) -> PairsMade:
    """Make this shard's clips that are not done yet, then all that is made of the manifest.

    Raises OutputError where something cannot be written; what was finished stays, as it does after
    a KeyboardInterrupt.
    """
    own, done = shard.part(jobs), folder.records()
    todo = [job for job in own if job.clip.name not in done]
    ended = len(own) - len(todo)
    made = 0

    def announce(name: str) -> None:
        if progress:
            progress(ended, len(own), name)

    announce("")
    names = [job.clip.name for job in jobs]
    folder.mark(names)
    try:
        for was_made in make_all(todo, announce):
            made += was_made
            ended += 1
            announce("")
    except KeyboardInterrupt:
        write_exports(folder)
        raise
    folder.mark(names)
    return _summary(jobs, folder, made)


def _summary(jobs: Sequence[Job], folder: PairFolder, made: int) -> PairsMade:
    listed, sheet = write_exports(folder), write_sheet(folder)
    records = folder.records()
    ended = [records[job.clip.name] for job in jobs if job.clip.name in records]
    accepted = sum(record.accepted for record in ended)
    return PairsMade(
        clips=len(jobs),
        accepted=accepted,
        rejected=len(ended) - accepted,
        made=made,
        left=len(jobs) - len(ended),
        reasons=_reasons(ended),
        listed=listed,
        sheet=sheet,
    )


def _reasons(records: Sequence[PairRecord]) -> dict[str, int]:
    """How many clips were rejected for what; without the figures that follow in brackets."""
    counts = Counter(
        re.split(r" \(|; ", reason)[0] for record in records for reason in record.reasons
    )
    return dict(counts.most_common())


def picture_size(frame: SessionFrame) -> tuple[int, int]:
    """(width, height) of its color."""
    color = next(buffer for buffer in frame.header.buffers if buffer.name == "color")
    return color.width, color.height


def _about(
    session: SessionReader, clip: Clip, frames: Sequence[SessionFrame], settings: PairSettings
) -> dict[str, Any]:
    times = [
        f.t_recv_ns if clip.clock == "t_recv_ns" else getattr(f.header, clip.clock) for f in frames
    ]
    prompts = game_prompts(session.info.hello.game, settings.editing.prompts)
    return {
        "name": clip.name,
        "session": session.path.name,
        "session_uuid": session.info.session_uuid,
        "epoch": clip.epoch,
        "seqs": tuple(frame.header.seq for frame in frames),
        "t_ns": tuple(times),
        "measured_fps": clip.fps,
        "editor": settings.editor,
        "propagator": settings.propagator,
        "caption": prompts.caption if settings.caption is None else settings.caption,
    }


def _renders(frames: Sequence[SessionFrame]) -> Iterator[U8]:
    return (np.asarray(frame.array("color")[..., :3], np.uint8) for frame in frames)


def _no_clips(plans: Sequence[tuple[Path, ClipPlan]], rules: ClipRules) -> str:
    path, cut = plans[0]
    why = max(cut.refusals, key=len)
    cure = "record longer"
    if why.reason == "too short" and len(why) >= MIN_LENGTH:
        cure += f", or give --length {len(why) - (len(why) - 1) % rules.multiple}"
    others = f" (and {len(plans) - 1} more)" if len(plans) > 1 else ""
    return f"{path}{others} gives no clip: {why.text}; {cure}"
