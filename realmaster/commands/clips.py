"""`clips`: how a session would be cut into clips for training pairs, and why."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import tyro

from capture_bridge.clips import CLIP_LENGTH, Clip, ClipPlan, ClipRules, Refusal, find_clips
from capture_bridge.errors import OutputError
from capture_bridge.images import write_png
from capture_bridge.session import SessionReader
from realmaster.commands.options import SessionPath
from realmaster.commands.progress import progress_bar
from realmaster.contact_sheet import draw_rows

#: Rows of a contact sheet, at most: more would be taller than programs open.
MAX_SHEET_CLIPS = 100
_COLUMNS = ("", "frames", "seq", "epoch", "fps", "jitter", "why")


@dataclass(frozen=True)
class ClipOptions:
    """How clips are cut; `pairs` takes them, too."""

    length: int = CLIP_LENGTH
    """Frames of a clip: 8k + 1 suits LTX and Wan."""
    min_length: int | None = None
    """What is left of a take becomes a shorter clip if it has this many frames (as --length)."""
    multiple: Literal["4", "8"] = "8"
    """4 allows lengths of 4k + 1 frames, which Wan alone takes."""
    max_jitter: float = 0.5
    """How far a time step may lie off a clip's usual one, relative to it."""
    max_new: float = 0.5
    """More of the picture than this in objects never seen before is a cut; 1 turns it off."""

    def rules(self) -> ClipRules:
        """The rules, checked. Raises RealMasterError."""
        return ClipRules(
            length=self.length,
            minimum=self.min_length,
            multiple=4 if self.multiple == "4" else 8,
            max_jitter=self.max_jitter,
            max_new=self.max_new,
        )


@dataclass(frozen=True)
class Clips:
    """How a session would be cut into clips for training pairs, and why; exits with 1 for none."""

    session: SessionPath
    """The session to cut."""
    options: Annotated[ClipOptions, tyro.conf.arg(name="")] = ClipOptions()
    json: bool = False
    """Print JSON instead of a table."""
    sheet: Annotated[Path | None, tyro.conf.arg(metavar="PICTURE.png")] = None
    """Also draw a contact sheet: each clip's first, middle and last frame."""
    overwrite: bool = False
    """Replace the contact sheet if it exists."""

    def run(self) -> int:
        """Cut and print."""
        rules = self.options.rules()
        if self.sheet is not None and self.sheet.exists() and not self.overwrite:
            raise OutputError(f"{self.sheet} exists; give --overwrite to replace it")
        with SessionReader(self.session) as session:
            with progress_bar(f"clips {self.session.name}") as progress:
                plan = find_clips(session, rules, progress=progress)
            print(plan_to_json(plan) if self.json else plan_to_text(plan))
            if self.sheet is not None:
                write_sheet(session, plan, self.sheet)
        return 0 if plan.clips else 1


def plan_to_json(plan: ClipPlan) -> str:
    """The plan as JSON; its keys are the fields of ClipPlan, Clip and Refusal."""
    return json.dumps(asdict(plan), indent=2, allow_nan=False)


def plan_to_text(plan: ClipPlan) -> str:
    """The plan as a table, in the session's order, and a line that sums it up."""
    parts: list[Clip | Refusal] = sorted([*plan.clips, *plan.refusals], key=lambda p: p.start)
    rows = [_COLUMNS, *(_row(part) for part in parts)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(_COLUMNS) - 1)]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:-1], widths[1:]), row[-1]])
        for row in rows
    ]
    return "\n".join([*(line.rstrip() for line in lines), "", summary(plan)])


def summary(plan: ClipPlan) -> str:
    """How many clips, and how many frames are in none, by reason."""
    in_clips = sum(map(len, plan.clips))
    reasons = dict.fromkeys(refusal.reason for refusal in plan.refusals)
    left_out = ", ".join(
        f"{sum(len(r) for r in plan.refusals if r.reason == reason)} {reason}" for reason in reasons
    )
    return (
        f"{len(plan.clips)} clip{'' if len(plan.clips) == 1 else 's'} of {in_clips} frames in "
        f"{plan.num_frames}" + (f"; left out: {left_out}" if left_out else "")
    )


def write_sheet(session: SessionReader, plan: ClipPlan, path: Path) -> None:
    """A row per clip: its first, middle and last frame. Raises OutputError."""
    shown = plan.clips[:MAX_SHEET_CLIPS]
    words = summary(plan)
    if len(shown) < len(plan.clips):
        words = f"the first {len(shown)} of {words}"
    rows = [(_caption(clip), dict(_pictures(session, clip))) for clip in shown]
    write_png(path, draw_rows(rows, f"clips of {session.path.name}", words))


def _pictures(session: SessionReader, clip: Clip) -> Iterator[tuple[str, Any]]:
    places = {"first": clip.start, "middle": (clip.start + clip.stop - 1) // 2}
    for name, index in {**places, "last": clip.stop - 1}.items():
        color = session.frame(index).array("color")[..., :3]
        yield name, np.ascontiguousarray(color.astype(np.uint8, copy=False))


def _caption(clip: Clip) -> str:
    return f"{clip.name}   frames {clip.start}-{clip.stop - 1}   {clip.fps:.2f} fps   {clip.ends}"


def _row(part: Clip | Refusal) -> Sequence[str]:
    frames = f"{part.start}-{part.stop - 1} ({len(part)})"
    place = (frames, f"{part.first_seq}-{part.last_seq}", str(part.epoch))
    if isinstance(part, Clip):
        return (part.name, *place, f"{part.fps:.2f}", f"{part.jitter:.1%}", part.ends)
    return (f"- {part.reason}", *place, "", "", part.text)
