"""Full-size models on the meta device: names, sizes and shapes, without a byte of weights."""

import pytest
import torch

from realmaster.families.architectures import TRANSFORMERS
from realmaster.families.presets import PRESETS
from realmaster.in_context import InContextTransformer, Segment

BILLIONS = {"wan2.2-5b": 5.0, "wan2.1-1.3b": 1.42, "wan2.1-14b": 14.3, "wan2.2-a14b": 14.3}
#: Latents' pixels per pixel: 16 with Wan2.2's autoencoder, else 8.
SPATIAL = {"wan2.2-5b": 16}


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_a_full_size_model_takes_a_window_with_its_reference(name: str) -> None:
    config, preset = TRANSFORMERS[name], PRESETS[name]
    with torch.device("meta"):
        model = InContextTransformer(**config)
        size = sum(p.numel() for p in model.parameters()) / 1e9
        assert size == pytest.approx(BILLIONS[name], rel=0.02)
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


def test_every_full_size_preset_has_its_architecture() -> None:
    assert set(TRANSFORMERS) == {
        name for name, preset in PRESETS.items() if preset.source and preset.family == "wan"
    }
