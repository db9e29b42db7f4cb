"""What a sample's loss is: noise levels, what is held clean, the masked flow-matching loss.

All randomness of a sample is a function of (seed, step, slot), where the slot is its place in the
step's whole batch: it does not depend on how many processes share the batch, and a resumed run
needs no random state. Pure functions; knows no model and no files.

Shape legend: B batch, C latent channels, F H W latent frames, rows, columns.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from realmaster.flow_matching import shifted, velocity
from training.config import Held, Noise


@dataclass(frozen=True, slots=True, eq=False)
class Draw:
    """The random part of a batch. noise: (B, C, F, H, W); sigma: (B,) in (0, 1).

    held: (B,), how many first latent frames are given clean.
    """

    noise: Tensor
    sigma: Tensor
    held: Tensor

    def to(self, device: torch.device) -> "Draw":
        """The same on another device."""
        return Draw(self.noise.to(device), self.sigma.to(device), self.held.to(device))


def generator_of(*key: int | str) -> torch.Generator:
    """A generator that is a function of the key alone."""
    digest = hashlib.blake2b(repr(key).encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)


def draw(
    shape: Sequence[int],
    slots: Sequence[int],
    step: int,
    seed: int,
    noise: Noise,
    held: Held,
    temporal_factor: int,
) -> Draw:
    """Of one batch on the CPU; shape: (C, F, H, W) of a target, slots: one for each sample."""
    noises, sigmas, counts = [], [], []
    for slot in slots:
        generator = generator_of(seed, step, slot)
        sigmas.append(_level(noise, generator))
        counts.append(_held_frames(held, shape[1], temporal_factor, generator))
        noises.append(torch.randn(tuple(shape), generator=generator))
    return Draw(torch.stack(noises), torch.stack(sigmas), torch.tensor(counts))


def held_lengths(held: Held, num_frames: int, temporal_factor: int) -> list[int]:
    """Possible numbers of held latent frames, ascending; a frame at least stays to be made."""
    lengths = {(pictures - 1) // temporal_factor + 1 for pictures in held.pictures}
    return sorted(length for length in lengths if length < num_frames)


def sees_reference(share: float, seed: int, step: int) -> bool:
    """Whether a step is one of the `share` that see the references."""
    return float(torch.rand((), generator=generator_of(seed, "reference", step))) < share


def flow_loss(predicted: Tensor, target: Tensor, draw: Draw) -> Tensor:
    """Mean over samples of the mean squared error over what is not held; float32, a scalar.

    predicted, target: (B, C, F, H, W), the velocity and the clean latents.
    """
    error = (predicted.float() - velocity(target.float(), draw.noise)).square().mean((1, 3, 4))
    frames = torch.arange(target.shape[2], device=target.device)
    learnt = (frames[None] >= draw.held[:, None]).float()
    return ((error * learnt).sum(1) / learnt.sum(1)).mean()


def _level(noise: Noise, generator: torch.Generator) -> Tensor:
    while True:
        even = torch.rand((), generator=generator)
        choice = torch.rand((), generator=generator)
        normal = torch.randn((), generator=generator) * noise.std + noise.mean
        level = even if choice < noise.uniform else shifted(torch.sigmoid(normal), noise.shift)
        if noise.least <= level <= noise.most:
            return level


def _held_frames(
    held: Held, num_frames: int, temporal_factor: int, generator: torch.Generator
) -> int:
    choice = float(torch.rand((), generator=generator))
    lengths = held_lengths(held, num_frames, temporal_factor)
    which = int(torch.randint(max(1, len(lengths)), (), generator=generator))
    return lengths[which] if lengths and choice < held.probability else 0
