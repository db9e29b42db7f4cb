"""Renders held-out clips during training, by the very code that enhances, and scores them.

The loss of flow matching falls quickly and tells little then; these pictures and their distance to
the target, beside the render's own, are the signal of progress.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from capture_bridge.media import VideoWriter
from realmaster.families.clips import Clips, resized
from realmaster.families.presets import PRESETS
from realmaster.families.prompts import Embedding
from realmaster.flow_matching import schedule
from realmaster.metrics import mean_squared_error, psnr_db
from training.bases import Base
from training.clip_reader import Cut, cuts
from training.config import TrainConfig
from training.pairs_folder import Pair

U8 = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """A clip to render: its first cut, and what the text encoder made of its caption."""

    name: str
    cut: Cut
    embedding: Embedding


@dataclass(frozen=True, slots=True)
class Score:
    """Means over the clips, dB to the target."""

    psnr_db: float
    render_psnr_db: float


def first_cuts(
    pairs: Sequence[Pair], embeddings: dict[str, Embedding], config: TrainConfig, base: Base
) -> list[Shown]:
    """The first cut of each pair, without those that are too short."""
    shown = []
    for pair in pairs:
        cut = next(iter(cuts(pair, config.clip, base.spatial_multiple)), None)
        if cut is not None and cut.reference is not None:
            shown.append(Shown(pair.name, cut, embeddings[pair.caption]))
    return shown


def render(shown: Shown, base: Base, config: TrainConfig, device: torch.device) -> U8:
    """What the model makes of the clip's render: pictures (T, H, W, 3)."""
    preset = PRESETS[config.base]
    height, width = shown.cut.target.shape[1:3]
    clips = Clips(
        base.video({k: v.to(device) for k, v in shown.embedding.items()}, shown.cut.fps),
        preset.sigmas or schedule(preset.steps, preset.shift).tolist(),
        (width, height),
        reference_stride=config.clip.reference_stride,
        device=str(device),
    )
    reference = clips.encode(shown.cut.reference, config.clip.reference_stride)
    return clips.decode(clips.denoise(reference, None, config.seed))


def score(made: Sequence[U8], shown: Sequence[Shown]) -> Score:
    """How near the clips and the renders are to their targets."""
    made_db, render_db = [], []
    for pictures, clip in zip(made, shown, strict=True):
        target = clip.cut.target
        size = (target.shape[2], target.shape[1])
        made_db.append(psnr_db(mean_squared_error(pictures, target)))
        render_db.append(psnr_db(mean_squared_error(resized(clip.cut.reference, size), target)))
    return Score(float(np.mean(made_db)), float(np.mean(render_db)))


def write_comparison(path: Path, made: U8, cut: Cut) -> None:
    """A video: render, what was made, target, side by side, replacing an earlier one."""
    height, width = cut.target.shape[1:3]
    parts = [resized(part, (width, height)) for part in (cut.reference, made, cut.target)]
    frames = np.concatenate(parts, 2)
    with VideoWriter(path, frames.shape[2], height, overwrite=True) as writer:
        for index, picture in enumerate(frames):
            writer.write(picture, round(index * 1e9 / (cut.fps or 24.0)))
