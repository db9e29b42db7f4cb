"""The tiny base's autoencoder: the real AutoencoderKLWan, small, trained on the street.

Four times smaller in width and height and twice in time, with 16 channels: a sixth of the numbers.
Wan's own is eight and four times smaller, which takes many times longer to learn. Wan 2.2's
shortcuts speed it further. It learns targets and renders alike, since it has to encode both.
"""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKLWan
from torch import Tensor
from torch.nn import functional as fn

from realmaster.metrics import psnr_db
from training import checkpoint
from training.clip_reader import U8, cuts
from training.config import TrainConfig
from training.latents import make_folder, to_video
from training.muon import muon_and_adamw
from training.objective import generator_of
from training.pairs_folder import Pair

log = logging.getLogger(__name__)

CONFIG: dict[str, Any] = {
    "base_dim": 24,
    "z_dim": 16,
    "dim_mult": [1, 1],
    "num_res_blocks": 1,
    "temperal_downsample": [True],
    "is_residual": True,
    "latents_mean": [0.0] * 16,
    "latents_std": [1.0] * 16,
    "in_channels": 12,
    "out_channels": 12,
    "patch_size": 2,
    "scale_factor_temporal": 2,
    "scale_factor_spatial": 4,
}
#: Frames, height and width of what a step sees of a clip: convolutions learn the same from a part,
#: and ten of these cost what one whole clip does.
_PART = (5, 32, 32)
#: decode() clamps to [-1, 1], where nothing is learnt: it is trained on pictures that are so many
#: times smaller, and its last layer is made larger at the end.
_HEADROOM = 2.0
#: Weight of the KL divergence, as usual for latent diffusion: it keeps the scale, no more.
_KL = 1e-6
#: Weight of the differences between neighbours, which keep edges sharp.
_EDGES = 0.5
_LEARNING_RATE = 1e-2


def clips_of(pairs: Sequence[Pair], config: TrainConfig, multiple: int) -> list[U8]:
    """All targets and renders (T, H, W, 3) of the pairs. multiple: of width and height."""
    return [
        clip
        for pair in pairs
        for cut in cuts(pair, config.clip, multiple)
        for clip in (cut.target, cut.reference)
    ]


def train_autoencoder(
    clips: Sequence[U8],
    folder: Path,
    config: TrainConfig,
    steps: int,
    device: torch.device,
    progress: Callable[[int, int, float], None],
) -> float:
    """Train it in `folder`, going on where an earlier run stopped; PSNR of what it gives back, dB.

    Writes FOLDER/vae with the latents' mean and spread in its config. OutputError.
    """
    torch.manual_seed(config.seed)
    vae = AutoencoderKLWan(**CONFIG).to(device)
    optimizers = muon_and_adamw(
        vae,
        lr=_LEARNING_RATE,
        weight_decay=0.0,
        outside=lambda name: name.startswith("decoder.conv_out"),
    )
    room = folder / "vae_checkpoints"
    start = (
        checkpoint.restore(room, config, vae, *optimizers) if checkpoint.checkpoints(room) else 0
    )
    for step in range(start, steps):
        rising = min(1.0, (step + 1) / 100)
        for group in (group for optimizer in optimizers for group in optimizer.param_groups):
            group["lr"] = _LEARNING_RATE * rising * (1 - 0.95 * step / steps)
        with torch.autocast(device.type, torch.bfloat16):
            loss = reconstruction_loss(vae, _batch(clips, step, config, device), config.seed + step)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        progress(step + 1, steps, loss.item())
        if (step + 1) % 250 == 0 or step + 1 == steps:
            make_folder(room)
            state = checkpoint.state_of(vae, *optimizers)
            checkpoint.save(room, state, config, step + 1, keep=1)
    with torch.no_grad():
        for parameter in vae.decoder.conv_out.parameters():
            parameter.mul_(_HEADROOM)
    quality = measure(vae, clips[:: max(1, len(clips) // 64)], device)
    vae.save_pretrained(folder / "vae")
    return quality


def reconstruction_loss(vae: Any, video: Tensor, seed: int) -> Tensor:
    """Of videos (B, 3, T, H, W) in [-1, 1]: distance of pixels, of edges, and KL divergence.

    The autoencoder is one that gives back videos _HEADROOM times smaller.
    """
    posterior = vae.encode(video).latent_dist
    noise = torch.randn(posterior.mean.shape, generator=torch.Generator().manual_seed(seed))
    latents = posterior.mean + posterior.std * noise.to(video)
    made: Tensor = vae.decode(latents).sample * _HEADROOM
    kl: Tensor = posterior.kl().mean()
    loss = fn.l1_loss(made, video) + _KL * kl
    for axis in (3, 4):
        loss = loss + _EDGES * fn.l1_loss(made.diff(dim=axis), video.diff(dim=axis))
    return loss


@torch.no_grad()
def measure(vae: Any, clips: Sequence[U8], device: torch.device) -> float:
    """PSNR of what comes back, dB; puts the latents' mean and spread into the config."""
    errors, latents = [], []
    for clip in clips:
        video = to_video(clip, device)
        z = vae.encode(video).latent_dist.mode()
        made = vae.decode(z).sample.clamp(-1, 1)
        errors.append(float((made - video).mul(127.5).square().mean()))
        latents.append(z[0].flatten(1).cpu())
    every = torch.cat(latents, 1)
    vae.register_to_config(
        latents_mean=every.mean(1).tolist(), latents_std=every.std(1).clamp(min=1e-4).tolist()
    )
    return psnr_db(float(np.mean(errors)))


def _batch(clips: Sequence[U8], step: int, config: TrainConfig, device: torch.device) -> Tensor:
    """Random parts (B, 3, T, H, W) of random clips, the same for the same step."""
    generator = generator_of(config.seed, "autoencoder", step)

    def draw(below: int) -> int:
        return int(torch.randint(below, (1,), generator=generator))

    parts = []
    for _ in range(config.batch):
        part = clips[draw(len(clips))]
        for axis, length in enumerate(_PART):
            first = draw(max(0, part.shape[axis] - length) + 1)
            part = np.take(part, range(first, min(first + length, part.shape[axis])), axis)
        parts.append(to_video(part, device))
    return torch.cat(parts)
