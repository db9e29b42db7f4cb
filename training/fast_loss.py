"""What the fast tier is trained for: the metric itself, sharp edges, and no flicker of its own.

Pure functions on tensors. Images are (N, 3, H, W) sRGB about [0, 1]; Lab is CIELAB (D65) divided by
100, as in realmaster.color.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as fn

from realmaster.color import WHITE_D65, XYZ_FROM_LINEAR

_SCALED = torch.tensor(XYZ_FROM_LINEAR / WHITE_D65[:, None], dtype=torch.float32)
_LAB_FROM_ROOT = torch.tensor(
    [[0.0, 1.16, 0.0], [5.0, -5.0, 0.0], [0.0, 2.0, -2.0]], dtype=torch.float32
)
_LAB_OFFSET = torch.tensor([-0.16, 0.0, 0.0]).reshape(1, 3, 1, 1)
_EPSILON = 216 / 24389
_KAPPA = 24389 / 27
_DEPTH_BREAK = 0.1  # of the nearer inverse depth
_NORMAL_COSINE = 0.866  # 30 degrees


def lab(srgb: Tensor) -> Tensor:
    """CIELAB / 100 of sRGB; values outside [0, 1] count as the limit but keep their gradient."""
    x = srgb + (srgb.clamp(0, 1) - srgb).detach()
    linear = torch.where(x <= 0.04045, x / 12.92, ((x.clamp(min=0.04) + 0.055) / 1.055) ** 2.4)
    xyz = _transform(linear, _SCALED)
    root = torch.where(
        xyz > _EPSILON, xyz.clamp(min=_EPSILON) ** (1 / 3), (_KAPPA * xyz + 16) / 116
    )
    return _transform(root, _LAB_FROM_ROOT) + _LAB_OFFSET


def _transform(image: Tensor, matrix: Tensor) -> Tensor:
    """Every pixel of (N, 3, H, W) times a (3, 3) matrix; quickest in channels-last memory."""
    return (image.permute(0, 2, 3, 1) @ matrix.T).permute(0, 3, 1, 2)


def lab_distance(output_lab: Tensor, truth_lab: Tensor) -> Tensor:
    """Mean absolute difference over pixels and channels, the metric's own (over 100)."""
    return (output_lab - truth_lab).abs().mean()


class Edges(NamedTuple):
    """Errors of the steps between neighbours, horizontal and vertical ones added.

    at_edges, elsewhere: mean absolute differences at geometry's edges and at all other places, each
    over the number of all steps, so that they add up to the plain mean. contrast: how much weaker
    than the truth's the steps at edges are, plus how much stronger those elsewhere, in the same
    mean: what edge agreement ranks.
    """

    at_edges: Tensor
    elsewhere: Tensor
    contrast: Tensor


def edge_distance(output_lab: Tensor, truth_lab: Tensor, depth: Tensor, normal: Tensor) -> Edges:
    """The errors of steps, told apart by geometry.

    depth: (N, 1, H, W) metres, +inf sky. normal: (N, 3, H, W). An edge is as in
    realmaster.geometry, but for what lies on a slope.
    """
    found = Edges(torch.zeros(()), torch.zeros(()), torch.zeros(()))
    for axis in (2, 3):
        size = depth.shape[axis] - 1
        output, truth = (
            image.narrow(axis, 1, size) - image.narrow(axis, 0, size)
            for image in (output_lab, truth_lab)
        )
        edge = _edges_between(depth, normal, axis)
        error = (output - truth).abs().mean(1, keepdim=True)
        weaker = truth.abs().mean(1, keepdim=True) - output.abs().mean(1, keepdim=True)
        found = Edges(
            found.at_edges + (error * edge).mean(),
            found.elsewhere + (error * ~edge).mean(),
            found.contrast + fn.relu(torch.where(edge, weaker, -weaker)).mean(),
        )
    return found


def _edges_between(depth: Tensor, normal: Tensor, axis: int) -> Tensor:
    """(N, 1, ...) bool between neighbours along `axis`: depth breaks, or normals turn."""
    size = depth.shape[axis] - 1
    inverse = 1 / depth
    first, second = inverse.narrow(axis, 0, size), inverse.narrow(axis, 1, size)
    breaks = (second - first).abs() > _DEPTH_BREAK * torch.maximum(first, second)
    turned = (normal.narrow(axis, 0, size) * normal.narrow(axis, 1, size)).sum(1, keepdim=True)
    return breaks | (turned < _NORMAL_COSINE) & (first > 0) & (second > 0)


def similarity(output_lab: Tensor, truth_lab: Tensor) -> Tensor:
    """Mean SSIM of lightness over 8x8 blocks (Wang et al. 2004, with blocks for the Gaussian)."""
    x, y = _blocks(output_lab[:, 0]), _blocks(truth_lab[:, 0])
    mean_x, mean_y = x.mean(-1), y.mean(-1)
    var_x = (x * x).mean(-1) - mean_x * mean_x
    var_y = (y * y).mean(-1) - mean_y * mean_y
    cov = (x * y).mean(-1) - mean_x * mean_y
    c1, c2 = 0.01**2, 0.03**2
    top = (2 * mean_x * mean_y + c1) * (2 * cov + c2)
    return (top / ((mean_x * mean_x + mean_y * mean_y + c1) * (var_x + var_y + c2))).mean()


def _blocks(image: Tensor) -> Tensor:
    """(N, H, W) -> (N, H/8, W/8, 64)."""
    count, height, width = image.shape
    blocks = image.reshape(count, height // 8, 8, width // 8, 8).transpose(2, 3)
    return blocks.reshape(count, height // 8, width // 8, 64)


def flicker(
    output: Tensor, output_before: Tensor, render: Tensor, render_before: Tensor, valid: Tensor
) -> Tensor:
    """How much more the output changes along the motion than the render does, per valid pixel.

    The `before` images are warped to the present; all are sRGB. valid: (N, 1, H, W).
    """
    change = (output - output_before).abs()
    allowed = (render - render_before).abs()
    weight = valid.sum() * 3 + 1
    return (fn.relu(change - allowed) * valid).sum() / weight
