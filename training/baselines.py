"""Fit the two recolourings that every model is measured against, from the pairs of train seeds.

    python -m training.baselines --data data/street

The pairs are the fast tier's: one `.npz` per sample, named `{seed:04d}_{path}_{k}.npz`, with color
(T, H, W, 3) u8 and truth (H, W, 3) u8 of the last frame. Seeds 0-799 are fitted to, 800-899 tell
how well; test seeds are never opened.
"""

import logging
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from numpy.typing import NDArray

from capture_bridge.errors import OutputError, RealMasterError
from realmaster.baselines import BUNDLED_PATH, BaselineFit, Baselines
from realmaster.color import srgb_u8_to_lab
from realmaster.metrics import gap_closure, lab_distance_map

TRAIN_SEEDS = range(800)
VALIDATION_SEEDS = range(800, 900)

log = logging.getLogger("training.baselines")

Pair = tuple[NDArray[np.uint8], NDArray[np.uint8]]


@dataclass(frozen=True, slots=True)
class Options:
    """What `python -m training.baselines` takes."""

    data: Path
    """Folder of the pairs."""
    output: Path = BUNDLED_PATH
    """The file to write."""
    overwrite: bool = False
    """Replace the output if it is there."""


def pair_paths(data: Path, seeds: range) -> list[Path]:
    """The samples of these seeds in order of their names; RealMasterError without the folder."""
    if not data.is_dir():
        raise RealMasterError(f"{data}: no such folder; make the pairs first")
    names = sorted(path for path in data.glob("*.npz") if path.stem[:4].isdigit())
    return [path for path in names if int(path.stem[:4]) in seeds]


def read_pairs(paths: list[Path]) -> Iterator[Pair]:
    """(render, truth) of each sample; RealMasterError names a file that is no sample."""
    for path in paths:
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                yield arrays["color"][-1], arrays["truth"]
        except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise RealMasterError(f"{path}: not a training pair ({error})") from error


def fit_baselines(data: Path) -> Baselines:
    """Baselines fitted to all pairs of the train seeds in a folder."""
    paths = pair_paths(data, TRAIN_SEEDS)
    if not paths:
        raise RealMasterError(f"{data}: no pair of a train seed (0000_*.npz to 0799_*.npz)")
    sums = BaselineFit()
    for render, truth in read_pairs(paths):
        sums.add(render, truth)
    return sums.solve()


def validate(baselines: Baselines, data: Path) -> dict[str, float]:
    """G of each baseline over the pairs of the validation seeds; empty if there are none."""
    distances = dict.fromkeys(("render", *baselines.by_name), 0.0)
    paths = pair_paths(data, VALIDATION_SEEDS)
    for render, truth in read_pairs(paths):
        lab_truth = srgb_u8_to_lab(truth)
        pictures = {name: apply(render) for name, apply in baselines.by_name.items()}
        for name, picture in {"render": render, **pictures}.items():
            distances[name] += float(lab_distance_map(srgb_u8_to_lab(picture), lab_truth).mean())
    if not paths:
        return {}
    return {name: gap_closure(distances[name], distances["render"]) for name in baselines.by_name}


def main(options: Options) -> None:
    """Fit, validate, write."""
    if options.output.exists() and not options.overwrite:
        raise OutputError(f"{options.output} exists; --overwrite replaces it")
    baselines = fit_baselines(options.data)
    log.info("fitted to %d pairs of train seeds", baselines.num_pairs)
    for name, closure in validate(baselines, options.data).items():
        log.info("%s: G %.4f on validation seeds", name, closure)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    baselines.save(options.output)
    log.info("wrote %s, %d bytes", options.output, options.output.stat().st_size)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        main(tyro.cli(Options))
    except RealMasterError as error:
        sys.exit(f"training.baselines: {error}")
