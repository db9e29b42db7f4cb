"""Propagation by VACE on a tiny checkpoint of the real classes."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from capture_bridge.errors import MissingBufferError, RealMasterError, SetupError
from realmaster.conditions import clip_conditions
from realmaster.families import vace
from realmaster.families.vace import U8, VacePropagator, held
from realmaster.propagation import Control, PropagationOptions, Propagator, load_propagator
from tests.realmaster.families.tiny_vace import write_tiny_vace
from tests.realmaster.fast_frames import MemoryFrame, memory_frames

SIZE = (48, 32)
BUFFERS = ("color", "depth", "normal", "motion", "instance")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_vace(tmp_path_factory.mktemp("vace"), experts=2)


def options(checkpoint: Path, **changes: Any) -> PropagationOptions:
    chosen = PropagationOptions(preset="tiny", weights=str(checkpoint), guidance=1.0)
    return replace(chosen, **changes)


def clip(count: int, size: tuple[int, int] = SIZE) -> list[MemoryFrame]:
    return memory_frames(count, size, buffers=BUFFERS)


def look(frame: MemoryFrame) -> U8:
    """A darker, warmer picture of what the frame shows."""
    render = frame.array("color")[..., :3].astype(np.float32)
    return np.clip(render * [0.9, 0.75, 0.6], 0, 255).astype(np.uint8)


def ends(frames: Sequence[MemoryFrame]) -> dict[int, U8]:
    return {at: look(frames[at]) for at in (0, len(frames) - 1)}


class Recorded:
    """In the pipeline's place: notes what it is given and gives the video back."""

    def __call__(self, **given: Any) -> SimpleNamespace:
        self.video = np.stack([np.asarray(picture) for picture in given["video"]])
        self.mask = np.stack([np.asarray(picture) for picture in given["mask"]])
        self.size = (given["width"], given["height"])
        assert given["num_frames"] == len(self.video)
        return SimpleNamespace(frames=[self.video / 255])


def recorded(checkpoint: Path, **changes: Any) -> tuple[VacePropagator, Recorded]:
    propagator, seen = VacePropagator(options(checkpoint, **changes)), Recorded()
    propagator._pipeline = seen
    return propagator, seen


@pytest.mark.parametrize(("count", "size"), [(5, SIZE), (6, (50, 30)), (1, SIZE)])
def test_a_clip_has_as_many_pictures_as_frames(
    checkpoint: Path, count: int, size: tuple[int, int]
) -> None:
    frames = clip(count, size)
    propagator: Propagator = load_propagator("vace", options(checkpoint))
    made = propagator.propagate(frames, ends(frames))
    assert made.pictures.shape == (count, size[1], size[0], 3)
    assert made.pictures.dtype == np.uint8
    assert made.confidence.shape == (count, size[1], size[0])
    assert set(made.figures) == {"first_anchor_lab", "last_anchor_lab"}
    assert all(0 < value < 200 for value in made.figures.values())


def test_seed_anchors_and_control_are_heard(checkpoint: Path) -> None:
    frames = clip(5)

    def made(anchors: dict[int, U8] | None = None, **changes: Any) -> U8:
        propagator = VacePropagator(options(checkpoint, **changes))
        return propagator.propagate(frames, anchors or ends(frames)).pictures

    plain = made()
    assert np.array_equal(plain, made())
    assert not np.array_equal(plain, made(seed=1))
    assert not np.array_equal(plain, made(control="normal"))
    assert not np.array_equal(
        plain, made({at: np.full_like(picture, 255) for at, picture in ends(frames).items()})
    )


