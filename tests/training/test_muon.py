"""Muon: directions of one size, steps of AdamW's size, and what it learns."""

import torch

from training.muon import Muon, orthogonalized


def test_singular_values_come_near_one_and_vectors_stay() -> None:
    generator = torch.Generator().manual_seed(0)
    for shape in ((24, 90), (90, 24), (7, 1)):
        matrix = torch.randn(shape, generator=generator, dtype=torch.float64).float()
        u, _, v = torch.linalg.svd(matrix, full_matrices=False)
        made = u.T @ orthogonalized(matrix) @ v.T
        values = made.diagonal()
        assert 0.6 < values.min() <= values.max() < 1.25, shape
        assert (made - values.diag()).abs().max() < 1e-4, shape


def test_a_step_has_the_size_that_adamw_takes() -> None:
    torch.manual_seed(0)
    weight = torch.nn.Parameter(torch.zeros(16, 8, 3, 3))
    weight.grad = 1e-6 * torch.randn(weight.shape)
    Muon([weight], lr=0.01, weight_decay=0.0).step()
    assert 0.8 < weight.detach().square().mean().sqrt() / (0.2 * 0.01) < 1.2


def test_it_fits_a_convolution() -> None:
    torch.manual_seed(0)
    image = torch.randn(4, 3, 16, 16)
    goal = torch.nn.functional.conv2d(image, torch.randn(8, 3, 3, 3))
    conv = torch.nn.Conv2d(3, 8, 3, bias=False)
    muon = Muon(conv.parameters(), lr=0.3, weight_decay=0.0)
    first = last = 0.0
    for index in range(200):
        muon.param_groups[0]["lr"] = 0.3 * (1 - index / 200)
        loss = (conv(image) - goal).square().mean()
        conv.zero_grad()
        loss.backward()
        muon.step()
        first, last = first or loss.item(), loss.item()
    assert last < 1e-3 * first
