"""The recipes: functions that return a complete config; a variant states only its difference.

Rank, learning rate and number of steps of the large models are those of Lightricks' ltx-trainer
(its v2v_ic_lora configuration); nothing here is from a paper. Pure data: no torch.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from capture_bridge.errors import SetupError
from training.config import Clip, Held, Lora, Noise, Optimizer, TrainConfig

#: Attention and feed-forward of a block; LTX's sound has names of its own and stays as it is.
WAN_TARGETS = (
    *(f"{of}.{part}" for of in ("attn1", "attn2") for part in ("to_q", "to_k", "to_v", "to_out.0")),
    "ffn.net.0.proj",
    "ffn.net.2",
)
#: The noise level at which one expert hands over to the other (presets.py).
_A14B_BOUNDARY = 0.875
LTX2_TARGETS = tuple(name.replace("ffn.", "ff.") for name in WAN_TARGETS)


def wan2_2_5b() -> TrainConfig:
    """Wan2.2-TI2V-5B, at the size that a 24 to 48 GB card trains."""
    return TrainConfig(
        base="wan2.2-5b",
        clip=Clip(size=(832, 480), frames=81),
        noise=Noise(shift=5.0),
        optimizer=Optimizer(lr=2e-4),
        lora=Lora(rank=32, alpha=32, targets=WAN_TARGETS),
    )


def wan2_1_1_3b() -> TrainConfig:
    """Wan2.1-T2V-1.3B, for small cards."""
    return replace(wan2_2_5b(), base="wan2.1-1.3b", noise=Noise(shift=3.0))


def wan2_1_14b() -> TrainConfig:
    """Wan2.1-T2V-14B; its optimizer keeps 8 bits."""
    return replace(wan2_2_5b(), base="wan2.1-14b", optimizer=Optimizer(lr=1e-4, name="adamw8bit"))


def wan2_2_a14b_high() -> TrainConfig:
    """Wan2.2-T2V-A14B's expert for much noise; no video can be made of it alone to score."""
    return replace(
        wan2_1_14b(),
        base="wan2.2-a14b",
        noise=Noise(shift=12.0, least=_A14B_BOUNDARY),
        num_validation=0,
    )


def wan2_2_a14b_low() -> TrainConfig:
    """Wan2.2-T2V-A14B's expert for little noise."""
    return replace(
        wan2_2_a14b_high(),
        noise=Noise(shift=12.0, most=_A14B_BOUNDARY),
        component="transformer_2",
    )


def ltx_2_3() -> TrainConfig:
    """LTX-2.3, 22 billion parameters; the reference has half the width and height."""
    return TrainConfig(
        base="ltx-2.3",
        clip=Clip(size=(768, 512), frames=81, reference_stride=2),
        noise=Noise(shift=1.0, mean=1.5),
        optimizer=Optimizer(lr=2e-4),
        lora=Lora(rank=32, alpha=32, targets=LTX2_TARGETS),
    )


def tiny() -> TrainConfig:
    """The tiny base's adapter, on a CPU. It is used in one step, so it learns near pure noise."""
    return TrainConfig(
        base="tiny",
        clip=Clip(size=(128, 80), frames=5),
        noise=Noise(shift=20.0),
        optimizer=Optimizer(lr=1e-3, warmup_steps=20, final=0.1),
        lora=Lora(rank=32, alpha=32, targets=WAN_TARGETS),
        steps=500,
        batch=2,
        held=Held(pictures=(1,)),
        precision="float32",
        gradient_checkpointing=False,
    )


def tiny_base() -> TrainConfig:
    """The tiny base itself: all weights, from videos alone and beside relit copies of them."""
    return replace(
        tiny(),
        noise=Noise(shift=3.0),  # a base serves any number of steps
        optimizer=Optimizer(lr=3e-3, name="muon", warmup_steps=50, final=0.05),
        lora=None,
        steps=2000,
        reference_share=0.75,
        precision="bfloat16",
    )


RECIPES: Mapping[str, Callable[[], TrainConfig]] = MappingProxyType(
    {
        "tiny": tiny,
        "tiny-base": tiny_base,
        "wan2.2-5b": wan2_2_5b,
        "wan2.1-1.3b": wan2_1_1_3b,
        "wan2.1-14b": wan2_1_14b,
        "wan2.2-a14b-high": wan2_2_a14b_high,
        "wan2.2-a14b-low": wan2_2_a14b_low,
        "ltx-2.3": ltx_2_3,
    }
)


def recipe(name: str) -> TrainConfig:
    """The config of that name; SetupError where there is none."""
    if name not in RECIPES:
        raise SetupError(f"there is no recipe '{name}'; there are {', '.join(RECIPES)}")
    return RECIPES[name]()


def changed(name: str, changes: Mapping[str, Any]) -> TrainConfig:
    """The recipe with what a user set in its place, by the options' names. SetupError."""
    config = recipe(name)
    given = dict(changes)
    clip = {key: given.pop(key) for key in ("size", "frames") if key in given}
    optimizer = {"lr": given.pop("lr")} if "lr" in given else {}
    if "optimizer" in given:
        optimizer["name"] = given.pop("optimizer")
    lora = config.lora
    rank = given.pop("rank", None)
    if rank is not None and lora is not None:
        lora = replace(lora, rank=rank, alpha=rank)
    return replace(
        config,
        clip=replace(config.clip, **clip),
        optimizer=replace(config.optimizer, **optimizer),
        lora=lora,
        **given,
    )
