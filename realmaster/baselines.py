"""Two recolourings that need no network: what any model must beat to have earned its cost.

`mean_std_lab` shifts and scales L, a, b (Reinhard et al. 2001, "Color Transfer between Images", in
CIELAB, with the statistics of the training pairs instead of one target image); `lut3d` is a global
3-D look-up table fitted to the pairs. Both are fitted on train seeds by `python -m
training.baselines` and lie in models/baselines.npz. Pictures are sRGB (H, W, 3) u8. Knows color and
its own file.
"""

import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from capture_bridge.errors import RealMasterError
from realmaster.color import lab_to_linear, lab_to_srgb_u8, linear_to_srgb, srgb_u8_to_lab

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

BUNDLED_PATH = Path(__file__).parent / "models" / "baselines.npz"
LUT_SIDE = 25
#: Weight of smoothness against data: neighbouring nodes' corrections are held together as strongly
#: as this many pixels per million pull at them. Our choice, by G on held-out train seeds.
SMOOTHNESS = 1.0
_CONJUGATE_GRADIENT_STEPS = 300
_BINS_PER_AXIS = 64
#: Pixels kept of each training pair, evenly spaced in it.
PIXELS_PER_PAIR = 4096


@dataclass(frozen=True, slots=True, eq=False)
class Baselines:
    """Both baselines, fitted.

    source_mean, source_std, target_mean, target_std: (3,) Lab statistics of renders and truths.
    lut: (N, N, N, 3) float32 sRGB codes 0-255, indexed by R, G, B. num_pairs: how many it saw.
    """

    source_mean: F64
    source_std: F64
    target_mean: F64
    target_std: F64
    lut: F32
    num_pairs: int

    def apply_mean_std(self, rgb: U8) -> U8:
        """The picture with the training truths' mean and standard deviation in L, a and b."""
        scale = self.target_std / self.source_std
        lab = (srgb_u8_to_lab(rgb) - self.source_mean) * scale + self.target_mean
        return lab_to_srgb_u8(lab)

    def apply_lut(self, rgb: U8) -> U8:
        """The picture through the table, trilinear between its nodes."""
        return apply_lut(self.lut, rgb)

    @property
    def by_name(self) -> Mapping[str, Callable[[U8], U8]]:
        """The baselines by their names in metrics.json."""
        return {"mean_std_lab": self.apply_mean_std, "lut3d": self.apply_lut}

    def save(self, path: Path) -> None:
        """Write the .npz that load_baselines reads; the table in steps of 1/128 code."""
        np.savez_compressed(
            path,
            source_mean=self.source_mean,
            source_std=self.source_std,
            target_mean=self.target_mean,
            target_std=self.target_std,
            lut=np.rint(self.lut * 128).astype(np.uint16),
            num_pairs=np.int64(self.num_pairs),
        )


