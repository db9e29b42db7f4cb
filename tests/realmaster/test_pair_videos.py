from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from capture_bridge.errors import OutputError, RealMasterError
from realmaster.pair_videos import constant_rate, fit, write_pair_video

FRAMES = 9


def pictures(width: int = 96, height: int = 54) -> list[NDArray[np.uint8]]:
    rng = np.random.default_rng(3)
    noise = rng.integers(0, 256, (height, width + FRAMES, 3)).astype(np.uint8)
    wide = np.asarray(cv2.GaussianBlur(noise, (0, 0), 2), np.uint8)
    return [wide[:, i : i + width] for i in range(FRAMES)]


@pytest.mark.parametrize("measured", [12.0, 16.0, 23.976, 24.0, 29.97, 47.3, 60.0, 143.2])
def test_a_video_has_one_exact_rate_every_frame_and_no_sound(
    measured: float, tmp_path: Path
) -> None:
    shown, rate = pictures(), constant_rate(measured)
    assert abs(float(rate) / measured - 1) < 1e-3
    how = fit((96, 54))
    write_pair_video(tmp_path / "v.mp4", shown, how, rate, {"name": "v"})
    with av.open(str(tmp_path / "v.mp4")) as container:
        (stream,) = container.streams
        assert stream.type == "video"
        assert stream.average_rate == stream.base_rate == rate
        assert stream.frames == FRAMES
        assert stream.codec_context.pix_fmt == "yuv444p"
        decoded = list(container.decode(stream))
    assert [frame.pts for frame in decoded] == [n * 90_000 // rate for n in range(FRAMES)]
    for frame, picture in zip(decoded, shown, strict=True):
        error = frame.to_ndarray(format="rgb24").astype(float) - how.picture(picture)
        assert 10 * np.log10(255**2 / np.mean(error**2)) > 40


@pytest.mark.parametrize(
    ("source", "size", "crop", "made"),
    [
        ((640, 360), None, (0, 4, 640, 352), (640, 352)),
        ((256, 144), None, (0, 8, 256, 128), (256, 128)),
        ((1920, 1080), (832, 480), (24, 0, 1872, 1080), (832, 480)),
        ((1280, 720), (1280, 704), (0, 8, 1280, 704), (1280, 704)),
        ((333, 777), (96, 224), (0, 0, 333, 777), (96, 224)),
    ],
)
def test_sizes_follow_one_policy(
    source: tuple[int, int],
    size: tuple[int, int] | None,
    crop: tuple[int, int, int, int],
    made: tuple[int, int],
) -> None:
    how = fit(source, size)
    assert (how.crop, how.size) == (crop, made)
    assert how.picture(np.zeros((source[1], source[0], 3), np.uint8)).shape == (*made[::-1], 3)


@pytest.mark.parametrize(("source", "size"), [((640, 360), (256, 160)), ((100, 90), (64, 64))])
def test_the_cameras_matrix_follows_the_picture(
    source: tuple[int, int], size: tuple[int, int]
) -> None:
    """A world point's spot lies where the moved K says it does."""
    how = fit(source, size)
    K = np.array([[source[0] * 0.8, 0, source[0] / 2 + 3], [0, source[0] * 0.8, 41.5], [0, 0, 1]])
    point = np.array([0.31, -0.05, 2.4])
    x, y, z = K @ point
    at = np.stack(np.meshgrid(np.arange(source[0]) + 0.5, np.arange(source[1]) + 0.5), -1)
    spot = np.exp(-np.sum((at - [x / z, y / z]) ** 2, -1) / (2 * 4.0**2))
    seen = how.picture(np.repeat((255 * spot)[..., None], 3, -1).astype(np.uint8))[..., 0]
    grid = np.stack(np.meshgrid(np.arange(size[0]) + 0.5, np.arange(size[1]) + 0.5), -1)
    centre = (grid * seen[..., None]).sum((0, 1)) / seen.sum(dtype=float)
    fx, fy, cx, cy = how.intrinsics(K)
    told = np.array([fx * point[0] / point[2] + cx, fy * point[1] / point[2] + cy])
    assert np.abs(centre - told).max() < 0.1


@pytest.mark.parametrize(
    ("source", "size", "words"),
    [
        ((640, 360), (640, 360), "multiples of 32.*try 640x352"),
        ((640, 360), (832, 480), "nothing is enlarged"),
        ((64, 30), None, "too small for pairs"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(
    source: tuple[int, int], size: tuple[int, int] | None, words: str
) -> None:
    with pytest.raises(RealMasterError, match=words):
        fit(source, size)


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "v.mp4").write_bytes(b"mine")
    with pytest.raises(OutputError):
        write_pair_video(tmp_path / "v.mp4", pictures(), fit((96, 54)), Fraction(24), {})
