"""The in-context core for LTX-2: its transformer on segments of tokens, the picture's stream alone.

As in_context.py does for Wan: modulation is kept once per segment and applied to slices, where the
stock forward keeps it once per token, for the sound as well. With the modalities isolated the
picture does not depend on the sound, so the sound's half is not run, and `drop_sound` lets go of
its weights. The numbers are those of diffusers' forward with a timestep per token. This file knows
tokens; it knows no latent frames, files or samplers.

Shape legend: B batch, C channels of a token, L tokens of all segments, S segments, D features,
T text tokens.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, ClassVar, NamedTuple

import torch
from diffusers import LTX2VideoTransformer3DModel
from diffusers.models.transformers.transformer_ltx2 import LTX2VideoTransformerBlock
from torch import Tensor

#: Added to the attention logits of a text token that is padding, as in diffusers' forward.
_MASKED = -10000.0
_SOUND = ("audio", "av_cross_attn", "cross_attn_rope", "cross_attn_audio", "video_to_audio")


@dataclass(frozen=True, slots=True, eq=False)
class TokenSegment:
    """Tokens that share a timestep.

    tokens: (B, N, C). coords: (B, 3, N, 2), from where to where each reaches in seconds, rows and
    columns. timestep: (B,) in [0, 1000], 0 for what is clean. predicted: the forward returns its
    velocity.
    """

    tokens: Tensor
    coords: Tensor
    timestep: Tensor
    predicted: bool = False


class Surroundings(NamedTuple):
    """What every block is given beside the tokens.

    text: (B, T, D). mask: (B, 1, T), added to attention's logits, or None. modulation: (B, S, 6 or
    9 times D) of segments of `lengths` tokens. text_modulation: (B, 1, 2 D), or None. rotary: cos
    and sin.
    """

    text: Tensor
    mask: Tensor | None
    modulation: Tensor
    lengths: tuple[int, ...]
    text_modulation: Tensor | None
    rotary: tuple[Tensor, Tensor]


class InContextLtx2Block(LTX2VideoTransformerBlock):
    """The stock block, which also takes Surroundings in the place of everything but the tokens."""

    def forward(self, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Any:
        """hidden_states: (B, L, D); so is what comes out, of Surroundings."""
        if args and isinstance(args[0], Surroundings):
            return self._picture(hidden_states, args[0])
        return super().forward(hidden_states, *args, **kwargs)

    def _picture(self, x: Tensor, given: Surroundings) -> Tensor:
        lengths = given.lengths
        values = self._modulation(self.scale_shift_table, given.modulation)
        shift, scale, gate, shift_ff, scale_ff, gate_ff = values[:6]
        y = _modulated(self.norm1(x), shift, scale, lengths)
        x = x + _gated(self.attn1(y, query_rotary_emb=given.rotary), gate, lengths)
        y, text = self.norm2(x), given.text
        if self.video_cross_attn_adaln:
            y = _modulated(y, values[6], values[7], lengths)
        if self.cross_attn_adaln:
            text_shift, text_scale = self._text_modulation(given)
            text = text * (1 + text_scale) + text_shift
        y = self.attn2(y, encoder_hidden_states=text, attention_mask=given.mask)
        x = x + (_gated(y, values[8], lengths) if self.video_cross_attn_adaln else y)
        y = _modulated(self.norm3(x), shift_ff, scale_ff, lengths)
        return x + _gated(self.ff(y), gate_ff, lengths)

    def _text_modulation(self, given: Surroundings) -> tuple[Tensor, ...]:
        table = self.prompt_scale_shift_table
        if given.text_modulation is None:
            fixed: tuple[Tensor, ...] = table[None, None].to(given.text).unbind(2)
            return fixed
        return self._modulation(table, given.text_modulation)

    def _modulation(self, table: Tensor, values: Tensor) -> tuple[Tensor, ...]:
        """As many (B, S, D) as the table (n, D) has rows, of values (B, S, n D)."""
        parts: tuple[Tensor, ...] = self.get_mod_params(table, values, values.shape[0])
        return parts


class InContextLtx2Transformer(LTX2VideoTransformer3DModel):
    """The stock LTX-2 transformer, which also takes segments of the picture's tokens.

    It is loaded, saved, offloaded, compiled and given adapters as the stock class is.
    """

    _repeated_blocks: ClassVar = ["InContextLtx2Block"]

    # from_pretrained reads the signature
    @functools.wraps(LTX2VideoTransformer3DModel.__init__)  # type: ignore[misc]
    def __init__(self, *args: Any, **config: Any) -> None:
        super().__init__(*args, **config)
        for block in self.transformer_blocks:
            block.__class__ = InContextLtx2Block

    def forward(
        self, hidden_states: "Tensor | Sequence[TokenSegment]", *args: Any, **kwargs: Any
    ) -> Any:
        """Of segments: the velocities (B, N, C) of those that are `predicted`.

        They are followed by text (B, T, D), its mask (B, T) or None, and the noise's timestep (B,).
        Of a tensor: what the stock class does.
        """
        if isinstance(hidden_states, Tensor):
            return super().forward(hidden_states, *args, **kwargs)
        return self._forward_segments(hidden_states, *args, **kwargs)

    def drop_sound(self) -> None:
        """Let go of all weights that only sound needs; only segments can be given afterwards."""
        for module in (self, *self.transformer_blocks):
            names = [*module._modules, *module._parameters]
            for name in names:
                if name.startswith(_SOUND) or name == "video_a2v_cross_attn_scale_shift_table":
                    delattr(module, name)

    def _forward_segments(
        self,
        segments: Sequence[TokenSegment],
        text: Tensor,
        mask: Tensor | None,
        timestep: Tensor,
    ) -> list[Tensor]:
        batch = timestep.shape[0]
        lengths = tuple(segment.tokens.shape[1] for segment in segments)
        x = self.proj_in(torch.cat([segment.tokens for segment in segments], 1))
        known: dict[str, Any] = {"batch_size": batch, "hidden_dtype": x.dtype}
        times = torch.stack([segment.timestep for segment in segments], 1)
        modulation, embedded = (
            part.unflatten(0, (batch, -1)) for part in self.time_embed(times.flatten(), **known)
        )
        text_modulation = None
        if self.prompt_modulation and self.config.use_prompt_adaln_single:
            text_modulation = self.prompt_adaln(timestep, **known)[0][:, None]
        if self.config.use_prompt_embeddings:
            text = self.caption_projection(text)
        given = Surroundings(
            text,
            None if mask is None else ((1 - mask.to(x.dtype)) * _MASKED)[:, None],
            modulation,
            lengths,
            text_modulation,
            self.rope(torch.cat([segment.coords for segment in segments], 2), device=x.device),
        )
        for block in self.transformer_blocks:
            if torch.is_grad_enabled() and self.gradient_checkpointing:
                x = self._gradient_checkpointing_func(block, x, given)
            else:
                x = block(x, given)
        shift, scale = (self.scale_shift_table[None, None] + embedded[:, :, None]).unbind(2)
        velocities = []
        for index, (segment, end) in enumerate(zip(segments, accumulate(lengths), strict=True)):
            if segment.predicted:
                y = self.norm_out(x[:, end - lengths[index] : end])
                y = y * (1 + scale[:, index : index + 1]) + shift[:, index : index + 1]
                velocities.append(self.proj_out(y))
        return velocities


def _modulated(x: Tensor, shift: Tensor, scale: Tensor, lengths: tuple[int, ...]) -> Tensor:
    """x (B, L, D) under each segment's shift and scale (B, S, D)."""
    parts = [
        part * (1 + scale[:, k : k + 1]) + shift[:, k : k + 1]
        for k, part in enumerate(x.split_with_sizes(lengths, 1))
    ]
    return torch.cat(parts, 1)


def _gated(x: Tensor, gate: Tensor, lengths: tuple[int, ...]) -> Tensor:
    """x (B, L, D) times each segment's gate (B, S, D)."""
    parts = [part * gate[:, k : k + 1] for k, part in enumerate(x.split_with_sizes(lengths, 1))]
    return torch.cat(parts, 1)
