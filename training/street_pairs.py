"""Renders the fast tier's training data: tiles of the street game beside their path-traced truth.

    python -m training.street_pairs --seeds 0:800,800:820 --out data/street

One `.npz` per sample, `{seed:04d}_{path}_{k}.npz`: FRAMES consecutive frames of the game at 24 per
second (arrays `color`, `depth`, `normal`, `motion`, `albedo`, `roughness`, `semantic`, shapes and
dtypes of BUFFERS with a leading axis of frames, color without alpha), `K` (3, 3) of the tile,
`world_from_camera` (FRAMES, 4, 4), `truth` (H, W, 3) u8 sRGB of the last frame, and the scalars
`seed`, `t_s`, `virtual_width`. A tile is cut out of a virtual frame of random width, so that a
model meets many scales. A sample depends on (seed, path, k) alone. Existing files are kept, so an
interrupted run goes on; files appear whole or not at all.
"""

import itertools
import logging
import os
import re
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Literal

import numpy as np
import tyro
from numpy.typing import NDArray

from capture_bridge.errors import OutputError, RealMasterError
from engine_plugins.panda3d.gbuffer import View as RasterView
from engine_plugins.street.model import F64, CameraPose, intrinsics
from engine_plugins.street.raster import StreetRenderer
from engine_plugins.street.scene import Street, build_street
from engine_plugins.street.truth import TruthRenderer, View

TEST_SEEDS = range(900, 1000)
FRAMES = 3
FRAME_RATE_HZ = 24.0
LAST_S = 8.0  # moments are drawn from the first seconds of a path, where its traffic is
#: The virtual frame's width over the tile's. Light comes from all of the view: a tile holds most of
#: it, or all.
ZOOMS = (1.0, 1.25, 1.25, 1.875)
_BUFFERS = ("color", "depth", "normal", "motion", "albedo", "roughness", "semantic")

_STREETS_PER_PROCESS = 16

_log = logging.getLogger(__name__)

PathName = Literal["drive", "walk"]


@dataclass(frozen=True, slots=True)
class Options:
    """Which samples to render, where, and how well.

    seeds: ranges first:end, comma between them. size: of a tile, WIDTHxHEIGHT pixels. spp: paths
    per pixel of the truth; 16 lie 0.75 in Lab from four truths of 64 and take 2.5 s, 4 lie 1.1 and
    take 0.9 s, most of it the denoiser's blur, which a model would learn. num: samples per seed and
    path. workers: processes.
    shard: i/n renders every n-th street from the i-th on.
    """

    seeds: str = "0:800"
    out: Path = Path("data/street")
    size: str = "512x288"
    spp: int = 16
    num: int = 2
    workers: int = 1
    shard: str = "0/1"


@dataclass(frozen=True, slots=True)
class Sample:
    """Which sample: the street's seed, the camera's path, and a running number."""

    seed: int
    path: PathName
    k: int

    @property
    def file_name(self) -> str:
        """The sample's name on disk."""
        return f"{self.seed:04d}_{self.path}_{self.k}.npz"


@dataclass(frozen=True, slots=True)
class StreetTask:
    """The missing samples of one street and path, for a worker. size: of a tile, pixels."""

    samples: tuple[Sample, ...]
    size: tuple[int, int]
    spp: int
    out: Path


@dataclass(frozen=True, slots=True)
class Tile:
    """A random choice of moment and cut. crop: (x, y, width, height) of the virtual frame."""

    t_s: float
    virtual_size: tuple[int, int]
    crop: tuple[int, int, int, int]


def plan(seeds: list[int], num: int, shard: tuple[int, int] = (0, 1)) -> list[Sample]:
    """Return a shard's samples in an order whose every beginning is diverse; the same everywhere.

    Samples of one street and path follow each other, so that it is built once.

    Raises RealMasterError for test seeds, which no training may see.
    """
    forbidden = sorted(set(seeds) & set(TEST_SEEDS))
    if forbidden:
        raise RealMasterError(
            f"--seeds holds {forbidden[0]}: seeds {TEST_SEEDS[0]}-{TEST_SEEDS[-1]} are for tests "
            "alone; train on 0-799 and from 1000 on, validate on 800-899"
        )
    index, count = shard
    order = [seeds[i] for i in np.random.default_rng(0).permutation(len(seeds))][index::count]
    paths: tuple[PathName, PathName] = ("drive", "walk")
    return [
        Sample(seed, paths[(seed + turn) % 2], k)
        for turn in range(2)
        for seed in order
        for k in range(num)
    ]


def choose_tile(sample: Sample, size: tuple[int, int]) -> Tile:
    """Return the moment and the cut of a sample; size: of the tile, (width, height) pixels."""
    rng = np.random.default_rng([sample.seed, int(sample.path == "walk"), sample.k])
    width = int(rng.choice(ZOOMS) * size[0])
    height = width * size[1] // size[0]
    x = int(rng.integers(0, width - size[0] + 1))
    y = int(rng.integers(0, height - size[1] + 1))
    t_s = float(rng.uniform(FRAMES / FRAME_RATE_HZ, LAST_S))
    return Tile(t_s, (width, height), (x, y, *size))


class TileRenderer(StreetRenderer):
    """The game's renderer, aimed at one tile after another: a street is loaded once for many."""

    tile: Tile

    def view(self, t_s: float) -> RasterView:
        """Return the camera of the present tile."""
        pose = self.street.camera(t_s)
        return RasterView(tile_intrinsics(pose, self.tile), pose.world_from_camera)


def tile_intrinsics(pose: CameraPose, tile: Tile) -> F64:
    """Return the (3, 3) pinhole matrix of a tile, in the tile's pixels."""
    K = intrinsics(pose.fov_x_deg, *tile.virtual_size)
    K[0, 2] -= tile.crop[0]
    K[1, 2] -= tile.crop[1]
    return K


