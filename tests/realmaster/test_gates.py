"""The gates: good pairs pass, and each kind of bad pair is rejected for what is wrong with it."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np
import pytest

pytest.importorskip("panda3d", reason="needs realmaster[street]")

from realmaster.gates import GATES, Limits, judge
from realmaster.propagation import PropagationOptions, load_propagator
from tests.realmaster.fast_frames import MemoryFrame
from tests.realmaster.relit_clip import U8, ends, relit, renders, street_frames

pytestmark = pytest.mark.street
SIZE = (256, 144)
COUNT = 13


@dataclass(frozen=True)
class Pair:
    frames: list[MemoryFrame]
    pictures: U8
    anchors: dict[int, U8]


@pytest.fixture(scope="module")
def good() -> Pair:
    frames = street_frames(COUNT, SIZE)
    pictures = np.stack([relit(frame) for frame in frames])
    return Pair(frames, pictures, ends(pictures))


def verdict_of(pair: Pair) -> tuple[str, ...]:
    verdict = judge(pair.frames, pair.pictures, pair.anchors)
    assert verdict.accepted == (not verdict.reasons)
    return verdict.reasons


def between(pair: Pair, spoilt: U8) -> Pair:
    """The pair with other pictures, its anchors kept."""
    pictures = spoilt.copy()
    for at, anchor in pair.anchors.items():
        pictures[at] = anchor
    return replace(pair, pictures=pictures)


def shifted(pair: Pair) -> Pair:
    return between(pair, np.roll(pair.pictures, 5, 2))


def flickering(pair: Pair) -> Pair:
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 14, (COUNT, SIZE[1] // 8, SIZE[0] // 8)).astype(np.float32)
    grown = np.stack([cv2.resize(one, SIZE) for one in noise])[..., None]
    return between(pair, np.clip(pair.pictures + grown, 0, 255).astype(np.uint8))


def brighter_from_the_middle(pair: Pair) -> Pair:
    pictures = pair.pictures.astype(np.int16)
    pictures[COUNT // 2 :] += 12
    return between(pair, np.clip(pictures, 0, 255).astype(np.uint8))


def wrong_anchor(pair: Pair) -> Pair:
    """The clip ends with a picture of another moment."""
    pictures = pair.pictures.copy()
    pictures[-1] = np.ascontiguousarray(pair.pictures[-1][:, ::-1])
    return replace(pair, pictures=pictures, anchors=ends(pictures))


def left_anchor(pair: Pair) -> Pair:
    """The pictures end as another look would, as if the last anchor had not been heard."""
    other = np.clip(pair.anchors[COUNT - 1] * [0.75, 0.8, 1.1], 0, 255).astype(np.uint8)
    return replace(pair, anchors={**pair.anchors, COUNT - 1: other})


def hallucinated(pair: Pair) -> Pair:
    """A box stands in the middle of the road, in the anchors as well."""
    pictures = pair.pictures.copy()
    x, y, side = SIZE[0] // 2 - 14, SIZE[1] - 40, 28
    pictures[:, y : y + side, x : x + side] = (150, 40, 30)
    return replace(pair, pictures=pictures, anchors=ends(pictures))


def frozen(pair: Pair) -> Pair:
    pictures = pair.pictures.copy()
    pictures[5:9] = pictures[4]
    return replace(pair, pictures=pictures)


BAD: dict[str, Callable[[Pair], Pair]] = {
    "structure": shifted,
    "flicker": flickering,
    "color_jump": brighter_from_the_middle,
    "anchor_structure": wrong_anchor,
    "worst_anchor": left_anchor,
    "unexplained": hallucinated,
    "frozen": frozen,
}


@pytest.mark.parametrize("gate", BAD)
def test_a_bad_pair_is_rejected_for_the_right_reason(good: Pair, gate: str) -> None:
    reasons = verdict_of(BAD[gate](good))
    assert reasons
    assert reasons[0].startswith(f"{gate}: "), reasons


def test_every_gate_has_a_bad_pair_and_a_limit() -> None:
    assert {gate.figure for gate in GATES} == {*BAD, "identity"}  # test_faces.py spoils faces
    assert {gate.figure for gate in GATES} == set(Limits.__dataclass_fields__)


def test_what_is_so_and_what_was_carried_pass(good: Pair) -> None:
    assert verdict_of(good) == ()
    warp = load_propagator("warp", PropagationOptions(fill="render"))
    made = warp.propagate(good.frames, good.anchors)
    assert verdict_of(replace(good, pictures=made.pictures)) == ()


def test_the_render_itself_passes(good: Pair) -> None:
    own = renders(good.frames)
    figures = judge(good.frames, own, ends(own)).figures
    assert figures["structure"] == pytest.approx(1)
    assert figures["flicker"] == pytest.approx(1)
    assert figures["color_jump"] == 0
    assert verdict_of(replace(good, pictures=own, anchors=ends(own))) == ()


def test_a_reason_says_figure_and_limit(good: Pair) -> None:
    limits = Limits(structure=1.5, flicker=0.01)
    verdict = judge(good.frames, good.pictures, good.anchors, limits)
    assert not verdict.accepted
    figures = {name: f"{verdict.figures[name]:.3g}" for name in ("structure", "flicker")}
    assert verdict.reasons == (
        f"structure: edges are not where the engine has them ({figures['structure']}, at least "
        "1.5)",
        f"flicker: the pictures flicker along the engine's motion ({figures['flicker']}, at most "
        "0.01)",
    )


def test_what_cannot_be_measured_rejects_nothing(good: Pair) -> None:
    bare = [frame.without("depth", "normal", "motion", "instance") for frame in good.frames]
    verdict = judge(bare, good.pictures, good.anchors)
    assert verdict.accepted, verdict.reasons
    assert not {"flicker", "color_jump"} & set(verdict.figures)
    assert {"structure", "unexplained", "frozen", "worst_anchor"} <= set(verdict.figures)
    alone = judge(good.frames[:1], good.pictures[:1], {0: good.pictures[0]})
    assert alone.accepted
    assert "frozen" not in alone.figures
