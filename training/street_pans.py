"""Makes clips of a moving camera out of the fast tier's samples, as a pairs folder.

    python -m training.street_pans --samples data/street_v4 --out data/street_pans

Each sample of `training.street_pairs` has one path-traced frame. A window that moves over it, and
over the game's frame of the same moment, gives a clip in which every frame has its truth, for the
cost of a copy; what such clips lack is parallax and moving things (`training.street_clips` renders
those). Both are made smaller first, so that a window shows much of the view, as the session does
that the model will see, and the truth's noise averages out. A clip depends on the sample and the
seed alone.
"""

import logging
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import tyro
from numpy.typing import NDArray
from tqdm import tqdm

from capture_bridge.errors import OutputError, RealMasterError, SetupError
from training.street_clips import write_metadata, write_video
from training.street_pairs import TEST_SEEDS, parse_pair, parse_seeds

U8 = NDArray[np.uint8]

MAX_SPEED_PX = 4.0
#: The picture's width over the window's, at least, where the sample is large enough.
_LEAST_ROOM, _MOST_ROOM = 1.1, 1.8


@dataclass(frozen=True, slots=True)
class Options:
    """Which clips to make. seeds: ranges first:end of those of `samples` that are taken.

    size: WIDTHxHEIGHT pixels, at most the samples' own. num: clips per sample.
    """

    samples: Path
    out: Path = Path("data/street_pans")
    seeds: str = "0:800"
    size: str = "128x80"
    frames: int = 5
    num: int = 1
    seed: int = 0


def window_path(
    picture: tuple[int, int], size: tuple[int, int], frames: int, rng: np.random.Generator
) -> NDArray[np.intp]:
    """Top left corners (T, 2), x and y, of a window of `size` that moves evenly inside `picture`.

    Sizes are (width, height) pixels; it moves at most MAX_SPEED_PX a frame.
    """
    room = np.array([picture[0] - size[0], picture[1] - size[1]], np.float64)
    most = np.minimum(MAX_SPEED_PX, room / max(1, frames - 1))
    speed = rng.uniform(-most, most)
    way = speed * (frames - 1)
    start = rng.uniform(np.maximum(0, -way), room - np.maximum(0, way))
    corners = start + speed * np.arange(frames)[:, None]
    return np.clip(np.rint(corners), 0, room).astype(np.intp)


def shrunk_size(
    picture: tuple[int, int], size: tuple[int, int], rng: np.random.Generator
) -> tuple[int, int]:
    """(width, height) to make a picture smaller to, so that a window of `size` shows much of it."""
    tightest = max(size[0] / picture[0], size[1] / picture[1])
    room = np.exp(rng.uniform(np.log(_LEAST_ROOM), np.log(_MOST_ROOM)))
    factor = min(1.0, tightest * room)
    return round(picture[0] * factor), round(picture[1] * factor)


def cut_out(picture: U8, corners: NDArray[np.intp], size: tuple[int, int]) -> U8:
    """The windows (T, h, w, 3) of a picture (H, W, 3)."""
    width, height = size
    return np.stack([picture[y : y + height, x : x + width] for x, y in corners])


def read_sample(path: Path) -> tuple[U8, U8]:
    """(game, truth) of a sample's last frame, each (H, W, 3). SetupError where it is damaged."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return file["color"][-1][..., :3], file["truth"]
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise SetupError(f"{path} is no sample of training.street_pairs: {error}") from error


def run(options: Options) -> int:
    """Make every clip that is missing; return how many the folder lists."""
    size = parse_pair("size", options.size, "x")
    seeds = set(parse_seeds(options.seeds))
    if seeds & set(TEST_SEEDS):
        raise RealMasterError("--seeds holds test seeds (900-999); train on 0-799")
    files = [
        path
        for path in sorted(options.samples.glob("[0-9][0-9][0-9][0-9]_*.npz"))
        if int(path.name[:4]) in seeds
    ]
    if not files:
        raise SetupError(
            f"{options.samples} holds no samples of these seeds; make some with "
            "python -m training.street_pairs"
        )
    try:
        for name in ("target", "reference"):
            (options.out / name).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make {options.out}: {error.strerror}") from error
    for path in tqdm(files, desc="clips", unit="sample", file=sys.stderr):
        _make_clips(path, size, options)
    return write_metadata(options.out)


def _make_clips(path: Path, size: tuple[int, int], options: Options) -> None:
    names = [f"{path.stem}_{k}.mp4" for k in range(options.num)]
    if all((options.out / "target" / name).exists() for name in names):
        return
    drawn, truth = read_sample(path)
    height, width = truth.shape[:2]
    if width < size[0] or height < size[1]:
        raise RealMasterError(f"--size {options.size}: {path.name} has {width}x{height} alone")
    for k, name in enumerate(names):
        key = [options.seed, k, *path.stem.encode()]
        rng = np.random.default_rng(key)
        smaller = shrunk_size((width, height), size, rng)
        corners = window_path(smaller, size, options.frames, rng)
        for kind, picture in (("reference", drawn), ("target", truth)):
            small = np.asarray(cv2.resize(picture, smaller, interpolation=cv2.INTER_AREA), np.uint8)
            write_video(options.out / kind / name, cut_out(small, corners, size))


def main() -> None:
    """Run the command line."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    try:
        run(tyro.cli(Options, description=__doc__))
    except RealMasterError as error:
        sys.exit(f"street_pans: {error}")


if __name__ == "__main__":
    main()
