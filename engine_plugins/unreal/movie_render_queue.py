"""Imports what Unreal's Movie Render Queue wrote: a folder of EXR files becomes a session.

Times come from frame numbers over an exact rational frame rate, never from counting files: a
number that is missing within a shot is a lost frame and is recorded as one. Frames are read and
written one at a time. This file knows sessions; render_frames.py knows the files.
"""

import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np

from capture_bridge.buffers import FrameArrays
from capture_bridge.errors import SessionError
from capture_bridge.exr_header import read_exr_header
from capture_bridge.losses import LossAccount
from capture_bridge.messages import Bye, Camera, FrameFlags, Hello, Mark
from capture_bridge.session import SessionCodec, SessionWriter
from engine_plugins.unreal.camera import METRES_PER_CM, SIDECAR_NAME, Sidecar, read_sidecar
from engine_plugins.unreal.render_files import Shot, find_shots
from engine_plugins.unreal.render_frames import (
    Choices,
    MissingPart,
    Plan,
    RenderedFrame,
    make_plan,
    read_frame,
)
from engine_plugins.unreal.render_streams import make_hello, make_message, streams_of

Progress = Callable[[int, int], None]

#: Above this share of pixels brighter than white, Unreal's tone curve was hardly on.
BRIGHT_SHARE: Final = 0.01


@dataclass(frozen=True, slots=True)
class ImportSummary:
    """What was imported. dropped: lost frames by cause. notes: lines for people."""

    path: Path
    frames: int
    shots: tuple[str, ...]
    buffers: tuple[str, ...]
    size: tuple[int, int]
    fps: Fraction
    dropped: Mapping[str, int]
    notes: tuple[str, ...]


def import_render(
    folder: str | Path,
    output: str | Path,
    *,
    choices: Choices | None = None,
    sidecar: str | Path | None = None,
    fps: Fraction | None = None,
    shot: str = "",
    codec: SessionCodec = "shuffle+zstd",
    overwrite: bool = False,
    progress: Progress | None = None,
) -> ImportSummary:
    """Write the frames of a Movie Render Queue folder as a session.

    sidecar: realmaster_camera.json in the folder by default. fps: over the sidecar's and the
    files'. shot: part of the label of the only shot to import. Raises SessionError (nothing to
    import, no frame rate, shots that overlap, a damaged file: the frames before it stay in
    `output`), OutputError.
    """
    folder = Path(folder)
    shots, num_unnumbered = find_shots(folder)
    told = Path(sidecar) if sidecar is not None else folder / SIDECAR_NAME
    known = read_sidecar(told) if sidecar is not None or told.exists() else None
    chosen = _choose(shots, shot)
    rate = fps or _frame_rate(chosen[0], known, told)
    run = _Import(folder, Path(output), choices or Choices(), known, rate, codec, overwrite)
    if num_unnumbered:
        run.note(f"{num_unnumbered} EXR files have no frame number in their name: left out")
    total, done = sum(len(s.frames) for s in chosen), 0
    try:
        for one in chosen:
            run.begin_shot(one)
            for number in one.numbers:
                run.add(one, number)
                done += 1
                if progress:
                    progress(done, total)
    except SessionError as error:
        raise SessionError(f"{error}{run.kept()}") from error
    finally:
        run.close()
    return run.summary(chosen)


def _choose(shots: tuple[Shot, ...], name: str) -> tuple[Shot, ...]:
    """The shots that `name` picks, in order; they must not share a frame number."""
    chosen = tuple(s for s in shots if name.lower() in s.label.lower())
    if not chosen:
        labels = ", ".join(s.label for s in shots[:10])
        raise SessionError(f"no shot is named {name!r}; there are {labels}")
    for before, after in pairwise(chosen):
        if after.numbers[0] <= before.numbers[-1]:
            raise SessionError(
                f"shots {before.label!r} and {after.label!r} both have frame {after.numbers[0]}, "
                "and a session has one camera at a time: import each with --shot"
            )
    return chosen


