"""LTX-2 video models as latent videos, with the render in context; the sound is left out.

Built on diffusers' LTX2VideoTransformer3DModel (ltx2_transformer.py) and AutoencoderKLLTX2Video.
This file knows tensors; it knows no pictures, files or samplers.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from diffusers import AutoencoderKLLTX2Video
from torch import Tensor

from realmaster.families.ltx2_transformer import InContextLtx2Transformer, TokenSegment


@dataclass(frozen=True, slots=True, eq=False)
class Ltx2Prompt:
    """What the text connectors made for the picture: video (1, T, D).

    mask: (1, T), 0 where a token is padding; None where none is.
    """

    video: Tensor
    mask: Tensor | None


class Ltx2Video:
    """clips.LatentVideo of LTX-2. fps: of the clip, which places its frames in time.

    negative: of what `guidance` leads away from; with guidance 1 the model runs once a step.
    """

    def __init__(
        self,
        transformer: InContextLtx2Transformer,
        vae: AutoencoderKLLTX2Video,
        prompt: Ltx2Prompt,
        *,
        fps: float,
        negative: Ltx2Prompt | None = None,
        guidance: float = 1.0,
    ) -> None:
        config = transformer.config
        assert (config.patch_size, config.patch_size_t) == (1, 1), "latents are the tokens"
        assert not vae.config.timestep_conditioning, "decoding by denoising is another model's"
        self._transformer = transformer
        self._vae = vae
        self._prompt = prompt
        self._negative = negative
        self._guidance = guidance
        self._fps = fps
        self._dtype = transformer.dtype
        self.temporal_factor = int(vae.temporal_compression_ratio)
        self.spatial_multiple = int(vae.spatial_compression_ratio)

    def encode(self, video: Tensor) -> Tensor:
        """See clips.LatentVideo."""
        latents: Tensor = self._vae.encode(video.to(self._vae.dtype)).latent_dist.mode().float()
        mean, std = self._statistics(latents)
        return ((latents - mean) / std).to(self._dtype)

    def decode(self, latents: Tensor) -> Tensor:
        """See clips.LatentVideo."""
        mean, std = self._statistics(latents.float())
        raw = (latents.float() * std + mean).to(self._vae.dtype)
        video: Tensor = self._vae.decode(raw, None, return_dict=False)[0][0]
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
        held = 0 if anchors is None else anchors.shape[2]
        frames, height, width = x.shape[2:]
        num_held = held * height * width
        scale = float(self._transformer.config.timestep_scale_multiplier)
        time = torch.full((1,), sigma * scale, device=x.device)
        clean = torch.zeros(1, device=x.device)
        coords = self.coords((held + frames, height, width), x.device)
        segments = [
            TokenSegment(
                to_tokens(x.to(self._dtype)), coords[:, :, num_held:], time, predicted=True
            ),
            TokenSegment(
                to_tokens(reference), self.coords(reference.shape[2:], x.device, stride), clean
            ),
        ]
        if anchors is not None:
            segments.insert(0, TokenSegment(to_tokens(anchors), coords[:, :, :num_held], clean))
        if ending is not None:
            at = (held + frames - 1) * self.temporal_factor
            segments.append(TokenSegment(to_tokens(ending), self._picture_at(at, ending), clean))

        def run(prompt: Ltx2Prompt) -> Tensor:
            made: Tensor
            (made,) = self._transformer(segments, prompt.video, prompt.mask, time)
            return made.float().transpose(1, 2).reshape(1, -1, frames, height, width)

        velocity = run(self._prompt)
        if self._guidance == 1 or self._negative is None:
            return velocity
        away = run(self._negative)
        return away + self._guidance * (velocity - away)

    def coords(self, size: Sequence[int], device: torch.device, stride: int = 1) -> Tensor:
        """(1, 3, L, 2): from where to where each token reaches in seconds, rows and columns."""
        coords: Tensor = self._transformer.rope.prepare_video_coords(
            1, *size, device, fps=self._fps
        )
        coords = coords.clone()
        coords[:, 1:] *= stride
        return coords

    def _picture_at(self, frame: int, latents: Tensor) -> Tensor:
        """(1, 3, L, 2) of a single picture that stands at `frame` of the clip."""
        coords = self.coords(latents.shape[2:], latents.device)
        coords[:, 0] += frame / self._fps
        return coords

    def _statistics(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """The latents' mean and spread per channel, (1, C, 1, 1, 1)."""
        mean, std = (
            value.reshape(1, -1, 1, 1, 1).to(like)
            for value in (self._vae.latents_mean, self._vae.latents_std)
        )
        return mean, std / self._vae.config.scaling_factor


def to_tokens(latents: Tensor) -> Tensor:
    """(1, C, F, H, W) -> (1, F H W, C)."""
    return latents.flatten(2).transpose(1, 2)
