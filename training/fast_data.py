"""Street samples for the fast tier: mapped from their files, cropped into batches.

One sample is `<seed>_<path>_<k>.npz`: T consecutive raster frames and the path-traced truth of the
last one. Seeds 0-799 and from 1000 on train, 800-899 validate; 900-999 are never read. This file
knows files and tensors, not the network's inside nor the loop.
"""

import logging
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from realmaster.fast import HIDDEN_CHANNELS, HIDDEN_STRIDE, STRIDE
from training.fast_model import FastInputs, warp

log = logging.getLogger(__name__)

Split = Literal["train", "validate"]
SPLIT_SEEDS: dict[Split, tuple[range, ...]] = {
    "train": (range(800), range(1000, 10_000)),
    "validate": (range(800, 900),),
}
_NAME = re.compile(r"(\d{4})_[a-z]+_\d+\.npz")
_FAR_M = 1e4  # stands for the sky where depths are compared


class _Place(NamedTuple):
    """Where an array lies in its file."""

    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """T frames and the truth of the last, which stay in their file until a batch takes some.

    Arrays, with shapes and dtypes of BUFFERS: color, albedo (T, H, W, 3), depth, roughness
    (T, H, W), normal (T, H, W, 3), motion (T, H, W, 2); truth (H, W, 3) u8. K: (3, 3).
    world_from_camera: (T, 4, 4).
    """

    path: Path
    places: Mapping[str, _Place]
    K: NDArray[np.float64]
    world_from_camera: NDArray[np.float64]

    @property
    def num_frames(self) -> int:
        """T."""
        return len(self.world_from_camera)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        height, width = self.places["truth"].shape[:2]
        return height, width

    def array(self, name: str) -> NDArray[np.generic]:
        """One array, read where it is looked at; no file stays open behind it."""
        offset, shape, dtype = self.places[name]
        return np.memmap(self.path, dtype, "r", offset, shape)


@dataclass(frozen=True, slots=True)
class Window:
    """What a batch takes from one sample; the crop's corner is even."""

    sample: int
    top: int
    left: int
    flip: bool
    material: bool


@dataclass(frozen=True, slots=True, eq=False)
class BatchFrame:
    """One instant of a batch: the network's inputs without history, and what history needs.

    motion: (N, 2, H, W) pixels, NaN unknown. depth_before: (N, 1, H, W) metres that a standing
    surface had from the camera of the frame before.
    """

    inputs: FastInputs
    motion: Tensor
    depth_before: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Consecutive instants, the last one with its truth (N, 3, H, W) in [0, 1] sRGB."""

    frames: tuple[BatchFrame, ...]
    truth: Tensor


@dataclass(slots=True)
class SampleStore:
    """All samples of one split that are in `folder`, in order of arrival."""

    folder: Path
    split: Split
    limit: int | None = None
    samples: list[Sample] = field(default_factory=list)

    @property
    def names(self) -> list[str]:
        """File names in the order of `samples`."""
        return [sample.path.name for sample in self.samples]

    def rescan(self, first: Sequence[str] = ()) -> int:
        """Loads new files, those named in `first` in that order first; returns how many."""
        known = set(self.names)
        fresh = [name for name in first if name not in known]
        known.update(fresh)
        fresh += sorted(p.name for p in self.folder.glob("*.npz") if p.name not in known)
        before = len(self.samples)
        for name in fresh:
            if self.limit is not None and len(self.samples) >= self.limit:
                break
            found = _NAME.fullmatch(name)
            if found is None or not any(int(found[1]) in r for r in SPLIT_SEEDS[self.split]):
                continue
            try:
                self.samples.append(read_sample(self.folder / name))
            except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
                log.warning("%s is not a whole sample (yet): %s", name, error)
        return len(self.samples) - before


def read_sample(path: Path) -> Sample:
    """The sample of one file. OSError, ValueError, KeyError or BadZipFile where it is none."""
    places = _places(path)
    with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
        sample = Sample(path, places, file["K"], file["world_from_camera"])
    height, width = sample.size
    if places["truth"].shape != (height, width, 3) or height % STRIDE or width % STRIDE:
        raise ValueError(f"a truth of {places['truth'].shape}")
    for name in ("color", "depth", "normal", "motion", "albedo", "roughness"):
        if places[name].shape[:3] != (sample.num_frames, height, width):
            raise ValueError(f"{name} of {places[name].shape} beside {width}x{height}")
    return sample


def _places(path: Path) -> dict[str, _Place]:
    """Where the arrays of an .npz lie in it; ValueError where they are compressed or objects."""
    places = {}
    with path.open("rb") as stream, zipfile.ZipFile(stream) as archive:
        for info in archive.infolist():
            if info.compress_type != zipfile.ZIP_STORED:
                raise ValueError(f"{info.filename} is compressed")
            stream.seek(info.header_offset + 26)
            lengths = [int.from_bytes(stream.read(2), "little") for _ in range(2)]
            stream.seek(sum(lengths), 1)  # over its name and what follows it
            np.lib.format.read_magic(stream)
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
            if fortran or dtype.hasobject:
                raise ValueError(f"{info.filename} is no plain array")
            places[info.filename.removesuffix(".npy")] = _Place(stream.tell(), shape, dtype)
    return places


def draw_windows(
    samples: Sequence[Sample], count: int, crop: tuple[int, int], rng: np.random.Generator
) -> list[Window]:
    """`count` random windows of (height, width) `crop`: even corner, half flipped, half masked."""
    windows = []
    for index in rng.integers(len(samples), size=count):
        height, width = samples[index].size
        windows.append(
            Window(
                sample=int(index),
                top=2 * int(rng.integers((height - crop[0]) // 2 + 1)),
                left=2 * int(rng.integers((width - crop[1]) // 2 + 1)),
                flip=bool(rng.integers(2)),
                material=bool(rng.integers(2)),
            )
        )
    return windows


def cut_batch(
    samples: Sequence[Sample], windows: Sequence[Window], crop: tuple[int, int], num_frames: int
) -> Batch:
    """The windows' last `num_frames` frames as float tensors in channels-last memory."""
    frames = tuple(_cut_frame(samples, windows, crop, back) for back in range(num_frames, 0, -1))
    truth = np.stack([_view(samples[w.sample].array("truth"), w, crop) for w in windows])
    return Batch(frames, _pixels(truth) / 255)


