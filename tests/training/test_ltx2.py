"""Training LTX-2 on tiny models of the real classes: the same numbers, names and files."""

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import LTX2Pipeline
from torch import Tensor

from realmaster.flow_matching import noised
from tests.realmaster.families.test_ltx2 import TEXT_DIM, models
from training.adapter_file import ADAPTER, write_adapter
from training.bases import Batch, Ltx2Base
from training.checkpoint import trained
from training.config import Lora
from training.objective import Draw, flow_loss
from training.recipes import LTX2_TARGETS, changed
from training.trainer import attach

LORA = Lora(rank=4, alpha=8, targets=LTX2_TARGETS)


def base(version: str = "2.0") -> Ltx2Base:
    return Ltx2Base(*copy.deepcopy(models(version)))


def samples(count: int, stride: int = 1) -> tuple[Batch, Draw]:
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    text = {"video": normal(count, 5, TEXT_DIM), "mask": torch.ones(count, 5)}
    text["mask"][:, 0] = 0
    target = normal(count, 8, 3, 4, 4)
    reference = normal(count, 8, 3, 4 // stride, 4 // stride)
    batch = Batch(target, reference, text, stride=stride, lengths=[1, 2], fps=24.0)
    sigma = torch.linspace(0.3, 0.7, count)
    return batch, Draw(normal(*target.shape), sigma, torch.arange(count) % 3)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("version", ["2.0", "2.3"])
def test_training_predicts_what_enhancing_does(version: str, stride: int) -> None:
    ours = base(version)
    batch, drawn = samples(3, stride)
    assert batch.reference is not None
    with torch.no_grad():
        predicted = ours.predict(ours.transformer, batch, drawn)
        for k, held in enumerate(drawn.held.tolist()):
            embedding = {name: value[k : k + 1] for name, value in batch.text.items()}
            sample, noise = batch.target[k : k + 1], drawn.noise[k : k + 1]
            sigma = drawn.sigma[k : k + 1]
            theirs = ours.video(embedding, 24.0).velocity(
                noised(sample, noise, sigma)[:, :, held:],
                batch.reference[k : k + 1],
                sample[:, :, :held] if held else None,
                float(sigma),
                stride,
            )
            assert (predicted[k : k + 1, :, held:] - theirs).abs().max() < 1e-5


def test_the_adapter_has_the_usual_names_and_comes_back_through_diffusers(tmp_path: Path) -> None:
    ours = base()
    attach(ours.transformer, LORA)
    batch, drawn = samples(2)
    optimizer = torch.optim.AdamW(list(trained(ours.transformer).values()), lr=1e-2)
    losses = []
    for _ in range(4):
        loss = flow_loss(ours.predict(ours.transformer, batch, drawn), batch.target, drawn)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    factors = {n.replace(".default.", "."): p for n, p in trained(ours.transformer).items()}
    assert "transformer_blocks.1.attn1.to_q.lora_A.weight" in factors
    assert not any("audio" in name or "_to_video" in name for name in factors)
    config = changed("ltx-2.3", {"rank": 4})
    write_adapter(
        tmp_path / ADAPTER,
        factors,
        replace(config, lora=LORA),
        step=4,
        size=(64, 64),
    )
    stock = copy.deepcopy(models()[0])
    loaded = LTX2Pipeline.lora_state_dict(str(tmp_path), weight_name=ADAPTER)
    LTX2Pipeline.load_lora_into_transformer(loaded, stock, adapter_name="ours")
    with torch.no_grad():
        as_trained = ours.predict(ours.transformer, batch, drawn)
        read = ours.predict(stock, batch, drawn)
    assert (as_trained - read).abs().max() < 1e-6
