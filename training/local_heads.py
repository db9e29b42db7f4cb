"""Lets a Wan transformer begin with heads that look near their own place.

From random weights it has to learn first that a token's own place matters, and with it the
reference's token there, whose position is the same. Heads that begin local have that from the first
step, and are free to learn otherwise (d'Ascoli et al. 2021, ConViT). Knows the transformer alone.
"""

from collections.abc import Sequence
from typing import Any

import torch

#: Radians from one token to the next: slower pairs hardly tell neighbours apart.
_LEAST_FREQUENCY = 0.1
_THETA = 10_000.0  # of Wan's rotary embedding
#: What queries and keys hold at the start, beside what they make of the content.
_CONSTANT = 3.0


@torch.no_grad()
def look_nearby(transformer: Any, sharpness: Sequence[float]) -> None:
    """Make the first heads of every block local, as sharply as is said for each.

    Rotary positions turn the pair i of an axis by f_i per token, so that a query and a key that
    hold the same constant there meet in a logit of sum_i cos(f_i d) at a distance d: greatest at 0.
    """
    size = transformer.config.attention_head_dim
    columns = _columns(size)
    for block in transformer.blocks:
        attention = block.attn1
        for layer, norm in (
            (attention.to_q, attention.norm_q),
            (attention.to_k, attention.norm_k),
        ):
            for head, sharp in enumerate(sharpness):
                at = [head * size + column for column in columns]
                layer.bias[at] = _CONSTANT
                norm.weight[at] = sharp


def _columns(size: int) -> list[int]:
    """Of a head: the first of each pair that turns fast, over the axes time, row and column."""
    across = 2 * (size // 6)
    columns, start = [], 0
    for width in (size - 2 * across, across, across):
        frequencies = [_THETA ** (-2 * pair / width) for pair in range(width // 2)]
        columns += [start + 2 * i for i, f in enumerate(frequencies) if f > _LEAST_FREQUENCY]
        start += width
    return columns
