"""`inspect`, `verify`, `recover` and `export`."""

from dataclasses import dataclass
from typing import Literal

from capture_bridge.export import export
from capture_bridge.inspection import inspect, to_text
from capture_bridge.recover import recover
from capture_bridge.verify import verify
from realmaster.commands.options import OutputPath, SessionPath
from realmaster.commands.progress import progress_bar


@dataclass(frozen=True)
class Inspect:
    """What a session holds: streams, rate as measured, gaps, drops by cause and stage, health."""

    session: SessionPath
    """The session to look at."""

    def run(self) -> int:
        """Print the account."""
        print(to_text(inspect(self.session)))
        return 0


@dataclass(frozen=True)
class Verify:
    """Recount and re-check everything in a session; exits with 1 on a finding."""

    session: SessionPath
    """The session to check."""
    health: Literal["yes", "no"] = "yes"
    """Whether the health probe looks at the buffers, too."""

    def run(self) -> int:
        """Print the findings, or that there is none."""
        with progress_bar(f"verify {self.session.name}") as progress:
            checked = verify(self.session, progress=progress, health=self.health == "yes")
        for finding in checked.findings:
            print(f"finding: {finding}")
        print(
            f"{self.session}: {checked.frames} frames, {checked.buffers} buffers, "
            f"{checked.num_bytes / 1e6:.1f} MB checked; {len(checked.findings) or 'no'} "
            f"finding{'' if len(checked.findings) == 1 else 's'}"
        )
        return 1 if checked.findings else 0


@dataclass(frozen=True)
class Recover:
    """Make a whole session of one that was cut off or damaged; the broken file is not changed."""

    session: SessionPath
    """The broken session."""
    output: OutputPath
    """The new session to write."""
    overwrite: bool = False
    """Replace the output if it exists."""

    def run(self) -> int:
        """Recover and say what was kept and what was lost."""
        made = recover(self.session, self.output, overwrite=self.overwrite)
        print(made)
        return 0


@dataclass(frozen=True)
class Export:
    """Write a session as mp4, as PNG pictures or as multi-layer EXR."""

    session: SessionPath
    """The session to export."""
    output: OutputPath
    """mp4: the file (or a folder for it); png and exr: the folder."""
    format: Literal["mp4", "png", "exr"] = "mp4"
    """mp4 and png show one buffer; exr holds all: R G B A, Z, N.X/Y/Z, motion.U/V, ids."""
    buffer: Literal["color", "color_ui"] = "color"
    """mp4 and png: with the HUD (color_ui) or without."""
    overwrite: bool = False
    """Replace files that exist."""

    def run(self) -> int:
        """Export and say what was written."""
        with progress_bar(f"export {self.session.name}") as progress:
            written = export(
                self.session,
                self.output,
                self.format,
                buffer=self.buffer,
                overwrite=self.overwrite,
                progress=progress,
            )
        what = written[0] if len(written) == 1 else f"{len(written)} files in {self.output}"
        print(f"{what}")
        return 0
