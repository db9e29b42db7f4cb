"""Whether the images of a frame lie on each other: late edges, sheared rows, what stands still.

Pure functions and one bounded counter on arrays; numpy alone.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
Mask = NDArray[np.bool_]
Luma = NDArray[np.uint8]
Index = NDArray[np.intp]

#: Pixels that a median or a correlation must rest on; below, a measurement abstains.
MIN_PIXELS = 300
#: Edges that a late buffer must be judged by.
MIN_EDGES = 40
#: Pairs of rows that are compared for a shear.
ROW_PAIRS = 48
#: An edge must move by this many pixels for "one frame late" to be visible despite antialiasing.
MIN_EDGE_MOTION_PX = 1.5


@dataclass(frozen=True, slots=True)
class EdgeOffsets:
    """Mean strength of a signal at the ids' edges and one frame's motion before and after them."""

    at: float  # where the edges are in this frame
    before: float  # where they were in the frame before: strongest if the signal is one frame late
    after: float  # where they will be: strongest if the ids are one frame late


@dataclass(frozen=True, slots=True)
class MovingEdges:
    """Steps between neighbours that move across themselves; all (n,).

    rows, cols: the upper or left pixel. down, across: the nearer side's motion in whole px.
    vertical: 1 for a step from a row to the next, 0 for one from a column to the next.
    """

    rows: Index
    cols: Index
    down: Index
    across: Index
    vertical: Index


def moving_edges(
    motion: NDArray[np.generic],
    depth: NDArray[np.generic],
    ids: NDArray[np.generic] | None,
    *,
    every: int,
) -> MovingEdges | None:
    """The edges of ids (of depth without ids) on every `every`-th row and column; None if too few.

    motion (H, W, 2) px, depth (H, W) m, ids (H, W).
    """
    parts = [_edges_along(vertical, motion, depth, ids, every=every) for vertical in (0, 1)]
    joined = [np.concatenate(pieces) for pieces in zip(*parts, strict=True)]
    return MovingEdges(*joined) if len(joined[0]) >= MIN_EDGES else None


def _edges_along(
    vertical: int,
    motion: NDArray[np.generic],
    depth: NDArray[np.generic],
    ids: NDArray[np.generic] | None,
    *,
    every: int,
) -> tuple[Index, ...]:
    """The fields of MovingEdges for steps between rows (vertical) or between columns."""
    take = (slice(None), slice(None, None, every)) if vertical else (slice(None, None, every),)
    first, second = (
        (slice(None, -1), slice(1, None))
        if vertical
        else (
            (slice(None), slice(None, -1)),
            (slice(None), slice(1, None)),
        )
    )
    motion, depth = motion[take], depth[take]
    if ids is None:
        a, b = disparity_of(depth[first]), disparity_of(depth[second])
        edge = np.abs(a - b) > 0.2 * np.maximum(a, b)
    else:
        edge = ids[take][first] != ids[take][second]
    r, c = np.nonzero(edge)
    nearer = depth[first][r, c].astype(np.float32) < depth[second][r, c].astype(np.float32)
    moved = np.where(nearer[:, None], motion[first][r, c], motion[second][r, c])
    moved = moved.astype(np.float32)
    keep = np.isfinite(moved).all(-1)
    keep &= np.abs(np.where(keep, moved[:, vertical], 0)) >= MIN_EDGE_MOTION_PX
    r, c, whole = r[keep], c[keep], np.rint(moved[keep]).astype(np.intp)
    rows, cols = (r, c * every) if vertical else (r * every, c)
    return rows, cols, whole[:, 1], whole[:, 0], np.full(len(r), vertical, np.intp)


def edge_offsets(
    image: NDArray[np.generic], edges: MovingEdges, *, is_depth: bool
) -> EdgeOffsets | None:
    """Strength of `image`'s (H, W) steps at the edges and one motion away; None if too few.

    Depth is compared by ratio (of disparities, so that the sky is an edge), all else by difference.
    """
    height, width = image.shape
    steps = []
    for sign in (0, 1, -1):
        y, x = edges.rows + sign * edges.down, edges.cols + sign * edges.across
        inside = (y >= 0) & (x >= 0) & (y < height - 1) & (x < width - 1)
        y, x = np.where(inside, y, 0), np.where(inside, x, 0)
        here, there = image[y, x], image[y + edges.vertical, x + 1 - edges.vertical]
        if is_depth:
            a, b = disparity_of(here), disparity_of(there)
            step = np.abs(a - b) / np.maximum(np.maximum(a, b), 1e-6)
        else:
            step = np.abs(here.astype(np.float32) - there.astype(np.float32))
        steps.append(np.where(inside, step, np.nan))
    table = np.stack(steps)
    table = table[:, np.isfinite(table).all(0)]
    if table.shape[1] < MIN_EDGES:
        return None
    at, before, after = (float(value) for value in table.mean(1))
    return EdgeOffsets(at, before, after)


class StaticEdges:
    """Grid pixels on contrast that should have moved with the scene but stood still, over frames.

    What stays on the glass while the world moves is a HUD. Counts are kept per grid pixel, so the
    memory is bounded.
    """

    #: Luma step across the direction of motion that a pixel must sit on: text, not grain.
    CONTRAST = 24
    #: Share of its contrast by which a pixel may change: panels let the world shine through.
    TRANSLUCENCE = 0.15
    #: Frames in which a pixel must have had the chance to change.
    MIN_FRAMES = 4

    def __init__(self) -> None:
        self._chances: NDArray[np.uint16] | None = None
        self._stuck: NDArray[np.uint16] | None = None

    def add(self, before: Luma, now: Luma, flow: F32, rows: Index, cols: Index) -> None:
        """Count one pair of 8-bit images (H, W); flow is given at the grid's rows and cols."""
        if np.array_equal(before, now):
            return
        height, width = now.shape
        rows, cols = rows[:, None], cols[None, :]
        right, left = np.minimum(cols + 1, width - 1), np.maximum(cols - 1, 0)
        down, up = np.minimum(rows + 1, height - 1), np.maximum(rows - 1, 0)
        places = {"r": (rows, right), "l": (rows, left), "d": (down, cols), "u": (up, cols)}
        image = {name: now[place].astype(np.int16) for name, place in places.items()}
        length = np.hypot(flow[..., 0], flow[..., 1])
        slope_x, slope_y = image["r"] - image["l"], image["d"] - image["u"]
        across = np.abs(slope_x * flow[..., 0] + slope_y * flow[..., 1])
        chance = (length >= MIN_EDGE_MOTION_PX) & (across >= self.CONTRAST * length)
        with np.errstate(invalid="ignore", divide="ignore"):
            allowed = np.maximum(2, self.TRANSLUCENCE * across / length)
        still = chance.copy()
        for name, place in places.items():
            still &= np.abs(image[name] - before[place]) <= allowed
        if self._chances is None or self._stuck is None or self._chances.shape != still.shape:
            self._chances = np.zeros(still.shape, np.uint16)
            self._stuck = np.zeros(still.shape, np.uint16)
        if self._chances.max(initial=0) > 60_000:  # keep the ratio, forget the age
            self._chances //= 2
            self._stuck //= 2
        self._chances += chance
        self._stuck += still

    @property
    def share(self) -> float | None:
        """Share of grid pixels that stood still in nine of ten chances; None before MIN_FRAMES."""
        if self._chances is None or self._stuck is None:
            return None
        judged = self._chances >= self.MIN_FRAMES
        if judged.sum() < MIN_EDGES:
            return None
        return float((judged & (self._stuck >= 0.9 * self._chances)).mean())