def render_samples(
    street: Street, tiles: list[Tile], *, spp: int
) -> Iterator[dict[str, NDArray[np.generic]]]:
    """Yield the arrays of each tile of one street, as the head of this file lists them."""
    width, height = tiles[0].crop[2:]
    truth = TruthRenderer(street, width, height, spp=spp, t_s=tiles[0].t_s)
    with closing(TileRenderer(street, width, height)) as raster:
        for tile in tiles:
            raster.tile = tile
            times = [tile.t_s - (FRAMES - 1 - i) / FRAME_RATE_HZ for i in range(FRAMES)]
            frames = [raster.render(t_s, prev_t=t_s - 1 / FRAME_RATE_HZ) for t_s in times]
            arrays = {name: np.stack([frame[name] for frame in frames]) for name in _BUFFERS}
            arrays["color"] = arrays["color"][..., :3]
            poses = [street.camera(t_s) for t_s in times]
            view = View(tile_intrinsics(poses[-1], tile), poses[-1].world_from_camera)
            arrays["K"] = view.K
            arrays["world_from_camera"] = np.stack([pose.world_from_camera for pose in poses])
            arrays["truth"] = truth.color(tile.t_s, view=view)
            arrays["seed"] = np.array(street.seed)
            arrays["t_s"] = np.array(tile.t_s)
            arrays["virtual_width"] = np.array(tile.virtual_size[0])
            yield arrays


def write_sample(path: Path, arrays: dict[str, NDArray[np.generic]]) -> None:
    """Write one sample so that it is there whole or not at all. Raises OutputError."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with unfinished.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
        unfinished.replace(path)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise OutputError(
            f"cannot write {path}: {error.strerror}; free space or choose --out"
        ) from error


def parse_seeds(text: str) -> list[int]:
    """Return the seeds of "0:800,805"; raises RealMasterError where it is not such a list."""
    seeds: list[int] = []
    for item in text.split(","):
        match = re.fullmatch(r"(\d{1,6})(?::(\d{1,6}))?", item.strip())
        if match is None:
            raise RealMasterError(f"--seeds {text!r}: {item!r} is no seed and no range first:end")
        first = int(match[1])
        seeds += range(first, int(match[2]) if match[2] else first + 1)
    return seeds


def parse_pair(name: str, text: str, separator: str) -> tuple[int, int]:
    """Return the two numbers of "256x144" or "0/2"; raises RealMasterError otherwise."""
    match = re.fullmatch(rf"(\d{{1,5}}){separator}(\d{{1,5}})", text)
    if match is None:
        raise RealMasterError(f"--{name} {text!r}: write it as NUMBER{separator}NUMBER")
    return int(match[1]), int(match[2])


def render_street(task: StreetTask) -> int:
    """Render and write the samples of one street; return how many. Runs in a worker process."""
    tiles = [choose_tile(sample, task.size) for sample in task.samples]
    first = task.samples[0]
    rendered = render_samples(build_street(first.seed, first.path), tiles, spp=task.spp)
    for sample, arrays in zip(task.samples, rendered, strict=True):
        write_sample(task.out / sample.file_name, arrays)
    return len(tiles)


def run(options: Options) -> int:
    """Render every sample that is missing; return how many were rendered."""
    size = parse_pair("size", options.size, "x")
    index, count = parse_pair("shard", options.shard, "/")
    if not index < count:
        raise RealMasterError(f"--shard {options.shard}: the first number must be below the second")
    if min(*size, options.workers, options.num, options.spp) < 1:
        raise RealMasterError("--size, --workers, --num and --spp must be 1 or more")
    samples = plan(parse_seeds(options.seeds), options.num, (index, count))
    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the folder {options.out}: {error.strerror}") from error
    missing = [sample for sample in samples if not (options.out / sample.file_name).exists()]
    _log.info("%d samples, %d to render", len(samples), len(missing))
    tasks = [
        StreetTask(tuple(group), size, options.spp, options.out)
        for _, group in itertools.groupby(missing, key=lambda sample: (sample.seed, sample.path))
    ]
    start, done = time.monotonic(), 0
    for turn in _turns(tasks, options.workers * _STREETS_PER_PROCESS):
        for task, rendered in zip(turn, _rendered(turn, options.workers), strict=True):
            done += rendered
            each_s = (time.monotonic() - start) / done
            name = task.samples[-1].file_name
            _log.info("%d/%d %s, %.2f s a sample", done, len(missing), name, each_s)
    return done


def _turns(tasks: list[StreetTask], size: int) -> Iterator[list[StreetTask]]:
    """The tasks in groups of `size`, each for fresh processes.

    Graphics drivers give back little memory. (A pool that replaces its own processes, by
    max_tasks_per_child, hangs in Python 3.11 once all work is handed out: cpython #115634.)
    """
    for first in range(0, len(tasks), size):
        yield tasks[first : first + size]


def _rendered(tasks: list[StreetTask], workers: int) -> Iterator[int]:
    """Render the tasks in `workers` fresh processes; how many samples each gave, in order."""
    with ProcessPoolExecutor(workers, get_context("spawn"), initializer=_end_with_parent) as pool:
        try:
            yield from pool.map(render_street, tasks)
        except BrokenProcessPool as error:
            raise RealMasterError(
                "a worker died, most likely for want of memory; run the command again to go on, "
                "with fewer --workers"
            ) from error
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _end_with_parent() -> None:
    """Let a worker end when the process that gives it work was killed."""
    parent = parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def main() -> None:
    """Run the command line."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    try:
        run(tyro.cli(Options, description=__doc__))
    except RealMasterError as error:
        sys.exit(f"street_pairs: {error}")


if __name__ == "__main__":
    main()