@pytest.mark.parametrize("control", ["edges", "depth", "canny"])
def test_anchors_stand_at_mask_0_and_the_control_at_mask_1(
    checkpoint: Path, control: Control
) -> None:
    frames = clip(7)  # 7 frames are no 4 k + 1: the last anchor is shown for three
    propagator, seen = recorded(checkpoint, control=control)
    made = propagator.propagate(frames, ends(frames) | {3: look(frames[3])})
    assert seen.size == SIZE
    assert [bool(m.all()) for m in seen.mask] == [False, True, True, False, True, True] + [
        False
    ] * 3
    assert not seen.mask[[0, 3, 6, 7, 8]].any()
    for at, shown in ((0, 0), (3, 3), (6, 6), (6, 8)):
        np.testing.assert_array_equal(seen.video[shown], look(frames[at]))
    drawn = clip_conditions(frames, control)
    np.testing.assert_array_equal(seen.video[1], drawn[1])
    assert made.figures == {"first_anchor_lab": 0.0, "last_anchor_lab": 0.0}
    assert [float(c.min()) for c in made.confidence] == [1, 0, 0, 1, 0, 0, 1]


def test_frames_are_resized_to_what_the_model_takes(checkpoint: Path) -> None:
    frames = clip(5, (70, 37))
    propagator, seen = recorded(checkpoint)
    made = propagator.propagate(frames, ends(frames))
    assert seen.size == (64, 32)
    assert seen.video.shape == (5, 32, 64, 3)
    assert seen.mask.shape == (5, 32, 64)
    assert made.pictures.shape == (5, 37, 70, 3)


def test_what_warping_is_sure_of_is_kept(checkpoint: Path) -> None:
    frames = clip(5)
    propagator, seen = recorded(checkpoint, control="warp", fill="render")
    warped = load_propagator("warp", PropagationOptions(fill="render"))
    expected = warped.propagate(frames, ends(frames))
    made = propagator.propagate(frames, ends(frames))
    kept = seen.mask[2] == 0
    assert 0.2 < kept.mean() < 1
    assert (expected.confidence[2][kept] >= 0.6).all()
    np.testing.assert_array_equal(made.pictures[2][kept], expected.pictures[2][kept])
    with pytest.raises(MissingBufferError, match="motion"):
        propagator.propagate([frame.without("motion") for frame in frames], ends(frames))


def test_an_anchor_may_be_held_for_several_frames() -> None:
    first, middle, last = (np.full((1, 1, 3), level, np.uint8) for level in (1, 2, 3))
    anchors = {0: first, 2: middle, 8: last}
    shown = {at: int(picture[0, 0, 0]) for at, picture in held(anchors, 9, 3).items()}
    assert shown == {0: 1, 1: 1, 2: 2, 3: 2, 4: 2, 6: 3, 7: 3, 8: 3}
    assert held(anchors, 9, 1) == anchors


def test_two_experts_share_the_noise_levels(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames, row = clip(5), vace.VACE_PRESETS["tiny"]

    def made(boundary: float | None) -> U8:
        table = {"tiny": replace(row, boundary=boundary)}
        monkeypatch.setattr(vace, "VACE_PRESETS", table)
        return VacePropagator(options(checkpoint, steps=3)).propagate(frames, ends(frames)).pictures

    alone, first, both = made(None), made(0.0), made(0.9)
    assert np.array_equal(alone, first)
    assert not np.array_equal(alone, both)


def test_what_cannot_work_is_said(checkpoint: Path) -> None:
    with pytest.raises(SetupError, match=r"no VACE preset 'wan9'.*wan2.1-vace-14b"):
        load_propagator("vace", PropagationOptions(preset="wan9"))
    with pytest.raises(SetupError, match="weights"):
        load_propagator("vace", PropagationOptions(preset="tiny"))
    with pytest.raises(RealMasterError, match="anchor_hold 0"):
        load_propagator("vace", options(checkpoint, anchor_hold=0))
    with pytest.raises(SetupError, match="no such folder"):
        load_propagator("vace", options(checkpoint, weights=str(checkpoint / "absent")))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_large_model_without_a_gpu_names_the_alternative() -> None:
    with pytest.raises(SetupError, match=r"NVIDIA GPU with 7 GiB.*--propagate warp"):
        load_propagator("vace")
