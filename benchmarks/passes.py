"""Forward passes of the presets' full-size transformers, ours and diffusers' stock one, with random
or no weights: what the benchmarks of memory and of a GPU measure.

They are made on the default device and in the default dtype.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from realmaster.families.architectures import TRANSFORMERS
from realmaster.families.ltx2_transformer import InContextLtx2Transformer, TokenSegment
from realmaster.families.presets import PRESETS
from realmaster.in_context import InContextTransformer, Segment

#: Pixels of one latent pixel where it is not 8.
SPATIAL = {"wan2.2-5b": 16, "ltx-2.3": 32}


@dataclass(frozen=True)
class Passes:
    """One model at one size. `ours` and `stock` see a reference of the same size, so 2 x `tokens`;
    `half` one of half the width and height, `half_tokens` in all.

    modulation: bytes of one block's, (once per segment, once per token).
    """

    model: Any
    tokens: int
    half_tokens: int
    modulation: tuple[int, int]
    ours: Callable[[], object]
    half: Callable[[], object]
    stock: Callable[[], object]


def passes(
    name: str, frames: int, *, layers: int | None = None, size: tuple[int, int] | None = None
) -> Passes:
    """A preset's passes over `frames` at its own or another (width, height) size."""
    make = {"wan": _wan, "ltx2": _ltx2}[PRESETS[name].family]
    config = dict(TRANSFORMERS[name]) | ({} if layers is None else {"num_layers": layers})
    width, height = (side // SPATIAL.get(name, 8) for side in size or PRESETS[name].size)
    return make(config, frames, width, height)


def modulation_bytes(num_tokens: int, values: int, num_segments: int, size: int) -> tuple[int, int]:
    """Bytes of one block's modulation: (once per segment, once per token).

    values: how many a token is modulated with (6 or 9 times the model's width). size: bytes of one.
    """
    return num_segments * values * size, num_tokens * values * size


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """New tensors and models have this dtype."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _wan(config: dict[str, Any], frames: int, width: int, height: int) -> Passes:
    model = InContextTransformer(**config).eval()
    shape = (1, model.config.in_channels, (frames - 1) // 4 + 1, height, width)
    latents = torch.randn(shape)
    small = latents[..., : height // 4 * 2, : width // 4 * 2].contiguous()
    text, clean = torch.randn(1, 512, 4096), torch.zeros(1, dtype=torch.float32)
    noisy = clean + 500
    target = Segment(latents, noisy, predicted=True)
    whole = [target, Segment(latents, clean)]
    half = [target, Segment(small, clean, stride=2)]
    tokens, fewer = (part[0, 0].numel() // 4 for part in (latents, small))
    both = torch.cat([latents, latents], 2)
    per_token = torch.cat([noisy.expand(1, tokens), clean.expand(1, tokens)], 1)
    dim = model.config.num_attention_heads * model.config.attention_head_dim
    return Passes(
        model,
        tokens,
        tokens + fewer,
        modulation_bytes(2 * tokens, 6 * dim, 2, 4),
        lambda: model(whole, None, text),
        lambda: model(half, None, text),
        lambda: model(both, per_token, text),
    )


def _ltx2(config: dict[str, Any], frames: int, width: int, height: int) -> Passes:
    """The stock forward hears one silent token beside the picture."""
    model = InContextLtx2Transformer(**config).eval()
    count = (frames - 1) // 8 + 1
    text, noisy = torch.randn(1, 1024, 4096), torch.full((1,), 500.0, dtype=torch.float32)
    tokens, coords = _ltx2_tokens(model, count, height, width)
    small = _ltx2_tokens(model, count, height // 2, width // 2)
    target = TokenSegment(tokens, coords, noisy, predicted=True)
    whole = [target, TokenSegment(tokens, coords, 0 * noisy)]
    half = [target, TokenSegment(*small, 0 * noisy)]
    num = tokens.shape[1]
    stock: dict[str, Any] = {
        "hidden_states": torch.cat([tokens, tokens], 1),
        "audio_hidden_states": torch.zeros(1, 1, 128),
        "encoder_hidden_states": text,
        "audio_encoder_hidden_states": torch.randn(1, 1024, 2048),
        "timestep": torch.cat([noisy.expand(1, num), 0 * noisy.expand(1, num)], 1),
        "audio_timestep": noisy,
        "sigma": noisy,
        "video_coords": torch.cat([coords, coords], 2),
        "audio_num_frames": 1,
        "isolate_modalities": True,
    }
    size = tokens.element_size()
    return Passes(
        model,
        num,
        num + small[0].shape[1],
        modulation_bytes(2 * num, 9 * 4096, 2, size),
        lambda: model(whole, text, None, noisy),
        lambda: model(half, text, None, noisy),
        lambda: model(**stock),
    )


def _ltx2_tokens(model: Any, frames: int, height: int, width: int) -> tuple[Tensor, Tensor]:
    tokens = torch.randn(1, frames * height * width, 128)
    coords = model.rope.prepare_video_coords(1, frames, height, width, tokens.device)
    return tokens, coords
