from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capture_bridge.errors import MissingBufferError
from realmaster.conditions import (
    NEEDS,
    STYLES,
    Kind,
    clip_conditions,
    clip_scale,
    condition,
    drawable,
    flow_picture,
)
from tests.realmaster.fast_frames import MemoryFrame, memory_frames

WHITE_LINES = STYLES["ltx2"]
HEIGHT, WIDTH = 48, 64
HEADER = memory_frames(1, (16, 16))[0].header


def scene(*, slope: float = 0.0, box: tuple[int, int, int, int] = (16, 32, 24, 40)) -> MemoryFrame:
    """A plane, slanted by `slope` m per row, with a box (top, bottom, left, right) before it."""
    depth = np.full((HEIGHT, WIDTH), 20, np.float32) / (
        1 + slope * np.arange(HEIGHT, dtype=np.float32)[:, None]
    )
    normal = np.zeros((HEIGHT, WIDTH, 3), np.float16)
    normal[..., 2] = -1
    instance = np.ones((HEIGHT, WIDTH), np.uint32)
    motion = np.zeros((HEIGHT, WIDTH, 2), np.float16)
    inside = (slice(box[0], box[1]), slice(box[2], box[3]))
    depth[inside], instance[inside], motion[inside] = 4, 2, [-3, 0]
    buffers = {
        "color": np.full((HEIGHT, WIDTH, 4), 128, np.uint8),
        "depth": depth,
        "normal": normal,
        "instance": instance,
        "motion": motion,
    }
    return MemoryFrame(0, HEADER, buffers)


def painted(frame: MemoryFrame, color: np.ndarray) -> MemoryFrame:
    return replace(frame, buffers=frame.buffers | {"color": color})


