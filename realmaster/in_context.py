"""The in-context core: a Wan transformer that sees a reference beside what it denoises.

A sequence is a list of segments (what is denoised, a clean reference, clean anchor frames), each
with a timestep of its own. Positions are shared: a reference token has the position of the target
token that it belongs to, also where the reference has fewer pixels. Modulation is kept once per
segment and applied to slices; the stock forward with one timestep per token keeps it once per token
in float32, 4 GB a block for the 5B model at 720p. The numbers are the same. Built on diffusers'
public classes; used by training and enhancement alike. This file knows no files and no samplers.

Shape legend: B batch, C latent channels, F H W latent frames, rows, columns, L tokens of all
segments, S segments, D features, T text tokens.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, NamedTuple

import torch
from diffusers import WanTransformer3DModel
from diffusers.models.transformers.transformer_wan import WanTransformerBlock
from torch import Tensor, nn


@dataclass(frozen=True, slots=True, eq=False)
class Segment:
    """Latents that share a timestep.

    latents: (B, C, F, H, W). timestep: (B,) in [0, 1000], 0 for what is clean. first_frame: the
    position of its first latent frame. stride: positions from one patch to the next, 2 for a
    reference of half the width and height. predicted: the forward returns its velocity.
    """

    latents: Tensor
    timestep: Tensor
    first_frame: int = 0
    stride: int = 1
    predicted: bool = False


class Modulation(NamedTuple):
    """values: (B, S, 6, D), shift, scale and gate before attention and before the feed-forward;
    lengths: tokens of each segment."""

    values: Tensor
    lengths: tuple[int, ...]


class InContextBlock(WanTransformerBlock):
    """The stock block, which also takes a Modulation."""

    def forward(
        self,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        temb: "Tensor | Modulation",
        rotary_emb: tuple[Tensor, Tensor],
    ) -> Tensor:
        """hidden_states: (B, L, D); encoder_hidden_states: (B, T, D)."""
        if isinstance(temb, Tensor):
            stock: Tensor = super().forward(hidden_states, encoder_hidden_states, temb, rotary_emb)
            return stock
        x, lengths = hidden_states, temb.lengths
        table = self.scale_shift_table + temb.values.float()
        shift, scale, gate, shift_ff, scale_ff, gate_ff = table.unbind(2)
        y = _modulated(x, self.norm1, shift, scale, lengths)
        x = _added(x, self.attn1(y, None, None, rotary_emb), gate, lengths)
        y = self.norm2(x.float()).type_as(x)
        x = x + self.attn2(y, encoder_hidden_states, None, None)
        y = _modulated(x, self.norm3, shift_ff, scale_ff, lengths)
        return _added(x, self.ffn(y), gate_ff, lengths)


class InContextTransformer(WanTransformer3DModel):
    """The stock Wan transformer, which also takes segments.

    It is loaded, saved, offloaded, compiled and given adapters as the stock class is.
    """

    _repeated_blocks: ClassVar = ["InContextBlock"]
    _no_split_modules: ClassVar = ["InContextBlock"]

    # from_pretrained reads the signature
    @functools.wraps(WanTransformer3DModel.__init__)  # type: ignore[misc]
    def __init__(self, *args: Any, **config: Any) -> None:
        super().__init__(*args, **config)
        for block in self.blocks:
            block.__class__ = InContextBlock

    def forward(
        self,
        hidden_states: "Tensor | Sequence[Segment]",
        timestep: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        """Of segments: the velocities of those that are `predicted`, shaped like their latents.

        encoder_hidden_states: (B, T, text_dim). Of a tensor: what the stock class does.
        """
        if isinstance(hidden_states, Tensor):
            return super().forward(hidden_states, timestep, encoder_hidden_states, *args, **kwargs)
        assert encoder_hidden_states is not None
        return self._forward_segments(hidden_states, encoder_hidden_states)

    def _forward_segments(self, segments: Sequence[Segment], text: Tensor) -> list[Tensor]:
        tokens = [self.patch_embedding(s.latents).flatten(2).transpose(1, 2) for s in segments]
        lengths = tuple(part.shape[1] for part in tokens)
        timesteps = torch.stack([s.timestep for s in segments], 1)
        embedded, values, text, _ = self.condition_embedder(
            timesteps.flatten(), text, None, timestep_seq_len=len(segments)
        )
        modulation = Modulation(values.unflatten(2, (6, -1)), lengths)
        rotary = self._rotary(segments)
        x = torch.cat(tokens, 1)
        for block in self.blocks:
            if torch.is_grad_enabled() and self.gradient_checkpointing:
                x = self._gradient_checkpointing_func(block, x, text, modulation, rotary)
            else:
                x = block(x, text, modulation, rotary)
        table = self.scale_shift_table.to(x.device) + embedded.unsqueeze(2)
        shift, scale = table.unbind(2)
        starts = [0]
        for length in lengths:
            starts.append(starts[-1] + length)
        velocities = []
        for index, (segment, (start, end)) in enumerate(
            zip(segments, pairwise(starts), strict=True)
        ):
            if segment.predicted:
                at = slice(index, index + 1)
                y = _modulated(
                    x[:, start:end], self.norm_out, shift[:, at], scale[:, at], (end - start,)
                )
                velocities.append(self._unpatched(self.proj_out(y), segment.latents))
        return velocities

    def _rotary(self, segments: Sequence[Segment]) -> tuple[Tensor, Tensor]:
        """cos and sin (1, L, 1, head_dim) of all tokens' positions in time, rows and columns."""
        rope = self.rope
        tables = [
            buffer.split([rope.t_dim, rope.h_dim, rope.w_dim], 1)
            for buffer in (rope.freqs_cos, rope.freqs_sin)
        ]
        parts: tuple[list[Tensor], list[Tensor]] = ([], [])
        for segment in segments:
            t, h, w = (
                size // patch
                for size, patch in zip(
                    segment.latents.shape[2:], self.config.patch_size, strict=True
                )
            )
            last = max(segment.first_frame + t, h * segment.stride, w * segment.stride)
            if last > rope.max_seq_len:
                raise ValueError(f"position {last - 1} lies beyond the model's {rope.max_seq_len}")
            for (time, rows, columns), out in zip(tables, parts, strict=True):
                time = time[segment.first_frame : segment.first_frame + t]
                rows = rows[: h * segment.stride : segment.stride]
                columns = columns[: w * segment.stride : segment.stride]
                grid = [
                    time[:, None, None].expand(t, h, w, -1),
                    rows[None, :, None].expand(t, h, w, -1),
                    columns[None, None].expand(t, h, w, -1),
                ]
                out.append(torch.cat(grid, -1).reshape(1, t * h * w, 1, -1))
        return torch.cat(parts[0], 1), torch.cat(parts[1], 1)

    def _unpatched(self, tokens: Tensor, like: Tensor) -> Tensor:
        """(B, tokens, C * patch) -> (B, C, F, H, W) of `like`'s size."""
        batch, _, frames, height, width = like.shape
        p_t, p_h, p_w = self.config.patch_size
        grid = (frames // p_t, height // p_h, width // p_w)
        x = tokens.reshape(batch, *grid, p_t, p_h, p_w, -1).permute(0, 7, 1, 4, 2, 5, 3, 6)
        return x.reshape(batch, -1, frames, height, width)


def _modulated(
    x: Tensor, norm: nn.Module, shift: Tensor, scale: Tensor, lengths: tuple[int, ...]
) -> Tensor:
    """norm(x) (B, L, D) under each segment's shift and scale (B, S, D), in x's dtype."""
    parts = [
        (norm(part.float()) * (1 + scale[:, k : k + 1]) + shift[:, k : k + 1]).type_as(x)
        for k, part in enumerate(x.split_with_sizes(lengths, 1))
    ]
    return torch.cat(parts, 1)


def _added(x: Tensor, change: Tensor, gate: Tensor, lengths: tuple[int, ...]) -> Tensor:
    """x + change * each segment's gate (B, S, D), in x's dtype."""
    pairs = zip(x.split_with_sizes(lengths, 1), change.split_with_sizes(lengths, 1), strict=True)
    parts = [
        (part.float() + delta.float() * gate[:, k : k + 1]).type_as(x)
        for k, (part, delta) in enumerate(pairs)
    ]
    return torch.cat(parts, 1)
