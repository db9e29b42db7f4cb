"""The tiny base: clips out of the fast tier's samples, and the command that trains on them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKLWan, WanTransformer3DModel

from capture_bridge.errors import RealMasterError, SetupError
from capture_bridge.media import VideoReader
from realmaster.families.weights import load
from realmaster.in_context import InContextTransformer, Segment
from tests.training.pairs_files import pictures, write_pairs
from training.local_heads import look_nearby
from training.pairs_folder import read_pairs
from training.relit import relit, relit_pairs
from training.street_pans import (
    MAX_SPEED_PX,
    Options,
    cut_out,
    read_sample,
    run,
    shrunk_size,
    window_path,
)
from training.tiny_base import TRANSFORMER, make_tiny_base
from training.tiny_base import Options as BaseOptions


def write_sample(path: Path, seed: int) -> None:
    color = pictures(seed, 4, (64, 48))
    np.savez(path, color=color, truth=255 - color[-1])


def test_a_window_moves_evenly_and_stays_inside() -> None:
    rng = np.random.default_rng(0)
    for _ in range(100):
        corners = window_path((256, 144), (128, 80), 9, rng)
        assert (corners >= 0).all()
        assert (corners <= (128, 64)).all()
        assert (np.abs(np.diff(corners, axis=0)) <= MAX_SPEED_PX + 1).all()
    assert (window_path((128, 80), (128, 80), 5, rng) == 0).all()


def test_a_window_shows_much_of_the_picture() -> None:
    rng = np.random.default_rng(0)
    widths = set()
    for _ in range(100):
        width, height = shrunk_size((512, 288), (128, 80), rng)
        assert abs(width / height - 512 / 288) < 0.02
        assert 1.09 <= min(width / 128, height / 80) <= 1.82
        widths.add(width)
    assert len(widths) > 30
    assert shrunk_size((128, 80), (128, 80), rng) == (128, 80)  # never enlarged


def test_game_and_truth_are_cut_alike(tmp_path: Path) -> None:
    write_sample(tmp_path / "0003_drive_0.npz", 3)
    drawn, truth = read_sample(tmp_path / "0003_drive_0.npz")
    corners = window_path((64, 48), (32, 16), 5, np.random.default_rng(0))
    render, target = (cut_out(picture, corners, (32, 16)) for picture in (drawn, truth))
    assert render.shape == (5, 16, 32, 3)
    assert np.array_equal(target, 255 - render)


def test_samples_become_a_folder_of_pairs(tmp_path: Path) -> None:
    samples = tmp_path / "samples"
    samples.mkdir()
    for seed in (3, 805):
        write_sample(samples / f"{seed:04d}_drive_0.npz", seed)
    options = Options(samples, tmp_path / "pans", seeds="0:800", size="32x16", num=2)
    assert run(options) == 2
    assert [pair.name for pair in read_pairs(tmp_path / "pans")] == [
        "0003_drive_0_0",
        "0003_drive_0_1",
    ]
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "pans").glob("*/*.mp4")}
    assert run(options) == 2
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in before.items())
    with pytest.raises(RealMasterError, match="test seeds"):
        run(Options(samples, tmp_path / "pans", seeds="895:905"))
    with pytest.raises(SetupError, match="no samples"):
        run(Options(samples, tmp_path / "pans", seeds="5"))


def test_a_relit_copy_keeps_the_places_of_things() -> None:
    shown = pictures(0, 4)
    made, again, other = (relit(shown, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(made, again)
    assert np.abs(made.astype(float) - other).mean() > 3
    assert np.abs(made.astype(float) - shown).mean() > 3
    for before, after in zip(shown, made, strict=True):
        rows, grown = (np.diff(part.mean(-1), axis=1).ravel() for part in (before, after))
        assert np.corrcoef(rows, grown)[0, 1] > 0.6


def test_relit_pairs_have_the_same_targets_and_go_on(tmp_path: Path) -> None:
    pairs = read_pairs(write_pairs(tmp_path / "pairs", clips=3))
    told: list[tuple[int, int]] = []
    relit_pairs(pairs[:2], tmp_path / "relit", 0, lambda *at: told.append(at))
    assert told == [(0, 2), (1, 2), (2, 2)]
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "relit").glob("*/*.mp4")}
    relit_pairs(pairs, tmp_path / "relit", 0, lambda *at: None)
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in before.items())
    made = read_pairs(tmp_path / "relit")
    assert [pair.name for pair in made] == [pair.name for pair in pairs]
    for pair, copy in zip(pairs, made, strict=True):
        assert pair.target.read_bytes() == copy.target.read_bytes()
        with VideoReader(copy.reference) as video:
            assert len(list(video)) == 5


def test_a_local_head_looks_where_the_reference_has_its_place() -> None:
    assert felt_there(()) < 0.1
    assert felt_there((2.0,)) > 0.4


def felt_there(sharpness: tuple[float, ...]) -> float:
    """Of all that changes where a token of the reference changes, the share at its own place."""
    torch.manual_seed(0)
    transformer = InContextTransformer(**{**TRANSFORMER, "num_layers": 1}).eval()
    look_nearby(transformer, sharpness)
    there, everywhere = 0.0, 0.0
    for _ in range(8):
        target, reference = torch.randn(2, 1, 16, 1, 12, 16)
        changed = reference.clone()
        changed[..., 4:6, 6:8] = torch.randn(1, 16, 1, 2, 2)
        made = [velocity(transformer, target, seen) for seen in (reference, changed)]
        moved = (made[1] - made[0]).square()
        there += float(moved[..., 4:6, 6:8].sum())
        everywhere += float(moved.sum())
    return there / everywhere


@torch.no_grad()
def velocity(
    transformer: InContextTransformer, target: torch.Tensor, reference: torch.Tensor
) -> torch.Tensor:
    still = torch.zeros(1)
    segments = [Segment(target, still + 900, predicted=True), Segment(reference, still)]
    made: torch.Tensor = transformer(segments, None, torch.zeros(1, 1, 64))[0]
    return made


def test_one_command_makes_the_base_and_goes_on_where_it_stopped(tmp_path: Path) -> None:
    clips = write_pairs(tmp_path / "pairs", clips=2)
    options = BaseOptions(
        clips, tmp_path / "base", vae_steps=2, steps=2, batch=2, size=(48, 32), frames=5
    )
    folder = make_tiny_base(options)
    transformer = load(WanTransformer3DModel, str(folder), "transformer")
    vae = load(AutoencoderKLWan, str(folder), "vae")
    num_bytes = sum(p.numel() * 4 for m in (transformer, vae) for p in m.parameters())
    assert num_bytes < 40e6
    assert any(vae.config.latents_mean)
    assert "trained from nothing" in (folder / "README.md").read_text()
    longer = make_tiny_base(
        BaseOptions(clips, folder, vae_steps=2, steps=3, batch=2, size=(48, 32), frames=5)
    )
    again = load(WanTransformer3DModel, str(longer), "transformer")
    moved = [
        float((a - b).detach().abs().max())
        for a, b in zip(transformer.parameters(), again.parameters(), strict=True)
    ]
    assert max(moved) > 0
    assert torch.isfinite(torch.tensor(moved)).all()
