"""Finishing: flicker goes and edges stay, kept parts keep, the HUD comes back."""

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import pytest

from capture_bridge.buffers import SEMANTIC_CLASSES
from capture_bridge.errors import RealMasterError
from capture_bridge.messages import FrameFlags
from realmaster.color import srgb_u8_to_lab
from realmaster.finishing import (
    U8,
    Finish,
    FinishedModel,
    blended,
    finished,
    kept_share,
    parse_keep,
    with_hud,
)
from realmaster.geometry import edges_from_buffers, occlusion_mask
from realmaster.metrics import edge_agreement, warp_error
from tests.realmaster.fast_frames import MemoryFrame, memory_frames

SIZE = (192, 108)


def flickering(frames: list[MemoryFrame], strength: float, seed: int = 0) -> list[U8]:
    """A warm, contrasty look whose brightness and grain change from frame to frame."""
    rng = np.random.default_rng(seed)
    pictures = []
    for frame in frames:
        render = frame.array("color")[..., :3].astype(np.float64)
        grain = rng.normal(0, strength, render.shape)
        picture = 18 + render * [0.95, 0.85, 0.75] + rng.normal(0, strength) + grain
        pictures.append(np.clip(np.rint(picture), 0, 255).astype(np.uint8))
    return pictures


def flicker_ratio(frames: list[MemoryFrame], pictures: list[U8]) -> float:
    """Warp error of the pictures over that of the renders, along the engine's motion."""
    sums = np.zeros(2)
    for k in range(1, len(frames)):
        motion, camera = frames[k].array("motion"), frames[k].header.camera
        hidden = occlusion_mask(
            frames[k].array("depth"), frames[k - 1].array("depth"), motion, camera
        )
        renders = [frames[i].array("color")[..., :3] for i in (k, k - 1)]
        sums += [
            warp_error(pictures[k], pictures[k - 1], motion, hidden),
            warp_error(*renders, motion, hidden),
        ]
    return float(sums[0] / sums[1])


def edges(frames: list[MemoryFrame], pictures: list[U8]) -> float:
    return float(
        np.mean(
            [
                edge_agreement(
                    srgb_u8_to_lab(picture),
                    edges_from_buffers(frame.array("depth"), frame.array("normal")),
                )
                for frame, picture in zip(frames, pictures, strict=True)
            ]
        )
    )


def test_flicker_of_one_and_a_half_comes_down_and_edges_stay() -> None:
    frames = memory_frames(16, SIZE)
    strength = next(
        s for s in np.arange(0.2, 9, 0.1) if flicker_ratio(frames, flickering(frames, s)) >= 1.5
    )
    pictures = flickering(frames, strength)
    state: dict[str, np.ndarray] = {}
    steady = [
        finished(frame, picture, Finish(stabilize=0.7), state)
        for frame, picture in zip(frames, pictures, strict=True)
    ]
    assert flicker_ratio(frames, pictures) >= 1.5
    assert flicker_ratio(frames[4:], steady[4:]) <= 1.10
    assert edges(frames[4:], steady[4:]) >= edges(frames[4:], pictures[4:])


def test_a_cut_and_a_gap_begin_anew() -> None:
    frames = memory_frames(4, SIZE)
    frames[2] = frames[2].with_header(flags=FrameFlags.CUT)
    frames[3] = frames[3].with_header(seq=9)
    state: dict[str, np.ndarray] = {}
    pictures = flickering(frames, 4.0)
    made = [
        finished(frame, picture, Finish(stabilize=0.8), state)
        for frame, picture in zip(frames, pictures, strict=True)
    ]
    assert not np.array_equal(made[1], pictures[1])
    assert np.array_equal(made[2], pictures[2])
    assert np.array_equal(made[3], pictures[3])


def test_kept_parts_are_the_renders_with_soft_edges() -> None:
    frame = memory_frames(1, SIZE)[0]
    semantic = np.zeros(SIZE[::-1], np.uint8)
    semantic[30:70, 50:120] = SEMANTIC_CLASSES.index("person")
    instance = np.zeros(SIZE[::-1], np.uint32)
    instance[5:20, 5:30] = 17
    frame.buffers.update(semantic=semantic, instance=instance)
    share = kept_share(frame, parse_keep("person=0.5,#17=1"))
    assert share[50, 80] == pytest.approx(0.5, abs=1e-3)
    assert share[12, 15] == pytest.approx(1.0, abs=1e-3)
    assert share[100, 180] == pytest.approx(0, abs=1e-3)
    assert 0.05 < share[50, 49] < 0.45
    render, picture = np.full((108, 192, 3), 40, np.uint8), np.full((108, 192, 3), 80, np.uint8)
    mixed = blended(picture, render, share)
    assert (mixed[50, 80] == 60).all()
    assert (mixed[12, 15] == 40).all()
    assert (mixed[100, 180] == 80).all()


def test_the_hud_comes_back_opaque_and_as_a_tint() -> None:
    rng = np.random.default_rng(0)
    render = rng.integers(60, 120, (40, 60, 3)).astype(np.uint8)
    picture = (render + 50).astype(np.uint8)
    presented = render.copy()
    presented[5:10, 5:25] = (255, 255, 255)
    presented[20:30] = render[20:30] - 2
    made = with_hud(picture, render, presented)
    assert (made[5:10, 5:25] == 255).all()
    assert np.array_equal(made[20:30], picture[20:30] - 2)
    assert np.array_equal(made[32:], picture[32:])


class ReadsAhead:
    """Takes all frames before it gives the first picture, as a window does."""

    name = "ahead"
    fingerprint = "ahead-1"
    requires = frozenset({"color"})

    def enhance(self, frames: Iterable[MemoryFrame], state: object) -> Iterator[U8]:
        for frame in list(frames):
            yield np.ascontiguousarray(255 - frame.array("color")[..., :3])

    def summary(self, state: object) -> Mapping[str, str]:
        return {"ahead": "yes"}


def test_a_finished_model_is_a_model() -> None:
    frames = memory_frames(5, SIZE)
    model = FinishedModel(ReadsAhead(), Finish(stabilize=0.5))  # type: ignore[arg-type]
    other = FinishedModel(ReadsAhead(), Finish(stabilize=0.6))  # type: ignore[arg-type]
    assert model.fingerprint != other.fingerprint
    assert model.requires == {"color", "depth", "motion"}
    assert Finish(keep=parse_keep("glass=1,#3=0.2"), hud=True).requires == {
        "semantic",
        "instance",
        "color_ui",
    }
    state: dict[str, np.ndarray] = {}
    pictures = list(model.enhance(frames, state))  # type: ignore[arg-type]
    assert len(pictures) == 5
    assert np.array_equal(pictures[0], 255 - frames[0].array("color")[..., :3])
    assert set(model.summary(state)) == {"ahead", "finish"}


@pytest.mark.parametrize(
    "text", ["person", "person=2", "person=-1", "face=1", "=1", "#=1", "a b=1"]
)
def test_regions_that_are_none_are_refused_in_one_line(text: str) -> None:
    with pytest.raises(RealMasterError, match=r"--keep"):
        parse_keep(text)


def test_a_stabilizer_that_never_lets_go_is_refused() -> None:
    with pytest.raises(RealMasterError, match=r"--stabilize 1"):
        Finish(stabilize=1.0)
