"""The LTX-2 family on tiny models of the real classes, without weights."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKLLTX2Video, LTX2VideoTransformer3DModel
from safetensors.torch import save_file
from torch import Tensor

from capture_bridge.errors import SetupError
from realmaster.families.clips import U8, Clips, LatentVideo
from realmaster.families.ltx2 import Ltx2Prompt, Ltx2Video
from realmaster.families.opening import Opening, open_video
from realmaster.families.presets import PRESETS
from realmaster.flow_matching import schedule

SIZE = (64, 64)
TEXT_DIM = 32


@cache
def models() -> tuple[LTX2VideoTransformer3DModel, AutoencoderKLLTX2Video]:
    torch.manual_seed(0)
    transformer = LTX2VideoTransformer3DModel(
        in_channels=8,
        out_channels=8,
        num_attention_heads=2,
        attention_head_dim=16,
        cross_attention_dim=TEXT_DIM,
        audio_in_channels=4,
        audio_out_channels=4,
        audio_num_attention_heads=2,
        audio_attention_head_dim=8,
        audio_cross_attention_dim=16,
        num_layers=2,
        caption_channels=TEXT_DIM,
    )
    with torch.no_grad():
        for parameter in transformer.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    vae = AutoencoderKLLTX2Video(
        latent_channels=8,
        block_out_channels=(8, 8, 16, 16),
        decoder_block_out_channels=(8, 16, 32),
        layers_per_block=(1, 1, 1, 1, 1),
        decoder_layers_per_block=(1, 1, 1, 1),
    )
    return transformer.eval(), vae.eval()


def prompt(seed: int) -> Ltx2Prompt:
    generator = torch.Generator().manual_seed(seed)
    video, audio = (torch.randn(1, 5, TEXT_DIM, generator=generator) for _ in range(2))
    return Ltx2Prompt(video, audio, torch.ones(1, 5))


def video(guidance: float = 1.0, fps: float = 24.0) -> Ltx2Video:
    return Ltx2Video(*models(), prompt(0), fps=fps, negative=prompt(1), guidance=guidance)


def clips(made: LatentVideo | None = None, stride: int = 1) -> Clips:
    return Clips(made or video(), schedule(2, 1.0).tolist(), SIZE, reference_stride=stride)


def render(count: int, seed: int = 0) -> U8:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, SIZE[1], SIZE[0], 3), dtype=np.uint8)


@pytest.mark.parametrize("count", [1, 8, 9])
def test_a_clip_has_as_many_pictures_as_frames(count: int) -> None:
    made = clips().generate(render(count), None, 0)
    assert made.shape == (count, SIZE[1], SIZE[0], 3)


def test_the_render_the_prompt_and_the_rate_are_heard() -> None:
    model = clips()
    base = model.denoise(model.encode(render(9)), None, 0)
    assert torch.equal(base, model.denoise(model.encode(render(9)), None, 0))
    other = model.denoise(model.encode(render(9, seed=1)), None, 0)
    assert not torch.allclose(base, other)
    for changed in (video(guidance=3.0), video(fps=60.0)):
        model = clips(changed)
        assert not torch.allclose(base, model.denoise(model.encode(render(9)), None, 0))


@torch.no_grad()
def test_the_velocity_is_the_stock_models_with_clean_tokens_beside(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Shared positions and timestep 0 on the reference, as in diffusers' in-context pipeline."""
    transformer, _ = models()
    made = video()
    generator = torch.Generator().manual_seed(2)
    x, reference = (torch.randn(1, 8, 2, 2, 2, generator=generator) for _ in range(2))
    got = made.velocity(x, reference, None, 0.7, 1)
    pack = [latents.flatten(2).transpose(1, 2) for latents in (x, reference)]
    coords = transformer.rope.prepare_video_coords(1, 2, 2, 2, torch.device("cpu"), fps=24.0)
    time = torch.cat([torch.full((1, 8), 700.0), torch.zeros(1, 8)], 1)
    stock = transformer(
        hidden_states=torch.cat(pack, 1),
        audio_hidden_states=torch.randn(1, 1, 4, generator=generator),  # whatever it sounds like
        encoder_hidden_states=prompt(0).video,
        audio_encoder_hidden_states=prompt(0).audio,
        timestep=time,
        audio_timestep=torch.tensor([700.0]),
        sigma=torch.tensor([700.0]),
        video_coords=torch.cat([coords, coords], 2),
        audio_num_frames=1,
        isolate_modalities=True,
    ).sample[:, :8]
    wanted = stock.transpose(1, 2).reshape(x.shape)
    torch.testing.assert_close(got, wanted, atol=1e-5, rtol=1e-5)


def test_anchors_are_clean_and_held() -> None:
    model = clips()
    held = model.encode(render(9, seed=3))
    latents = model.denoise(model.encode(render(17)), held, 0)
    assert torch.equal(latents[:, :, :2], held)
    free = model.denoise(model.encode(render(17)), None, 0)
    assert not torch.allclose(latents[:, :, 2:], free[:, :, 2:])


def test_a_smaller_reference_reaches_as_far() -> None:
    made = video()
    whole, half = torch.zeros(1, 8, 2, 4, 4), torch.zeros(1, 8, 2, 2, 2)

    def reach(coords: Tensor) -> list[float]:
        values: list[float] = coords.amax((0, 2, 3)).tolist()
        return values

    assert reach(made._coords(whole, 1)) == reach(made._coords(half, 2))


def test_encoding_and_decoding_keep_the_size() -> None:
    model = clips()
    latents = model.encode(render(9))
    assert latents.shape == (1, 8, 2, 2, 2)
    assert model.decode(latents).shape == (9, 64, 64, 3)


def test_a_saved_checkpoint_is_opened_as_the_preset_is(tmp_path: Path) -> None:
    for name, model in zip(("transformer", "vae"), models(), strict=True):
        model.save_pretrained(tmp_path / name)
    told = prompt(0)
    parts = {"video": told.video, "audio": told.audio, "mask": told.mask}
    save_file(parts, tmp_path / "prompt_embeds.safetensors")
    preset = replace(PRESETS["ltx-2.3"], source=str(tmp_path))
    opening = Opening(preset, ("a street",), (), "none", "cpu", 24.0)
    opened, made = clips(open_video(opening)), clips()
    one, two = (model.generate(render(9), None, 0).astype(int) for model in (opened, made))
    assert np.abs(one - two).max() <= 1  # threads add in another order
    wan = replace(opening, preset=replace(PRESETS["wan2.2-5b"], source=str(tmp_path)))
    with pytest.raises(SetupError, match="another family"):
        open_video(wan)
