"""The fast tier's network: a causal, recurrent U-Net on the engine's buffers.

The trunk runs at half resolution and below; the output is the input's color under a per-pixel gain,
plus light times albedo, plus an offset, blended with the motion-warped previous output, all at full
resolution. Below half resolution every convolution is batch normalized (Ioffe and Szegedy 2015),
which keeps the deep layers alive; `folded` makes plain convolutions of both for inference. One
network serves sessions with and without albedo and roughness. This file knows torch and tensors: no
files, no sessions, no training loop.

Shape legend: N batch, H and W multiples of 16, B hidden channels.
"""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as fn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from realmaster.fast import HIDDEN_CHANNELS, HIDDEN_STRIDE

#: Channels that the head makes per output pixel: gain 1, light 3, offset 3, blend 1.
_HEAD_MAPS = 8
_FULL_MAPS = 15
_GEOMETRY_MAPS = 9
_NEAR_M = 10.0
_CONTEXT_HEADS = 8


@dataclass(frozen=True, slots=True)
class FastConfig:
    """The network's size.

    widths: channels at 1/2, 1/4, … of the resolution. encoder_blocks, decoder_blocks: of the levels
    from 1/4 to the last but one. middle_blocks: of the last. detail_blocks: at 1/2, for the head.
    """

    widths: tuple[int, ...] = (32, 48, 96, 160, 192)
    encoder_blocks: tuple[int, ...] = (1, 2, 1)
    middle_blocks: int = 3
    decoder_blocks: tuple[int, ...] = (2, 2, 1)
    detail_blocks: int = 2


class FastInputs(NamedTuple):
    """One frame of N streams, float32; the order and the names are those of the ONNX file.

    color, prev, albedo: (N, 3, H, W) in [0, 1] (sRGB, sRGB, linear). depth: (N, 1, H, W) metres,
    +inf sky. normal: (N, 3, H, W) camera space. ray_x: (N, 1, 1, W) and ray_y: (N, 1, H, 1), the
    rays (x, y, 1) of K^-1. up: (N, 3, 1, 1), the world's up in camera axes. prev and hidden
    (N, B, H/4, W/4) are warped along the motion to this frame; valid: (N, 1, H, W), 0 where they
    say nothing and prev is 0. roughness: (N, 1, H, W). has_material: (N, 1, 1, 1), 0 masks both.
    """

    color: Tensor
    depth: Tensor
    normal: Tensor
    ray_x: Tensor
    ray_y: Tensor
    up: Tensor
    prev: Tensor
    hidden: Tensor
    valid: Tensor
    albedo: Tensor
    roughness: Tensor
    has_material: Tensor


