"""Full-size models on the meta device: names, sizes and shapes, without a byte of weights."""

import pytest
import torch

from realmaster.families.architectures import TRANSFORMERS
from realmaster.families.ltx2_transformer import InContextLtx2Transformer, TokenSegment
from realmaster.families.presets import PRESETS
from realmaster.in_context import InContextTransformer, Segment

BILLIONS = {"wan2.2-5b": 5.0, "wan2.1-1.3b": 1.42, "wan2.1-14b": 14.3, "wan2.2-a14b": 14.3}
#: Latents' pixels per pixel: 16 with Wan2.2's autoencoder, else 8.
SPATIAL = {"wan2.2-5b": 16}


WAN = [name for name in TRANSFORMERS if PRESETS[name].family == "wan"]


@pytest.mark.parametrize("name", WAN)
def test_a_full_size_model_takes_a_window_with_its_reference(name: str) -> None:
    config, preset = TRANSFORMERS[name], PRESETS[name]
    with torch.device("meta"):
        model = InContextTransformer(**config)
        assert billions(model) == pytest.approx(BILLIONS[name], rel=0.02)
        width, height = (side // SPATIAL.get(name, 8) for side in preset.size)
        frames = (preset.fresh + preset.overlap - 1) // 4 + 1
        latents = torch.empty(1, model.config.in_channels, frames, height, width)
        segments = [
            Segment(latents[:, :, :3], torch.zeros(1)),
            Segment(latents[:, :, 3:], torch.ones(1), first_frame=3, predicted=True),
            Segment(latents[..., : height // 4 * 2, : width // 4 * 2], torch.zeros(1), stride=2),
        ]
        with torch.no_grad():
            (velocity,) = model(segments, None, torch.empty(1, 512, 4096))
    assert velocity.shape == latents[:, :, 3:].shape


def test_full_size_ltx_takes_a_window_with_its_reference_and_no_sound() -> None:
    preset = PRESETS["ltx-2.3"]
    with torch.device("meta"):
        model = InContextLtx2Transformer(**TRANSFORMERS["ltx-2.3"])
        assert billions(model) == pytest.approx(18.99, rel=0.01)
        model.drop_sound()
        assert billions(model) == pytest.approx(13.12, rel=0.01)
        frames = (preset.fresh + preset.overlap - 1 + 7) // 8 + 1
        width, height = (side // 32 for side in preset.size)
        tokens = frames * width * height
        target, coords = torch.empty(1, tokens, 128), torch.empty(1, 3, tokens, 2)
        segments = [
            TokenSegment(target, coords, torch.ones(1), predicted=True),
            TokenSegment(target[:, : tokens // 4], coords[:, :, : tokens // 4], torch.zeros(1)),
        ]
        with torch.no_grad():
            text, mask = torch.empty(1, 1024, 4096), torch.empty(1, 1024)
            (velocity,) = model(segments, text, mask, torch.ones(1))
    assert velocity.shape == target.shape


def billions(model: torch.nn.Module) -> float:
    return sum(parameter.numel() for parameter in model.parameters()) / 1e9


def test_every_full_size_preset_has_its_architecture() -> None:
    assert set(TRANSFORMERS) == {name for name, preset in PRESETS.items() if preset.source}
