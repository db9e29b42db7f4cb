"""The street experiment's own arithmetic; its steps are commands with tests of their own."""

import math
from pathlib import Path

import numpy as np
import pytest

from capture_bridge.errors import RealMasterError
from training.street_experiment import Options, psnr_to, run, table


def test_the_table_has_gains_over_the_render_and_the_spread_of_the_adapters() -> None:
    rows = {
        "render": [14.0, 16.0],
        "fast": [18.0, 20.0],
        "tiny adapter 0": [17.0, 19.0],
        "tiny adapter 1": [17.5, 19.5],
    }
    text = table(rows, 24, Options(test="900:902"))
    assert "| render | 15.00 | +0.00 |" in text
    assert "| fast | 19.00 | +4.00 |" in text
    assert "2 seeds | 18.25 (spread 0.50) | +3.25 |" in text


def test_only_frames_with_a_truth_are_measured() -> None:
    grey = np.full((4, 4, 3), 100, np.uint8)
    pictures = [grey, grey + 10, grey + 50]
    assert psnr_to(enumerate(pictures), {1: grey}) == pytest.approx(20 * math.log10(255 / 10))
    assert math.isnan(psnr_to(enumerate(pictures), {}))


@pytest.mark.parametrize(("train", "test"), [("0:901", "900:904"), ("0:4", "850:904")])
def test_seeds_keep_apart(tmp_path: Path, train: str, test: str) -> None:
    with pytest.raises(RealMasterError, match="--train takes seeds 0-799, --test seeds 900-999"):
        run(Options(out=tmp_path, train=train, test=test))
