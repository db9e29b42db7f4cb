"""Lets a Wan transformer begin with heads that look near their own place.

From random weights it has to learn first that a token's own place matters, and with it the
reference's token there, whose position is the same. Heads that begin local have that from the first
step, and are free to learn otherwise (d'Ascoli et al. 2021, ConViT). Knows the transformer alone.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch

#: Radians from one token to the next: slower pairs hardly tell neighbours apart.
_LEAST_TURN = 0.12
#: What queries and keys hold at the start, beside what they make of the content.
_CONSTANT = 3.0


@torch.no_grad()
def look_nearby(transformer: Any, sharpness: Sequence[float]) -> None:
    """Make the first heads of every block local, as sharply as is said for each.

    Rotary positions turn the pair i of an axis by f_i per token, so that a query and a key that
    hold the same constant there meet in a logit of sum_i cos(f_i d) at a distance d: greatest at 0.
    """
    size = transformer.config.attention_head_dim
    turns = transformer.rope.freqs_sin[1, ::2]  # one token on, a pair of columns each
    columns = 2 * (turns > math.sin(_LEAST_TURN)).nonzero()[:, 0]
    for block in transformer.blocks:
        attention = block.attn1
        for layer, norm in (
            (attention.to_q, attention.norm_q),
            (attention.to_k, attention.norm_k),
        ):
            for head, sharp in enumerate(sharpness):
                layer.bias[head * size + columns] = _CONSTANT
                norm.weight[head * size + columns] = sharp
