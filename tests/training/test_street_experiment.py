"""The street experiment's own arithmetic; its steps are commands with tests of their own."""

import math
from pathlib import Path

import numpy as np
import pytest

from capture_bridge.errors import RealMasterError
from training.street_experiment import Options, Truth, psnr_to, run, table


def test_the_table_has_gains_over_the_render_and_the_spread_of_the_adapters() -> None:
    rows = {
        "render": [(14.0, 10.0), (16.0, 12.0)],
        "fast": [(18.0, 13.0), (20.0, math.nan)],
        "tiny adapter 0": [(17.0, 12.0), (19.0, 14.0)],
        "tiny adapter 1": [(17.5, 12.0), (19.5, 14.5)],
    }
    text = table(rows, 24, Options(test="900:902"))
    assert "| render | 15.00 | +0.00 | 11.00 | +0.00 |" in text
    assert "| fast | 19.00 | +4.00 | 13.00 | +2.00 |" in text
    assert "2 seeds | 18.25 (spread 0.50) | +3.25 | 13.12 (spread 0.25) | +2.12 |" in text


def test_only_frames_with_a_truth_are_measured_and_what_comes_in_by_itself() -> None:
    grey = np.full((4, 4, 3), 100, np.uint8)
    nowhere = np.zeros((4, 4), np.bool_)
    pictures = [grey, grey + 10, grey + 50]
    whole, new = psnr_to(enumerate(pictures), Truth({1: grey}, {1: nowhere}))
    assert whole == pytest.approx(20 * math.log10(255 / 10))
    assert math.isnan(new)
    corner = nowhere.copy()
    corner[0, 0] = True
    pictures[1][0, 0] = 120
    whole, new = psnr_to(enumerate(pictures), Truth({1: grey}, {1: corner}))
    assert new == pytest.approx(20 * math.log10(255 / 20))
    assert whole == pytest.approx(10 * math.log10(255**2 / (100 * 15 / 16 + 400 / 16)))
    assert all(map(math.isnan, psnr_to(enumerate(pictures), Truth({}, {}))))


@pytest.mark.parametrize(("train", "test"), [("0:901", "900:904"), ("0:4", "850:904")])
def test_seeds_keep_apart(tmp_path: Path, train: str, test: str) -> None:
    with pytest.raises(RealMasterError, match="--train takes seeds 0-799, --test seeds 900-999"):
        run(Options(out=tmp_path, train=train, test=test))
