from collections.abc import Callable
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
import pytest

from realmaster.anchors import (
    AnchorRules,
    choose_anchors,
    edit_anchors,
    structure,
)
from tests.realmaster.fast_frames import MemoryFrame, memory_frames

U8 = np.ndarray
SIZE = (160, 90)
BUFFERS = ("color", "depth", "normal", "instance")


@pytest.fixture(scope="module")
def clip() -> list[MemoryFrame]:
    return memory_frames(9, SIZE, buffers=BUFFERS)


def render(frame: MemoryFrame) -> U8:
    return np.ascontiguousarray(frame.array("color")[..., :3], np.uint8)


def graded(frame: MemoryFrame) -> U8:
    """Another light: brighter, warmer, with grain."""
    grain = np.random.default_rng(0).normal(0, 3, (*frame.array("color").shape[:2], 3))
    lit = 255 * (render(frame) / 255.0) ** 0.7 * np.array([1.0, 0.95, 0.85])
    return np.clip(np.rint(lit + grain), 0, 255).astype(np.uint8)


@dataclass
class Editor:
    """Does to a frame what a test says; notes what it was asked."""

    change: Callable[[U8, int], U8] = lambda picture, _: picture
    heeds_seed: bool = True
    name: str = "double"
    asked: list[tuple[int, str, int]] = field(default_factory=list)

    def edit(self, frame: MemoryFrame, prompt: str, seed: int) -> U8:
        self.asked.append((frame.index, prompt, seed))
        return np.ascontiguousarray(self.change(graded(frame), seed))


def zoomed(picture: U8, by: float) -> U8:
    height, width = picture.shape[:2]
    matrix = np.array([[by, 0, (1 - by) * width / 2], [0, by, (1 - by) * height / 2]], np.float32)
    return cv2.warpAffine(picture, matrix, (width, height), borderMode=cv2.BORDER_REFLECT)


def test_another_light_keeps_the_structure(clip: list[MemoryFrame]) -> None:
    assert structure(clip[0], render(clip[0])).score == pytest.approx(1)
    found = structure(clip[0], graded(clip[0]))
    assert found.score > 0.8
    assert found.offset_px == 0


@pytest.mark.parametrize("shift", [(1, 0), (0, -2), (3, 4), (-7, 0)])
def test_a_moved_picture_is_found_out_to_the_pixel(
    clip: list[MemoryFrame], shift: tuple[int, int]
) -> None:
    moved = np.roll(graded(clip[3]), shift, (1, 0))
    assert structure(clip[3], moved).offset_px == pytest.approx(np.hypot(*shift))


@pytest.mark.parametrize(
    "change",
    [
        lambda picture, _: picture[:, ::-1],
        lambda picture, _: zoomed(picture, 1.06),
        lambda picture, _: cv2.GaussianBlur(picture, (0, 0), 4),
        lambda picture, _: np.full_like(picture, 90),
        lambda picture, _: np.random.default_rng(1).integers(0, 256, picture.shape, np.uint8),
        lambda picture, _: np.roll(picture, 5, 1),
    ],
    ids=["mirrored", "enlarged", "blurred", "empty", "noise", "moved"],
)
def test_an_edit_that_changes_the_structure_is_refused_with_its_figure(
    clip: list[MemoryFrame], change: Callable[[U8, int], U8]
) -> None:
    made = edit_anchors(clip, Editor(change), "p", AnchorRules(seeds=2))
    assert not made.pictures
    (reason,) = made.reasons
    assert reason.startswith("anchor seq 0: 'double'")
    assert "edit_structure" in reason or "px" in reason
    assert made.figures["edit_structure"] < 0.4 or made.figures["edit_offset_px"] > 1


def test_the_last_anchor_is_refused_as_well(clip: list[MemoryFrame]) -> None:
    editor = Editor(heeds_seed=False)
    editor.change = lambda picture, _: picture[:, ::-1] if len(editor.asked) > 1 else picture
    made = edit_anchors(clip, editor, "p")
    assert not made.pictures
    assert made.reasons[0].startswith("anchor seq 8: ")


def test_the_best_of_several_seeds_is_taken(clip: list[MemoryFrame]) -> None:
    editor = Editor(lambda picture, seed: cv2.GaussianBlur(picture, (0, 0), (3, 0.3, 2)[seed]))
    made = edit_anchors(clip, editor, "a street", AnchorRules(seeds=3))
    assert sorted(made.pictures) == [0, 8]
    assert made.figures["edit_seed_0"] == made.figures["edit_seed_8"] == 1
    assert editor.asked == [(i, "a street", seed) for i in (0, 8) for seed in range(3)]
    assert made.pictures[0].shape == (SIZE[1], SIZE[0], 3)
    assert np.array_equal(made.pictures[0], cv2.GaussianBlur(graded(clip[0]), (0, 0), 0.3))


def test_an_editor_that_heeds_no_seed_is_asked_once(clip: list[MemoryFrame]) -> None:
    editor = Editor(heeds_seed=False)
    assert edit_anchors(clip, editor, "p").pictures
    assert [asked[2] for asked in editor.asked] == [0, 0]


def test_without_depth_the_renders_own_edges_judge(clip: list[MemoryFrame]) -> None:
    bare = [frame.without("depth", "normal", "instance") for frame in clip]
    assert edit_anchors(bare, Editor(), "p").pictures
    assert not edit_anchors(bare, Editor(lambda p, _: p[:, ::-1]), "p").pictures


# --- which frames ----------------------------------------------------------------------------


def with_ids(frame: MemoryFrame, *ids: int) -> MemoryFrame:
    """Columns of equal width, one per id."""
    columns = np.repeat(np.array(ids, np.uint32), 60 // len(ids))
    return replace(frame, buffers={"instance": np.tile(columns, (20, 1))})


def test_the_ends_are_anchors_and_what_only_the_middle_shows(clip: list[MemoryFrame]) -> None:
    steady = [with_ids(frame, 1, 2) for frame in clip]
    assert choose_anchors(steady) == [0, 8]
    passing = list(steady)
    passing[3] = with_ids(clip[3], 1, 2, 2, 2, 7)
    passing[5] = with_ids(clip[5], 1, 7, 7, 2)
    assert choose_anchors(passing) == [0, 5, 8]
    assert choose_anchors(passing, AnchorRules(max_new=0.5)) == [0, 8]


def test_what_either_end_shows_is_no_news(clip: list[MemoryFrame]) -> None:
    frames = [with_ids(frame, 1) for frame in clip]
    frames[-1] = with_ids(clip[-1], 2)
    frames[4] = with_ids(clip[4], 1, 2)
    assert choose_anchors(frames) == [0, 8]


def test_short_clips_and_clips_without_ids_have_their_ends(clip: list[MemoryFrame]) -> None:
    assert choose_anchors(clip[:1]) == [0]
    assert choose_anchors(clip[:2]) == [0, 1]
    assert choose_anchors([frame.without("instance") for frame in clip]) == [0, 8]


def test_in_a_long_clip_some_frames_stand_for_all(clip: list[MemoryFrame]) -> None:
    frames = [with_ids(clip[0], 1)] * 81
    frames[30:40] = [with_ids(clip[0], 1, 9)] * 10
    first, middle, last = choose_anchors(frames)
    assert (first, last) == (0, 80)
    assert 30 <= middle < 40
