"""`enhance`, `truth` and `evaluate`."""

from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Annotated, Literal

import tyro

from capture_bridge.errors import OutputError, RealMasterError
from capture_bridge.media import VideoWriter
from capture_bridge.session import SessionReader
from realmaster.commands.options import OutputPath, SessionPath, VideoPath, parse_size
from realmaster.commands.progress import progress_bar
from realmaster.enhancer import enhance_session
from realmaster.factories import require
from realmaster.finishing import Finish, FinishedModel, parse_keep
from realmaster.tiers import ModelOptions, load_model

#: H.264 quality of a truth: it is measured against, so its own loss must not show.
TRUTH_CRF = 8


@dataclass(frozen=True)
class Enhance:
    """Lift a session to photoreal video.

    Writes exactly the session's frames, order and timestamps, and beside the video a layer (.mcap)
    that names the session and the seq of every frame. A killed run goes on where it stopped.
    """

    session: SessionPath
    """The session to enhance."""
    output: OutputPath
    """The video to write (.mp4)."""
    model: str = "fast"
    """Which model: fast (bundled, runs on a CPU), copy (changes nothing), or a diffusion preset
    (ltx-2.3, wan2.2-5b, wan2.1-1.3b, wan2.1-14b, wan2.2-a14b; tiny, for a CPU)."""
    size: str = ""
    """The size that a diffusion model works at, such as 832x480; by default what it was made for.
    The video keeps the session's size."""
    options: Annotated[ModelOptions, tyro.conf.arg(name="")] = field(default_factory=ModelOptions)
    stabilize: float = 0.0
    """Steady what the model changes along the engine's motion: 0 is off, 0.7 takes most flicker."""
    keep: str = ""
    """How much of the render stays where, by class or object: person=0.5,glass=1,#17=1."""
    hud: Literal["drop", "keep"] = "drop"
    """Keep puts the game's own HUD back over the picture (needs color_ui)."""
    preview: bool = False
    """Keep a picture of what a diffusion model is making beside the output (OUTPUT.preview.png)
    while it runs: layout and color of its first, middle and last moment, not detail."""
    overwrite: bool = False
    """Replace the output if it exists."""

    def run(self) -> int:
        """Enhance and say what was written."""
        options = self.options
        if self.preview:
            options = replace(options, preview=self.output.with_suffix(".preview.png"))
        if self.size:
            options = replace(options, size=parse_size(self.size))
        finish = Finish(self.stabilize, parse_keep(self.keep), self.hud == "keep")
        model = load_model(self.model, options)
        if finish != Finish():
            model = FinishedModel(model, finish)
        with progress_bar(f"enhance {self.session.name}") as progress:
            made = enhance_session(
                self.session,
                self.output,
                model,
                overwrite=self.overwrite,
                progress=progress,
            )
        if options.preview is not None:
            options.preview.unlink(missing_ok=True)
        resumed = (
            f", {made.resumed_frames} of them by an earlier run" if made.resumed_frames else ""
        )
        print(f"{made.video}: {made.frames} frames{resumed}; layer: {made.layer}")
        return 0


@dataclass(frozen=True)
class Truth:
    """Path-trace the frames of a street game's session: the same street, camera and moments."""

    session: SessionPath
    """A session that was recorded from the street game."""
    output: OutputPath
    """The video to write (.mp4); frames keep the session's timestamps."""
    spp: int = 64
    """Samples per pixel; 64 is what evaluation asks for."""
    every: int = 1
    """Render every n-th frame only."""
    overwrite: bool = False
    """Replace the output if it exists."""

    def run(self) -> int:
        """Render, with a bar, and say what was written."""
        if self.every < 1 or not 1 <= self.spp <= 4096:
            raise RealMasterError("truth: --every must be 1 or more, --spp from 1 to 4096")
        require("the truth", ["mitsuba"], "truth")
        from engine_plugins.street.session_truth import render_session_truth

        with SessionReader(self.session) as session:
            session.require(["color"], "path-tracing")
            indices = range(0, len(session), self.every)
            times_ns = session.timeline().times_ns
            width, height = session.frame(0).header.render_size
            if self.output.exists() and not self.overwrite:
                raise OutputError(f"{self.output} exists; give --overwrite to replace it")
            with progress_bar(f"path-trace {self.session.name}") as progress:
                progress(0, len(indices))
                rendered = render_session_truth(
                    session.info.hello, session.headers, indices, spp=self.spp
                )
                first = next(rendered)  # whatever is missing shows here, before a file is made
                with VideoWriter(
                    self.output,
                    width,
                    height,
                    overwrite=self.overwrite,
                    crf=TRUTH_CRF,
                    origin_ns=times_ns[0],
                    tags={"session_uuid": session.info.session_uuid, "spp": str(self.spp)},
                ) as writer:
                    for done, (index, picture) in enumerate(chain([first], rendered), 1):
                        writer.write(picture, times_ns[index])
                        progress(done, len(indices))
        print(f"{self.output}: {len(indices)} frames at {self.spp} samples per pixel")
        return 0


@dataclass(frozen=True)
class Evaluate:
    """Measure an enhanced video against its session and, where there is one, the truth."""

    session: SessionPath
    """The session that was enhanced."""
    video: VideoPath
    """The enhanced video."""
    output: OutputPath
    """The folder for metrics.json, metrics.md, contact_sheet.png and index.html."""
    truth: Path | None = None
    """A path-traced video of all or some of the frames (`realmaster truth`)."""
    overwrite: bool = False
    """Replace a report that is there already."""

    def run(self) -> int:
        """Measure, write the report and print its table."""
        from realmaster.report import evaluate

        with progress_bar(f"evaluate {self.video.name}") as progress:
            evaluate(
                self.session,
                self.video,
                self.truth,
                self.output,
                overwrite=self.overwrite,
                progress=progress,
            )
        print((self.output / "metrics.md").read_text(encoding="utf-8"))
        print(f"the page: {self.output / 'index.html'}")
        return 0
