"""The LTX-2 family on tiny models of the real classes, without weights."""

from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKLLTX2Video, LTX2InContextPipeline, LTX2VideoTransformer3DModel
from safetensors.torch import save_file
from torch import Tensor

from capture_bridge.errors import SetupError
from realmaster.families.architectures import TRANSFORMERS
from realmaster.families.clips import U8, Clips, LatentVideo
from realmaster.families.ltx2 import Ltx2Prompt, Ltx2Video
from realmaster.families.ltx2_transformer import InContextLtx2Transformer
from realmaster.families.opening import Opening, open_video
from realmaster.families.presets import PRESETS
from realmaster.flow_matching import schedule

SIZE = (64, 64)
TEXT_DIM = 32
#: What tells the versions apart, without their sizes.
VERSIONS: dict[str, dict[str, Any]] = {
    "2.0": {},
    "2.3": dict(TRANSFORMERS["ltx-2.3"]),
    "2.5": {**TRANSFORMERS["ltx-2.3"], "use_prompt_adaln_single": False, "ff_bias": False},
}


@cache
def models(version: str = "2.0") -> tuple[InContextLtx2Transformer, AutoencoderKLLTX2Video]:
    torch.manual_seed(0)
    transformer = InContextLtx2Transformer(
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
        **VERSIONS[version],
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
        spatial_compression_ratio=32,
        temporal_compression_ratio=8,
    )
    return transformer.eval(), vae.eval()


#: Features of the text that the sound hears, per version.
AUDIO_TEXT = {"2.0": TEXT_DIM, "2.3": 16, "2.5": 16}


def prompt(seed: int) -> Ltx2Prompt:
    generator = torch.Generator().manual_seed(seed)
    mask = torch.tensor([[0.0, 1, 1, 1, 1]]) if seed == 0 else None
    return Ltx2Prompt(torch.randn(1, 5, TEXT_DIM, generator=generator), mask)


def video(guidance: float = 1.0, fps: float = 24.0, version: str = "2.0") -> Ltx2Video:
    return Ltx2Video(*models(version), prompt(0), fps=fps, negative=prompt(1), guidance=guidance)


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
@pytest.mark.parametrize("version", VERSIONS)
def test_the_velocity_is_the_stock_models_with_a_timestep_per_token(version: str) -> None:
    """Clean first frames, a reference and a last picture, placed as diffusers' pipeline does it."""
    transformer, _ = models(version)
    stock = LTX2VideoTransformer3DModel.from_config(transformer.config)
    stock.load_state_dict(transformer.state_dict())
    stock.eval()
    generator = torch.Generator().manual_seed(2)
    x, reference = (torch.randn(1, 8, n, 2, 2, generator=generator) for n in (2, 3))
    held, ending = (torch.randn(1, 8, 1, 2, 2, generator=generator) for _ in range(2))
    got = video(version=version).velocity(x, reference, held, 0.7, 1, ending)

    pack = [part.flatten(2).transpose(1, 2) for part in (held, x, reference, ending)]
    coords = stock.rope.prepare_video_coords(1, 3, 2, 2, torch.device("cpu"), fps=24.0)
    pipeline = SimpleNamespace(
        transformer_spatial_patch_size=1,
        transformer_temporal_patch_size=1,
        vae_temporal_compression_ratio=8,
        vae_spatial_compression_ratio=32,
    )
    last = LTX2InContextPipeline._prepare_keyframe_coords(
        pipeline, 1, 2, 2, 16, 1, 24.0, torch.device("cpu")
    )
    time = torch.zeros(1, 28)
    time[:, 4:12] = 700.0
    wanted = stock(
        hidden_states=torch.cat(pack, 1),
        audio_hidden_states=torch.randn(1, 1, 4, generator=generator),  # whatever it sounds like
        encoder_hidden_states=prompt(0).video,
        audio_encoder_hidden_states=torch.randn(1, 5, AUDIO_TEXT[version], generator=generator),
        timestep=time,
        audio_timestep=torch.tensor([700.0]),
        sigma=torch.tensor([700.0]),
        encoder_attention_mask=prompt(0).mask,
        video_coords=torch.cat([coords, coords, last], 2),
        audio_num_frames=1,
        isolate_modalities=True,
    ).sample[:, 4:12]
    assert float((got - wanted.transpose(1, 2).reshape(x.shape)).abs().max()) <= 1e-5
    without = video(version=version).velocity(x, reference, held, 0.7, 1)
    assert float((got - without).abs().max()) > 1e-4  # the last picture is heard


