"""Wan video models as clip models: encode, denoise with the render in context, decode.

Built on diffusers' WanTransformer3DModel (in_context.py) and AutoencoderKLWan. This file knows
tensors and pictures; it knows no sessions, windows or adapters' files.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from diffusers import AutoencoderKLWan
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as fn

from realmaster.flow_matching import TIMESTEPS, euler_step, schedule
from realmaster.in_context import InContextTransformer, Segment

U8 = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Flow:
    """How it is denoised. sigmas: noise levels from 1 to 0. guidance: per sigma's expert, high
    noise first; 1 runs the model once a step. boundary: below it the last expert works."""

    sigmas: tuple[float, ...]
    guidance: tuple[float, ...] = (1.0,)
    boundary: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Text:
    """Prompt embeddings (1, T, text_dim); negative: of what guidance leads away from."""

    prompt: Tensor
    negative: Tensor | None = None


class WanClips:
    """Makes clips of any length and size. experts: one transformer, or two (much, little noise).

    size: (width, height) that it works at; pictures are resized to it and back. reference_stride:
    how many times smaller the reference is. All components must be on `device`, or bring
    themselves there.
    """

    def __init__(
        self,
        experts: Sequence[InContextTransformer],
        vae: AutoencoderKLWan,
        text: Text,
        flow: Flow,
        size: tuple[int, int],
        *,
        reference_stride: int = 1,
        device: str = "cpu",
    ) -> None:
        multiple = spatial_multiple(experts[0], vae) * reference_stride
        assert size[0] % multiple == 0, size
        assert size[1] % multiple == 0, size
        self._experts = tuple(experts)
        self._vae = vae
        self._text = text
        self._flow = flow
        self._size = size
        self._stride = reference_stride
        self._device = torch.device(device)
        self._dtype = experts[0].dtype
        config = vae.config
        shape = (1, config.z_dim, 1, 1, 1)
        self._mean = torch.tensor(config.latents_mean).reshape(shape)
        self._std = torch.tensor(config.latents_std).reshape(shape)

    @torch.no_grad()
    def generate(self, render: U8, anchors: U8 | None, seed: int) -> U8:
        """See windows.ClipModel."""
        count, height, width = render.shape[:3]
        clip = self.encode(_padded(render, self._vae.config.scale_factor_temporal), self._stride)
        held = None if anchors is None else self.encode(_whole(anchors, self._vae))
        latents = self.denoise(clip, held, seed)
        return resized(self.decode(latents)[:count], (width, height))

    def encode(self, pictures: U8, stride: int = 1) -> Tensor:
        """Latents (1, C, F, h, w), mean 0 and variance 1, of (T, H, W, 3) with T = 4 F - 3."""
        width, height = self._size[0] // stride, self._size[1] // stride
        video = torch.from_numpy(resized(pictures, (width, height)))
        video = (video.permute(3, 0, 1, 2)[None].float() / 127.5 - 1).to(self._device)
        latents: Tensor = self._vae.encode(video.to(self._vae.dtype)).latent_dist.mode().float()
        normal = (latents - self._mean.to(latents)) / self._std.to(latents)
        return normal.to(self._device, self._dtype)

    def denoise(self, reference: Tensor, anchors: Tensor | None, seed: int) -> Tensor:
        """Latents of the clip whose render is `reference` and that begins with `anchors`."""
        shape = list(reference.shape)
        shape[3], shape[4] = shape[3] * self._stride, shape[4] * self._stride
        held = 0 if anchors is None else anchors.shape[2]
        shape[2] -= held
        generator = torch.Generator().manual_seed(seed)
        x = torch.randn(shape, generator=generator).to(self._device)
        for sigma, after in pairwise(self._flow.sigmas):
            x = euler_step(x, self._velocity(x, reference, anchors, sigma), sigma, after)
        return x if anchors is None else torch.cat([anchors.to(x), x], 2)

    def _velocity(
        self, x: Tensor, reference: Tensor, anchors: Tensor | None, sigma: float
    ) -> Tensor:
        late = sigma < self._flow.boundary
        expert = self._experts[-1 if late else 0]
        guidance = self._flow.guidance[-1 if late else 0]
        clean = torch.zeros(1, device=self._device)
        time = torch.full((1,), sigma * TIMESTEPS, device=self._device)
        held = 0 if anchors is None else anchors.shape[2]
        target = Segment(x.to(self._dtype), time, first_frame=held, predicted=True)
        segments = [target, Segment(reference, clean, stride=self._stride)]
        if anchors is not None:
            segments.insert(0, Segment(anchors, clean))
        velocity: Tensor
        (velocity,) = expert(segments, None, self._text.prompt)
        if guidance == 1 or self._text.negative is None:
            return velocity.float()
        away: Tensor
        (away,) = expert(segments, None, self._text.negative)
        return away.float() + guidance * (velocity.float() - away.float())

    def decode(self, latents: Tensor) -> U8:
        """Pictures (T, H, W, 3) of the working size."""
        latents = latents.float() * self._std.to(latents.device) + self._mean.to(latents.device)
        latents = latents.to(self._device, self._vae.dtype)
        video = self._vae.decode(latents, return_dict=False)[0][0]
        levels = ((video.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
        pictures: U8 = levels.permute(1, 2, 3, 0).cpu().numpy()
        return pictures


def flow_of(steps: int, shift: float, guidance: tuple[float, ...], boundary: float = 0.0) -> Flow:
    """A flow of `steps` Euler steps."""
    return Flow(tuple(schedule(steps, shift).tolist()), guidance, boundary)


def spatial_multiple(transformer: InContextTransformer, vae: AutoencoderKLWan) -> int:
    """Width and height of what it works on are multiples of this."""
    return int(vae.config.scale_factor_spatial * transformer.config.patch_size[1])


def working_size(
    size: tuple[int, int], made_for: tuple[int, int], multiple: int
) -> tuple[int, int]:
    """The (width, height) to work at for pictures of `size`: their shape, the model's pixels.

    Pictures with fewer pixels than the model was made for keep their own size, rounded.
    """
    scale = min(1.0, float(np.sqrt(made_for[0] * made_for[1] / (size[0] * size[1]))))
    width, height = (max(1, round(side * scale / multiple)) * multiple for side in size)
    return width, height


def resized(pictures: U8, size: tuple[int, int]) -> U8:
    """Pictures (T, H, W, 3) at (width, height) `size`, anti-aliased."""
    if pictures.shape[2:0:-1] == size:
        return pictures
    images = torch.from_numpy(pictures).permute(0, 3, 1, 2)
    made = fn.interpolate(images, size[::-1], mode="bicubic", antialias=True)
    pictures = made.permute(0, 2, 3, 1).contiguous().numpy()
    return np.asarray(pictures, np.uint8)


def _padded(pictures: U8, factor: int) -> U8:
    """The clip with its last picture repeated until there are `factor` k + 1."""
    missing = -(len(pictures) - 1) % factor
    return np.concatenate([pictures, np.repeat(pictures[-1:], missing, 0)])


def _whole(anchors: U8, vae: AutoencoderKLWan) -> U8:
    """As many of the first anchors as make whole latent frames: `factor` k + 1."""
    factor = int(vae.config.scale_factor_temporal)
    return anchors[: len(anchors) - (len(anchors) - 1) % factor]
