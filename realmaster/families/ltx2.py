"""LTX-2 video models as latent videos, with the render in context; the sound is left out.

Built on diffusers' LTX2VideoTransformer3DModel and AutoencoderKLLTX2Video. The transformer wants a
sound beside the picture: it gets one silent token, and attention between the two is off, so that
the picture does not depend on it. Timesteps are the model's own, one per token. This file knows
tensors; it knows no pictures, files or samplers.
"""

from dataclasses import dataclass

import torch
from diffusers import AutoencoderKLLTX2Video, LTX2VideoTransformer3DModel
from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Ltx2Prompt:
    """What the text connectors made: video (1, T, D), audio (1, T, D'), mask (1, T) of 0 and 1."""

    video: Tensor
    audio: Tensor
    mask: Tensor


class Ltx2Video:
    """clips.LatentVideo of LTX-2. fps: of the clip, which places its frames in time.

    negative: of what `guidance` leads away from; with guidance 1 the model runs once a step.
    """

    def __init__(
        self,
        transformer: LTX2VideoTransformer3DModel,
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
        self, x: Tensor, reference: Tensor, anchors: Tensor | None, sigma: float, stride: int
    ) -> Tensor:
        """See clips.LatentVideo."""
        held = 0 if anchors is None else anchors.shape[2]
        target = x.to(self._dtype) if anchors is None else torch.cat([anchors, x.to(anchors)], 2)
        tokens = torch.cat([_tokens(target), _tokens(reference)], 1)
        num_target = target[0, 0].numel()
        num_held = held * target.shape[3] * target.shape[4]
        scale = float(self._transformer.config.timestep_scale_multiplier)
        time = torch.zeros(1, tokens.shape[1], device=x.device)
        time[:, num_held:num_target] = sigma * scale
        level = torch.full((1,), sigma * scale, device=x.device)
        coords = torch.cat([self._coords(target, 1), self._coords(reference, stride)], 2)

        def run(prompt: Ltx2Prompt) -> Tensor:
            made: Tensor = self._run(tokens, time, level, coords, prompt)[:, num_held:num_target]
            frames, height, width = x.shape[2:]
            return made.float().transpose(1, 2).reshape(1, -1, frames, height, width)

        velocity = run(self._prompt)
        if self._guidance == 1 or self._negative is None:
            return velocity
        away = run(self._negative)
        return away + self._guidance * (velocity - away)

    def _run(
        self, tokens: Tensor, time: Tensor, level: Tensor, coords: Tensor, prompt: Ltx2Prompt
    ) -> Tensor:
        """The transformer's video velocity of all tokens (1, L, C)."""
        silence = torch.zeros(
            1,
            1,
            self._transformer.config.audio_in_channels,
            device=tokens.device,
            dtype=self._dtype,
        )
        velocity: Tensor = self._transformer(
            hidden_states=tokens,
            audio_hidden_states=silence,
            encoder_hidden_states=prompt.video,
            audio_encoder_hidden_states=prompt.audio,
            timestep=time,
            audio_timestep=level,
            sigma=level,
            encoder_attention_mask=prompt.mask,
            audio_encoder_attention_mask=prompt.mask,
            video_coords=coords,
            audio_num_frames=1,
            isolate_modalities=True,
            return_dict=False,
        )[0]
        return velocity

    def _coords(self, latents: Tensor, stride: int) -> Tensor:
        """(1, 3, L, 2): from where to where each token reaches in seconds, rows and columns."""
        frames, height, width = latents.shape[2:]
        coords: Tensor = self._transformer.rope.prepare_video_coords(
            1, frames, height, width, latents.device, fps=self._fps
        )
        coords = coords.clone()
        coords[:, 1:] *= stride
        return coords

    def _statistics(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """The latents' mean and spread per channel, (1, C, 1, 1, 1)."""
        mean, std = (
            value.reshape(1, -1, 1, 1, 1).to(like)
            for value in (self._vae.latents_mean, self._vae.latents_std)
        )
        return mean, std / self._vae.config.scaling_factor


def _tokens(latents: Tensor) -> Tensor:
    """(1, C, F, H, W) -> (1, F H W, C)."""
    return latents.flatten(2).transpose(1, 2)
