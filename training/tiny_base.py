"""Makes the tiny base: a small checkpoint of the real Wan classes, trained on street clips.

    python -m training.tiny_base --clips data/street_pans --out out/tiny

Trains the autoencoder, then the transformer on the clips' targets, mostly beside a copy of them in
another light (relit.py): it never sees the game's look, that is what an adapter adds. Writes a
folder in diffusers' layout with a card. A run that was cut off goes
on where it stopped when it is started again. It needs no text encoder: one embedding, drawn once,
stands for every prompt.
"""

import logging
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import tyro
from diffusers import AutoencoderKLWan, WanTransformer3DModel
from safetensors.torch import save_file

from capture_bridge.errors import RealMasterError
from realmaster.commands.progress import progress_bar, training_bar
from realmaster.families.prompts import BUNDLED
from realmaster.families.weights import load
from training.checkpoint import checkpoints
from training.latents import make_folder
from training.local_heads import look_nearby
from training.pairs_folder import read_pairs
from training.recipes import changed
from training.relit import relit_pairs
from training.tiny_autoencoder import CONFIG, clips_of, train_autoencoder
from training.train import Run, train

TEXT_DIM = 64
_PARTS = 8  # of clips, that a step of the autoencoder sees
TRANSFORMER: dict[str, Any] = {
    "patch_size": (1, 2, 2),
    "num_attention_heads": 4,
    "attention_head_dim": 64,
    "in_channels": 16,
    "out_channels": 16,
    "text_dim": TEXT_DIM,
    "freq_dim": 64,
    "ffn_dim": 768,
    "num_layers": 6,
}

#: Of the heads that begin local (local_heads.py): one sees its place, one what is around it.
_SHARPNESS = (2.0, 1.0)

_CARD = """---
license: apache-2.0
library_name: diffusers
---
# tiny: a video model for tests and CPUs

The classes of Wan in diffusers ({parameters:.1f} million parameters in the transformer),
trained from nothing by `python -m training.tiny_base` on clips of RealMaster's own street game as a
path tracer shows it. It is a demonstration of the method; it knows no other picture.

| | |
|---|---|
| training clips | {clips}, {frames} frames of {width}x{height} |
| steps: autoencoder, transformer | {vae_steps}, {steps} |
| share of the transformer's steps beside a relit copy | {share} |
| what the autoencoder gives back of its training clips | {quality:.2f} dB PSNR |
| last loss of the transformer (mean of 50 steps) | {loss:.4f} |
"""


@dataclass(frozen=True, slots=True)
class Options:
    """What to train on and how long.

    clips: a pairs folder, whose targets are learnt; the autoencoder learns the renders as well.
    """

    clips: Path
    out: Path = Path("out/tiny")
    vae_steps: int = 3000
    steps: int = 3500
    batch: int = 2
    size: tuple[int, int] = (128, 80)
    frames: int = 5
    seed: int = 0


def make_tiny_base(options: Options) -> Path:
    """Make it, or go on making it; the folder. RealMasterError."""
    config = changed(
        "tiny-base",
        {
            "steps": options.steps,
            "batch": options.batch,
            "size": options.size,
            "frames": options.frames,
            "seed": options.seed,
            "num_validation": 0,
        },
    )
    pairs = read_pairs(options.clips)
    make_folder(options.out)
    with training_bar("autoencoder") as bar:
        quality = train_autoencoder(
            clips_of(pairs, config, CONFIG["scale_factor_spatial"] * TRANSFORMER["patch_size"][1]),
            options.out,
            replace(config, batch=_PARTS),
            options.vae_steps,
            torch.device("cuda" if torch.cuda.is_available() else "cpu"),
            bar,
        )
    relit = options.out / "relit"
    with progress_bar("relit", "clip") as bar:
        relit_pairs(pairs, relit, options.seed, bar)
    resume = bool(checkpoints(options.out / "checkpoints"))
    if not resume:
        _write_start(options.out, options.seed)
    run = Run(config, relit, options.out, weights=str(options.out), resume=resume)
    with progress_bar("encode", "clip") as encoding, training_bar("transformer") as bar:
        result = train(run, encoding=encoding, training=bar)
    last = result.losses[-50:]
    card = _CARD.format(
        parameters=sum(p.numel() for p in WanTransformer3DModel(**TRANSFORMER).parameters()) / 1e6,
        clips=len(pairs),
        frames=options.frames,
        width=options.size[0],
        height=options.size[1],
        vae_steps=options.vae_steps,
        steps=result.step,
        quality=quality,
        share=config.reference_share,
        loss=sum(last) / max(1, len(last)),
    )
    if last:
        (options.out / "README.md").write_text(card, encoding="utf-8")
    _store_in_16_bits(options.out)
    return options.out


def _store_in_16_bits(folder: Path) -> None:
    """Halve the files: what a package carries; the checkpoints keep all bits for going on."""
    for kind, part in ((WanTransformer3DModel, "transformer"), (AutoencoderKLWan, "vae")):
        model = load(kind, str(folder), part).half()
        model.register_to_config(_name_or_path="")  # where it was made is nobody's business
        model.save_pretrained(folder / part)


def _write_start(folder: Path, seed: int) -> None:
    """The transformer before its first step, and the embedding that stands for all prompts."""
    torch.manual_seed(seed)
    transformer = WanTransformer3DModel(**TRANSFORMER)
    look_nearby(transformer, _SHARPNESS)
    transformer.save_pretrained(folder / "transformer")
    save_file({"prompt": torch.randn(1, 1, TEXT_DIM)}, folder / BUNDLED)


def main() -> None:
    """Run the command line."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    try:
        folder = make_tiny_base(tyro.cli(Options, description=__doc__))
    except RealMasterError as error:
        sys.exit(f"tiny_base: {error}")
    except KeyboardInterrupt:
        sys.exit("tiny_base: stopped; the same command goes on")
    logging.info("%s is ready: realmaster train tiny --weights %s …", folder, folder)


if __name__ == "__main__":
    main()
