from pathlib import Path

import numpy as np
import pytest

from capture_bridge.errors import OutputError, RealMasterError
from realmaster import baselines
from realmaster.color import srgb_u8_to_lab
from training.baselines import Options, fit_baselines, main, pair_paths, validate


def pictures(count: int, seed: int = 0) -> list[np.ndarray]:
    return list(np.random.default_rng(seed).integers(0, 256, (count, 48, 64, 3), dtype=np.uint8))


def curve(rgb: np.ndarray) -> np.ndarray:
    """A known global recolouring: a tone curve with a warm tint."""
    x = rgb.astype(np.float64) / 255
    return np.rint(
        255 * np.clip(np.stack([x[..., 0] ** 0.7, x[..., 1], x[..., 2] ** 1.4], -1), 0, 1)
    ).astype(np.uint8)


def identity_lut(side: int) -> np.ndarray:
    axis = np.linspace(0, 255, side, dtype=np.float32)
    return np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1)


def test_the_identity_table_changes_nothing() -> None:
    rgb = pictures(1)[0]
    assert np.array_equal(baselines.apply_lut(identity_lut(25), rgb), rgb)
    assert np.array_equal(baselines.apply_lut(identity_lut(2), rgb), rgb)


def test_the_table_is_trilinear() -> None:
    lut = np.zeros((2, 2, 2, 3), np.float32)
    lut[1, 0, 1] = [255, 128, 64]  # the node of R = 255, G = 0, B = 255
    rgb = np.array([[[204, 51, 102]]], np.uint8)
    share = 0.8 * 0.8 * 0.4
    expected = [round(255 * share), round(128 * share), round(64 * share)]
    assert baselines.apply_lut(lut, rgb)[0, 0].tolist() == expected


def test_channels_index_the_table_in_the_order_r_g_b() -> None:
    lut = identity_lut(9)[..., ::-1].copy()  # swaps R and B
    rgb = pictures(1)[0]
    assert np.array_equal(baselines.apply_lut(lut, rgb), rgb[..., ::-1])


def test_fit_recovers_a_global_curve_and_carries_over_to_unseen_pictures() -> None:
    fitted = baselines.fit((rgb, curve(rgb)) for rgb in pictures(12))
    unseen = pictures(1, seed=9)[0]
    error = np.abs(fitted.apply_lut(unseen).astype(int) - curve(unseen))
    before = np.abs(unseen.astype(int) - curve(unseen))
    assert error.mean() < 1.0
    assert before.mean() > 14
    assert fitted.num_pairs == 12


def test_mean_std_transfer_meets_the_target_statistics() -> None:
    def dull(rgb: np.ndarray) -> np.ndarray:
        return (96 + rgb // 4).astype(np.uint8)

    pairs = [(dull(rgb), (64 + rgb // 2).astype(np.uint8)) for rgb in pictures(4)]
    fitted = baselines.fit(pairs)
    moved = np.stack([srgb_u8_to_lab(fitted.apply_mean_std(render)) for render, _ in pairs])
    target = np.stack([srgb_u8_to_lab(truth) for _, truth in pairs])
    axes = (0, 1, 2)
    assert moved.mean(axis=axes) == pytest.approx(target.mean(axis=axes), abs=0.1)
    assert moved.std(axis=axes) == pytest.approx(target.std(axis=axes), rel=0.02)


def test_colours_that_were_never_seen_follow_the_affine_trend() -> None:
    greys = np.repeat(np.arange(0, 256, dtype=np.uint8)[None, :, None], 3, axis=2)
    fitted = baselines.fit([(greys, greys // 2)])
    red = np.array([[[255, 0, 0]]], np.uint8)
    assert np.isfinite(fitted.lut).all()
    assert fitted.apply_lut(red)[0, 0].max() < 200


def test_saved_baselines_come_back(tmp_path: Path) -> None:
    fitted = baselines.fit((rgb, curve(rgb)) for rgb in pictures(3))
    fitted.save(tmp_path / "b.npz")
    loaded = baselines.load_baselines(tmp_path / "b.npz")
    assert np.abs(loaded.lut - fitted.lut).max() <= 1 / 256
    assert np.array_equal(loaded.source_std, fitted.source_std)
    assert loaded.num_pairs == 3
    assert set(loaded.by_name) == {"mean_std_lab", "lut3d"}


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not a zip", None])
def test_a_foreign_or_missing_file_is_one_clear_error(
    tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "b.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RealMasterError, match=r"training\.baselines"):
        baselines.load_baselines(path)


def test_training_fits_train_seeds_and_validates_on_others(tmp_path: Path) -> None:
    for name, rgb in zip(
        ("0000_drive_0", "0799_walk_1", "0850_drive_0", "0901_drive_0"), pictures(4), strict=True
    ):
        truth = curve(rgb) if name != "0901_drive_0" else 255 - rgb
        np.savez(tmp_path / f"{name}.npz", color=np.stack([rgb * 0, rgb]), truth=truth)
    fitted = fit_baselines(tmp_path)
    assert fitted.num_pairs == 2
    assert validate(fitted, tmp_path)["lut3d"] > 0.5
    assert [p.stem for p in pair_paths(tmp_path, range(800, 900))] == ["0850_drive_0"]


def test_the_command_writes_the_file_once(tmp_path: Path) -> None:
    rgb = pictures(1)[0]
    np.savez(tmp_path / "0003_drive_0.npz", color=rgb[None], truth=curve(rgb))
    output = tmp_path / "models" / "b.npz"
    main(Options(tmp_path, output))
    first = baselines.load_baselines(output)
    assert first.num_pairs == 1
    with pytest.raises(OutputError, match="--overwrite"):
        main(Options(tmp_path, output))
    np.savez(tmp_path / "0004_drive_0.npz", color=rgb[None], truth=rgb)
    main(Options(tmp_path, output, overwrite=True))
    assert baselines.load_baselines(output).num_pairs == 2


def test_training_without_pairs_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(RealMasterError, match="no pair of a train seed"):
        fit_baselines(tmp_path)
    with pytest.raises(RealMasterError, match="no such folder"):
        fit_baselines(tmp_path / "nowhere")
    (tmp_path / "0001_drive_0.npz").write_bytes(b"nothing")
    with pytest.raises(RealMasterError, match="0001_drive_0"):
        fit_baselines(tmp_path)


def test_the_bundled_file_is_small_and_keeps_grey_nearly_grey() -> None:
    bundled = baselines.load_baselines()
    assert bundled.num_pairs > 100
    assert baselines.BUNDLED_PATH.stat().st_size < 2_000_000
    grey = np.full((8, 8, 3), 128, np.uint8)
    for recolour in bundled.by_name.values():
        assert np.ptp(recolour(grey)[0, 0].astype(int)) < 40
