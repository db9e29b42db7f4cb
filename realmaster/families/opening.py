"""Opens a preset: loads its components, attaches adapters, brings them to the device.

One function per family, in a table; what comes out is a clips.LatentVideo.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from diffusers import AutoencoderKLLTX2Video, AutoencoderKLWan
from torch import Tensor

from capture_bridge.errors import SetupError
from realmaster.adapters import Adapter, attach
from realmaster.families.clips import LatentVideo
from realmaster.families.fit import Fit, place
from realmaster.families.ltx2 import Ltx2Prompt, Ltx2Video
from realmaster.families.ltx2_transformer import InContextLtx2Transformer
from realmaster.families.presets import FamilyName, Preset
from realmaster.families.prompts import Embedding, prompt_embeddings
from realmaster.families.wan import Text, WanVideo
from realmaster.families.weights import load
from realmaster.in_context import InContextTransformer


@dataclass(frozen=True, slots=True)
class Opening:
    """What a run asks for. prompts: the prompt, and with guidance what it leads away from."""

    preset: Preset
    prompts: tuple[str, ...]
    adapters: Sequence[tuple[Adapter, float]]
    fit: Fit
    device: str
    fps: float


def open_video(opening: Opening) -> LatentVideo:
    """The model, ready to work. SetupError where weights are missing or another model's."""
    return _FAMILIES[opening.preset.family](opening)


def _open_wan(opening: Opening) -> LatentVideo:
    preset = opening.preset
    text = [_part(embedding, "prompt", opening) for embedding in _embeddings(opening)]
    vae = _autoencoder(AutoencoderKLWan, opening)
    names = ("transformer",) if preset.boundary is None else ("transformer", "transformer_2")
    experts = [_transformer(InContextTransformer, name, opening) for name in names]
    return WanVideo(
        experts,
        vae,
        Text(*text),
        guidance=(preset.guidance, preset.guidance_low or preset.guidance),
        boundary=preset.boundary or 0.0,
    )


def _open_ltx2(opening: Opening) -> LatentVideo:
    prompts = [
        Ltx2Prompt(*(_part(embedding, name, opening) for name in ("video", "mask")))
        for embedding in _embeddings(opening)
    ]
    vae = _autoencoder(AutoencoderKLLTX2Video, opening)
    transformer = _transformer(InContextLtx2Transformer, "transformer", opening)
    return Ltx2Video(
        transformer,
        vae,
        prompts[0],
        fps=opening.fps,
        negative=prompts[1] if len(prompts) > 1 else None,
        guidance=opening.preset.guidance,
    )


_FAMILIES: Mapping[FamilyName, Callable[[Opening], LatentVideo]] = MappingProxyType(
    {"wan": _open_wan, "ltx2": _open_ltx2}
)


def _dtype(opening: Opening) -> torch.dtype:
    return torch.bfloat16 if opening.device.startswith("cuda") else torch.float32


def _embeddings(opening: Opening) -> list[Embedding]:
    preset = opening.preset
    return prompt_embeddings(preset.family, preset.source, opening.prompts, opening.device)


def _part(embedding: Embedding, name: str, opening: Opening) -> Tensor:
    if name not in embedding:
        raise SetupError(
            f"the prompt embeddings of {opening.preset.source} hold no {name!r}: they belong to "
            "another family of models"
        )
    return embedding[name].to(opening.device, _dtype(opening))


def _autoencoder(component: Any, opening: Opening) -> Any:
    dtype = torch.float32 if opening.preset.family == "wan" else _dtype(opening)
    vae = load(component, opening.preset.source, "vae", torch_dtype=dtype)
    if opening.fit != "none":
        vae.enable_tiling()
    return vae.to(opening.device)


def _transformer(component: Any, name: str, opening: Opening) -> Any:
    made = load(component, opening.preset.source, name, torch_dtype=_dtype(opening))
    if opening.adapters:
        attach(made, opening.adapters)
    if isinstance(made, InContextLtx2Transformer):
        made.drop_sound()
    place(made, opening.fit, opening.device)
    return made