def _frame_rate(shot: Shot, sidecar: Sidecar | None, told: Path) -> Fraction:
    if sidecar is not None:
        return sidecar.frame_rate
    first = shot.frames[shot.numbers[0]][0].path
    rate = read_exr_header(first).rationals.get("framesPerSecond")
    if rate is None or not 0 < rate <= 1000:
        raise SessionError(
            f"nothing tells the frame rate: {told} is missing and {first} does not say; export the "
            "sidecar with export_camera.py or pass --fps 24 (or 24000/1001)"
        )
    return rate


@dataclass(eq=False)
class _Import:
    folder: Path
    output: Path
    choices: Choices
    sidecar: Sidecar | None
    rate: Fraction
    codec: SessionCodec
    overwrite: bool
    session_uuid: str = field(default_factory=lambda: uuid.uuid4().hex)
    writer: SessionWriter | None = None
    plan: Plan | None = None
    hello: Hello | None = None
    first: RenderedFrame | None = None  # of the shot, read ahead
    epoch: int = 1
    seq: int = -1
    last_number: int | None = None  # of this shot
    last_pose: Camera | None = None  # of the frame last_number
    last_ns: int = 0
    drops: Counter[str] = field(default_factory=Counter)
    account: LossAccount = field(default_factory=LossAccount)
    num_off_sidecar: int = 0
    notes: list[str] = field(default_factory=list)

    def note(self, line: str) -> None:
        """Keep a line for the user, once."""
        if line not in self.notes:
            self.notes.append(line)

    # --- a shot -------------------------------------------------------------------------------

    def begin_shot(self, shot: Shot) -> None:
        """Look at its first frame; open the session, or an epoch where other streams come."""
        number = shot.numbers[0]
        plan = make_plan(shot, self.choices, self.sidecar)
        for line in plan.notes:
            self.note(line)
        # The first frame is read before anything is written: nothing is replaced for a bad one.
        first = read_frame(shot, number, plan, self.sidecar)
        self._check_brightness(first.arrays, plan)
        hello = make_hello(
            self.session_uuid,
            self.folder.name,
            streams_of(plan, first.arrays),
            read_exr_header(shot.frames[number][0].path).texts,
            self.sidecar,
            self.rate,
        )
        if self.writer is None:
            self.writer = SessionWriter(
                self.output, hello, codec=self.codec, overwrite=self.overwrite
            )
            self.account.connected(self.session_uuid)
        elif self.hello is None or hello.streams != self.hello.streams:
            self.epoch += 1
            self.writer.write_epoch(hello, self.epoch)
        self.plan, self.hello, self.first = plan, hello, first
        self.last_number, self.last_pose = None, None
        self.writer.write_mark(Mark(self._t_sim_ns(number), shot.label[:200]), _now(), self.epoch)

    def _check_brightness(self, arrays: FrameArrays, plan: Plan) -> None:
        share = float((np.asarray(arrays["color_hdr"])[..., :3].max(-1) > 1.01).mean())
        if plan.reading.tone_curve and share > BRIGHT_SHARE:
            self.note(
                f"{share:.0%} of the first frame's pixels are brighter than white and are clipped "
                "in color: if Unreal's tone curve was off, pass --tone-curve off"
            )

    # --- a frame ------------------------------------------------------------------------------

    def add(self, shot: Shot, number: int) -> None:
        """Read a frame and append it; what is missing before it is counted."""
        assert self.plan is not None, "begin_shot comes first"
        assert self.writer is not None, "begin_shot comes first"
        gap = 0 if self.last_number is None else (number - self.last_number) // self._step() - 1
        if gap > 0:
            self.drops["missing_file"] += gap
            self.seq += gap
        self.seq += 1
        starts, connected = self.last_number is None, gap == 0 and self.last_pose is not None
        self.last_number = number
        try:
            frame = self.first or read_frame(shot, number, self.plan, self.sidecar)
        except MissingPart as error:
            self.drops[error.cause] += 1
            self.last_pose = None
            return
        except SessionError:
            self.drops["damaged_file"] += 1
            raise
        self.first = None
        self.num_off_sidecar += frame.off_sidecar
        camera = self._camera(frame, starts, connected)
        now = max(_now(), self.last_ns + 1)  # receipt strictly increases
        self.last_ns, self.last_pose = now, camera
        flags = FrameFlags.CUT if starts else FrameFlags.NONE
        message = make_message(
            frame.arrays,
            camera,
            seq=self.seq,
            number=number,
            t_sim_ns=self._t_sim_ns(number),
            t_host_ns=now,
            flags=flags,
            drops=self.drops,
        )
        for drop in self.account.frame(message.header, self.epoch, now):
            self.writer.write_drop(drop)
        self.writer.write_frame(message, now, self.epoch)

    def _camera(self, frame: RenderedFrame, starts: bool, connected: bool) -> Camera | None:
        """The frame's camera; the pose before it is that of the frame before, where one is known.

        Unreal's far plane is infinite and its device depth reversed.
        """
        if frame.camera is None or frame.K is None:
            return None
        pose = frame.camera.world_from_camera()
        before = pose
        if connected and self.last_pose is not None:
            before = self.last_pose.world_from_camera
        elif not starts and frame.camera_before is not None:
            before = frame.camera_before.world_from_camera()
        near_m = frame.camera.near_cm * METRES_PER_CM
        return Camera(frame.K, pose, before, near_m, float("inf"), reversed_z=True)

    def _t_sim_ns(self, number: int) -> int:
        return round(Fraction(number * 10**9) / self.rate)

    def _step(self) -> int:
        return self.sidecar.frame_step if self.sidecar is not None else 1

    # --- the end ------------------------------------------------------------------------------

    def kept(self) -> str:
        """What an error's line adds: where the frames before it are."""
        if self.writer is None or not self.writer.num_frames:
            return ""
        return f"; the {self.writer.num_frames} frames before it are in {self.output}"

    def close(self) -> None:
        """Finish the file; again does nothing. A file without a frame is removed."""
        if self.writer is None:
            return
        if self.writer.num_frames and not self.writer.failed:
            bye = Bye("imported", self.seq, dict(self.drops))
            for drop in self.account.ended(bye, self.epoch, self.last_ns + 1):
                self.writer.write_drop(drop)
        summary = {
            "frames": str(self.writer.num_frames),
            "gaps": str(self.account.num_gaps),
            "epochs": str(self.epoch),
            "fps": f"{float(self.rate):.6f}",
            "reason": "imported",
        }
        for (stage, cause), count in sorted(self.account.totals.items()):
            summary[f"dropped/{stage}/{cause}"] = str(count)
        self.writer.close(summary)
        if not self.writer.num_frames:
            self.output.unlink(missing_ok=True)

    def summary(self, shots: tuple[Shot, ...]) -> ImportSummary:
        """The account; SessionError where no frame was whole."""
        assert self.plan is not None, "there is a shot"
        assert self.writer is not None, "there is a shot"
        assert self.hello is not None, "there is a shot"
        if self.num_off_sidecar:
            self.note(
                f"in {self.num_off_sidecar} frames the sidecar's camera stands elsewhere than the "
                "one that the files name: was it exported from the same sequence?"
            )
        listed = self._listed_but_absent(shots)
        if listed:
            self.note(f"{listed} frames of the sidecar were not rendered")
        return ImportSummary(
            path=self.output,
            frames=self.writer.num_frames,
            shots=tuple(s.label for s in shots),
            buffers=tuple(s.name for s in self.hello.streams),
            size=self.plan.size,
            fps=self.rate,
            dropped=dict(self.drops),
            notes=tuple(self.notes),
        )

    def _listed_but_absent(self, shots: tuple[Shot, ...]) -> int:
        """Of the sidecar's frames, how many lie outside every shot (gaps within are drops)."""
        if self.sidecar is None:
            return 0
        spans = [(s.numbers[0], s.numbers[-1]) for s in shots]
        return sum(not any(a <= n <= b for a, b in spans) for n in self.sidecar.frames)


def _now() -> int:
    return time.monotonic_ns()
