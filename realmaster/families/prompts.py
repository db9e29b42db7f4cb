"""Prompt embeddings of a model's text encoder, computed once and kept on disk.

The encoder (11 GB for Wan) is loaded only when an embedding is not there yet, and freed at once.
A checkpoint without one brings its embeddings with it, in `prompt_embeds.safetensors`.
"""

import gc
import hashlib
import os
import sys
from pathlib import Path

import torch
from diffusers import WanPipeline
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoTokenizer, UMT5EncoderModel

from capture_bridge.errors import SetupError
from realmaster.families.weights import load

BUNDLED = "prompt_embeds.safetensors"
_MAX_TOKENS = 512


def cache_folder() -> Path:
    """Where embeddings are kept between runs."""
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    return base / "realmaster" / "prompts"


def wan_prompts(source: str, prompts: tuple[str, ...], device: str) -> list[Tensor]:
    """One embedding (1, T, text_dim) float32 per prompt, on the CPU. SetupError."""
    bundled = Path(source) / BUNDLED
    if bundled.is_file():
        return [_read(bundled)] * len(prompts)
    paths = [cache_folder() / f"{_name(source, prompt)}.safetensors" for prompt in prompts]
    missing = [k for k, path in enumerate(paths) if not path.is_file()]
    if missing:
        embeddings = _encode(source, [prompts[k] for k in missing], device)
        cache_folder().mkdir(parents=True, exist_ok=True)
        for k, embedding in zip(missing, embeddings, strict=True):
            part = paths[k].with_suffix(".part")
            save_file({"prompt": embedding}, part)
            part.replace(paths[k])
    return [_read(path) for path in paths]


def _encode(source: str, prompts: list[str], device: str) -> list[Tensor]:
    dtype = torch.bfloat16 if device.startswith("cuda") else torch.float32
    tokenizer = load(AutoTokenizer, source, "tokenizer")
    encoder = load(UMT5EncoderModel, source, "text_encoder", dtype=dtype).to(device)
    pipeline = WanPipeline(
        tokenizer=tokenizer, text_encoder=encoder, vae=None, scheduler=None, transformer=None
    )
    with torch.no_grad():
        made = [
            pipeline.encode_prompt(
                prompt,
                do_classifier_free_guidance=False,
                max_sequence_length=_MAX_TOKENS,
                device=torch.device(device),
            )[0]
            for prompt in prompts
        ]
    embeddings = [embedding.float().cpu().contiguous() for embedding in made]
    del pipeline, encoder
    gc.collect()
    if device.startswith("cuda"):
        torch.cuda.empty_cache()
    return embeddings


def _read(path: Path) -> Tensor:
    try:
        return load_file(path)["prompt"]
    except (SafetensorError, OSError, KeyError) as error:
        raise SetupError(f"{path} is damaged: remove it and run again ({error})") from error


def _name(source: str, prompt: str) -> str:
    return hashlib.sha256(f"{source}\n{_MAX_TOKENS}\n{prompt}".encode()).hexdigest()[:32]