class _Residual(nn.Module):
    """Two normalized 3x3 convolutions, added to what they read; starts as the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = _Normed(channels, channels)
        self.second = _Normed(channels, channels, gain=0.0)

    def forward(self, x: Tensor) -> Tensor:
        return _act(x + self.second(_act(self.first(x))))


class _Normed(nn.Module):
    """A convolution, then its channels' mean and deviation over the batch made 0 and `gain`."""

    def __init__(
        self, cin: int, cout: int, *, size: int = 3, stride: int = 1, gain: float = 1.0
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(cin, cout, size, stride, size // 2, bias=False)
        self.norm = nn.BatchNorm2d(cout)
        nn.init.kaiming_normal_(self.conv.weight, a=0.1)
        nn.init.constant_(self.norm.weight, gain)

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.norm(self.conv(x))
        return made


class _Context(nn.Module):
    """What the whole frame says to each place: a scale and a shift per channel, (N, C, 1, 1).

    Every head looks for its own places and takes their mean, so the frame's size does not matter.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.look = _conv(channels, _CONTEXT_HEADS, size=1)
        self.value = _conv(channels, channels, size=1)
        self.first = nn.Linear(2 * channels, channels)
        self.second = nn.Linear(channels, 2 * channels)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)

    def forward(self, x: Tensor) -> Tensor:
        share = torch.softmax(self.look(x).float().flatten(2), 2)[:, :, None]
        value = self.value(x).float().flatten(2).unflatten(1, (_CONTEXT_HEADS, -1))
        seen = torch.cat([(value * share).sum(3).flatten(1), x.float().mean((2, 3))], 1)
        told = self.second(_act(self.first(seen)))[:, :, None, None]
        scale: Tensor = torch.tanh(told[:, : x.shape[1]])
        shift: Tensor = told[:, x.shape[1] :]
        return x * (1 + scale) + shift


class FastNet(nn.Module):
    """(FastInputs fields in order) -> output (N, 3, H, W) sRGB, not clamped, and hidden state."""

    def __init__(self, config: FastConfig | None = None) -> None:
        super().__init__()
        config = config or FastConfig()
        self.config = config
        self.dropout = 0.0  # share of the deepest levels' channels left out, set by the training
        w2, w4, *_, deepest = widths = config.widths
        self.mix = _conv(_FULL_MAPS, w2, size=2, stride=2, padding=0)
        self.mix_geometry = _conv(_GEOMETRY_MAPS + 1, w2, size=1)
        self.stem = _conv(w2, w2)
        self.down = nn.ModuleList(_Normed(a, b, stride=2) for a, b in pairwise(widths))
        self.recall = _conv(HIDDEN_CHANNELS, w4, size=1, gain=0.1)
        inner = widths[1:-1]
        self.encode = nn.ModuleList(map(_blocks, inner, config.encoder_blocks))
        self.middle = _blocks(deepest, config.middle_blocks)
        self.context = _Context(deepest)
        self.up = nn.ModuleList(_Normed(b, a, size=1) for a, b in pairwise(widths))
        self.decode = nn.ModuleList(map(_blocks, inner, config.decoder_blocks))
        self.last = _conv(w2, w2)
        self.detail = _blocks(w2, config.detail_blocks)
        self.head = _conv(w2, 4 * _HEAD_MAPS, gain=0.1)
        self.remember = _conv(w4, HIDDEN_CHANNELS, size=1)

    def residual_blocks(self) -> Iterator[tuple[str, nn.Module]]:
        """All of them by name; a new one leaves nearly unchanged what it reads."""
        return ((n, m) for n, m in self.named_modules() if isinstance(m, _Residual))

    @torch.no_grad()
    def keep_history(self, more: float) -> None:
        """Add to the logit of the previous output's share, everywhere."""
        assert self.head.bias is not None
        self.head.bias[-4:] += more  # pixel_shuffle's last channel

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        """(output, hidden) of the fields of FastInputs in order."""
        frame = FastInputs(*inputs)
        surface = torch.sqrt(frame.albedo) * frame.has_material
        full, geometry = _features(frame, surface)
        # In this order onnxruntime adds the second in place: 55 MB less at 1080p.
        half = _act(self.stem(_act(self.mix_geometry(geometry) + self.mix(full))))
        x, recalled = half, self.recall(frame.hidden)
        levels: list[Tensor] = []
        for down, encode in zip(self.down, self.encode, strict=False):
            x = down(x) if levels else down(x) + recalled
            x = encode(_act(x))
            levels.append(x)
        x = self._thin(self.middle[0](_act(self.down[-1](self._thin(x)))))
        x = self._thin(self.middle[1:](self.context(x)))
        for level, up, decode in zip(levels[::-1], self.up[:0:-1], self.decode[::-1], strict=True):
            x = decode(_act(level + _double(up(x), like=level)))
        hidden = torch.tanh(self.remember(x))
        x = _act(half + _double(self.up[0](x), like=half))
        x = fn.pixel_shuffle(self.head(self.detail(self.last(x))), 2)
        gain, light, offset, blend = x[:, :1], x[:, 1:4], x[:, 4:7], x[:, 7:]
        fresh = frame.color * (1 + gain) + surface * light + offset
        keep = torch.sigmoid(blend - 1) * frame.valid
        return fresh + keep * (frame.prev - fresh), hidden

    def _thin(self, x: Tensor) -> Tensor:
        return fn.dropout2d(x, self.dropout) if self.dropout else x


def folded(net: FastNet) -> FastNet:
    """The network for inference, a copy: each normalization is part of the convolution before."""
    net = copy.deepcopy(net).eval().to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    for parent in list(net.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, _Normed):
                setattr(parent, name, fuse_conv_bn_eval(child.conv, child.norm))
    return net


def _features(frame: FastInputs, surface: Tensor) -> tuple[Tensor, Tensor]:
    """What the trunk sees: (N, 15, H, W) and (N, 10, H/2, W/2)."""
    near = _NEAR_M / (_NEAR_M + frame.depth)  # 0 where sky
    roughness = frame.roughness * frame.has_material
    full = [frame.color, frame.normal, near, surface, roughness, frame.prev, frame.valid]
    geometry = _geometry(frame, near)
    material = torch.zeros_like(geometry[:, :1]) + frame.has_material
    return torch.cat(full, 1), torch.cat([geometry, material], 1)


def _geometry(frame: FastInputs, near: Tensor) -> Tensor:
    """How each surface stands to the viewer and to the world, (N, 9, H/2, W/2), about [-1, 1]."""
    near = fn.avg_pool2d(near, 2)
    normal = fn.avg_pool2d(frame.normal, 2)
    ray_x = 0.5 * (frame.ray_x[..., 0::2] + frame.ray_x[..., 1::2])
    ray_y = 0.5 * (frame.ray_y[..., 0::2, :] + frame.ray_y[..., 1::2, :])
    length = torch.sqrt(ray_x * ray_x + ray_y * ray_y + 1)
    up_x, up_y, up_z = frame.up[:, 0:1], frame.up[:, 1:2], frame.up[:, 2:3]
    rise = ray_x * up_x + ray_y * up_y + up_z  # metres up per metre of depth
    depth = _NEAR_M / near.clamp(min=0.01) - _NEAR_M
    ray_up = rise / length
    normal_up = (normal * frame.up).sum(1, keepdim=True)
    normal_ray = (normal[:, 0:1] * ray_x + normal[:, 1:2] * ray_y + normal[:, 2:3]) / length
    height = depth * rise
    return torch.cat(
        [
            normal_up,
            ray_up,
            normal_ray,
            ray_up - 2 * normal_ray * normal_up,
            ray_x / length - 2 * normal_ray * normal[:, 0:1],
            ray_y / length - 2 * normal_ray * normal[:, 1:2],
            ray_x / length,
            height / (5 + height.abs()),
            torch.log2(1 + depth) * 0.1,
        ],
        1,
    )


def warp(image: Tensor, motion: Tensor, *, mode: str = "bilinear") -> Tensor:
    """`image` (N, C, H, W) of the frame before, as seen from this frame; edges are repeated.

    motion: (N, 2, H, W) pixels, p_prev = p_cur + motion, finite. mode: grid_sample's; pictures are
    taken bicubic, which blurs them less from frame to frame.
    """
    height, width = image.shape[2:]
    x = torch.arange(width, dtype=motion.dtype) + motion[:, 0]
    y = torch.arange(height, dtype=motion.dtype)[:, None] + motion[:, 1]
    grid = torch.stack([(2 * x + 1) / width - 1, (2 * y + 1) / height - 1], -1)
    return fn.grid_sample(image, grid, mode=mode, padding_mode="border", align_corners=False)


def warp_hidden(hidden: Tensor, motion: Tensor) -> Tensor:
    """The hidden state of the frame before, moved along the (full resolution) motion."""
    return warp(hidden, fn.avg_pool2d(motion, HIDDEN_STRIDE) / HIDDEN_STRIDE)


def without_history(frame: FastInputs) -> FastInputs:
    """The same frame as a stream's first: nothing is known of the one before."""
    return frame._replace(
        prev=torch.zeros_like(frame.color),
        hidden=torch.zeros_like(frame.hidden),
        valid=torch.zeros_like(frame.depth),
    )


def example_inputs(height: int, width: int, generator: torch.Generator) -> FastInputs:
    """Random inputs of one frame in the ranges of real ones, for export and tests."""

    def rand(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator)

    normal = fn.normalize(rand(1, 3, height, width) - 0.5, dim=1)
    depth = torch.where(rand(1, 1, height, width) > 0.9, torch.inf, 50.0)
    return FastInputs(
        color=rand(1, 3, height, width),
        depth=depth * (0.1 + rand(1, 1, height, width)),
        normal=normal,
        ray_x=torch.linspace(-0.8, 0.8, width).reshape(1, 1, 1, width),
        ray_y=torch.linspace(-0.5, 0.5, height).reshape(1, 1, height, 1),
        up=torch.tensor([0.0, -1.0, 0.0]).reshape(1, 3, 1, 1),
        prev=rand(1, 3, height, width),
        hidden=rand(1, HIDDEN_CHANNELS, height // HIDDEN_STRIDE, width // HIDDEN_STRIDE),
        valid=(rand(1, 1, height, width) > 0.2).float(),
        albedo=rand(1, 3, height, width),
        roughness=rand(1, 1, height, width),
        has_material=torch.ones(1, 1, 1, 1),
    )


def _conv(
    cin: int,
    cout: int,
    *,
    size: int = 3,
    stride: int = 1,
    padding: int | None = None,
    gain: float = 1.0,
) -> nn.Conv2d:
    conv = nn.Conv2d(cin, cout, size, stride, size // 2 if padding is None else padding)
    nn.init.kaiming_normal_(conv.weight, a=0.1)
    assert conv.bias is not None
    nn.init.zeros_(conv.bias)
    with torch.no_grad():
        conv.weight.mul_(gain)
    return conv


def _blocks(width: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(_Residual(width) for _ in range(count)))


def _act(x: Tensor) -> Tensor:
    return fn.leaky_relu(x, 0.1)


def _double(x: Tensor, *, like: Tensor) -> Tensor:
    """Twice as large; `like` may have had an odd size."""
    doubled = fn.interpolate(x, scale_factor=2, mode="nearest")
    return doubled[..., : like.shape[2], : like.shape[3]]
