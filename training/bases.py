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
from diffusers import AutoencoderKLWan
from torch import Tensor

from capture_bridge.errors import SetupError
from realmaster.families.clips import LatentVideo
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


def wan_segments(batch: Batch, draw: Draw) -> list[Segment]:
    """The batch as segments: the target in parts that may be held, then the reference.

    A part is clean and at timestep 0 in the samples that hold it, and noised in the others.
    """
    x = noised(batch.target, draw.noise, draw.sigma).to(batch.target)
    clean = torch.zeros_like(draw.sigma)
    segments = []
    for start, end in pairwise([0, *batch.lengths, batch.target.shape[2]]):
        held = draw.held >= end
        latents = torch.where(
            held[:, None, None, None, None], batch.target[:, :, start:end], x[:, :, start:end]
        )
        time = torch.where(held, clean, draw.sigma * TIMESTEPS)
        segments.append(Segment(latents, time, first_frame=start, predicted=True))
    if batch.reference is not None:
        segments.append(Segment(batch.reference, clean, stride=batch.stride))
    return segments


def _open_wan(source: str, dtype: torch.dtype, device: str) -> Base:
    transformer = load(InContextTransformer, source, "transformer", torch_dtype=dtype)
    vae = load(AutoencoderKLWan, source, "vae", torch_dtype=torch.float32).to(device)
    vae.requires_grad_(False)
    return WanBase(transformer, vae)


_FAMILIES: Mapping[FamilyName, Callable[[str, torch.dtype, str], Base]] = MappingProxyType(
    {"wan": _open_wan}
)


def open_base(family: FamilyName, source: str, dtype: torch.dtype, device: str) -> Base:
    """The base from its weights, the autoencoder on the device. SetupError."""
    if family not in _FAMILIES:
        raise SetupError(f"the family {family} cannot be trained here; {', '.join(_FAMILIES)} can")
    return _FAMILIES[family](source, dtype, device)