def outline(box: tuple[int, int, int, int]) -> np.ndarray:
    """Pixels on both sides of the box's border."""
    top, bottom, left, right = box
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[top:bottom, left:right] = 1
    around = cv2.dilate(mask, cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3)))
    inner = cv2.erode(mask, np.ones((3, 3), np.uint8))
    return (around - inner).astype(bool)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 1000),
    top=st.integers(4, 20),
    left=st.integers(4, 30),
    slope=st.floats(0, 0.05),
)
def test_edges_stand_at_silhouettes_whatever_the_texture_and_the_shadow(
    seed: int, top: int, left: int, slope: float
) -> None:
    box = (top, top + 16, left, left + 20)
    frame = scene(slope=slope, box=box)
    rng = np.random.default_rng(seed)
    textured = rng.integers(0, 256, (HEIGHT, WIDTH, 4), dtype=np.uint8)
    textured[:, WIDTH // 2 :] //= 4  # a shadow's border
    lines = condition(painted(frame, textured), "edges", style=WHITE_LINES)
    assert lines.shape == (HEIGHT, WIDTH, 3)
    assert set(np.unique(lines)) == {0, 255}
    assert np.array_equal(lines[..., 0] == 255, outline(box))
    assert np.array_equal(lines, condition(frame, "edges", style=WHITE_LINES))


def test_canny_draws_texture_and_shadow_which_is_why_it_is_the_fallback() -> None:
    color = np.full((HEIGHT, WIDTH, 4), 200, np.uint8)
    color[:, 50:] = 60
    lines = condition(painted(scene(), color), "canny", style=WHITE_LINES)[..., 0]
    assert lines[5:-5, 48:52].any(axis=1).all()
    assert not lines[:, :40].any()


def test_lines_are_of_the_familys_color() -> None:
    frame = scene()
    white = condition(frame, "edges", style=STYLES["wan2.2-vace-fun"])
    assert np.array_equal(condition(frame, "edges", style=STYLES["wan2.1-vace"]), 255 - white)
    assert white[0, 0, 0] == 0
    for name, style in STYLES.items():
        assert style.kinds, name
        assert style.source, name


@settings(max_examples=25, deadline=None)
@given(width=st.integers(8, 64), kind=st.sampled_from(["edges", "canny"]))
def test_lines_do_not_fade_when_they_shrink(width: int, kind: Kind) -> None:
    frame = scene(box=(0, HEIGHT, 0, 30))
    color = np.zeros((HEIGHT, WIDTH, 4), np.uint8)
    color[:, :30] = 255
    made = condition(painted(frame, color), kind, style=WHITE_LINES, size=(width, HEIGHT))
    assert made.shape == (HEIGHT, width, 3)
    assert (made[8:-8].max(axis=1) == 255).all()
    assert (made[8:-8, :, 0] > 0).sum(axis=1).max() <= 4


def test_depth_is_inverse_near_is_white_and_sky_is_black() -> None:
    frame = scene()
    depth = frame.buffers["depth"].copy()
    depth[:8] = np.inf
    depth[-4:] = np.nan
    made = condition(replace(frame, buffers=frame.buffers | {"depth": depth}), "depth")[..., 0]
    assert (made[:8] == 0).all()
    assert (made[-4:] == 0).all()
    assert (made[20:28, 28:36] == 255).all()
    assert made[20, 4] == round(255 * 4 / 20)


def test_a_clip_has_one_scale() -> None:
    """A box that comes near must not darken the wall behind it in its own frame alone."""
    far, near = scene(box=(16, 32, 24, 40)), scene()
    near.buffers["depth"][near.buffers["instance"] == 2] = 2
    made = clip_conditions([far, near], "depth")
    assert made.shape == (2, HEIGHT, WIDTH, 3)
    assert made[0, 2, 2, 0] == made[1, 2, 2, 0]
    assert (made[1, 20, 30, 0], made[0, 20, 30, 0]) == (255, round(255 * (0.25 - 0.05) / 0.45))
    assert condition(far, "depth")[20, 30, 0] == 255


def test_what_faces_the_camera_is_blue_and_what_faces_up_is_green() -> None:
    frame = scene()
    normal = frame.buffers["normal"].copy()
    normal[:10] = [0, -1, 0]  # up, in a camera whose y points down
    normal[-10:] = [1, 0, 0]
    normal[20] = 0
    made = condition(replace(frame, buffers=frame.buffers | {"normal": normal}), "normal")
    assert made[15, 3].tolist() == [128, 128, 255]
    assert made[3, 3].tolist() == [128, 255, 128]
    assert made[-3, 3].tolist() == [255, 128, 128]
    assert made[20, 3].tolist() == [128, 128, 128]


def test_motion_is_a_color_by_its_direction_and_white_at_rest() -> None:
    made = condition(scene(), "motion")
    assert made[2, 2].tolist() == [255, 255, 255]
    assert made[20, 30].tolist() == [255, 0, 0]  # it came 3 px from the left: to the right is red
    flow = np.zeros((1, 5, 2), np.float32)
    flow[0, :4] = [[1, 0], [0, 1], [-1, 0], [0, -1]]
    flow[0, 4] = np.nan
    right, down, left, up, unknown = flow_picture(flow, 1.0)[0].astype(int)
    assert right.argmax() == 0
    assert down[0] > 150 < down[1]
    assert down[2] == 0
    assert left.argmin() == 0
    assert up.argmax() == 2
    assert unknown.tolist() == [255, 255, 255]
    half = flow_picture(flow / 2, 1.0)[0, 0]
    assert half.tolist() == [255, 128, 128]
    assert flow_picture(flow * 2, 1.0)[0, 0].max() < 255


def test_after_a_cut_the_first_frame_shows_the_seconds_motion() -> None:
    first, second = scene(), scene()
    first.buffers["motion"][:] = np.nan
    made = clip_conditions([first, second], "motion")
    assert np.array_equal(made[0], made[1])
    assert made[0, 20, 30].tolist() == [255, 0, 0]


@pytest.mark.parametrize("kind", ["edges", "depth", "normal", "motion"])
def test_a_session_of_color_alone_is_told_of_canny(kind: Kind) -> None:
    bare = scene().without("depth", "normal", "motion", "instance")
    with pytest.raises(MissingBufferError, match=r"canny needs color alone"):
        condition(bare, kind)
    with pytest.raises(MissingBufferError, match=NEEDS[kind][0]):
        clip_conditions([scene(), bare], kind)
    assert drawable(bare, kind) == "canny"
    assert drawable(scene(), kind) == kind


def test_conditions_of_a_real_frame_have_its_size_and_any_other() -> None:
    frames = memory_frames(2, (96, 64), buffers=("color", "depth", "normal", "motion", "instance"))
    for kind in NEEDS:
        assert clip_conditions(frames, kind).shape == (2, 64, 96, 3)
        small = clip_conditions(frames, kind, size=(64, 32))
        assert small.shape == (2, 32, 64, 3)
        assert small.dtype == np.uint8
    scale = clip_scale(frames)
    assert 0 <= scale.far < scale.near
    assert scale.speed > 0
