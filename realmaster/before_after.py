"""A video with a line that sweeps between the render and the enhanced picture.

Knows sessions, media and drawing; no model.
"""

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from capture_bridge.media import VideoReader, VideoWriter
from capture_bridge.session import SessionReader
from realmaster.drawing import ACCENT, write_label
from realmaster.picture_track import PictureTrack, match_tolerance_ns

U8 = NDArray[np.uint8]

#: Seconds of one sweep to the right and back; the line starts and ends a quarter in.
SWEEP_S = 4.0


def write_before_after(
    session: Path, enhanced: Path, output: Path, *, overwrite: bool = False
) -> None:
    """Write an mp4 of the enhanced video's frames and times: render left of a line, enhanced right.

    Raises RealMasterError where the video does not fit the session, OutputError where the output
    exists or cannot be written.
    """
    with SessionReader(session) as reader, VideoReader(enhanced) as video:
        times_ns = reader.timeline().since_start_ns
        width, height = reader.headers[0].output_size
        track = PictureTrack(video, enhanced.name, (width, height), match_tolerance_ns(times_ns))
        with VideoWriter(output, width, height, overwrite=overwrite) as writer:
            frames = reader.frames(names=["color"])
            for frame, t_ns in zip(frames, times_ns, strict=True):
                picture = track.must_have(t_ns, frame.index)
                render = np.ascontiguousarray(frame.array("color")[..., :3], np.uint8)
                writer.write(wipe(render, picture, line_position(t_ns * 1e-9)), t_ns)
        track.finish()


def line_position(t_s: float) -> float:
    """Where the line stands, 0 left to 1 right: a cosine between 0.04 and 0.96, from the middle."""
    return 0.5 - 0.46 * math.sin(2 * math.pi * t_s / SWEEP_S)


def wipe(before: U8, after: U8, position: float) -> U8:
    """One picture: `before` left of the line and `after` right of it, both labelled."""
    height, width = before.shape[:2]
    size = max(8.0, height / 32)
    left, right = before.copy(), after.copy()
    write_label(left, "render", height_px=size)
    write_label(right, "RealMaster", right=True, height_px=size)
    column = min(width, max(0, round(position * width)))
    picture = np.concatenate([left[:, :column], right[:, column:]], axis=1)
    half = max(1, round(width / 640))
    picture[:, max(0, column - half) : column + half] = ACCENT
    return picture
