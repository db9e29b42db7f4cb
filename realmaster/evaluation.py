"""Measures a video against its session and the truth, frame by frame, in constant memory.

Takes a session's frames and two picture tracks; gives figures by source and a few sample frames.
Writes nothing (report.py does) and opens no video.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from capture_bridge.buffers import SEMANTIC_CLASSES
from capture_bridge.continuity import clock_of, follows
from capture_bridge.errors import MissingBufferError, RealMasterError
from capture_bridge.messages import Hello
from capture_bridge.session import SessionFrame
from realmaster.accumulator import Accumulator, Figure, Picture
from realmaster.baselines import Baselines
from realmaster.geometry import edges_from_buffers, occlusion_mask
from realmaster.metrics import SSIM_WINDOW, gap_closure, lab_distance_map
from realmaster.picture_track import PictureTrack

U8 = NDArray[np.uint8]
Figures = dict[str, Figure]

#: Buffers that the measures look at, where the session has them.
BUFFERS_USED = ("color", "depth", "normal", "motion", "instance", "semantic")
#: What of the truth's own figures means something: it is its own truth.
TRUTH_FIGURES = ("edge_agreement", "warp_error", "flicker_ratio", "flicker_ratio_per_detail")
MAX_SAMPLES = 12


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One frame to show: pictures (H, W, 3) u8. closure: G of this frame; None without truth."""

    index: int
    t_ns: int
    render: U8
    output: U8
    lut: U8
    truth: U8 | None
    closure: float | None


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """What was measured. Figures are by name; a figure that could not be taken is None."""

    output: Figures
    render: Figures
    baselines: Mapping[str, Figures]
    truth: Figures | None
    num_frames: int
    num_truth_frames: int
    samples: Sequence[Sample]


class _Samples:
    """At most MAX_SAMPLES evenly spaced of all that were offered: full, it drops every second."""

    def __init__(self) -> None:
        self.kept: list[Sample] = []
        self._stride, self._offered = 1, 0

    @property
    def wants_next(self) -> bool:
        return self._offered % self._stride == 0

    def offer(self, sample: Sample | None) -> None:
        self._offered += 1
        if sample is None:
            return
        self.kept.append(sample)
        if len(self.kept) > MAX_SAMPLES:
            self.kept = self.kept[::2]
            self._stride *= 2


class _Run:
    """The state of one evaluation: an accumulator per source, and the frame before."""

    def __init__(self, baselines: Baselines, *, with_truth: bool) -> None:
        self.baselines = baselines
        self.sources = ["output", "render", *baselines.by_name]
        self.sums = {name: Accumulator() for name in [*self.sources, "truth"]}
        self.samples = _Samples()
        self.with_truth = with_truth
        self.num_frames = self.num_truth_frames = 0
        self._before: dict[str, Picture] = {}
        self._frame_before: SessionFrame | None = None

    def add(self, frame: SessionFrame, t_ns: int, output: U8, truth: U8 | None) -> None:
        """Measure one frame of the session."""
        render = np.ascontiguousarray(frame.array("color")[..., :3].astype(np.uint8, copy=False))
        pictures = {"output": Picture(output), "render": Picture(render)}
        for name, recolour in self.baselines.by_name.items():
            pictures[name] = Picture(recolour(render))
        if truth is not None:
            pictures["truth"] = Picture(truth)
            self._add_fidelity(frame, pictures)
        if (truth is not None or not self.with_truth) and frame.has("depth"):
            self._add_structure(frame, pictures)
        if self._connected(frame):
            self._add_temporal(frame, pictures)
        if truth is not None or not self.with_truth:
            self._offer_sample(frame, t_ns, pictures)
        self.num_frames += 1
        self.num_truth_frames += truth is not None
        self._before, self._frame_before = pictures, frame

    def _add_fidelity(self, frame: SessionFrame, pictures: Mapping[str, Picture]) -> None:
        semantic = frame.array("semantic").astype(np.uint8) if frame.has("semantic") else None
        for name in self.sources:
            self.sums[name].add_fidelity(pictures[name], pictures["truth"], semantic)

    def _add_structure(self, frame: SessionFrame, pictures: Mapping[str, Picture]) -> None:
        edges = edges_from_buffers(
            frame.array("depth").astype(np.float32, copy=False),
            frame.array("normal").astype(np.float32) if frame.has("normal") else None,
            frame.array("instance").astype(np.uint32) if frame.has("instance") else None,
        )
        for name, picture in pictures.items():
            self.sums[name].add_structure(picture, edges)

    def _connected(self, frame: SessionFrame) -> bool:
        """Whether this frame's motion vectors lead to the frame measured before it."""
        before = self._frame_before
        return before is not None and frame.has("motion") and follows(frame, clock_of(before))

    def _add_temporal(self, frame: SessionFrame, pictures: Mapping[str, Picture]) -> None:
        before = self._frame_before
        assert before is not None
        motion = frame.array("motion").astype(np.float32)
        occluded = np.zeros(motion.shape[:2], np.bool_)
        if frame.has("depth") and before.has("depth"):
            depth, depth_prev = (f.array("depth").astype(np.float32) for f in (frame, before))
            occluded = occlusion_mask(depth, depth_prev, motion, frame.header.camera)
        for name, picture in pictures.items():
            if name in self._before:
                self.sums[name].add_temporal(picture, self._before[name], motion, occluded)

    def _offer_sample(
        self, frame: SessionFrame, t_ns: int, pictures: Mapping[str, Picture]
    ) -> None:
        if not self.samples.wants_next:
            self.samples.offer(None)
            return
        closure = None
        truth = pictures.get("truth")
        if truth is not None:
            own, base = (
                float(lab_distance_map(pictures[name].lab, truth.lab).mean())
                for name in ("output", "render")
            )
            closure = gap_closure(own, base)
        self.samples.offer(
            Sample(
                index=frame.index,
                t_ns=t_ns,
                render=pictures["render"].rgb,
                output=pictures["output"].rgb,
                lut=pictures["lut3d"].rgb,
                truth=None if truth is None else truth.rgb,
                closure=closure,
            )
        )