def load_baselines(path: Path = BUNDLED_PATH) -> Baselines:
    """The fitted baselines of a file, by default the bundled one; RealMasterError if it is none."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            statistics = {name: arrays[name] for name in _STATISTICS}
            lut = arrays["lut"].astype(np.float32) / 128
            num_pairs = int(arrays["num_pairs"])
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise RealMasterError(
            f"{path}: not a baselines file ({error}); fit one with `python -m training.baselines`"
        ) from error
    if lut.ndim != 4 or lut.shape[:3] != (lut.shape[0],) * 3 or lut.shape[3] != 3:
        raise RealMasterError(f"{path}: its table has shape {lut.shape}, not (N, N, N, 3)")
    return Baselines(**statistics, lut=lut, num_pairs=num_pairs)


_STATISTICS = ("source_mean", "source_std", "target_mean", "target_std")


def apply_lut(lut: F32, rgb: U8) -> U8:
    """An sRGB picture through a (N, N, N, 3) table of sRGB codes, trilinear, rounded and clipped.

    The table lies as N tiles (one per node of R) over one image: two bilinear look-ups along G and
    B and one blend along R are the trilinear one, at the speed of cv2.remap.
    """
    side = lut.shape[0]
    tiles = np.ascontiguousarray(lut).reshape(side * side, side, 3)
    position = rgb.astype(np.float32) * np.float32((side - 1) / 255)
    low = np.minimum(position[..., 0].astype(np.int32), side - 2)
    fraction = (position[..., 0] - low)[..., None]
    map_x = np.ascontiguousarray(position[..., 2])
    map_y = position[..., 1] + low.astype(np.float32) * side
    below = cv2.remap(tiles, map_x, map_y, cv2.INTER_LINEAR)
    above = cv2.remap(tiles, map_x, map_y + np.float32(side), cv2.INTER_LINEAR)
    blended = below + fraction * (above - below)
    return np.asarray(np.clip(np.rint(blended), 0, 255), np.uint8)


class BaselineFit:
    """Collects training pairs, 9 bytes for each of PIXELS_PER_PAIR; `solve` gives Baselines."""

    def __init__(self) -> None:
        self._sources: list[U8] = []
        self._targets: list[NDArray[np.float16]] = []
        self._lab_sums = np.zeros((2, 2, 3))  # render, truth; sum, sum of squares
        self._num_pixels = 0

    def add(self, render: U8, truth: U8) -> None:
        """One pair: pictures (H, W, 3) of one size."""
        if render.shape != truth.shape:
            raise ValueError(f"a pair of different sizes: {render.shape} and {truth.shape}")
        lab_render, lab_truth = (srgb_u8_to_lab(p).reshape(-1, 3) for p in (render, truth))
        for row, lab in enumerate((lab_render.astype(np.float64), lab_truth.astype(np.float64))):
            self._lab_sums[row] += lab.sum(axis=0), (lab * lab).sum(axis=0)
        self._num_pixels += len(lab_render)
        chosen = np.linspace(0, len(lab_render) - 1, min(PIXELS_PER_PAIR, len(lab_render)))
        rows = chosen.astype(np.intp)
        self._sources.append(render.reshape(-1, 3)[rows])
        self._targets.append(lab_truth[rows].astype(np.float16))

    def solve(self, *, side: int = LUT_SIDE, smoothness: float = SMOOTHNESS) -> Baselines:
        """The baselines that fit the pairs best; ValueError without pairs.

        The table minimises what G measures, the absolute error in L, a and b: of all truths seen at
        a colour (in bins of 4 codes a side) it is fitted to the median, not to the mean.
        """
        if not self._sources:
            raise ValueError("no pairs to fit baselines to")
        means = self._lab_sums[:, 0] / self._num_pixels
        variances = self._lab_sums[:, 1] / self._num_pixels - means**2
        deviations = np.sqrt(np.maximum(variances, 1e-12))
        source, target, count = _medians(
            np.concatenate(self._sources), np.concatenate(self._targets)
        )
        return Baselines(
            source_mean=means[0],
            source_std=deviations[0],
            target_mean=means[1],
            target_std=deviations[1],
            lut=_solve_lut(source, target, count * (1e6 / count.sum()), side, smoothness),
            num_pairs=len(self._sources),
        )


def _medians(sources: U8, targets: NDArray[np.float16]) -> tuple[F64, F64, F64]:
    """Per bin of source colour: mean source, median Lab target as sRGB codes, number of pixels."""
    bins = sources.astype(np.int32) // (256 // _BINS_PER_AXIS)
    index = (bins[:, 0] * _BINS_PER_AXIS + bins[:, 1]) * _BINS_PER_AXIS + bins[:, 2]
    order = np.argsort(index, kind="stable")
    starts = np.flatnonzero(np.diff(index[order], prepend=-1))
    count = np.diff(starts, append=len(order))
    group = np.repeat(np.arange(len(starts)), count)
    median = np.empty((len(starts), 3), np.float32)
    for channel in range(3):
        values = targets[order, channel].astype(np.float32)
        ranked = values[np.lexsort((values, group))]
        median[:, channel] = (ranked[starts + (count - 1) // 2] + ranked[starts + count // 2]) / 2
    mean = np.add.reduceat(sources[order].astype(np.float64), starts, axis=0) / count[:, None]
    codes = linear_to_srgb(lab_to_linear(median[None]))[0].astype(np.float64) * 255
    return mean, codes, count.astype(np.float64)


def _solve_lut(source: F64, target: F64, weight: F64, side: int, smoothness: float) -> F32:
    """Affine map plus a smooth correction per node, both by weighted least squares."""
    root = np.sqrt(weight)[:, None]
    design = np.column_stack([source, np.ones(len(source))])
    affine = np.linalg.lstsq(design * root, target * root, rcond=None)[0]
    nodes, share = _trilinear(source, side)
    correction = _smooth_fit(nodes, share, weight, target - design @ affine, side, smoothness)
    grid = np.stack(np.meshgrid(*[np.linspace(0, 255, side)] * 3, indexing="ij"), axis=-1)
    lut = grid @ affine[:3] + affine[3] + correction.reshape(side, side, side, 3)
    return np.asarray(np.clip(lut, 0, 255), np.float32)


def fit(samples: Iterable[tuple[U8, U8]]) -> Baselines:
    """Baselines fitted to (render, truth) pairs of sRGB pictures."""
    sums = BaselineFit()
    for render, truth in samples:
        sums.add(render, truth)
    return sums.solve()


def _trilinear(colors: F64, side: int) -> tuple[NDArray[np.intp], F64]:
    """The 8 nodes around each colour (P, 8) and their shares (P, 8), which sum to 1."""
    position = colors * ((side - 1) / 255)
    low = np.minimum(position.astype(np.intp), side - 2)
    fraction = position - low
    corners = np.array([[r, g, b] for r in (0, 1) for g in (0, 1) for b in (0, 1)])
    node = low[:, None, :] + corners
    share = np.where(corners, fraction[:, None, :], 1 - fraction[:, None, :]).prod(axis=-1)
    return (node[..., 0] * side + node[..., 1]) * side + node[..., 2], share


def _smooth_fit(
    nodes: NDArray[np.intp], share: F64, weight: F64, residual: F64, side: int, smoothness: float
) -> F64:
    """Node values (N³, 3) that minimise Σ w (share·x - residual)² + smoothness Σ (x_i - x_j)².

    The second sum is over neighbouring nodes. Conjugate gradients on the normal equations.
    """

    def spread(values: F64) -> F64:
        columns = [
            np.bincount(nodes.ravel(), (share * values[:, c, None]).ravel(), minlength=side**3)
            for c in range(3)
        ]
        return np.stack(columns, axis=-1)

    def normal(x: F64) -> F64:
        fitted = np.einsum("pk,pkc->pc", share, x[nodes])
        return spread(fitted * weight[:, None]) + smoothness * _laplacian(x, side)

    x = np.zeros((side**3, 3))
    rest = spread(residual * weight[:, None])
    direction, norm = rest.copy(), np.einsum("nc,nc->c", rest, rest)
    start = norm.copy()
    for _ in range(_CONJUGATE_GRADIENT_STEPS):
        image = normal(direction)
        step = norm / np.maximum(np.einsum("nc,nc->c", direction, image), 1e-300)
        x += step * direction
        rest -= step * image
        renewed = np.einsum("nc,nc->c", rest, rest)
        if (renewed <= 1e-16 * start).all():
            break
        direction = rest + renewed / np.maximum(norm, 1e-300) * direction
        norm = renewed
    return x


def _laplacian(x: F64, side: int) -> F64:
    """Per node of the cube, the sum of its differences to its neighbours."""
    cube = x.reshape(side, side, side, 3)
    out = np.zeros_like(cube)
    for axis in range(3):
        step = np.diff(cube, axis=axis)
        first: list[slice] = [slice(None)] * 4
        second = first.copy()
        first[axis], second[axis] = slice(None, -1), slice(1, None)
        out[tuple(first)] -= step
        out[tuple(second)] += step
    return out.reshape(x.shape)
