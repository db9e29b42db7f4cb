"""The base models as training needs them: one class per family, in a table.

The mathematics is that of enhancing (realmaster/families, realmaster/in_context.py); what differs
is that samples come in batches, each with its own noise level and its own held beginning.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType
from typing import Any, Protocol

import torch
from diffusers import AutoencoderKLLTX2Video, AutoencoderKLWan
from torch import Tensor

from realmaster.families.clips import LatentVideo
from realmaster.families.ltx2 import Ltx2Prompt, Ltx2Video, to_tokens
from realmaster.families.ltx2_transformer import InContextLtx2Transformer, TokenSegment
from realmaster.families.presets import FamilyName
from realmaster.families.prompts import Embedding
from realmaster.families.wan import Text, WanVideo
from realmaster.families.weights import load
from realmaster.flow_matching import TIMESTEPS, noised
from realmaster.in_context import InContextTransformer, Segment
from training.objective import Draw


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """target: (B, C, F, H, W) clean latents; reference: (B, C, F, h, w) or None.

    text: what the family's text encoder made of the captions, each (B, ...). stride: how many times
    smaller the reference is. lengths: how many first latent frames may be held, ascending. fps: of
    the clips.
    """

    target: Tensor
    reference: Tensor | None
    text: Mapping[str, Tensor]
    stride: int
    lengths: Sequence[int]
    fps: float


class Base(Protocol):
    """A family's model, ready to be trained."""

    #: What is trained, on the CPU until it is prepared for the devices.
    transformer: Any
    temporal_factor: int
    spatial_multiple: int

    def encode(self, video: Tensor) -> Tensor:
        """Latents (1, C, F, h, w) of a video (1, 3, T, H, W) in [-1, 1]."""

    def predict(self, model: Any, batch: Batch, draw: Draw) -> Tensor:
        """The velocity (B, C, F, H, W) that `model`, the transformer as prepared, predicts."""

    def video(self, embedding: Embedding, fps: float) -> LatentVideo:
        """The model as enhancing uses it, for one prompt."""


class WanBase:
    """Base of Wan."""

    def __init__(self, transformer: InContextTransformer, vae: AutoencoderKLWan) -> None:
        self.transformer = transformer
        self._vae = vae
        silent = WanVideo([transformer], vae, Text(torch.empty(0)))
        self.encode = torch.no_grad()(silent.encode)
        self.temporal_factor = silent.temporal_factor
        self.spatial_multiple = silent.spatial_multiple

    def predict(self, model: Any, batch: Batch, draw: Draw) -> Tensor:
        """See Base."""
        parts = model(wan_segments(batch, draw), None, batch.text["prompt"])
        return torch.cat(parts, 2)

    def video(self, embedding: Embedding, fps: float) -> LatentVideo:
        """See Base; Wan's positions do not depend on the fps."""
        like = next(self.transformer.parameters())
        return WanVideo([self.transformer], self._vae, Text(embedding["prompt"].to(like)))


class Ltx2Base:
    """Base of LTX-2, the picture's stream alone."""

    def __init__(self, transformer: InContextLtx2Transformer, vae: AutoencoderKLLTX2Video) -> None:
        transformer.drop_sound()
        self.transformer = transformer
        self._vae = vae
        silent = self._video(Ltx2Prompt(torch.empty(0), None), 24.0)
        self.encode = torch.no_grad()(silent.encode)
        self.temporal_factor = silent.temporal_factor
        self.spatial_multiple = silent.spatial_multiple

    def predict(self, model: Any, batch: Batch, draw: Draw) -> Tensor:
        """See Base."""
        placed = self._video(Ltx2Prompt(torch.empty(0), None), batch.fps)
        scale = float(self.transformer.config.timestep_scale_multiplier)
        count, _, _, height, width = batch.target.shape
        coords = placed.coords(batch.target.shape[2:], batch.target.device)
        segments = [
            TokenSegment(
                to_tokens(part.latents),
                coords[:, :, part.start * height * width : part.end * height * width].expand(
                    count, -1, -1, -1
                ),
                part.sigma * scale,
                predicted=True,
            )
            for part in noised_parts(batch, draw)
        ]
        if batch.reference is not None:
            coords = placed.coords(batch.reference.shape[2:], batch.target.device, batch.stride)
            segments.append(
                TokenSegment(
                    to_tokens(batch.reference),
                    coords.expand(count, -1, -1, -1),
                    torch.zeros_like(draw.sigma),
                )
            )
        mask = batch.text["mask"]
        told = (batch.text["video"], None if bool(mask.all()) else mask)
        parts = model(segments, *told, draw.sigma * scale)
        return torch.cat(parts, 1).transpose(1, 2).reshape(batch.target.shape)

    def video(self, embedding: Embedding, fps: float) -> LatentVideo:
        """See Base."""
        like = next(self.transformer.parameters())
        mask = embedding["mask"].to(like)
        prompt = Ltx2Prompt(embedding["video"].to(like), None if bool(mask.all()) else mask)
        return self._video(prompt, fps)

    def _video(self, prompt: Ltx2Prompt, fps: float) -> Ltx2Video:
        return Ltx2Video(self.transformer, self._vae, prompt, fps=fps)


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Latent frames `start` to `end` of a batch's targets, (B, C, F, H, W), at levels (B,)."""

    latents: Tensor
    sigma: Tensor
    start: int
    end: int


def noised_parts(batch: Batch, draw: Draw) -> list[Part]:
    """The target in parts that may be held: clean, at level 0, in the samples that hold them."""
    x = noised(batch.target, draw.noise, draw.sigma).to(batch.target)
    parts = []
    for start, end in pairwise([0, *batch.lengths, batch.target.shape[2]]):
        held = draw.held >= end
        latents = torch.where(
            held[:, None, None, None, None], batch.target[:, :, start:end], x[:, :, start:end]
        )
        sigma = torch.where(held, torch.zeros_like(draw.sigma), draw.sigma)
        parts.append(Part(latents, sigma, start, end))
    return parts


def wan_segments(batch: Batch, draw: Draw) -> list[Segment]:
    """The batch as segments: the target's parts, then the reference."""
    segments = [
        Segment(part.latents, part.sigma * TIMESTEPS, first_frame=part.start, predicted=True)
        for part in noised_parts(batch, draw)
    ]
    if batch.reference is not None:
        clean = torch.zeros_like(draw.sigma)
        segments.append(Segment(batch.reference, clean, stride=batch.stride))
    return segments


def _open_wan(source: str, component: str, dtype: torch.dtype, device: str) -> Base:
    transformer = load(InContextTransformer, source, component, torch_dtype=dtype)
    vae = load(AutoencoderKLWan, source, "vae", torch_dtype=torch.float32).to(device)
    vae.requires_grad_(False)
    return WanBase(transformer, vae)


def _open_ltx2(source: str, component: str, dtype: torch.dtype, device: str) -> Base:
    transformer = load(InContextLtx2Transformer, source, component, torch_dtype=dtype)
    vae = load(AutoencoderKLLTX2Video, source, "vae", torch_dtype=dtype).to(device)
    vae.requires_grad_(False)
    return Ltx2Base(transformer, vae)


_FAMILIES: Mapping[FamilyName, Callable[[str, str, torch.dtype, str], Base]] = MappingProxyType(
    {"wan": _open_wan, "ltx2": _open_ltx2}
)


def open_base(
    family: FamilyName, source: str, component: str, dtype: torch.dtype, device: str
) -> Base:
    """The base from its weights, the autoencoder on the device. SetupError.

    component: the folder of the transformer that is trained.
    """
    return _FAMILIES[family](source, component, dtype, device)
