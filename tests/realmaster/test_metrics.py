import math

import numpy as np
import pytest

from realmaster import metrics
from realmaster.accumulator import Accumulator, Picture

RNG = np.random.default_rng(7)


def flat(value: int, height: int = 192, width: int = 200) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def noise(height: int = 192, width: int = 200) -> np.ndarray:
    return RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_lab_distance_is_the_mean_over_three_channels() -> None:
    lab = np.zeros((4, 5, 3), np.float32)
    other = lab.copy()
    other[1, 2] = [3, -6, 12]
    distance = metrics.lab_distance_map(lab, other)
    assert distance.shape == (4, 5)
    assert distance[1, 2] == pytest.approx(7)
    assert distance.sum() == pytest.approx(7)


def test_gap_closure_of_the_truth_the_render_and_something_worse() -> None:
    assert metrics.gap_closure(0, 8) == 1
    assert metrics.gap_closure(8, 8) == 0
    assert metrics.gap_closure(2, 8) == 0.75
    assert metrics.gap_closure(12, 8) == -0.5
    assert math.isnan(metrics.gap_closure(1, 0))


def test_psnr_of_known_errors() -> None:
    assert metrics.psnr_db(metrics.mean_squared_error(flat(10), flat(26))) == pytest.approx(24.0484)
    assert metrics.psnr_db(0) == 100
    one_off = flat(10)
    one_off[0, 0, 0] = 13
    assert metrics.mean_squared_error(one_off, flat(10)) == pytest.approx(9 / one_off.size)


