"""What a training run is: one frozen dataclass, complete and typed; recipes.py has the rows.

Every value is our own choice, where nothing else is said. This file knows no torch.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from capture_bridge.errors import SetupError

OptimizerName = Literal["adamw", "adamw8bit", "muon"]
Precision = Literal["float32", "bfloat16"]

#: Settings that a resumed run may change: they move no weight.
FREE_TO_CHANGE = ("steps", "validate_every", "num_validation", "checkpoint_every", "keep")


@dataclass(frozen=True, slots=True)
class Lora:
    """What is trained beside the frozen weights. targets: names of linear layers, by their ends."""

    rank: int = 32
    alpha: int = 32
    targets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Clip:
    """What a sample is. size: (width, height) whose number of pixels it has, in the clip's shape.

    reference_stride: how many times smaller the reference is in width and height.
    """

    size: tuple[int, int]
    frames: int
    reference_stride: int = 1


@dataclass(frozen=True, slots=True)
class Noise:
    """Levels to train on: logit-normal, moved by `shift` (flow_matching.shifted).

    uniform: the share of samples whose level is drawn evenly instead, so that none is forgotten.
    least, most: levels outside are drawn again: one of two experts sees its own share alone.
    """

    shift: float
    mean: float = 0.0
    std: float = 1.0
    uniform: float = 0.1
    least: float = 0.0
    most: float = 1.0


@dataclass(frozen=True, slots=True)
class Held:
    """Beginnings that are given clean: with this probability, one of these numbers of pictures.

    1 is an anchor; more are what a window shares with the one before (windows.py).
    """

    probability: float = 0.2
    pictures: tuple[int, ...] = (1, 9)


@dataclass(frozen=True, slots=True)
class Optimizer:
    """AdamW, or Muon for what lies inside the blocks (muon.py).

    lr: peak; it rises over `warmup_steps` and falls in a line to `final` of it.
    """

    lr: float
    name: OptimizerName = "adamw"
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 0.01
    warmup_steps: int = 50
    final: float = 0.0
    max_grad_norm: float = 1.0


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """A run. base: a preset's name. lora: None trains all of the base's weights.

    component: which of the base's transformers, by its folder. batch: samples per process and pass;
    accumulation: passes per step. reference_share: of the steps, that see the references; in the
    others the model learns videos alone. trigger: the word that captions begin with.
    num_validation: clips that are rendered and scored. keep: how many checkpoints stay.
    """

    base: str
    clip: Clip
    noise: Noise
    optimizer: Optimizer
    lora: Lora | None
    component: str = "transformer"
    steps: int = 3000
    batch: int = 1
    accumulation: int = 1
    reference_share: float = 1.0
    held: Held = Held()
    precision: Precision = "bfloat16"
    gradient_checkpointing: bool = True
    trigger: str = ""
    seed: int = 0
    validate_every: int = 250
    num_validation: int = 2
    checkpoint_every: int = 250
    keep: int = 2

    def __post_init__(self) -> None:
        limits = {
            "steps": (self.steps, 1, 10_000_000),
            "batch": (self.batch, 1, 4096),
            "accumulation": (self.accumulation, 1, 4096),
            "frames": (self.clip.frames, 1, 1025),
            "validate-every": (self.validate_every, 0, 10_000_000),
            "checkpoint-every": (self.checkpoint_every, 1, 10_000_000),
            "num-validation": (self.num_validation, 0, 64),
            "keep": (self.keep, 1, 1000),
            "rank": (self.lora.rank if self.lora else 1, 1, 1024),
        }
        for name, (value, least, most) in limits.items():
            if not least <= value <= most:
                raise SetupError(f"--{name} {value}: from {least} to {most} are possible")
        if not 0 <= self.reference_share <= 1:
            raise SetupError(f"reference_share {self.reference_share}: from 0 to 1 is possible")
        if not 0 < self.optimizer.lr <= 1:
            raise SetupError(f"--lr {self.optimizer.lr}: above 0 and at most 1 is possible")
        if self.num_validation and (self.noise.least, self.noise.most) != (0, 1):
            raise SetupError(
                f"--num-validation {self.num_validation}: one of {self.base}'s two experts alone "
                "makes no video to score; leave it out"
            )
        if len(self.trigger) > 200 or "\n" in self.trigger:
            raise SetupError("--trigger: one line of at most 200 characters")


def to_json(config: TrainConfig) -> str:
    """The config as one line; equal configs give equal lines."""
    return json.dumps(asdict(config), sort_keys=True)


def difference(config: TrainConfig, saved: str) -> str | None:
    """The first setting in which a saved config differs, in words; None: a run may go on."""
    mine = _flat(json.loads(to_json(config)))
    theirs = _flat(json.loads(saved))
    for name in sorted(mine.keys() | theirs.keys()):
        if name not in FREE_TO_CHANGE and mine.get(name) != theirs.get(name):
            return f"{name} was {theirs.get(name)} and is {mine.get(name)} now"
    return None


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= (
            _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
        )
    return flat
