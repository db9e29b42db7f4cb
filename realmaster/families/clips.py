"""Clips of any length and size from a model of latent videos: encode, denoise in context, decode.

A family (wan.py, ltx2.py) gives a LatentVideo; everything that families share is here. This file
knows tensors and pictures; it knows no sessions, windows or adapters' files.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as fn

from realmaster.families.enlarging import enlarged
from realmaster.flow_matching import euler_step

U8 = NDArray[np.uint8]
Watch = Callable[[Tensor, int, int], None]


class LatentVideo(Protocol):
    """What a family is. Latents are (1, C, F, h, w) of mean 0 and variance 1."""

    @property
    def temporal_factor(self) -> int:
        """Clips have this many frames times k, and 1."""

    @property
    def spatial_multiple(self) -> int:
        """Width and height of what it works on are multiples of this."""

    def encode(self, video: Tensor) -> Tensor:
        """Latents of a video (1, 3, T, H, W) in [-1, 1], on the model's device."""

    def decode(self, latents: Tensor) -> Tensor:
        """The video (3, T, H, W) of latents, about [-1, 1]."""

    def velocity(
        self,
        x: Tensor,
        reference: Tensor,
        anchors: Tensor | None,
        sigma: float,
        stride: int,
        ending: Tensor | None = None,
    ) -> Tensor:
        """d x / d sigma, float32: x follows the clean `anchors` in time, beside the `reference`.

        stride: how many times smaller the reference is in width and height. ending: (1, C, 1, h, w)
        of a single picture that stands, clean, beside x where x ends.
        """


class Clips:
    """windows.ClipModel from a LatentVideo.

    sigmas: noise levels from 1 to 0. size: (width, height) that it works at; pictures are resized
    to it, and enlarged back with the render's detail. reference_stride: how many times smaller the
    reference is. watch: called after every step with the clip as it would come out, and (steps
    done, steps in all).
    """

    def __init__(
        self,
        video: LatentVideo,
        sigmas: Sequence[float],
        size: tuple[int, int],
        *,
        reference_stride: int = 1,
        device: str = "cpu",
        watch: Watch | None = None,
    ) -> None:
        multiple = video.spatial_multiple * reference_stride
        assert size[0] % multiple == 0, size
        assert size[1] % multiple == 0, size
        self._video = video
        self._sigmas = tuple(sigmas)
        self._size = size
        self._stride = reference_stride
        self._device = torch.device(device)
        self._watch = watch

    @torch.no_grad()
    def generate(self, render: U8, anchors: U8 | None, seed: int, last: U8 | None = None) -> U8:
        """See windows.ClipModel."""
        count, height, width = render.shape[:3]
        clip = self.encode(_padded(render, self._video.temporal_factor), self._stride)
        held = None
        if anchors is not None:
            held = self.encode(_whole(anchors, self._video.temporal_factor))
        ending = None if last is None else self.encode(last[None])
        latents = self.denoise(clip, held, seed, ending)
        made = self.decode(latents)[:count]
        smaller = self._size[0] < width and self._size[1] < height
        return enlarged(made, render) if smaller else resized(made, (width, height))

    @torch.no_grad()
    def encode(self, pictures: U8, stride: int = 1) -> Tensor:
        """Latents of (T, H, W, 3), at the working size or `stride` times less."""
        width, height = self._size[0] // stride, self._size[1] // stride
        video = torch.from_numpy(resized(pictures, (width, height)))
        video = video.permute(3, 0, 1, 2)[None].float() / 127.5 - 1
        return self._video.encode(video.to(self._device))

    @torch.no_grad()
    def denoise(
        self, reference: Tensor, anchors: Tensor | None, seed: int, ending: Tensor | None = None
    ) -> Tensor:
        """Latents of the clip whose render is `reference` and that begins with `anchors`.

        ending: (1, C, 1, h, w), the picture that it ends with.
        """
        shape = list(reference.shape)
        shape[3], shape[4] = shape[3] * self._stride, shape[4] * self._stride
        shape[2] -= 0 if anchors is None else anchors.shape[2]
        generator = torch.Generator().manual_seed(seed)
        x = torch.randn(shape, generator=generator).to(self._device)
        for step, (sigma, after) in enumerate(pairwise(self._sigmas), 1):
            velocity = self._video.velocity(x, reference, anchors, sigma, self._stride, ending)
            if self._watch is not None:
                clean = _following(anchors, euler_step(x, velocity, sigma, 0.0))
                self._watch(clean, step, len(self._sigmas) - 1)
            x = euler_step(x, velocity, sigma, after)
        return _following(anchors, x)

    def decode(self, latents: Tensor) -> U8:
        """Pictures (T, H, W, 3) of the working size."""
        video = self._video.decode(latents).float().clamp(-1, 1)
        levels = ((video + 1) * 127.5).round().to(torch.uint8)
        pictures: U8 = levels.permute(1, 2, 3, 0).cpu().numpy()
        return pictures


def _following(anchors: Tensor | None, x: Tensor) -> Tensor:
    return x if anchors is None else torch.cat([anchors.to(x), x], 2)


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


def _whole(anchors: U8, factor: int) -> U8:
    """As many of the first anchors as make whole latent frames: `factor` k + 1."""
    return anchors[: len(anchors) - (len(anchors) - 1) % factor]