def test_ssim_of_one_window_by_hand() -> None:
    """11 x 11 pixels are one window: the equation with explicit Gaussian weights."""
    a, b = noise(11, 11), noise(11, 11)
    gauss = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    weights = np.outer(gauss, gauss) / gauss.sum() ** 2
    luma = np.array([0.299, 0.587, 0.114])
    x, y = a @ luma, b @ luma
    mx, my = (weights * x).sum(), (weights * y).sum()
    vx, vy = (weights * (x - mx) ** 2).sum(), (weights * (y - my) ** 2).sum()
    cov = (weights * (x - mx) * (y - my)).sum()
    c1, c2 = 6.5025, 58.5225
    expected = (2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
    assert metrics.ssim(a, b) == pytest.approx(expected, abs=1e-4)
    assert metrics.ms_ssim(a, b) == pytest.approx(max(expected, 0), abs=1e-4)


def test_ms_ssim_of_flat_pictures_is_the_luminance_term_at_the_coarsest_scale() -> None:
    luminance = (2 * 100 * 150 + 6.5025) / (100**2 + 150**2 + 6.5025)
    assert metrics.ms_ssim(flat(100), flat(150)) == pytest.approx(luminance**0.1333, abs=1e-5)
    assert metrics.ssim(flat(100), flat(150)) == pytest.approx(luminance, abs=1e-6)
    small = metrics.ms_ssim(flat(100, 48, 64), flat(150, 48, 64))  # 3 scales
    assert small == pytest.approx(luminance ** (0.3001 / (0.0448 + 0.2856 + 0.3001)), abs=1e-6)


def test_ssim_and_ms_ssim_of_equal_pictures_is_one_and_of_noise_is_low() -> None:
    a = noise()
    assert metrics.ssim(a, a) == pytest.approx(1)
    assert metrics.ms_ssim(a, a) == pytest.approx(1)
    assert metrics.ms_ssim(a, noise()) < 0.3


def step_picture(column: int) -> np.ndarray:
    lab = np.zeros((40, 60, 3), np.float32)
    lab[:, column:, 0] = 50
    return lab


def test_edge_agreement_is_one_on_the_edge_half_on_flat_and_low_beside_it() -> None:
    edges = np.zeros((40, 60), np.bool_)
    edges[:, 29:31] = True
    assert metrics.edge_agreement(step_picture(30), edges) == 1
    assert metrics.edge_agreement(step_picture(31), edges) == 1  # one pixel off still counts
    assert metrics.edge_agreement(np.zeros((40, 60, 3), np.float32), edges) == 0.5
    # Five pixels off: the ring has 6 columns a side, 4 of 12 answer the step, the edge none.
    assert metrics.edge_agreement(step_picture(35), edges) == pytest.approx((8 * 0.5) / 12)


def test_edge_agreement_ignores_contrast_and_falls_with_blur() -> None:
    edges = np.zeros((40, 60), np.bool_)
    edges[:, 29:31] = True
    texture = RNG.normal(0, 4, (40, 60, 3)).astype(np.float32)
    sharp = step_picture(30) / np.float32(5) + texture
    assert metrics.edge_agreement(sharp, edges) == pytest.approx(
        metrics.edge_agreement(np.float32(1.5) * sharp, edges), abs=0.01
    )
    soft = np.zeros((40, 60, 3), np.float32)
    soft[..., 0] = np.clip((np.arange(60) - 20) / 20, 0, 1) * 10
    assert metrics.edge_agreement(soft + texture, edges) < metrics.edge_agreement(sharp, edges)
    assert math.isnan(metrics.edge_agreement(sharp, np.zeros((40, 60), np.bool_)))


def test_warp_error_follows_motion_and_leaves_out_what_was_hidden() -> None:
    prev = noise(30, 40)
    image = np.roll(prev, 3, axis=1)
    motion = np.zeros((30, 40, 2), np.float32)
    motion[..., 0] = -3
    seen = np.zeros((30, 40), np.bool_)
    assert metrics.warp_error(image, prev, motion, seen) == 0
    brighter = np.clip(prev, 0, 250) + np.uint8(5)
    still = np.zeros_like(motion)
    assert metrics.warp_error(brighter, np.clip(prev, 0, 250), still, seen) == pytest.approx(5)
    spoiled = image.copy()
    spoiled[:, 20:] = 0
    assert metrics.warp_error(spoiled, prev, motion, np.arange(40) >= 20 + 0 * seen) == 0
    assert math.isnan(metrics.warp_error(image, prev, motion, ~seen))


def test_flicker_per_detail_does_not_grow_with_contrast() -> None:
    ramp = np.tile(np.arange(40, dtype=np.uint8)[None, :, None] * 3, (30, 1, 3))
    assert metrics.detail(ramp[:, 1:-1]) == pytest.approx(3 * 36 / 38, abs=1e-6)
    still, seen = np.zeros((30, 40, 2), np.float32), np.zeros((30, 40), np.bool_)
    sums = []
    for gain in (1, 2):
        picture, prev = (np.roll(ramp * gain, shift, axis=1) for shift in (0, 1))
        sums.append(Accumulator())
        sums[-1].add_temporal(Picture(picture), Picture(prev), still, seen)
    figures = sums[1].figures(sums[0], sums[0], ())
    assert figures["flicker_ratio"] == pytest.approx(2, abs=0.02)
    assert figures["flicker_ratio_per_detail"] == pytest.approx(1, abs=0.01)


def test_accumulator_gives_closures_of_sums_and_means_of_frames() -> None:
    truth, render, output, lut = (Picture(flat(v)) for v in (120, 200, 140, 160))
    semantic = np.ones((192, 200), np.uint8)
    semantic[:, :50] = 3
    semantic[0, 0] = 255
    sums = [Accumulator() for _ in range(3)]
    for _ in range(2):
        for one, picture in zip(sums, (output, render, lut), strict=True):
            one.add_fidelity(picture, truth, semantic)
    figures = sums[0].figures(sums[1], sums[2], ("none", "sky", "ground", "wall"))
    light = {v: float(Picture(flat(v)).lab[0, 0, 0]) for v in (120, 140, 160, 200)}
    closure = 1 - (light[140] - light[120]) / (light[200] - light[120])
    over_lut = 1 - (light[140] - light[120]) / (light[160] - light[120])
    assert figures["gap_closure_lab"] == pytest.approx(closure, abs=1e-4)
    assert figures["gap_closure_over_lut"] == pytest.approx(over_lut, abs=1e-4)
    by_class = figures["gap_closure_by_class"]
    assert isinstance(by_class, dict)
    assert by_class == pytest.approx({"sky": closure, "wall": closure}, abs=1e-4)
    assert figures["psnr_db"] == pytest.approx(10 * math.log10(255**2 / 400), abs=1e-4)
    assert figures["edge_agreement"] is None
    own = sums[1].figures(sums[1], sums[2], ())
    assert own["gap_closure_lab"] == 0


def test_flicker_ratio_compares_with_the_render() -> None:
    still = np.zeros((30, 40, 2), np.float32)
    seen = np.zeros((30, 40), np.bool_)
    output, render, lut = Accumulator(), Accumulator(), Accumulator()
    for prev, cur in ((100, 103), (103, 100)):
        output.add_temporal(Picture(flat(cur, 30, 40)), Picture(flat(prev, 30, 40)), still, seen)
    render.add_temporal(Picture(flat(102, 30, 40)), Picture(flat(100, 30, 40)), still, seen)
    figures = output.figures(render, lut, ())
    assert figures["warp_error"] == 3
    assert figures["flicker_ratio"] == 1.5
    assert figures["gap_closure_lab"] is None
