"""Enlarging with the render's detail: what it adds, what it leaves alone."""

import cv2
import numpy as np
import pytest

from realmaster.families.clips import resized
from realmaster.families.enlarging import U8, enlarged
from realmaster.metrics import mean_squared_error, psnr_db

HEIGHT, WIDTH = 96, 160
SMALL = (WIDTH // 2, HEIGHT // 2)


def texture(seed: int, num: int = 2) -> U8:
    """Blocks with fine lines, (num, HEIGHT, WIDTH, 3)."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(60, 200, (num, HEIGHT // 16, WIDTH // 16, 3))
    wide = np.repeat(np.repeat(blocks, 16, 1), 16, 2)
    lines = rng.integers(-30, 30, (num, HEIGHT, WIDTH, 1))
    return np.clip(wide + lines, 0, 255).astype(np.uint8)


def graded(pictures: U8) -> U8:
    """Warmer and with more contrast: what a model may do to a render."""
    gain, offset = np.array([1.3, 1.2, 1.0]), np.array([-20, -25, -15])
    return np.clip(pictures * gain + offset, 0, 255).astype(np.uint8)


def test_detail_returns_with_the_contrast_that_the_model_gave() -> None:
    render = texture(0)
    wanted = graded(render)
    made = resized(wanted, SMALL)
    plain = psnr_db(mean_squared_error(resized(made, (WIDTH, HEIGHT)), wanted))
    guided = psnr_db(mean_squared_error(enlarged(made, render), wanted))
    assert guided > plain + 5, (plain, guided)


@pytest.mark.parametrize("seed", [1, 2])
def test_what_is_unlike_the_render_is_left_alone(seed: int) -> None:
    render, other = texture(seed), texture(seed + 100)
    made = resized(other, SMALL)
    plain = psnr_db(mean_squared_error(resized(made, (WIDTH, HEIGHT)), other))
    guided = psnr_db(mean_squared_error(enlarged(made, render), other))
    assert guided > plain - 1.5, (plain, guided)


def test_a_flat_render_gives_nothing() -> None:
    made = resized(texture(3), SMALL)
    flat = np.full((2, HEIGHT, WIDTH, 3), 90, np.uint8)
    flat[:, ::2, ::2] += 1  # a level of dither is no detail
    plain = [cv2.resize(one, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC) for one in made]
    assert np.abs(enlarged(made, flat).astype(int) - np.stack(plain)).max() <= 2
