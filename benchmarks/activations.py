"""Peak bytes of the tensors that a forward pass makes, counted as they come and go.

Works on the meta device, where nothing is computed: so a full-size model at full resolution can be
measured on any machine. Attention's own workspace is not counted (fused kernels need next to none).
`python -m benchmarks.activations` prints the table for the presets: ours beside diffusers' stock
forward with a timestep per token, 121 frames with a reference of the same size, bf16.
"""

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from realmaster.families.architectures import TRANSFORMERS
from realmaster.families.ltx2_transformer import InContextLtx2Transformer, TokenSegment
from realmaster.families.presets import PRESETS
from realmaster.in_context import InContextTransformer, Segment


class _Count(TorchDispatchMode):
    """Counts the storages that operations return while they live."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        inputs = {_key(t) for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)}
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor) and _key(tensor) not in inputs | self._known:
                self._add(tensor.untyped_storage())
        return result

    def _add(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        self._known.add(key)
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._drop, key, size)

    def _drop(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.now -= size


def _key(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


def peak_bytes(run: Callable[[], object]) -> int:
    """The most bytes that `run` had in new tensors at one time."""
    with torch.no_grad(), _attention_without_workspace(), _Count() as count:
        run()
    return count.peak


@contextmanager
def _attention_without_workspace() -> Iterator[None]:
    """On the meta device attention would be counted as its unfused form."""
    functional = torch.nn.functional
    fused = functional.scaled_dot_product_attention

    def attend(query: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if query.device.type == "meta":
            return torch.empty_like(query)
        return fused(query, *args, **kwargs)

    functional.scaled_dot_product_attention = attend
    try:
        yield
    finally:
        functional.scaled_dot_product_attention = fused


@dataclass(frozen=True)
class Passes:
    """One model's forward pass, ours and the stock one, on the same tokens."""

    tokens: int
    modulation: tuple[int, int]
    ours: Callable[[], object]
    stock: Callable[[], object]


def modulation_bytes(num_tokens: int, values: int, num_segments: int, size: int) -> tuple[int, int]:
    """Bytes of one block's modulation: (once per segment, once per token).

    values: how many a token is modulated with (6 or 9 times the model's width). size: bytes of one.
    """
    return num_segments * values * size, num_tokens * values * size


def wan(name: str, spatial: int, frames: int = 121, layers: int = 2) -> Passes:
    """A Wan preset at its size with a whole reference; more layers take no more memory."""
    with _default_dtype(torch.bfloat16):
        model = InContextTransformer(**{**TRANSFORMERS[name], "num_layers": layers})
    width, height = (side // spatial for side in PRESETS[name].size)
    latents = _empty(1, model.config.in_channels, (frames - 1) // 4 + 1, height, width)
    num_target = latents[0, 0].numel() // 4
    text, clean, noisy = _empty(1, 512, 4096), torch.zeros(1), torch.ones(1)
    segments = [Segment(latents, noisy, predicted=True), Segment(latents, clean)]
    both, time = torch.cat([latents, latents], 2), torch.ones(1, 2 * num_target)
    dim = model.config.num_attention_heads * model.config.attention_head_dim
    return Passes(
        2 * num_target,
        modulation_bytes(2 * num_target, 6 * dim, 2, 4),
        lambda: model(segments, None, text),
        lambda: model(both, time, text),
    )


def ltx2(name: str, frames: int = 121, layers: int = 2) -> Passes:
    """An LTX-2 preset at its size; the stock forward hears a silent token."""
    with _default_dtype(torch.bfloat16):
        model = InContextLtx2Transformer(**{**TRANSFORMERS[name], "num_layers": layers})
    width, height = (side // 32 for side in PRESETS[name].size)
    num_target = ((frames - 1) // 8 + 1) * height * width
    tokens, coords = _empty(1, num_target, 128), torch.empty(1, 3, num_target, 2)
    text, mask, noisy = _empty(1, 1024, 4096), _empty(1, 1024), torch.ones(1)
    segments = [
        TokenSegment(tokens, coords, noisy, predicted=True),
        TokenSegment(tokens, coords, torch.zeros(1)),
    ]
    stock = {
        "hidden_states": torch.cat([tokens, tokens], 1),
        "audio_hidden_states": _empty(1, 1, 128),
        "encoder_hidden_states": text,
        "audio_encoder_hidden_states": _empty(1, 1024, 2048),
        "timestep": torch.ones(1, 2 * num_target),
        "audio_timestep": noisy,
        "sigma": noisy,
        "encoder_attention_mask": mask,
        "audio_encoder_attention_mask": mask,
        "video_coords": torch.cat([coords, coords], 2),
        "audio_num_frames": 1,
        "isolate_modalities": True,
    }
    return Passes(
        2 * num_target,
        modulation_bytes(2 * num_target, 9 * 4096, 2, 2),
        lambda: model(segments, text, mask, noisy),
        lambda: model(**stock),
    )


@contextmanager
def _default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _empty(*shape: int) -> Tensor:
    return torch.empty(shape, dtype=torch.bfloat16)


def main() -> None:
    print("| model | tokens | a block's modulation: ours | stock | peak: ours | stock |")
    print("|---|--:|--:|--:|--:|--:|")
    with torch.device("meta"):
        passes = {
            "wan2.2-5b": wan("wan2.2-5b", 16),
            "wan2.1-14b": wan("wan2.1-14b", 8),
            "ltx-2.3": ltx2("ltx-2.3"),
        }
        for name, made in passes.items():
            ours, stock = (peak_bytes(run) / 1e9 for run in (made.ours, made.stock))
            few, many = made.modulation
            print(
                f"| {name} | {made.tokens} | {few / 1e3:.0f} kB | {many / 1e9:.2f} GB "
                f"| {ours:.1f} GB | {stock:.1f} GB |",
                flush=True,
            )


if __name__ == "__main__":
    main()
