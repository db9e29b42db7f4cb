"""The Wan family on a tiny checkpoint of the real classes: any length, any size, anchors held."""

from dataclasses import replace
from functools import partialmethod
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKLWan

from capture_bridge.errors import SetupError
from realmaster.adapters import Adapter, Factors
from realmaster.families.clips import U8, Clips, resized, working_size
from realmaster.families.opening import Opening, open_video
from realmaster.families.presets import PRESETS
from realmaster.families.wan import Text, WanVideo
from realmaster.families.weights import load
from realmaster.flow_matching import schedule
from realmaster.in_context import InContextTransformer
from tests.realmaster.families.tiny_checkpoint import VAE, write_tiny

SIZE = (32, 16)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("tiny"), experts=2)


def clips(checkpoint: Path, *, guidance: float = 1.0, stride: int = 1, steps: int = 2) -> Clips:
    generator = torch.Generator().manual_seed(0)
    text = Text(*(torch.randn(1, 3, 16, generator=generator) for _ in range(2)))
    video = WanVideo(
        [load(InContextTransformer, str(checkpoint), "transformer")],
        load(AutoencoderKLWan, str(checkpoint), "vae"),
        text,
        guidance=(guidance,),
    )
    size = SIZE if stride == 1 else (SIZE[0], 2 * SIZE[1])
    return Clips(video, schedule(steps, 3.0).tolist(), size, reference_stride=stride)


def render(count: int, size: tuple[int, int] = SIZE, seed: int = 0) -> U8:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, size[1], size[0], 3), dtype=np.uint8)


@pytest.mark.parametrize("count", [1, 2, 5, 6])
def test_a_clip_has_as_many_pictures_as_frames(checkpoint: Path, count: int) -> None:
    made = clips(checkpoint).generate(render(count, (30, 20)), None, 0)
    assert made.shape == (count, 20, 30, 3)
    assert made.dtype == np.uint8


