"""A clip model of limited length on a session of any length: overlapping windows, no drift.

Each window begins with the last pictures of the one before as clean anchors; the model makes them
again, and by how much they come out differently is both the seam's score and the correction that
keeps colors from drifting: every window is moved so that the shared pictures agree in the mean.
A photoreal last picture is led to in the same way. Frames come and go one window at a time. This
file knows pictures; it knows no model.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from capture_bridge.continuity import clock_of, continues

if TYPE_CHECKING:
    from capture_bridge.session import SessionFrame
    from realmaster.enhancer import State

U8 = NDArray[np.uint8]


class ClipModel(Protocol):
    """What works on a whole clip at once."""

    def generate(self, render: U8, anchors: U8 | None, seed: int, last: U8 | None = None) -> U8:
        """Pictures (T, H, W, 3) of the clip `render` (T, H, W, 3), for any T from 1.

        anchors: (V, H, W, 3) pictures that the clip begins with, V < T. last: (H, W, 3), what its
        last picture is to look like. Equal inputs give equal pictures.
        """


@dataclass(frozen=True, slots=True)
class Windows:
    """fresh: new frames of a window; overlap: pictures that it shares with the one before."""

    fresh: int
    overlap: int

    def __post_init__(self) -> None:
        assert 1 <= self.overlap <= self.fresh, "a window shares at most what it makes"


def enhance_in_windows(
    model: ClipModel,
    windows: Windows,
    frames: "Iterable[SessionFrame]",
    state: "State",
    seed: int,
    *,
    first: U8 | None = None,
    last: U8 | None = None,
) -> Iterator[U8]:
    """One picture (H, W, 3) per frame. `state` carries the overlap, the clock and the seams.

    first, last: (H, W, 3), what the session's first and last picture are to look like. The state is
    that of the last whole window, which is given out before the next one begins.
    """
    for run in _runs(frames, windows.fresh, state):
        render = np.stack([frame.array("color")[..., :3] for frame in run])
        tail = _tail(state, run[0], render.shape[1:])
        window_seed = seed + run[0].index
        ending = last if last is not None and run[-1].is_last else None
        if tail is None:
            shown = first if first is not None and run[0].index == 0 and len(run) > 1 else None
            anchors = None if shown is None else shown[None]
            pictures = model.generate(render, anchors, window_seed, ending)
        else:
            tail_render, anchors = tail
            clip = np.concatenate([tail_render, render])
            made = model.generate(clip, anchors, window_seed, ending)
            pictures, seam = joined(made, anchors)
            _note_seam(state, run[0].index, seam)
        if ending is not None:
            pictures, missed = landed(pictures, ending)
            state["missed"] = np.array(missed)
        _remember(state, windows.overlap, run[-1], render, pictures, tail)
        yield from pictures


def joined(made: U8, anchors: U8) -> tuple[U8, float]:
    """The fresh pictures of a window, its colors moved to the anchors'; and the seam's score.

    made: (V + T, H, W, 3), anchors: (V, H, W, 3). The score is the mean absolute difference, in
    sRGB levels of 0 to 255, that is left between the two versions of the last shared picture.
    """
    overlap = len(anchors)
    again = made[:overlap].astype(np.float32)
    offset = (anchors.astype(np.float32) - again).mean((0, 1, 2))
    seam = float(np.abs(anchors[-1] - (again[-1] + offset)).mean())
    moved = made[overlap:].astype(np.float32) + offset
    return np.clip(np.rint(moved), 0, 255).astype(np.uint8), seam


def landed(pictures: U8, last: U8) -> tuple[U8, float]:
    """The pictures (T, H, W, 3), their colors led evenly to those of `last` (H, W, 3).

    And by how much, in sRGB levels, the last picture differs from it in the mean then.
    """
    offset = (last.astype(np.float32) - pictures[-1]).mean((0, 1))
    share = np.linspace(0, 1, len(pictures) + 1, dtype=np.float32)[1:, None, None, None]
    moved = np.clip(np.rint(pictures + share * offset), 0, 255).astype(np.uint8)
    return moved, float(np.abs(last.astype(np.float32) - moved[-1]).mean())


def seams(state: "State") -> list[tuple[int, float]]:
    """(index of the window's first fresh frame, score) of every join so far."""
    return [(int(at), float(score)) for at, score in state.get("seams", np.zeros((0, 2)))]


def missed_end(state: "State") -> float | None:
    """How far the session's last picture is from what it was to look like; see `landed`."""
    return float(state["missed"]) if "missed" in state else None


def _runs(
    frames: "Iterable[SessionFrame]", length: int, state: "State"
) -> "Iterator[list[SessionFrame]]":
    """The frames in runs of at most `length` that belong together."""
    run: list[SessionFrame] = []
    for frame in frames:
        if run and (len(run) == length or not continues(frame, clock_of(run[-1]))):
            yield run
            run = []
        run.append(frame)
    if run:
        yield run


def _tail(state: "State", first: "SessionFrame", shape: tuple[int, ...]) -> tuple[U8, U8] | None:
    """Render and pictures (V, H, W, 3) that the next window begins with; None after a cut."""
    if "clock" not in state or state["tail"].shape[1:] != shape:
        return None
    if not continues(first, state["clock"]):
        return None
    return state["tail_render"].astype(np.uint8), state["tail"].astype(np.uint8)


def _remember(
    state: "State",
    overlap: int,
    last: "SessionFrame",
    render: U8,
    pictures: U8,
    tail: tuple[U8, U8] | None,
) -> None:
    """Keep the last `overlap` pictures; a short run after a join borrows from the one before."""
    if tail is not None:
        render = np.concatenate([tail[0], render])
        pictures = np.concatenate([tail[1], pictures])
    state["tail_render"] = render[-overlap:]
    state["tail"] = pictures[-overlap:]
    state["clock"] = clock_of(last)


def _note_seam(state: "State", index: int, score: float) -> None:
    before = state.get("seams", np.zeros((0, 2)))
    state["seams"] = np.concatenate([before, [[index, score]]])
