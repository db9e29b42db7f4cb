"""`import`: what an engine rendered offline becomes a session."""

import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Literal

import tyro

from capture_bridge.errors import RealMasterError
from capture_bridge.session import SessionCodec
from engine_plugins.unreal.movie_render_queue import import_render
from engine_plugins.unreal.render_frames import Choices
from realmaster.commands.options import OutputPath
from realmaster.commands.progress import progress_bar


@dataclass(frozen=True)
class Import:
    """Make a session of what Unreal's Movie Render Queue wrote: a folder of EXR files.

    One file a frame with all layers, or one a layer. The camera and the frame rate come from the
    sidecar that engine_plugins/unreal/export_camera.py writes, else from the files themselves.
    """

    folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FOLDER")]
    """Movie Render Queue's output folder; folders below it belong to it."""
    output: OutputPath
    """The session to write (.mcap)."""
    camera: Path | None = None
    """The sidecar (realmaster_camera.json in the folder by default)."""
    fps: str | None = None
    """Frames per second, exactly: 24 or 24000/1001 (the sidecar's by default)."""
    shot: str = ""
    """Import only shots whose name holds this; needed where two show the same frames."""
    motion: Literal["biased", "clip", "uv", "pixels"] | None = None
    """How motion vectors are encoded; biased is Movie Render Queue's own material."""
    normal: Literal["auto", "signed", "packed"] = "auto"
    """Whether world normals lie in -1..1 or in 0..1."""
    tone_curve: Literal["on", "off"] | None = None
    """Whether Unreal's tone curve was on (its default); off: color gets one of ours."""
    exposure: float = 0.0
    """Stops to brighten color by where the tone curve was off."""
    sky: float = 50_000.0
    """Depth in metres from which on there is sky."""
    codec: SessionCodec = "shuffle+zstd"
    """How buffers are stored; all are lossless."""
    overwrite: bool = False
    """Replace the output if it exists."""

    def run(self) -> int:
        """Import and say what came and what is missing."""
        if not -20 <= self.exposure <= 20:
            raise RealMasterError(f"--exposure {self.exposure:g}: must be -20 to 20 stops")
        if not self.sky > 0:
            raise RealMasterError(f"--sky {self.sky:g}: must be above 0 m")
        choices = Choices(
            motion=self.motion,
            normal=self.normal,
            tone_curve=None if self.tone_curve is None else self.tone_curve == "on",
            exposure_stops=self.exposure,
            sky_m=self.sky,
        )
        with progress_bar(f"import {self.folder.name}") as progress:
            made = import_render(
                self.folder,
                self.output,
                choices=choices,
                sidecar=self.camera,
                fps=None if self.fps is None else parse_rate(self.fps),
                shot=self.shot,
                codec=self.codec,
                overwrite=self.overwrite,
                progress=progress,
            )
        lost = sum(made.dropped.values())
        print(
            f"{made.path}: {made.frames} frames of {made.size[0]}x{made.size[1]} at "
            f"{float(made.fps):g} a second, {lost} lost, {len(made.shots)} "
            f"shot{'' if len(made.shots) == 1 else 's'}; {', '.join(made.buffers)}"
        )
        for cause, count in made.dropped.items():
            print(f"  lost {count}: {cause}")
        for note in made.notes:
            print(f"  {note}")
        return 0


def parse_rate(text: str) -> Fraction:
    """A frame rate of a text such as "24" or "24000/1001"."""
    match = re.fullmatch(r"(\d{1,9})(?:/(\d{1,9}))?", text)
    if not match or not int(match[1]) or not int(match[2] or 1):
        raise RealMasterError(f"--fps {text}: not a rate; write it as 24 or 24000/1001")
    rate = Fraction(int(match[1]), int(match[2] or 1))
    if not rate <= 1000:
        raise RealMasterError(f"--fps {text}: must be at most 1000")
    return rate
