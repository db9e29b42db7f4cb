"""Flow matching: noise levels, noising, the velocity and the Euler step. Pure functions.

x_sigma = (1 - sigma) x_0 + sigma noise, and the model predicts dx/dsigma = noise - x_0
(Lipman et al. 2023; Liu et al. 2023, rectified flow). sigma is 1 for noise and 0 for data.
"""

import torch
from torch import Tensor

#: Wan's and LTX's transformers take sigma times this as their timestep.
TIMESTEPS = 1000.0


def shifted(sigma: Tensor, shift: float) -> Tensor:
    """Noise levels moved towards noise, as larger videos need (Esser et al. 2024, eq. 23)."""
    return shift * sigma / (1 + (shift - 1) * sigma)


def schedule(num_steps: int, shift: float) -> Tensor:
    """The noise levels of `num_steps` Euler steps, (num_steps + 1,) float64 from 1 down to 0."""
    return shifted(torch.linspace(1, 0, num_steps + 1, dtype=torch.float64), shift)


def noised(clean: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
    """x_sigma; sigma: (B,), one level per sample."""
    level = sigma.reshape(-1, *[1] * (clean.ndim - 1)).to(clean)
    return (1 - level) * clean + level * noise


def velocity(clean: Tensor, noise: Tensor) -> Tensor:
    """What the model is to predict at every level."""
    return noise - clean


def euler_step(x: Tensor, velocity: Tensor, sigma: float, sigma_next: float) -> Tensor:
    """x at `sigma_next`; computed in float32, in x's dtype."""
    return (x.float() + (sigma_next - sigma) * velocity.float()).to(x.dtype)
