"""Enhances a session with any model: frame-exact, resumable, in bounded memory.

The seam is `Model`: one method that turns a run of frames into as many pictures. The driver cuts
the session into segments of a fixed number of frames and writes each to a file of its own, with the
model's state after it, and joins the files at the end: a killed run goes on where it stopped, and
no length needs more memory than one frame. This file knows sessions and media; it knows no model.
"""

import json
import os
import shutil
import zipfile
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from capture_bridge.errors import OutputError, SessionError
from capture_bridge.layer import LayerFrame, check_replaceable, write_layer
from capture_bridge.media import VideoWriter, join_videos
from capture_bridge.session import SessionFrame, SessionReader

State = dict[str, NDArray[np.generic]]
"""What a model carries from one frame to the next; {} is a fresh start."""

Progress = Callable[[int, int], None]
"""Called with (frames done, frames in all)."""


class Model(Protocol):
    """What every tier looks like to the driver."""

    @property
    def name(self) -> str:
        """The preset's name, as the user typed it."""

    @property
    def fingerprint(self) -> str:
        """Names weights and options: a run resumes only what the same fingerprint began."""

    @property
    def requires(self) -> frozenset[str]:
        """The buffers without which it cannot work."""

    def enhance(self, frames: Iterable[SessionFrame], state: State) -> Iterator[NDArray[np.uint8]]:
        """One (H, W, 3) sRGB picture per frame, in order and of `color`'s size.

        `state` is updated in place after each frame, so that a later call goes on from there.
        """

    def summary(self, state: State) -> Mapping[str, str]:
        """What the layer is to say about the run beside the pictures, from its last state."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a run works on; a resumed run must find the same."""

    session_uuid: str
    frames: int
    width: int
    height: int
    model: str
    fingerprint: str
    segment_frames: int
    video: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Enhancement:
    """What was made."""

    video: Path
    layer: Path
    frames: int
    resumed_frames: int


VIDEO_QUALITY: Mapping[str, Any] = MappingProxyType(
    {"crf": 10, "chroma_qp": -12, "preset": "faster", "lookahead": 4}
)
"""H.264's, about what an editing codec takes (9 Mbit/s at 640x360 and 24 frames/s). It costs 0.013
of the fast tier's G on validation streets, 8 bits and 4:2:0 alone 0.007. CRF 12 costs 0.002 more
for four fifths of the bytes, CRF 8 0.0015 less for 1.2 times; coarser colours cost far more.
A lookahead of 20 frames takes 100 MB more at 1080p for the same G and no smaller a file."""

SEGMENT_FRAMES = 48
"""Frames between two points at which a killed run resumes."""


def work_folder(video: Path) -> Path:
    """Where an unfinished run keeps its segments: beside the output, so on the same disk."""
    return video.with_name(video.name + ".unfinished")


def layer_path(video: Path) -> Path:
    """The session layer that belongs to an enhanced video."""
    return video.with_suffix(".mcap")


