"""Warped anchors: close to what the frames would look like, exact where the anchors are."""

import numpy as np
import pytest

from capture_bridge.errors import MissingBufferError, RealMasterError, SetupError
from realmaster.color import srgb_u8_to_lab
from realmaster.metrics import gap_closure, lab_distance_map, mean_squared_error, psnr_db
from realmaster.propagation import PropagationOptions, load_propagator
from realmaster.warp_propagation import WarpPropagator
from tests.realmaster.fast_frames import MemoryFrame, memory_frames
from tests.realmaster.relit_clip import BUFFERS, U8, ends, relit, renders, street_frames

SIZE = (192, 108)
COUNT = 13


class Scarlet:
    """A model whose every picture is red, so that what it fills is found again."""

    name = fingerprint = "scarlet"
    requires = frozenset({"color"})

    def enhance(self, frames: list[MemoryFrame], state: object) -> list[U8]:
        return [np.full((*f.array("color").shape[:2], 3), (255, 0, 0), np.uint8) for f in frames]

    def summary(self, state: object) -> dict[str, str]:
        return {}


@pytest.fixture(scope="module")
def clip() -> tuple[list[MemoryFrame], U8]:
    frames = memory_frames(COUNT, SIZE, buffers=BUFFERS)
    return frames, np.stack([relit(frame) for frame in frames])


def psnr(pictures: U8, truth: U8) -> float:
    """Of all frames but the anchors."""
    errors = [mean_squared_error(p, t) for p, t in zip(pictures[1:-1], truth[1:-1], strict=True)]
    return psnr_db(float(np.mean(errors)))


def cross_fade(truth: U8) -> U8:
    share = np.linspace(0, 1, len(truth))[:, None, None, None]
    return np.rint(truth[0] * (1 - share) + truth[-1] * share).astype(np.uint8)


def lab_distance(pictures: U8, truth: U8) -> float:
    pairs = zip(pictures[1:-1], truth[1:-1], strict=True)
    maps = [lab_distance_map(srgb_u8_to_lab(p), srgb_u8_to_lab(t)).mean() for p, t in pairs]
    return float(np.mean(maps))


def test_it_beats_render_and_cross_fade_and_closes_the_gap(
    clip: tuple[list[MemoryFrame], U8],
) -> None:
    frames, truth = clip
    made = WarpPropagator().propagate(frames, ends(truth)).pictures
    assert psnr(made, truth) >= psnr(renders(frames), truth) + 3
    assert psnr(made, truth) >= psnr(cross_fade(truth), truth) + 3
    closure = gap_closure(lab_distance(made, truth), lab_distance(renders(frames), truth))
    assert closure >= 0.7


@pytest.mark.street
def test_so_it_does_on_the_street() -> None:
    pytest.importorskip("panda3d", reason="needs realmaster[street]")
    frames = street_frames(COUNT, (256, 144))
    truth = np.stack([relit(frame) for frame in frames])
    warp = load_propagator("warp")  # with the fast tier, which the frames suit
    made = warp.propagate(frames, ends(truth)).pictures
    assert psnr(made, truth) >= psnr(renders(frames), truth) + 3
    assert psnr(made, truth) >= psnr(cross_fade(truth), truth) + 3
    closure = gap_closure(lab_distance(made, truth), lab_distance(renders(frames), truth))
    assert closure >= 0.7


def test_anchors_come_back_as_they_are(clip: tuple[list[MemoryFrame], U8]) -> None:
    frames, truth = clip
    anchors = ends(truth) | {6: truth[6]}
    made = WarpPropagator().propagate(frames, anchors)
    assert made.pictures.shape == truth.shape
    assert made.confidence.shape == truth.shape[:3]
    assert made.confidence.dtype == np.float32
    for at, anchor in anchors.items():
        np.testing.assert_array_equal(made.pictures[at], anchor)
        assert (made.confidence[at] == 1).all()
    assert 0 <= made.confidence.min() <= made.confidence.max() <= 1
    assert 0 < made.figures["holes"] < 0.1


def test_another_anchor_helps(clip: tuple[list[MemoryFrame], U8]) -> None:
    frames, truth = clip
    warp = WarpPropagator()
    one, two, three = (
        warp.propagate(frames, {at: truth[at] for at in chosen}).pictures
        for chosen in ((0,), (0, 12), (0, 6, 12))
    )
    assert psnr(one, truth) < psnr(two, truth) < psnr(three, truth)


def test_confidence_tells_where_it_is_wrong(clip: tuple[list[MemoryFrame], U8]) -> None:
    frames, truth = clip
    made = WarpPropagator().propagate(frames, ends(truth))
    error = np.abs(made.pictures.astype(int) - truth).mean(-1)[1:-1]
    confidence = made.confidence[1:-1]
    assert error[confidence > 0.7].mean() * 2 < error[confidence < 0.2].mean()


def test_the_filling_is_moved_to_the_colors_around(clip: tuple[list[MemoryFrame], U8]) -> None:
    """Red fills no hole red: a constant is moved to what lies around, and shows nowhere else."""
    frames, truth = clip
    plain, filled = (WarpPropagator(f).propagate(frames, ends(truth)) for f in (None, Scarlet()))
    sure = plain.confidence >= 0.5
    np.testing.assert_allclose(plain.pictures[sure], filled.pictures[sure], atol=1)
    assert not np.array_equal(plain.pictures, filled.pictures)
    holes = plain.confidence == 0
    assert holes.any()
    assert np.abs(filled.pictures.astype(int) - truth)[holes].mean() < 40


def test_equal_inputs_give_equal_pictures(clip: tuple[list[MemoryFrame], U8]) -> None:
    frames, truth = clip
    first, again = (WarpPropagator().propagate(frames, ends(truth)) for _ in range(2))
    np.testing.assert_array_equal(first.pictures, again.pictures)
    np.testing.assert_array_equal(first.confidence, again.confidence)


def test_what_does_not_fit_is_said(clip: tuple[list[MemoryFrame], U8]) -> None:
    frames, truth = clip
    warp = load_propagator("warp", PropagationOptions(fill="render"))
    for name in ("depth", "motion"):
        with pytest.raises(MissingBufferError, match=f"has no {name}.*engine plugin"):
            warp.propagate([frame.without(name) for frame in frames], ends(truth))
    with pytest.raises(RealMasterError, match=r"anchor 0 is 96x108 and the clip 192x108"):
        warp.propagate(frames, {0: truth[0][:, ::2]})
    with pytest.raises(RealMasterError, match=r"anchor 13 lies outside the clip of 13 frames"):
        warp.propagate(frames, {13: truth[0]})
    with pytest.raises(RealMasterError, match=r"at least one frame and one anchor"):
        warp.propagate(frames, {})
    with pytest.raises(SetupError, match=r"no propagator 'wrap'; there are warp, vace"):
        load_propagator("wrap")
