"""Gives clips another light: what the tiny base learns to see past, before it has seen a game.

A base that never saw a reference has to learn from an adapter's few pairs even where to look. Here
it learns to make a clip from a copy of itself whose colors and light were changed at random: the
reference tells the places of things, and no truth of the game's look is given away. Knows pictures
and files, no model.
"""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from capture_bridge.errors import OutputError
from capture_bridge.media import VideoReader
from training.pairs_folder import Pair
from training.street_clips import write_metadata, write_video

U8 = NDArray[np.uint8]

#: Spreads, of the logarithm where a factor is meant: what channels mix, the exponent, the exposure,
#: a channel's own, and over the picture light and its tint in so many rows and columns.
_MIXED, _GAMMA, _EXPOSURE, _CHANNEL = 0.1, 0.3, 0.25, 0.15
_LIGHT, _TINT, _GRID = 0.35, 0.15, (3, 4)


def relit(pictures: U8, rng: np.random.Generator) -> U8:
    """The pictures (T, H, W, 3) in a light and colors drawn once for all of them."""
    height, width = pictures.shape[1:3]
    mixing = np.eye(3) + rng.normal(0, _MIXED, (3, 3))
    gain = np.exp(rng.normal(0, _CHANNEL, 3) + rng.normal(0, _EXPOSURE))
    light = rng.normal(0, _LIGHT, (*_GRID, 1)) + rng.normal(0, _TINT, (*_GRID, 3))
    spread = cv2.resize(light, (width, height), interpolation=cv2.INTER_CUBIC)
    linear = np.maximum(pictures / 255 @ mixing.T, 1e-3) ** np.exp(rng.normal(0, _GAMMA))
    made: U8 = np.clip(linear * gain * np.exp(spread) * 255, 0, 255).astype(np.uint8)
    return made


def relit_pairs(
    pairs: Sequence[Pair], folder: Path, seed: int, progress: Callable[[int, int], None]
) -> None:
    """A pairs folder of the same targets, each with a relit copy as its reference. OutputError.

    What is there already stays. A copy depends on the seed and the clip's name alone.
    """
    try:
        for name in ("target", "reference"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        for done, pair in enumerate(pairs):
            progress(done, len(pairs))
            target = folder / "target" / f"{pair.name}.mp4"
            if not target.exists():
                with VideoReader(pair.target) as video:
                    pictures = np.stack([picture for picture, _ in video])
                rng = np.random.default_rng([seed, *pair.name.encode()])
                write_video(folder / "reference" / target.name, relit(pictures, rng))
                part = target.with_suffix(".part")
                shutil.copyfile(pair.target, part)
                part.replace(target)
    except OSError as error:
        raise OutputError(f"cannot write into {folder}: {error.strerror}") from error
    progress(len(pairs), len(pairs))
    write_metadata(folder)
