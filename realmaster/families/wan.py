"""Wan video models as latent videos, with the render in context.

Built on diffusers' WanTransformer3DModel (in_context.py) and AutoencoderKLWan. This file knows
tensors; it knows no pictures, files or samplers.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from diffusers import AutoencoderKLWan
from torch import Tensor

from realmaster.flow_matching import TIMESTEPS
from realmaster.in_context import InContextTransformer, Segment

#: Frames that AutoencoderKLWan takes at a time after the first; it drops a rest without a word.
_CHUNK = 4


@dataclass(frozen=True, slots=True, eq=False)
class Text:
    """Prompt embeddings (1, T, text_dim); negative: of what guidance leads away from."""

    prompt: Tensor
    negative: Tensor | None = None


class WanVideo:
    """clips.LatentVideo of Wan. experts: one transformer, or two (much noise, little noise).

    guidance: of each expert; 1 runs it once a step. boundary: the noise level below which the last
    expert works. All components are on one device, or bring themselves there.
    """

    def __init__(
        self,
        experts: Sequence[InContextTransformer],
        vae: AutoencoderKLWan,
        text: Text,
        *,
        guidance: Sequence[float] = (1.0,),
        boundary: float = 0.0,
    ) -> None:
        self._experts = tuple(experts)
        self._vae = vae
        self._text = text
        self._guidance = tuple(guidance)
        self._boundary = boundary
        self._dtype = experts[0].dtype
        config = vae.config
        shape = (1, config.z_dim, 1, 1, 1)
        self._mean = torch.tensor(config.latents_mean).reshape(shape)
        self._std = torch.tensor(config.latents_std).reshape(shape)
        self.temporal_factor = int(config.scale_factor_temporal)
        self.spatial_multiple = int(config.scale_factor_spatial * experts[0].config.patch_size[1])

    def encode(self, video: Tensor) -> Tensor:
        """See clips.LatentVideo."""
        frames = video.shape[2]
        spare = -(frames - 1) % _CHUNK
        if spare:
            video = torch.cat([video, video[:, :, -1:].expand(-1, -1, spare, -1, -1)], 2)
        latents: Tensor = self._vae.encode(video.to(self._vae.dtype)).latent_dist.mode().float()
        latents = latents[:, :, : (frames - 1) // self.temporal_factor + 1]
        normal = (latents - self._mean.to(latents)) / self._std.to(latents)
        return normal.to(self._dtype)

    def decode(self, latents: Tensor) -> Tensor:
        """See clips.LatentVideo."""
        latents = latents.float() * self._std.to(latents.device) + self._mean.to(latents.device)
        video: Tensor = self._vae.decode(latents.to(self._vae.dtype), return_dict=False)[0][0]
        return video

    def velocity(
        self,
        x: Tensor,
        reference: Tensor,
        anchors: Tensor | None,
        sigma: float,
        stride: int,
        ending: Tensor | None = None,
    ) -> Tensor:
        """See clips.LatentVideo."""
        late = -1 if sigma < self._boundary else 0
        expert, guidance = self._experts[late], self._guidance[late]
        clean = torch.zeros(1, device=x.device)
        time = torch.full((1,), sigma * TIMESTEPS, device=x.device)
        held = 0 if anchors is None else anchors.shape[2]
        target = Segment(x.to(self._dtype), time, first_frame=held, predicted=True)
        segments = [target, Segment(reference, clean, stride=stride)]
        if anchors is not None:
            segments.insert(0, Segment(anchors, clean))
        if ending is not None:
            segments.append(Segment(ending, clean, first_frame=held + x.shape[2] - 1))
        velocity: Tensor
        (velocity,) = expert(segments, None, self._text.prompt)
        if guidance == 1 or self._text.negative is None:
            return velocity.float()
        away: Tensor
        (away,) = expert(segments, None, self._text.negative)
        return away.float() + guidance * (velocity.float() - away.float())
