"""Muon: momentum whose directions all have the same size. Knows torch alone.

After Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks", with the step's
size of Liu et al. 2025, "Muon is Scalable for LLM Training". torch.optim.Muon takes matrices alone
and multiplies in bfloat16, which many CPUs do in a slow reference path; this one takes convolutions
and multiplies in float32.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

#: Of the quintic iteration: steepest at 0, so small singular values grow most (Jordan 2024).
_A, _B, _C = 3.4445, -4.7750, 2.0315
_ITERATIONS = 5
#: Root mean square of a step over the learning rate: AdamW's usual one (Liu 2025).
_STEP_RMS = 0.2


def muon_and_adamw(
    model: nn.Module, *, lr: float, weight_decay: float, outside: Callable[[str], bool]
) -> tuple[torch.optim.Optimizer, ...]:
    """Muon for what is trained, AdamW for its vectors and for the names that are `outside`.

    Outside is what meets data, first and last, whose sizes mean something (Jordan 2024).
    """
    trained = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    inside = {
        name: weight
        for name, weight in trained.items()
        if weight.ndim >= 2 and min(weight.shape[0], weight[0].numel()) > 1 and not outside(name)
    }
    rest = [weight for name, weight in trained.items() if name not in inside]
    muon = Muon(inside.values(), lr=lr, weight_decay=weight_decay)
    return (muon, torch.optim.AdamW(rest, lr=lr, weight_decay=weight_decay)) if rest else (muon,)


class Muon(torch.optim.Optimizer):
    """For weights of two dimensions or more, each the matrix (first, all the others)."""

    def __init__(
        self, params: Iterable[Tensor], *, lr: float, momentum: float = 0.95, weight_decay: float
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One step along every weight's gradient."""
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    _move(weight, weight.grad, self.state[weight], group)


def _move(weight: Tensor, slope: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
    if "momentum" not in state:
        state["momentum"] = torch.zeros_like(weight)
    momentum = state["momentum"].lerp_(slope, 1 - group["momentum"])
    ahead = slope.lerp(momentum, group["momentum"])  # Nesterov's
    direction = orthogonalized(ahead.flatten(1)).reshape(weight.shape)
    size = _STEP_RMS * max(weight.shape[0], weight.numel() // weight.shape[0]) ** 0.5
    weight.mul_(1 - group["lr"] * group["weight_decay"])
    weight.add_(direction, alpha=-group["lr"] * size)


def orthogonalized(matrix: Tensor) -> Tensor:
    """The matrix (M, N) with its singular values brought near 1: to 0.7-1.2, the smallest below.

    Newton-Schulz: X' = (a + b XX^T + c (XX^T)^2) X. All factors are polynomials of the first XX^T
    and commute, so the iteration needs that small square alone, and the matrix twice.
    """
    if matrix.shape[0] > matrix.shape[1]:
        return orthogonalized(matrix.T).T
    matrix = matrix / (matrix.norm() + 1e-7)
    square = matrix @ matrix.T
    one = torch.eye(len(square), device=matrix.device)
    factor = total = _factor(square, one)
    for _ in range(_ITERATIONS - 1):
        square = factor @ square @ factor
        factor = _factor(square, one)
        total = factor @ total
    return total @ matrix


def _factor(square: Tensor, one: Tensor) -> Tensor:
    return torch.addmm(_A * one + _B * square, square, square, alpha=_C)
