"""The latent preview: close to what was encoded, fitted once, cached."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKLWan
from safetensors.torch import load_file

from realmaster.families.clips import LatentVideo
from realmaster.families.presets import bundled
from realmaster.families.preview import LatentPreview, fit_preview, latent_preview, shown, texture
from realmaster.families.wan import Text, WanVideo
from realmaster.families.weights import load
from realmaster.in_context import InContextTransformer

TINY = bundled("tiny")


class PixelVideo:
    """Latents that are the mean colors themselves, 4 x 8 x 8 pixels each."""

    temporal_factor, spatial_multiple = 4, 16

    def encode(self, video: torch.Tensor) -> torch.Tensor:
        frames = shown(video, self.temporal_factor)
        return torch.nn.functional.avg_pool2d(frames, 8)[None]


class BentVideo(PixelVideo):
    """16 channels that are random sums of a patch's pixels, bent, with a little noise."""

    def encode(self, video: torch.Tensor) -> torch.Tensor:
        generator = torch.Generator().manual_seed(0)
        kernel = torch.randn(16, 3, 8, 8, generator=generator) / 8
        frames = shown(video, self.temporal_factor).transpose(0, 1)
        made = torch.nn.functional.conv2d(frames, kernel, stride=8).asinh()
        made += 0.05 * torch.randn(made.shape, generator=generator)
        return made.transpose(0, 1)[None]


def psnr(video: LatentVideo, preview: LatentPreview, clip: torch.Tensor) -> tuple[float, float]:
    """Of the preview, and of the clip's mean color in its place, in dB."""
    with torch.no_grad():
        pictures = preview.pictures(video.encode(clip))
    seen = shown(clip, video.temporal_factor)
    wanted = torch.nn.functional.adaptive_avg_pool2d(seen, pictures.shape[1:3])
    levels = ((wanted.permute(1, 2, 3, 0) + 1) * 127.5).numpy()
    made, flat = (
        float(10 * np.log10(255**2 / np.square(levels - guess).mean()))
        for guess in (pictures.astype(float), levels.mean((0, 1, 2)))
    )
    return made, flat


@pytest.fixture(scope="module")
def bent() -> LatentVideo:
    made: Any = BentVideo()
    return made


def test_it_is_close_to_what_was_encoded(bent: LatentVideo) -> None:
    clip = texture(9, 128, seed=99)  # none of those that it was fitted to
    made, flat = psnr(bent, fit_preview(bent, "cpu"), clip)
    assert made > flat + 5, (made, flat)


@pytest.mark.skipif(TINY is None, reason="no trained checkpoint is bundled")
def test_it_is_close_to_what_the_bundled_autoencoder_encodes() -> None:
    transformer = load(InContextTransformer, str(TINY), "transformer")
    text = Text(torch.zeros(1, 1, transformer.config.text_dim))
    video = WanVideo([transformer], load(AutoencoderKLWan, str(TINY), "vae"), text)
    clip = texture(2 * video.temporal_factor + 1, 4 * video.spatial_multiple, seed=99)
    made, flat = psnr(video, fit_preview(video, "cpu"), clip)
    assert made > flat + 3, (made, flat)


def test_of_latents_that_are_colors_it_is_their_color() -> None:
    pixels: Any = PixelVideo()
    preview = fit_preview(pixels, "cpu")
    assert preview.patch == 4
    rows = torch.tensor([-0.5, 0.0, 0.5, 1.0]).repeat_interleave(16)
    clip = rows[None, None, None, :, None].expand(1, 3, 5, 64, 64).clone()
    pictures = preview.pictures(pixels.encode(clip))
    assert pictures.shape == (2, 32, 32, 3)
    middles = pictures[:, 4::8].astype(float).mean((0, 2, 3))
    assert np.abs(middles - (np.array([-0.5, 0.0, 0.5, 1.0]) + 1) * 127.5).max() < 6


def test_it_is_fitted_once_and_a_damaged_cache_is_made_anew(
    bent: LatentVideo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("realmaster.families.preview.cache_folder", lambda of: tmp_path / of)
    first = latent_preview(bent, "someone/model", "cpu")
    (path,) = (tmp_path / "previews").iterdir()
    assert torch.equal(load_file(path)["weights"], first.weights)
    monkeypatch.setattr(
        "realmaster.families.preview.fit_preview", lambda *_: pytest.fail("fitted again")
    )
    assert torch.equal(latent_preview(bent, "someone/model", "cpu").weights, first.weights)
    monkeypatch.undo()
    monkeypatch.setattr("realmaster.families.preview.cache_folder", lambda of: tmp_path / of)
    path.write_bytes(b"no such thing")
    assert torch.equal(latent_preview(bent, "someone/model", "cpu").weights, first.weights)
    latent_preview(bent, "another/model", "cpu")
    assert len(list((tmp_path / "previews").iterdir())) == 2


def test_textures_are_the_same_everywhere_and_differ_by_seed() -> None:
    one, again, other = (texture(3, 32, seed) for seed in (1, 1, 2))
    assert torch.equal(one, again)
    assert float((one - other).abs().mean()) > 0.1
    assert float(one.std()) == pytest.approx(0.45, abs=0.1)