def measure(
    frames: Iterable[SessionFrame],
    times_ns: Sequence[int],
    video: PictureTrack,
    truth: PictureTrack | None,
    baselines: Baselines,
    class_names: Sequence[str] = SEMANTIC_CLASSES,
) -> Evaluation:
    """The figures of a video of these frames, of the render itself, and of both baselines.

    frames: all of the session, in order, with BUFFERS_USED where it has them. times_ns: their
    times, 0 at the first. truth: path-traced pictures of some or all frames; without it, only
    structure and temporal figures are taken. Raises RealMasterError where the tracks do not fit the
    session, and MissingBufferError for a session without color.
    """
    run = _Run(baselines, with_truth=truth is not None)
    for frame, t_ns in zip(frames, times_ns, strict=True):
        _check_sizes(frame)
        output = video.must_have(t_ns, frame.index)
        run.add(frame, t_ns, output, None if truth is None else truth.at(t_ns))
    video.finish()
    if truth is not None:
        truth.finish()
        if not run.num_truth_frames:
            raise RealMasterError("the truth has no frame that the session has")
    sums = run.sums

    def figures(name: str) -> Figures:
        return sums[name].figures(sums["render"], sums["lut3d"], class_names)

    own = {name: value for name, value in figures("truth").items() if name in TRUTH_FIGURES}
    return Evaluation(
        output=figures("output"),
        render=figures("render"),
        baselines={name: figures(name) for name in baselines.by_name},
        truth=own if truth is not None else None,
        num_frames=run.num_frames,
        num_truth_frames=run.num_truth_frames,
        samples=tuple(run.samples.kept),
    )


def class_names_of(hello: Hello) -> tuple[str, ...]:
    """The semantic classes of a session in the order of their ids."""
    for stream in hello.streams:
        if stream.name == "semantic" and stream.params.get("classes"):
            return tuple(name.strip() for name in stream.params["classes"].split(","))
    return SEMANTIC_CLASSES


def _check_sizes(frame: SessionFrame) -> None:
    if not frame.has("color"):
        raise MissingBufferError(
            f"frame {frame.index} has no color: without the render there is nothing to compare with"
        )
    sizes = {d.name: (d.width, d.height) for d in frame.header.buffers if d.name in BUFFERS_USED}
    if min(sizes["color"]) < SSIM_WINDOW:
        raise RealMasterError(
            f"frame {frame.index} is {sizes['color'][0]}x{sizes['color'][1]}; the measures need at "
            f"least {SSIM_WINDOW} pixels a side"
        )
    for name, size in sizes.items():
        if size != sizes["color"]:
            raise RealMasterError(
                f"frame {frame.index}: {name} is {size[0]}x{size[1]} and color "
                f"{sizes['color'][0]}x{sizes['color'][1]}; record both at one size to measure"
            )
