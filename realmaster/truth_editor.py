"""The editor `truth`: the path-traced picture of a street game's frame.

A picture that is there already is used: of the video that `realmaster truth` wrote, or of the
folder beside the session where this editor keeps what it rendered. Nothing is rendered twice.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from capture_bridge.errors import OutputError, RealMasterError, SessionError
from capture_bridge.images import read_png, write_png
from capture_bridge.media import VideoReader
from engine_plugins.street.session_truth import render_session_truth
from realmaster.factories import require
from realmaster.picture_track import match_tolerance_ns

if TYPE_CHECKING:
    from capture_bridge.session import SessionFrame, SessionReader
    from realmaster.editors import EditorOptions

U8 = NDArray[np.uint8]


class TruthEditor:
    """See the head of this file; an ImageEditor (anchors.py)."""

    heeds_seed = False

    def __init__(self, name: str, options: "EditorOptions") -> None:
        self.name = name
        self._given, self._spp = options.truth, options.truth_spp
        self._pictures: SessionTruth | None = None

    def edit(self, frame: "SessionFrame", prompt: str, seed: int) -> U8:
        """The truth of the frame; prompt and seed change nothing.

        SessionError for a session that is not the street game's, SetupError without Mitsuba.
        """
        if self._pictures is None or self._pictures.session is not frame.session:
            self._pictures = SessionTruth(frame.session, self._spp, self._given)
        return self._pictures.of(frame)


class SessionTruth:
    """The path-traced pictures of one session, rendered where they are not there yet.

    given: a video (.mp4) or a folder to take them from; a folder takes up what is rendered, of any
    number of sessions. By default drive.truth.mp4 and the folder drive.truth, beside drive.mcap. A
    video that was found by its name counts if it is of this session and has enough samples.
    """

    def __init__(self, session: "SessionReader", spp: int, given: Path | None = None) -> None:
        self.session = session
        self._spp = spp
        self._times_ns = session.timeline().since_start_ns
        self._tolerance_ns = match_tolerance_ns(self._times_ns)
        self._folder = session.path.with_suffix(".truth")
        self._video = self._found_video(session.path.with_suffix(".truth.mp4"))
        if given is not None:
            if given.is_file() or given.suffix == ".mp4":
                self._video = self._check(given)
            else:
                self._folder = given
        self._frames: Iterator[tuple[U8, int]] = iter(())
        self._next: tuple[U8, int] | None = None

    def of(self, frame: "SessionFrame") -> U8:
        """The picture (H, W, 3) of a frame of the session."""
        height, width = frame.array("color").shape[:2]
        picture = self._of_video(self._times_ns[frame.index])
        if picture is None:
            picture = self._of_folder(frame)
        if picture.shape != (height, width, 3):
            raise RealMasterError(
                f"the truth of {self.session.path} is {picture.shape[1]}x{picture.shape[0]}, its "
                f"color {width}x{height}: an anchor must have color's size"
            )
        return picture

    def _of_folder(self, frame: "SessionFrame") -> U8:
        uuid, seq = self.session.info.session_uuid[:8], frame.header.seq
        path = self._folder / f"{uuid}-{frame.epoch}-{seq:08d}-{self._spp}.png"
        if path.exists():
            picture = read_png(path)
            if picture.dtype != np.uint8 or picture.shape[2:] != (3,):
                raise SessionError(f"{path} is no 8-bit RGB picture: remove it to render it anew")
            return picture.astype(np.uint8, copy=False)
        require("the truth", ["mitsuba"], "truth")
        hello = self.session.info.hellos.get(frame.epoch, self.session.info.hello)
        rendered = render_session_truth(hello, self.session.headers, [frame.index], spp=self._spp)
        _, picture = next(iter(rendered))
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"cannot make {self._folder}: {error.strerror}; give --truth FOLDER"
            ) from error
        write_png(path, picture)
        return picture

    def _of_video(self, t_ns: int) -> U8 | None:
        """The picture at that time; the video is read on from where it is, or anew."""
        if self._video is None:
            return None
        if self._next is None or self._next[1] > t_ns + self._tolerance_ns:
            self._frames = _pictures(self._video)
            self._next = next(self._frames, None)
        while self._next is not None and self._next[1] < t_ns - self._tolerance_ns:
            self._next = next(self._frames, None)
        if self._next is None or self._next[1] > t_ns + self._tolerance_ns:
            return None
        return self._next[0]

    def _found_video(self, path: Path) -> Path | None:
        if not path.exists():
            return None
        with VideoReader(path) as video:
            of_this = video.tags.get("session_uuid") == self.session.info.session_uuid
            spp = video.tags.get("spp", "")
        return path if of_this and spp.isdecimal() and int(spp) >= self._spp else None

    def _check(self, given: Path) -> Path:
        with VideoReader(given) as video:
            uuid = video.tags.get("session_uuid", self.session.info.session_uuid)
        if uuid != self.session.info.session_uuid:
            raise SessionError(
                f"{given} is the truth of session {uuid}, not of {self.session.path} "
                f"({self.session.info.session_uuid})"
            )
        return given


def _pictures(path: Path) -> Iterator[tuple[U8, int]]:
    with VideoReader(path) as video:
        yield from video