def test_the_same_seed_gives_the_same_pictures(checkpoint: Path) -> None:
    model = clips(checkpoint)
    first, again, other = (model.generate(render(5), None, seed) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_the_render_is_heard(checkpoint: Path) -> None:
    model = clips(checkpoint)
    dark, bright = (np.full((5, 16, 32, 3), level, np.uint8) for level in (10, 240))
    assert not np.array_equal(model.generate(dark, None, 0), model.generate(bright, None, 0))


def test_no_frame_is_lost_where_two_make_a_latent(checkpoint: Path) -> None:
    torch.manual_seed(0)
    halved = {"dim_mult": [1, 1], "temperal_downsample": [True]}
    vae = AutoencoderKLWan(
        **{**VAE, **halved}, scale_factor_temporal=2, scale_factor_spatial=2
    ).eval()
    video = load_tiny(checkpoint, vae)
    clip = torch.rand(1, 3, 9, 16, 16) * 2 - 1
    with torch.no_grad():
        whole = video.encode(clip)
        assert whole.shape[2] == 5
        for frames in (1, 3, 5, 7):
            latents = video.encode(clip[:, :, :frames])
            assert torch.allclose(latents, whole[:, :, : latents.shape[2]], atol=1e-5)
            assert video.decode(latents).shape[1] == frames


def load_tiny(checkpoint: Path, vae: AutoencoderKLWan) -> WanVideo:
    transformer = load(InContextTransformer, str(checkpoint), "transformer")
    return WanVideo([transformer], vae, Text(torch.zeros(1, 1, 16)))


def test_anchors_are_held_as_they_were_encoded(checkpoint: Path) -> None:
    model = clips(checkpoint)
    clip, anchors = render(9), render(5, seed=3)
    held = model.encode(anchors)
    latents = model.denoise(model.encode(clip), held, 0)
    assert torch.equal(latents[:, :, :2], held)
    assert latents.shape == model.encode(clip).shape
    assert model.generate(clip, anchors[:4], 0).shape == clip.shape  # one whole latent frame


def test_a_clip_ends_with_the_picture_it_is_given(checkpoint: Path) -> None:
    """The picture stands clean where the clip ends, and every latent frame hears it."""
    model, clip = clips(checkpoint), render(9)
    plain, dark, bright = (
        model.generate(clip, None, 0, None if level is None else np.full((16, 32, 3), level, "u1"))
        for level in (None, 10, 240)
    )
    assert plain.shape == dark.shape == (9, 16, 32, 3)
    assert not np.array_equal(plain, dark)
    assert not np.array_equal(dark, bright)
    held, reference = model.encode(render(5, seed=3)), model.encode(clip)
    ending = model.encode(render(1, seed=4))
    latents = model.denoise(reference, held, 0, ending)
    assert torch.equal(latents[:, :, :2], held)
    assert latents.shape == reference.shape
    assert not torch.equal(latents, model.denoise(reference, held, 0))


def test_compiled_blocks_give_the_same_velocity(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Traced whole, without a break; what the trace is made into is PyTorch's concern."""
    traced = partialmethod(
        InContextTransformer.compile_repeated_blocks, fullgraph=True, backend="eager"
    )
    monkeypatch.setattr(InContextTransformer, "compile_repeated_blocks", traced)
    preset = replace(PRESETS["tiny"], source=str(checkpoint))
    opening = Opening(preset, ("a street",), (), "none", "cpu", 24.0)
    x = torch.randn(1, 4, 2, 2, 4, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        plain, compiled = (
            open_video(replace(opening, compiled=wanted)).velocity(x, x, None, 0.7, 1)
            for wanted in (False, True)
        )
    torch.testing.assert_close(plain, compiled, atol=1e-5, rtol=1e-5)


def test_guidance_leads_away_from_the_negative_prompt(checkpoint: Path) -> None:
    plain, guided = clips(checkpoint), clips(checkpoint, guidance=4.0)
    latents = plain.encode(render(5))
    assert not torch.equal(plain.denoise(latents, None, 0), guided.denoise(latents, None, 0))


def test_two_experts_share_the_noise_levels(checkpoint: Path) -> None:
    first, second = (
        load(InContextTransformer, str(checkpoint), name)
        for name in ("transformer", "transformer_2")
    )
    vae, text = load(AutoencoderKLWan, str(checkpoint), "vae"), Text(torch.zeros(1, 3, 16))

    def run(experts: list[InContextTransformer], boundary: float) -> torch.Tensor:
        video = WanVideo(experts, vae, text, boundary=boundary)
        model = Clips(video, schedule(4, 1.0).tolist(), SIZE)
        return model.denoise(model.encode(render(5)), None, 0)

    assert torch.equal(run([first, second], 0.0), run([first], 0.0))
    assert torch.equal(run([first, second], 1.1), run([second], 0.0))
    mixed = run([first, second], 0.6)
    assert not torch.equal(mixed, run([first], 0.0))
    assert not torch.equal(mixed, run([second], 0.0))


@pytest.mark.parametrize("names", [("gta_high_noise.safetensors", "x"), ("a", "GTA-LowNoise-v2")])
@torch.no_grad()
def test_an_adapter_of_one_expert_changes_that_one_alone(
    checkpoint: Path, names: tuple[str, str]
) -> None:
    """By its file's name, as such pairs are published, or by what its metadata say."""
    high = names[1] == "x"
    preset = replace(PRESETS["tiny"], source=str(checkpoint), boundary=0.5)
    linear = load(InContextTransformer, str(checkpoint), "transformer").blocks[0].ffn.net[2]
    change = Factors(torch.ones(2, linear.in_features), torch.ones(linear.out_features, 2))
    weights = {"blocks.0.ffn.net.2": change}
    told = {} if high else {"expert": "low_noise"}
    adapter = Adapter(names[0], weights, told)
    bare = Opening(preset, ("a street",), (), "none", "cpu", 24.0)
    x = torch.randn(1, 4, 2, 2, 4, generator=torch.Generator().manual_seed(0))
    changed = [
        not torch.equal(
            *(
                open_video(opening).velocity(x, x, None, sigma, 1)
                for opening in (bare, replace(bare, adapters=[(adapter, 1.0)]))
            )
        )
        for sigma in (0.7, 0.3)
    ]
    assert changed == [high, not high]
    assert Adapter(names[1], weights, {}).expert == ("" if high else "low")


def test_a_smaller_reference_works(checkpoint: Path) -> None:
    model = clips(checkpoint, stride=2)
    assert model.generate(render(5, (32, 32)), None, 0).shape == (5, 32, 32, 3)
    assert model.encode(render(5, (32, 32)), 2).shape[3:] == (2, 2)


@pytest.mark.parametrize(
    ("size", "wanted"),
    [
        ((1920, 1080), (1280, 704)),
        ((1280, 720), (1280, 704)),
        ((720, 1280), (704, 1280)),
        ((320, 180), (320, 192)),
    ],
)
def test_working_sizes_keep_the_shape(size: tuple[int, int], wanted: tuple[int, int]) -> None:
    assert working_size(size, (1280, 704), 32) == wanted


def test_resizing_keeps_a_flat_picture_and_its_dtype() -> None:
    flat = np.full((2, 10, 14, 3), 77, np.uint8)
    assert np.array_equal(resized(flat, (28, 20)), np.full((2, 20, 28, 3), 77, np.uint8))


def test_missing_and_damaged_weights_end_in_one_line(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="diffusers' layout"):
        load(AutoencoderKLWan, str(checkpoint), "vae_2")
    broken = write_tiny(tmp_path)
    weights = next((broken / "vae").glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-50])
    with pytest.raises(SetupError, match="damaged"):
        load(AutoencoderKLWan, str(broken), "vae")
    weights.unlink()
    with pytest.raises(SetupError) as caught:
        load(AutoencoderKLWan, str(broken), "vae")
    assert "\n" not in str(caught.value)


def test_weights_that_are_neither_here_nor_reachable_say_how_to_get_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(SetupError, match=r"hf download nobody/nothing-at-all") as caught:
        load(AutoencoderKLWan, "nobody/nothing-at-all", "vae")
    assert "\n" not in str(caught.value)
