"""`demo`: the whole way of a session in one command, on a CPU, without a screen or a download."""

import shutil
import time
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Annotated

import tyro

from capture_bridge.errors import OutputError, RealMasterError
from capture_bridge.recorder import RecordingOptions
from capture_bridge.verify import verify
from realmaster.before_after import write_before_after
from realmaster.commands.capture import print_summary
from realmaster.commands.progress import progress_bar, recording_bar
from realmaster.enhancer import enhance_session, layer_path
from realmaster.report import FILES, evaluate
from realmaster.street_game import START_LIMIT_S, StreetSession, record_street
from realmaster.tiers import load_model

TRUTH = "drive.truth.mp4"
"""The path-traced frames of the demo's session that come with the package."""


@dataclass(frozen=True)
class Demo:
    """Record the street game, check the recording, enhance it, compare it with the truth.

    Needs the [street] extra and nothing else: no GPU, no screen, no download.
    """

    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("out/demo")
    """The folder to write to."""
    overwrite: bool = False
    """Replace an earlier demo in that folder."""

    def run(self) -> int:
        """Run every step, saying how long each took, and print where to look."""
        start = time.monotonic()
        folder = self.output
        drive, enhanced = folder / "drive.mcap", folder / "drive.enhanced.mp4"
        truth, before_after = folder / TRUTH, folder / "before_after.mp4"
        self._clear((drive, enhanced, layer_path(enhanced), truth, before_after))

        say("1/5  recording 4 seconds of the street game through the protocol")
        session = StreetSession()
        with recording_bar(session.frames) as bar:
            summary = record_street(
                session, drive, options=RecordingOptions(connect_s=START_LIMIT_S), progress=bar
            )
        print_summary(summary)
        if summary.frames != session.frames or summary.num_dropped:
            raise RealMasterError(
                f"{drive}: {summary.frames} of {session.frames} frames arrived; in lockstep none "
                "may be lost: please report this"
            )

        say("2/5  checking the recording")
        with progress_bar("verify") as progress:
            findings = verify(drive, progress=progress).findings
        for finding in findings:
            print(f"  {finding}")
        if findings:
            raise RealMasterError(f"{drive}: {len(findings)} findings; see `realmaster verify`")
        print("  no finding")

        say("3/5  enhancing it with the fast tier")
        begun = time.monotonic()
        with progress_bar("enhance") as progress:
            made = enhance_session(drive, enhanced, load_model("fast"), progress=progress)
        print(f"  {made.frames} frames, {made.frames / (time.monotonic() - begun):.1f} a second")

        say("4/5  the truth: frames that were path-traced beforehand and come with the package")
        source = resources.files("engine_plugins.street") / "demo_truth" / TRUTH
        with resources.as_file(source) as path:
            shutil.copyfile(path, truth)

        say("5/5  comparing")
        write_before_after(drive, enhanced, before_after)
        with progress_bar("evaluate") as progress:
            evaluate(drive, enhanced, truth, folder, before_after=before_after, progress=progress)
        print((folder / "metrics.md").read_text(encoding="utf-8"))
        print(
            f"done in {time.monotonic() - start:.0f} s; look at\n"
            f"  {folder / 'index.html'}  before and after, with a slider\n"
            f"  {before_after}\n"
            f"  {enhanced}"
        )
        return 0

    def _clear(self, outputs: tuple[Path, ...]) -> None:
        """Make the folder; what an earlier demo wrote is removed only with --overwrite."""
        try:
            self.output.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"cannot make {self.output}: {error.strerror}") from error
        for path in (*outputs, *(self.output / name for name in FILES)):
            if path.exists() and not self.overwrite:
                raise OutputError(f"{path} exists; give --overwrite to replace an earlier demo")
            path.unlink(missing_ok=True)


def say(text: str) -> None:
    """Announce a step."""
    print(f"\n{text}", flush=True)
