"""`pairs`: training pairs of sessions, clip by clip."""

import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import tyro

from capture_bridge.errors import RealMasterError
from capture_bridge.session import SessionReader
from realmaster.commands.clips import ClipOptions, summary
from realmaster.commands.options import OutputPath, parse_size
from realmaster.commands.progress import clip_bar, progress_bar
from realmaster.editors import EditorOptions
from realmaster.pair_exports import JSONL, write_exports
from realmaster.pair_folder import PairFolder
from realmaster.pair_sheet import write_sheet
from realmaster.pair_stages import OpenStages
from realmaster.pairs import Job, PairMaker, PairSettings, PairsMade, make_pairs, plan
from realmaster.propagation import PropagationOptions
from realmaster.ray_pairs import RayWorkers
from realmaster.shards import parse_shard


@dataclass(frozen=True)
class Pairs:
    """Make training pairs of sessions: each clip's render beside its photoreal version.

    Every clip ends accepted or rejected in manifest.jsonl, with figures and reasons. The same
    command goes on where a stopped one ended. Without sessions: write the folder's lists for
    trainers and its contact sheet anew.
    """

    sessions: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="S.mcap …")]
    """The sessions to cut into clips."""
    output: OutputPath
    """The folder of pairs."""
    editor: str = "qwen-image-edit"
    """What makes a clip's anchors photoreal: qwen-image-edit, flux-kontext, or truth (path-traced;
    for the street game, without weights)."""
    propagate: str = "vace"
    """What carries them over the clip: vace (a video model), or warp (motion vectors alone)."""
    size: str = ""
    """The size of the videos, such as 832x480: multiples of 32, cut from the middle, never
    enlarged. By default the session's, rounded down."""
    caption: str | None = None
    """What trainers are told of every clip; by default what prompts.toml says of the game."""
    faces: Annotated[Path | None, tyro.conf.arg(metavar="FOLDER")] = None
    """Two face models of yours, a YuNet detector and an ArcFace recognizer (.onnx): clips in which
    a person's face changes are rejected."""
    shard: str = ""
    """Make only the I-th of N parts: 3/16 (from 0). By default of RANK and WORLD_SIZE."""
    ray: Annotated[str, tyro.conf.arg(metavar="ADDRESS|local")] = ""
    """Spread clips over a Ray cluster; local starts one here."""
    workers: int = 0
    """Ray workers; 0: one per GPU, or one per CPU where there is none."""
    clips: Annotated[ClipOptions, tyro.conf.arg(name="")] = field(default_factory=ClipOptions)
    editing: Annotated[EditorOptions, tyro.conf.arg(name="")] = field(default_factory=EditorOptions)
    propagation: Annotated[PropagationOptions, tyro.conf.arg(name="")] = field(
        default_factory=PropagationOptions
    )

    def run(self) -> int:
        """Make what is not made yet and say what came of it."""
        shard = parse_shard(self.shard, os.environ)
        folder = PairFolder(self.output, f"manifest{shard.suffix}.jsonl")
        if not self.sessions:
            folder.check()
            print(f"{self.output}: {write_exports(folder)} pairs in {JSONL}")
            write_sheet(folder)
            return 0
        if self.ray and shard.count > 1:
            raise RealMasterError("--ray spreads the clips by itself; leave out --shard")
        for path in self.sessions:  # before an editor is loaded, which takes minutes
            with SessionReader(path):
                pass
        settings = self._settings()
        folder.check_settings(settings.to_json())
        stages = None if self.ray else OpenStages(settings)
        jobs = self._plan(settings, frozenset() if stages is None else stages.requires)
        folder.begin(settings.to_json())
        with clip_bar(f"pairs {self.output.name}") as show:
            if stages is None:
                make_all = RayWorkers(
                    self.ray, self.output.resolve(), settings, OpenStages, self.workers
                ).make_all
            else:
                make_all = PairMaker(folder, settings, stages).make_all
            made = make_pairs(jobs, folder, make_all, shard=shard, progress=show)
        print(to_text(self.output, made))
        return 0

    def _settings(self) -> PairSettings:
        return PairSettings(
            editor=self.editor,
            propagator=self.propagate,
            caption=self.caption,
            size=parse_size(self.size) if self.size else None,
            rules=self.clips.rules(),
            editing=self.editing,
            propagation=self.propagation,
            faces=self.faces,
        )

    def _plan(self, settings: PairSettings, requires: frozenset[str]) -> list[Job]:
        with progress_bar("cut into clips") as progress:
            jobs, plans = plan(self.sessions, settings.rules, requires, progress)
        for path, cut in plans:
            print(f"{path}: {summary(cut)}")
        # Paths that mean the same on other machines of a cluster.
        return [replace(job, session=job.session.resolve()) for job in jobs] if self.ray else jobs


def to_text(output: Path, made: PairsMade) -> str:
    """What a run made, and where to look."""
    left = f", {made.left} left to other shards" if made.left else ""
    lines = [
        f"{output}: {made.clips} clips, {made.accepted} accepted, {made.rejected} rejected{left}; "
        f"{made.made} made by this run",
        *(f"  rejected {count}: {reason}" for reason, count in made.reasons.items()),
        f"  {made.listed} pairs in {output / JSONL}: `realmaster train MODEL --pairs {output}`",
    ]
    return "\n".join(lines)
