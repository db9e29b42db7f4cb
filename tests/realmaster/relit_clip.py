"""A clip of the street (or the analytic engine) and what it would look like in another light.

The look depends on the surface alone, so that it is the truth of every frame: what carries the
first and the last picture over the clip can be held against it.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
from numpy.typing import NDArray

from capture_bridge.recorder import RecordingOptions
from capture_bridge.session import SessionReader
from realmaster.street_game import START_LIMIT_S, StreetSession, record_street
from tests.realmaster.fast_frames import MemoryFrame

U8 = NDArray[np.uint8]
BUFFERS = ("color", "depth", "normal", "motion", "instance")
_LIGHT = np.array([0.5, -0.4, 0.77])


@cache
def street_frames(count: int, size: tuple[int, int]) -> list[MemoryFrame]:
    """Frames of a validation seed's drive, held in memory; recorded once for all tests."""
    session = StreetSession(881, *size, fps=24.0, seconds=count / 24, path="drive")
    options = RecordingOptions(connect_s=START_LIMIT_S)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "street.mcap"
        record_street(session, path, options=options)
        with SessionReader(path) as reader:
            return [
                MemoryFrame(frame.index, frame.header, frame.arrays(BUFFERS), frame.epoch)
                for frame in reader.frames()
            ]


def relit(frame: MemoryFrame) -> U8:
    """The frame in other light: by the world's normals, warmer, with more contrast."""
    render = cv2.GaussianBlur(frame.array("color")[..., :3], (0, 0), 0.5).astype(np.float32)
    camera = frame.header.camera
    assert camera is not None
    normal = frame.array("normal").astype(np.float32) @ camera.world_from_camera[:3, :3].T
    facing = (normal @ _LIGHT).clip(-1, 1)
    lit = np.where(np.isfinite(frame.array("depth")), 0.55 + 0.5 * facing, 1.15)
    picture = 255 * (render / 255) ** 1.25 * lit[..., None] * [1.08, 0.98, 0.85]
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


def renders(frames: Sequence[MemoryFrame]) -> U8:
    return np.stack([frame.array("color")[..., :3].astype(np.uint8) for frame in frames])


def ends(pictures: Sequence[U8] | U8) -> dict[int, U8]:
    """The first and the last picture as anchors."""
    return {0: pictures[0], len(pictures) - 1: pictures[-1]}