@torch.no_grad()
@pytest.mark.parametrize("version", VERSIONS)
def test_dropping_the_sound_changes_nothing(version: str) -> None:
    generator = torch.Generator().manual_seed(2)
    x, reference = (torch.randn(1, 8, 2, 2, 2, generator=generator) for _ in range(2))
    whole = video(version=version).velocity(x, reference, None, 0.7, 1)
    silent = InContextLtx2Transformer.from_config(models(version)[0].config)
    silent.load_state_dict(models(version)[0].state_dict())
    silent.drop_sound()
    assert not any("audio" in name for name, _ in silent.named_parameters())
    made = Ltx2Video(silent.eval(), models(version)[1], prompt(0), fps=24.0)
    assert torch.equal(made.velocity(x, reference, None, 0.7, 1), whole)


@torch.no_grad()
def test_compiled_blocks_give_the_same_velocity() -> None:
    model = InContextLtx2Transformer.from_config(models("2.3")[0].config)
    model.load_state_dict(models("2.3")[0].state_dict())
    made = Ltx2Video(model.eval(), models("2.3")[1], prompt(0), fps=24.0)
    x = torch.randn(1, 8, 2, 2, 2, generator=torch.Generator().manual_seed(2))
    plain = made.velocity(x, x, None, 0.7, 1)
    model.compile_repeated_blocks(fullgraph=True, backend="eager")
    torch.testing.assert_close(made.velocity(x, x, None, 0.7, 1), plain, atol=1e-5, rtol=1e-5)


def test_gradients_with_and_without_checkpointing_agree() -> None:
    model = InContextLtx2Transformer.from_config(models("2.3")[0].config)
    model.load_state_dict(models("2.3")[0].state_dict())
    made = Ltx2Video(model, models()[1], prompt(0), fps=24.0)
    generator = torch.Generator().manual_seed(2)
    x, reference = (torch.randn(1, 8, 2, 2, 2, generator=generator) for _ in range(2))
    gradients = []
    for wanted in (False, True):
        model.zero_grad()
        (model.enable_gradient_checkpointing if wanted else model.disable_gradient_checkpointing)()
        made.velocity(x, reference, None, 0.7, 1).square().mean().backward()
        gradients.append(model.proj_in.weight.grad.clone())
    torch.testing.assert_close(*gradients)


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

    def reach(latents: Tensor, stride: int) -> list[float]:
        coords = made.coords(latents.shape[2:], latents.device, stride)
        values: list[float] = coords.amax((0, 2, 3)).tolist()
        return values

    assert reach(whole, 1) == reach(half, 2)


def test_encoding_and_decoding_keep_the_size() -> None:
    model = clips()
    latents = model.encode(render(9))
    assert latents.shape == (1, 8, 2, 2, 2)
    assert model.decode(latents).shape == (9, 64, 64, 3)


def test_a_saved_checkpoint_is_opened_as_the_preset_is(tmp_path: Path) -> None:
    for name, model in zip(("transformer", "vae"), models(), strict=True):
        model.save_pretrained(tmp_path / name)
    told = prompt(0)
    assert told.mask is not None
    parts = {"video": told.video, "mask": told.mask}
    save_file(parts, tmp_path / "prompt_embeds.safetensors")
    preset = replace(PRESETS["ltx-2.3"], source=str(tmp_path))
    opening = Opening(preset, ("a street",), (), "none", "cpu", 24.0)
    opened, made = clips(open_video(opening)), clips()
    one, two = (model.generate(render(9), None, 0).astype(int) for model in (opened, made))
    assert np.abs(one - two).max() <= 1  # threads add in another order
    wan = replace(opening, preset=replace(PRESETS["wan2.2-5b"], source=str(tmp_path)))
    with pytest.raises(SetupError, match="another family"):
        open_video(wan)