def row_shift_px(image: NDArray[np.generic], *, is_depth: bool = False) -> int:
    """By how many columns each row is displaced against the row above (0 in any upright image).

    image: (H, W), or (H, W, n) of which the first component counts. Phase correlation of horizontal
    steps, summed over pairs of rows; a shift counts only when it explains the rows half as well
    again as no shift does.
    """
    height, width = image.shape[:2]
    if height < 8 or width < 16:
        return 0
    pick = np.unique(np.linspace(0, height - 2, min(height - 1, ROW_PAIRS)).astype(np.intp))
    plane = image if image.ndim == 2 else image[..., 0]
    rows = np.stack([plane[pick], plane[pick + 1]])
    rows = disparity_of(rows) if is_depth else rows.astype(np.float32)
    upper, lower = np.diff(np.nan_to_num(rows, posinf=0, neginf=0), axis=2)
    size = 1 << (width - 1).bit_length()
    spectra = np.fft.rfft(upper, n=size, axis=1), np.fft.rfft(lower, n=size, axis=1)
    score = np.fft.irfft((np.conj(spectra[0]) * spectra[1]).sum(0), n=size)
    energy = float(np.sqrt((upper**2).sum() * (lower**2).sum()))
    peak = int(np.argmax(score))
    shift = peak if peak <= size // 2 else peak - size
    clear = score[peak] > 1.5 * max(float(score[0]), 0.0) and score[peak] > 0.3 * energy
    return shift if energy > 0 and clear else 0


def disparity_of(depth: NDArray[np.generic]) -> F32:
    """1 / depth with 0 for the sky and for the unknown."""
    metres = depth.astype(np.float32)
    with np.errstate(divide="ignore", invalid="ignore"):
        inverse = 1 / metres
    return np.where(np.isfinite(inverse) & (metres > 0), inverse, 0).astype(np.float32)


def finite_vectors(vectors: F32) -> Mask:
    """Where all components of (..., n) are finite, (...,)."""
    return np.asarray(np.isfinite(vectors).all(-1), np.bool_)
