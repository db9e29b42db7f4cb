"""A quick look at latents: a linear map from each latent to a patch of pixels, no autoencoder.

No class of diffusers is a small autoencoder for these models' videos, so the map is fitted by least
squares to the model's own autoencoder, on textures that are the same everywhere, and kept in the
user's cache. It shows layout and color, not detail. This file knows tensors; it knows no models.
"""

import hashlib

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as fn

from realmaster.families.clips import LatentVideo
from realmaster.families.prompts import cache_folder

U8 = NDArray[np.uint8]

_NUM_TEXTURES = 4
#: Against latents that hardly vary in the textures.
_RIDGE = 1e-3


class LatentPreview:
    """weights: (C + 1, 3 p p), from a latent and 1 to the pixels of its patch, -1 to 1."""

    def __init__(self, weights: Tensor) -> None:
        self.weights = weights
        self.patch = round((weights.shape[1] / 3) ** 0.5)

    def pictures(self, latents: Tensor) -> U8:
        """(F, h p, w p, 3) sRGB of latents (1, C, F, h, w), one per latent frame."""
        flat = latents[0].float().permute(1, 2, 3, 0)
        pixels = _with_one(flat) @ self.weights.to(flat)
        frames, height, width, _ = pixels.shape
        patches = pixels.reshape(frames, height, width, self.patch, self.patch, 3)
        whole = patches.permute(0, 1, 3, 2, 4, 5).flatten(1, 2).flatten(2, 3)
        levels = ((whole.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
        made: U8 = levels.cpu().numpy()
        return made


def latent_preview(video: LatentVideo, source: str, device: str) -> LatentPreview:
    """The map for the autoencoder of `source`: from the cache, else fitted and put there."""
    name = hashlib.sha256(source.encode()).hexdigest()[:32]
    path = cache_folder("previews") / f"{name}.safetensors"
    if path.is_file():
        try:
            return LatentPreview(load_file(path)["weights"])
        except (SafetensorError, KeyError):
            path.unlink()  # it costs a second to make it anew
    made = fit_preview(video, device)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    save_file({"weights": made.weights}, part)
    part.replace(path)
    return made


@torch.no_grad()
def fit_preview(video: LatentVideo, device: str) -> LatentPreview:
    """Least squares from latents to what was encoded, at half its width and height."""
    side = 8 * video.spatial_multiple
    inputs, outputs = [], []
    for seed in range(_NUM_TEXTURES):
        clip = texture(2 * video.temporal_factor + 1, side, seed)
        latents = video.encode(clip.to(device)).float().cpu()
        patch = max(1, side // latents.shape[3] // 2)
        inputs.append(_with_one(latents[0].permute(1, 2, 3, 0).flatten(0, 2)))
        outputs.append(_patches(shown(clip, video.temporal_factor), latents.shape[3], patch))
    a, y = torch.cat(inputs).double(), torch.cat(outputs).double()
    normal = a.T @ a + _RIDGE * len(a) * torch.eye(a.shape[1], dtype=torch.float64)
    return LatentPreview(torch.linalg.solve(normal, a.T @ y).float().contiguous())


def shown(clip: Tensor, temporal_factor: int) -> Tensor:
    """(3, F, H, W) of what each latent frame of a clip (1, 3, T, H, W) covers, in the mean."""
    _, _, frames, height, width = clip.shape
    later = clip[0, :, 1:].reshape(3, frames // temporal_factor, temporal_factor, height, width)
    return torch.cat([clip[0, :, :1], later.mean(2)], 1)


def texture(frames: int, side: int, seed: int) -> Tensor:
    """Clouds of all sizes that drift: (1, 3, frames, side, side) from -1 to 1; equal by seed."""
    generator = torch.Generator().manual_seed(seed)
    whole = torch.zeros(1, 3, side, side)
    cells = 2
    while cells <= side // 2:
        light = torch.randn(1, 1, cells, cells, generator=generator)
        tint = 0.5 * torch.randn(1, 3, cells, cells, generator=generator)
        grown = fn.interpolate(light + tint, (side, side), mode="bicubic", align_corners=False)
        whole += grown / cells**0.7
        cells *= 2
    whole = (whole - whole.mean((2, 3), keepdim=True)) / whole.std() * 0.45
    drift = [whole.roll((k, 2 * k), (2, 3)) for k in range(frames)]
    return torch.stack(drift, 2).clamp(-1, 1)


def _patches(pictures: Tensor, cells: int, patch: int) -> Tensor:
    """(F cells cells, 3 p p) of (3, F, H, H), in the order of latents and then of pixels."""
    small = fn.adaptive_avg_pool2d(pictures, cells * patch)
    grid = small.reshape(3, -1, cells, patch, cells, patch)
    return grid.permute(1, 2, 4, 3, 5, 0).reshape(-1, 3 * patch * patch)


def _with_one(latents: Tensor) -> Tensor:
    return torch.cat([latents, torch.ones_like(latents[..., :1])], -1)
