"""Prompt embeddings of a model's text encoder, computed once and kept on disk.

The encoder (11 GB for Wan, 24 GB for LTX) is loaded only when an embedding is not there yet, and
freed at once. A checkpoint without one brings its embeddings with it, as
`prompt_embeds.safetensors`.
"""

import gc
import hashlib
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import LTX2Pipeline, WanPipeline
from diffusers.pipelines.ltx2 import LTX2TextConnectors
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoTokenizer, Gemma3ForConditionalGeneration, UMT5EncoderModel

from capture_bridge.errors import SetupError
from realmaster.families.presets import FamilyName
from realmaster.families.weights import load

log = logging.getLogger(__name__)

BUNDLED = "prompt_embeds.safetensors"
#: As many tokens as the models were trained with.
WAN_TOKENS, LTX2_TOKENS = 512, 1024

Embedding = dict[str, Tensor]


def cache_folder(of: str = "prompts") -> Path:
    """Where embeddings, or things of another kind, are kept between runs."""
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    return base / "realmaster" / of


def prompt_embeddings(
    family: FamilyName, source: str, prompts: Sequence[str], device: str
) -> list[Embedding]:
    """What the family's transformer hears of each prompt, on the CPU. SetupError.

    wan: `prompt` (1, T, D). ltx2: `video` (1, T, D), `mask` (1, T).
    """
    bundled = Path(source) / BUNDLED
    if bundled.is_file():
        return [_read(bundled)] * len(prompts)
    paths = [cache_folder() / f"{_name(source, prompt)}.safetensors" for prompt in prompts]
    missing = [k for k, path in enumerate(paths) if not path.is_file()]
    if missing:
        encode = {"wan": _encode_wan, "ltx2": _encode_ltx2}[family]
        asked, dtype = [prompts[k] for k in missing], _dtype(device)
        with torch.no_grad():
            try:
                embeddings = encode(source, asked, device, dtype)
            except torch.OutOfMemoryError:
                log.warning("the text encoder does not fit the card: it works on the CPU, once")
                gc.collect()
                torch.cuda.empty_cache()
                embeddings = encode(source, asked, "cpu", dtype)
        cache_folder().mkdir(parents=True, exist_ok=True)
        for k, embedding in zip(missing, embeddings, strict=True):
            part = paths[k].with_suffix(".part")
            save_file(embedding, part)
            part.replace(paths[k])
        gc.collect()
        if device.startswith("cuda"):
            torch.cuda.empty_cache()
    return [_read(path) for path in paths]


def _encode_wan(
    source: str, prompts: list[str], device: str, dtype: torch.dtype
) -> list[Embedding]:
    pipeline = WanPipeline(
        tokenizer=load(AutoTokenizer, source, "tokenizer"),
        text_encoder=load(UMT5EncoderModel, source, "text_encoder", dtype=dtype).to(device),
        vae=None,
        scheduler=None,
        transformer=None,
    )
    return [{"prompt": _kept(_told(pipeline, prompt, device, WAN_TOKENS)[0])} for prompt in prompts]


def _encode_ltx2(
    source: str, prompts: list[str], device: str, dtype: torch.dtype
) -> list[Embedding]:
    encoder = load(Gemma3ForConditionalGeneration, source, "text_encoder", dtype=dtype)
    pipeline = LTX2Pipeline(
        tokenizer=load(AutoTokenizer, source, "tokenizer"),
        text_encoder=encoder.to(device),
        scheduler=None,
        vae=None,
        audio_vae=None,
        connectors=None,
        transformer=None,
        vocoder=None,
    )
    connectors = load(LTX2TextConnectors, source, "connectors", torch_dtype=dtype).to(device)
    embeddings = []
    for prompt in prompts:
        layers, mask = _told(pipeline, prompt, device, LTX2_TOKENS)[:2]
        video, _, mask = connectors(layers, mask, padding_side="left")
        embeddings.append({"video": _kept(video), "mask": _kept(mask)})
    return embeddings


def _told(pipeline: Any, prompt: str, device: str, max_tokens: int) -> tuple[Tensor, ...]:
    told: tuple[Tensor, ...] = pipeline.encode_prompt(
        prompt,
        do_classifier_free_guidance=False,
        max_sequence_length=max_tokens,
        device=torch.device(device),
    )
    return told


def _dtype(device: str) -> torch.dtype:
    return torch.bfloat16 if device.startswith("cuda") else torch.float32


def _kept(tensor: Tensor) -> Tensor:
    return tensor.float().cpu().contiguous()


def _read(path: Path) -> Embedding:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise SetupError(f"{path} is damaged: remove it and run again ({error})") from error


def _name(source: str, prompt: str) -> str:
    return hashlib.sha256(f"{source}\n{prompt}".encode()).hexdigest()[:32]
