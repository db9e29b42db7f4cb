"""Windows: every length comes out whole, colors do not drift, seams are scored, cuts are kept."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capture_bridge.messages import FrameFlags
from realmaster.color import srgb_u8_to_lab
from realmaster.windows import (
    U8,
    Windows,
    enhance_in_windows,
    joined,
    landed,
    missed_end,
    seams,
)
from tests.realmaster.fast_frames import MemoryFrame, memory_frames

SIZE = (32, 16)


class Copier:
    """Gives the render back, moved by what a lossy autoencoder would do to it each time."""

    def __init__(self, drift: float = 0.0) -> None:
        self.drift = drift
        self.lengths: list[tuple[int, int]] = []
        self.endings: list[bool] = []

    def generate(self, render: U8, anchors: U8 | None, seed: int, last: U8 | None = None) -> U8:
        num_anchors = 0 if anchors is None else len(anchors)
        self.endings.append(last is not None)
        self.lengths.append((len(render), num_anchors))
        pictures = render.astype(float)
        if anchors is not None:
            pictures += float(anchors.mean()) - float(render[:num_anchors].mean())
        return np.clip(np.rint(pictures + self.drift), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def frames() -> list[MemoryFrame]:
    return memory_frames(1, SIZE)


def still(frames: list[MemoryFrame], count: int, **changes: Any) -> Iterator[MemoryFrame]:
    """`count` frames of a scene in which nothing moves."""
    first = frames[0]
    for k in range(count):
        yield replace(first, header=replace(first.header, seq=k, **changes), index=k)


@settings(max_examples=60, deadline=None)
@given(count=st.integers(1, 200), fresh=st.integers(1, 48), overlap=st.integers(1, 9))
def test_every_length_comes_out_frame_by_frame(count: int, fresh: int, overlap: int) -> None:
    frames = memory_frames(1, SIZE)
    model, state = Copier(), {}
    windows = Windows(fresh, min(overlap, fresh))
    pictures = list(enhance_in_windows(model, windows, still(frames, count), state, 0))
    assert len(pictures) == count
    assert all(np.array_equal(picture, pictures[0]) for picture in pictures)
    assert max(length for length, _ in model.lengths) <= fresh + windows.overlap
    assert len(seams(state)) == len(model.lengths) - 1


def test_colors_do_not_drift_over_many_windows(frames: list[MemoryFrame]) -> None:
    """Each window's model adds 3 levels, which a plain chain of windows would add up to 36."""
    windows, count = Windows(8, 4), 12 * 8
    pictures = list(enhance_in_windows(Copier(3.0), windows, still(frames, count), {}, 0))
    first, last = (srgb_u8_to_lab(picture) for picture in (pictures[0], pictures[-1]))
    assert np.linalg.norm(last - first, axis=-1).mean() <= 0.5


def test_a_seam_is_scored_by_what_the_correction_cannot_mend() -> None:
    rng = np.random.default_rng(0)
    anchors = rng.integers(40, 200, (3, 8, 8, 3)).astype(np.uint8)
    fresh = np.full((5, 8, 8, 3), 90, np.uint8)
    pictures, seam = joined(np.concatenate([anchors + 7, fresh]), anchors)
    assert seam < 1e-3
    assert (pictures == 83).all()
    mixed = anchors.copy()
    mixed[-1, ::2] += 10
    mixed[-1, 1::2] -= 10
    _, seam = joined(np.concatenate([mixed, fresh]), anchors)
    assert seam == pytest.approx(10, abs=1)


def test_a_cut_begins_anew_and_a_dropped_frame_does_not(frames: list[MemoryFrame]) -> None:
    scene = list(still(frames, 12))
    scene[5] = replace(scene[5], header=replace(scene[5].header, flags=FrameFlags.CUT))
    for k in range(9, 12):
        scene[k] = replace(scene[k], header=replace(scene[k].header, seq=k + 5))
    model = Copier()
    assert len(list(enhance_in_windows(model, Windows(4, 2), scene, {}, 0))) == 12
    assert model.lengths == [(4, 0), (3, 2), (4, 0), (5, 2)]


def test_a_resumed_state_goes_on_as_if_nothing_had_happened(frames: list[MemoryFrame]) -> None:
    scene, windows = list(still(frames, 16)), Windows(4, 2)
    state: dict[str, Any] = {}
    whole = list(enhance_in_windows(Copier(2.0), windows, scene, {}, 0))
    head = list(enhance_in_windows(Copier(2.0), windows, scene[:8], state, 0))
    tail = list(enhance_in_windows(Copier(2.0), windows, scene[8:], state, 0))
    assert np.array_equal(np.stack(whole), np.stack(head + tail))
    assert [at for at, _ in seams(state)] == [4, 8, 12]


def test_a_given_first_picture_begins_the_session_alone(frames: list[MemoryFrame]) -> None:
    scene, model = list(still(frames, 9)), Copier()
    scene[6] = replace(scene[6], header=replace(scene[6].header, flags=FrameFlags.CUT))
    photo = np.full((SIZE[1], SIZE[0], 3), 200, np.uint8)
    made = list(enhance_in_windows(model, Windows(4, 2), scene, {}, 0, first=photo))
    assert model.lengths == [(4, 1), (4, 2), (3, 0)]
    assert float(made[0].mean()) == pytest.approx(200, abs=5)


def test_the_last_window_alone_leads_to_a_given_last_picture(frames: list[MemoryFrame]) -> None:
    scene, photo = list(still(frames, 11)), np.full((SIZE[1], SIZE[0], 3), 200, np.uint8)
    scene[-1] = replace(scene[-1], is_last=True)
    model, state = Copier(), {}
    made = list(enhance_in_windows(model, Windows(4, 2), scene, state, 0, first=photo, last=photo))
    assert model.lengths == [(4, 1), (6, 2), (5, 2)]
    assert model.endings == [False, False, True]
    plain = list(enhance_in_windows(Copier(), Windows(4, 2), scene, {}, 0, first=photo))
    assert np.array_equal(np.stack(made[:8]), np.stack(plain[:8]))
    assert float(made[-1].mean()) == pytest.approx(200, abs=1)
    assert missed_end(state) == pytest.approx(float(np.abs(made[-1] - 200.0).mean()))


def test_colors_are_led_to_the_last_picture_evenly() -> None:
    pictures = np.full((4, 8, 8, 3), 100, np.uint8)
    moved, missed = landed(pictures, np.full((8, 8, 3), 140, np.uint8))
    assert moved.mean((1, 2, 3)).tolist() == [110, 120, 130, 140]
    assert missed == 0
    half = np.full((8, 8, 3), 140, np.uint8)
    half[::2] -= 80
    assert landed(pictures, half)[1] == pytest.approx(40)