def history_valid(frame: BatchFrame, depth_prev: Tensor) -> Tensor:
    """(N, 1, H, W): 1 where the pixel was seen in the frame before, by motion and by depth."""
    height, width = depth_prev.shape[2:]
    known = torch.isfinite(frame.motion).all(1, keepdim=True)
    motion = torch.nan_to_num(frame.motion)
    x = torch.arange(width) + motion[:, 0:1]
    y = torch.arange(height)[:, None] + motion[:, 1:2]
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    seen = warp(depth_prev.clamp(max=_FAR_M), motion, mode="nearest")
    near = (seen - frame.depth_before).abs() <= 0.1 + 0.05 * frame.depth_before
    return (known & inside & near).float()


def _cut_frame(
    samples: Sequence[Sample], windows: Sequence[Window], crop: tuple[int, int], back: int
) -> BatchFrame:
    """The frame `back` before the end (1 is the last) of every window."""

    def stack(name: str) -> Tensor:
        views = [_view(samples[w.sample].array(name)[-back], w, crop) for w in windows]
        return _pixels(np.stack(views))

    sign = torch.tensor([-1.0 if w.flip else 1.0 for w in windows]).reshape(-1, 1, 1, 1)
    normal, motion = stack("normal"), stack("motion")
    depth = stack("depth")
    rays = [_rays(samples[w.sample], w, crop) for w in windows]
    ray_x = torch.stack([x for x, _ in rays])[:, None, None, :]
    ray_y = torch.stack([y for _, y in rays])[:, None, :, None]
    poses = [samples[w.sample].world_from_camera for w in windows]
    up = torch.from_numpy(np.stack([pose[-back][2, :3] for pose in poses])).float()
    up = up[:, :, None, None]
    steps = np.stack([_step(pose, back) for pose in poses])
    m0, m1, m2, m3 = torch.from_numpy(steps).float().T[:, :, None, None, None]
    depth_before = depth.clamp(max=_FAR_M) * (m0 * sign * ray_x + m1 * ray_y + m2) + m3
    count, (height, width) = len(windows), crop
    inputs = FastInputs(
        color=stack("color") / 255,
        depth=depth,
        normal=torch.cat([normal[:, :1] * sign, normal[:, 1:]], 1),
        ray_x=ray_x,
        ray_y=ray_y,
        up=torch.cat([up[:, :1] * sign, up[:, 1:]], 1),
        prev=torch.zeros(count, 3, height, width),
        hidden=torch.zeros(count, HIDDEN_CHANNELS, height // HIDDEN_STRIDE, width // HIDDEN_STRIDE),
        valid=torch.zeros(count, 1, height, width),
        albedo=stack("albedo") / 255,
        roughness=stack("roughness") / 255,
        has_material=torch.tensor([float(w.material) for w in windows])[:, None, None, None],
    )
    motion = torch.cat([motion[:, :1] * sign, motion[:, 1:]], 1)
    return BatchFrame(inputs, motion, depth_before.clamp(max=_FAR_M))


def _step(world_from_camera: NDArray[np.float64], back: int) -> NDArray[np.float64]:
    """Third row of previous_from_camera, (4,): gives a point's depth one frame earlier."""
    index = len(world_from_camera) - back
    before = world_from_camera[max(index - 1, 0)]
    return np.asarray((np.linalg.inv(before) @ world_from_camera[index])[2])


def _rays(sample: Sample, window: Window, crop: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """x (W,) and y (H,) of the rays (x, y, 1) through the window's pixels, after the flip."""
    K = sample.K
    x = (window.left + np.arange(crop[1]) + 0.5 - K[0, 2]) / K[0, 0]
    y = (window.top + np.arange(crop[0]) + 0.5 - K[1, 2]) / K[1, 1]
    x = -x[::-1] if window.flip else x
    return torch.from_numpy(x.astype(np.float32)), torch.from_numpy(y.astype(np.float32))


def _view(image: NDArray[np.generic], window: Window, crop: tuple[int, int]) -> NDArray[np.generic]:
    view = image[window.top : window.top + crop[0], window.left : window.left + crop[1]]
    return view[:, ::-1] if window.flip else view


def _pixels(stack: NDArray[np.generic]) -> Tensor:
    """(N, H, W[, C]) -> (N, C, H, W) float32 in channels-last memory."""
    values = torch.from_numpy(stack.astype(np.float32))
    return values[:, None] if values.ndim == 3 else values.permute(0, 3, 1, 2)