def enhance_session(
    session_path: Path,
    video: Path,
    model: Model,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Enhancement:
    """The enhanced video and its session layer: exactly the session's frames, order and timestamps.

    Raises MissingBufferError naming what the model needs and the session lacks, OutputError when
    `video` exists (without `overwrite`), anything but a layer is in its layer's place, or it cannot
    be written. An interrupted run leaves what it finished in `work_folder(video)`; the same call
    goes on from there.
    """
    with SessionReader(session_path) as session:
        session.require({"color"} | model.requires, f"model '{model.name}'")
        _check_output(video, overwrite)
        run = _Run(session, video, model)
        try:
            resumed = run.resume()
            run.enhance(resumed, progress)
            run.join()
        except OSError as error:
            raise OutputError(
                f"cannot write {error.filename or video}: {error.strerror}; what was finished is "
                "kept, and the same command goes on from there"
            ) from error
        return Enhancement(video, layer_path(video), run.manifest.frames, resumed)


def _check_output(video: Path, overwrite: bool) -> None:
    if video.suffix != ".mp4":
        raise OutputError(f"{video}: an enhanced session is written as .mp4; name it so")
    check_replaceable(layer_path(video))
    for path in (video, layer_path(video)):
        if path.exists() and not overwrite:
            raise OutputError(f"{path} exists; give --overwrite to replace it")
    if not os.access(video.parent, os.W_OK):
        raise OutputError(f"{video.parent} is not a folder that can be written to")


class _Run:
    """One enhancement in its work folder: segments of frames, each committed by its record."""

    def __init__(self, session: SessionReader, video: Path, model: Model) -> None:
        self._session = session
        self._video = video
        self._model = model
        self._folder = work_folder(video)
        self._times_ns = session.timeline().times_ns
        color = session.frame(0).array("color")
        self.manifest = Manifest(
            session_uuid=session.info.session_uuid,
            frames=len(session),
            width=color.shape[1],
            height=color.shape[0],
            model=model.name,
            fingerprint=model.fingerprint,
            segment_frames=SEGMENT_FRAMES,
            video=dict(VIDEO_QUALITY),
        )

    def resume(self) -> int:
        """How many frames an earlier run of the same work has finished (0: a fresh start)."""
        manifest = self._folder / "manifest.json"
        text = json.dumps(asdict(self.manifest), indent=2) + "\n"
        if not (manifest.is_file() and manifest.read_text(encoding="utf-8") == text):
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder.mkdir()
            _write_atomically(manifest, text.encode())
        finished = 0
        while finished < self.manifest.frames and self._path(finished, "json").is_file():
            finished = min(finished + SEGMENT_FRAMES, self.manifest.frames)
        return finished

    def enhance(self, start: int, progress: Progress | None) -> None:
        """Enhance every frame from `start` on, a segment at a time."""
        if start == self.manifest.frames:
            return
        state = _load_state(self._path(start - SEGMENT_FRAMES, "npz")) if start else {}
        for first in range(start, self.manifest.frames, SEGMENT_FRAMES):
            self._enhance_segment(first, state, progress)

    def _enhance_segment(self, first: int, state: State, progress: Progress | None) -> None:
        stop = min(first + SEGMENT_FRAMES, self.manifest.frames)
        width, height = self.manifest.width, self.manifest.height
        taken: deque[LayerFrame] = deque()
        records: list[dict[str, int]] = []
        pictures = self._model.enhance(self._source(first, stop, taken), state)
        with VideoWriter(
            self._path(first, "mp4"),
            width,
            height,
            overwrite=True,
            **VIDEO_QUALITY,
            origin_ns=self._times_ns[0],
        ) as writer:
            for index, picture in zip(range(first, stop), pictures, strict=True):
                assert picture.shape == (height, width, 3), picture.shape
                writer.write(picture, self._times_ns[index])
                records.append(
                    asdict(taken.popleft())
                    | {"crc32": zlib.crc32(np.ascontiguousarray(picture).data)}
                )
                if progress:
                    progress(index + 1, self.manifest.frames)
        _save_state(self._path(first, "npz"), state)
        _write_atomically(self._path(first, "json"), json.dumps(records).encode())

    def _source(self, first: int, stop: int, taken: deque[LayerFrame]) -> Iterator[SessionFrame]:
        """The segment's frames; notes which were taken, since a model may read ahead."""
        size = (self.manifest.width, self.manifest.height)
        for frame in islice(self._session.frames(first), stop - first):
            color = next(b for b in frame.header.buffers if b.name == "color")
            if (color.width, color.height) != size:
                raise SessionError(
                    f"{self._session.path}: frame {frame.index} is {color.width}x{color.height}, "
                    f"the session began with {size[0]}x{size[1]}; one video has one size"
                )
            taken.append(
                LayerFrame(
                    epoch=frame.epoch,
                    seq=frame.header.seq,
                    t_sim_ns=frame.header.t_sim_ns,
                    t_video_ns=self._times_ns[frame.index] - self._times_ns[0],
                )
            )
            yield frame

    def join(self) -> None:
        """Join the segments to the video, write the session layer, remove the work folder."""
        firsts = range(0, self.manifest.frames, SEGMENT_FRAMES)
        tags = {"session_uuid": self.manifest.session_uuid, "model": self.manifest.model}
        join_videos([self._path(first, "mp4") for first in firsts], self._video, tags=tags)
        summary = self._model.summary(_load_state(self._path(firsts[-1], "npz")))
        frames = [
            LayerFrame(**record)
            for first in firsts
            for record in json.loads(self._path(first, "json").read_bytes())
        ]
        write_layer(layer_path(self._video), self._video.name, frames, tags={**summary, **tags})
        shutil.rmtree(self._folder)

    def _path(self, first: int, suffix: str) -> Path:
        return self._folder / f"{first:08d}.{suffix}"


def _write_atomically(path: Path, data: bytes) -> None:
    part = path.with_name(path.name + ".part")
    part.write_bytes(data)
    part.replace(path)


def _save_state(path: Path, state: State) -> None:
    part = path.with_name(path.name + ".part")
    with part.open("wb") as file:
        np.savez(file, allow_pickle=False, **state)
    part.replace(path)


def _load_state(path: Path) -> State:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise OutputError(
            f"{path} cannot be read, so the run cannot go on; remove {path.parent} to begin anew"
        ) from error
