"""`train`: an adapter from a folder of pairs."""

import importlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from realmaster.commands.options import OutputPath, parse_size
from realmaster.commands.progress import progress_bar, training_bar
from realmaster.factories import require

_NEEDED = ("torch", "diffusers", "peft", "accelerate", "tensorboard")

Int = Annotated[int | None, tyro.conf.arg(metavar="INT")]
Float = Annotated[float | None, tyro.conf.arg(metavar="FLOAT")]


@dataclass(frozen=True)
class Train:
    """Train an adapter that lifts a game's render, from pairs of render and photoreal video.

    Writes OUTPUT/adapter.safetensors, for `realmaster enhance --adapter OUTPUT`. A run that was cut
    off goes on with --resume, to the very weights of one that was not. For several GPUs:
    torchrun --nproc-per-node 8 -m realmaster.cli train …
    """

    recipe: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RECIPE")]
    """tiny (a CPU is enough), wan2.2-5b, wan2.1-1.3b, wan2.1-14b, wan2.2-a14b-high and -low (its
    two experts, an adapter each), or ltx-2.3."""
    pairs: Annotated[Path, tyro.conf.arg(metavar="FOLDER")]
    """The pairs, as `realmaster pairs` wrote them."""
    output: OutputPath
    """The folder for the adapter, checkpoints, validation videos and logs."""
    validation: Annotated[Path | None, tyro.conf.arg(metavar="FOLDER")] = None
    """Pairs to render and score during training; by default the first of the training pairs."""
    weights: Annotated[str | None, tyro.conf.arg(metavar="FOLDER")] = None
    """A folder in diffusers' layout or a Hub id in the place of the recipe's base."""
    steps: Int = None
    """Steps of the optimizer."""
    batch: Int = None
    """Samples per process and pass."""
    accumulation: Int = None
    """Passes per step."""
    rank: Int = None
    """Rank and alpha of the adapter."""
    lr: Float = None
    """Peak learning rate."""
    size: str = ""
    """WIDTHxHEIGHT whose number of pixels a sample has."""
    frames: Int = None
    """Frames of a sample."""
    optimizer: Literal["adamw", "adamw8bit", "muon"] | None = None
    """adamw8bit keeps the optimizer's memory in 8 bits (needs bitsandbytes)."""
    trigger: str = ""
    """A word that the captions begin with, and prompts later."""
    seed: int = 0
    """The same seed gives the same losses, bit for bit."""
    validate_every: Int = None
    """Steps from one validation to the next; 0 validates at the end alone."""
    num_validation: Int = None
    """How many clips are rendered and scored."""
    checkpoint_every: Int = None
    """Steps from one checkpoint to the next."""
    resume: bool = False
    """Go on from the output's newest checkpoint."""
    overwrite: bool = False
    """Start anew in an output that holds a run."""

    def run(self) -> int:
        """Train, with bars, and say what was written."""
        require("training", _NEEDED, "diffusion,train")
        training: Any = importlib.import_module("training.train")
        recipes: Any = importlib.import_module("training.recipes")
        run = training.Run(
            config=recipes.changed(self.recipe, self._changes()),
            pairs=self.pairs,
            output=self.output,
            weights=self.weights or "",
            validation=self.validation,
            resume=self.resume,
            overwrite=self.overwrite,
        )
        if os.environ.get("RANK", "0") != "0":  # one of several processes: the first one speaks
            training.train(run, encoding=lambda *_: None, training=lambda *_: None)
            return 0
        with progress_bar("encode", "clip") as encoding, training_bar("train") as bar:
            result = training.train(run, encoding=encoding, training=bar)
        print(f"{self.output}: step {result.step}, {_summary(result)}")
        return 0

    def _changes(self) -> dict[str, Any]:
        """What the user set, by the option's name."""
        names = (
            "steps",
            "batch",
            "accumulation",
            "rank",
            "lr",
            "frames",
            "optimizer",
            "validate_every",
            "num_validation",
            "checkpoint_every",
        )
        set_by_user = {name: getattr(self, name) for name in names}
        told = {name: value for name, value in set_by_user.items() if value is not None}
        told |= {"seed": self.seed, "trigger": self.trigger}
        return told | ({"size": parse_size(self.size)} if self.size else {})


def _summary(result: Any) -> str:
    """The last loss and, where clips were scored, how near they are."""
    words = f"loss {result.losses[-1]:.4f}" if result.losses else "nothing left to do"
    if result.scores:
        last = result.scores[max(result.scores)]
        words += f", {last.psnr_db:.2f} dB to the target (the render: {last.render_psnr_db:.2f})"
    return words
