"""Opens a preset: loads its components, attaches adapters, brings them to the device.

One function per family, in a table; what comes out is a clips.LatentVideo.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from diffusers import AutoencoderKLLTX2Video, AutoencoderKLWan
from torch import Tensor

from capture_bridge.errors import SetupError
from realmaster.adapters import Adapter, attach, for_expert
from realmaster.families.attention import choose_attention
from realmaster.families.clips import LatentVideo
from realmaster.families.fit import Fit, place
from realmaster.families.ltx2 import Ltx2Prompt, Ltx2Video
from realmaster.families.ltx2_transformer import InContextLtx2Transformer
from realmaster.families.presets import FamilyName, Preset
from realmaster.families.prompts import Embedding, prompt_embeddings
from realmaster.families.quantized import Quantize, load_gguf, torchao_options
from realmaster.families.wan import Text, WanVideo
from realmaster.families.weights import load
from realmaster.in_context import InContextTransformer


@dataclass(frozen=True, slots=True)
class Opening:
    """What a run asks for. prompts: the prompt, and with guidance what it leads away from.

    gguf: files in the place of the transformers' weights, one for each. attention: a backend's
    name, or "" for PyTorch's own. compiled: the blocks are compiled at their first use.
    """

    preset: Preset
    prompts: tuple[str, ...]
    adapters: Sequence[tuple[Adapter, float]]
    fit: Fit
    device: str
    fps: float
    quantize: Quantize = "none"
    gguf: Sequence[Path] = ()
    attention: str = ""
    compiled: bool = False


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
        _ltx2_prompt(_part(embedding, "video", opening), _part(embedding, "mask", opening))
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


def _ltx2_prompt(video: Tensor, mask: Tensor) -> Ltx2Prompt:
    """A mask that masks nothing is left out: not every attention backend takes one."""
    return Ltx2Prompt(video, None if bool(mask.all()) else mask)


_FAMILIES: Mapping[FamilyName, Callable[[Opening], LatentVideo]] = MappingProxyType(
    {"wan": _open_wan, "ltx2": _open_ltx2}
)


def _dtype(opening: Opening) -> torch.dtype:
    short = opening.device.startswith("cuda") or opening.quantize != "none"
    return torch.bfloat16 if short else torch.float32


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
    source, dtype = opening.preset.source, _dtype(opening)
    if opening.gguf:
        path = opening.gguf[name != "transformer"]
        made = load_gguf(component, path, source, name, dtype)
    else:
        options = torchao_options(opening.quantize)
        made = load(component, source, name, torch_dtype=dtype, **options)
    adapters = opening.adapters
    if opening.preset.boundary is not None:
        adapters = for_expert(adapters, "high" if name == "transformer" else "low")
    if adapters:
        attach(made, adapters)
    if isinstance(made, InContextLtx2Transformer):
        made.drop_sound()
    if opening.attention:
        choose_attention(made, opening.attention, opening.device)
    place(made, opening.fit, opening.device)
    if opening.compiled:
        made.compile_repeated_blocks()
    return made
