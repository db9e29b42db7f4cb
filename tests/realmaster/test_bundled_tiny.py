"""The tiny model of the package with its street adapter, on a street that trained nothing."""

from pathlib import Path

import numpy as np
import pytest

from capture_bridge.media import VideoReader
from capture_bridge.session import SessionReader
from realmaster import cli
from realmaster.metrics import mean_squared_error, psnr_db

SEED = 950
FRAMES, EVERY = 12, 6


def pictures(path: Path) -> list[np.ndarray]:
    with VideoReader(path) as video:
        return [picture for picture, _ in video]


@pytest.mark.street
@pytest.mark.truth
@pytest.mark.slow
def test_it_brings_the_render_nearer_to_the_truth(tmp_path: Path) -> None:
    session, truth, lifted = (tmp_path / name for name in ("s.mcap", "truth.mp4", "lifted.mp4"))
    street = ["--source", "street", "--seed", str(SEED), "--size", "256x160"]
    assert cli.main(["record", *street, "--seconds", str(FRAMES / 24), "-o", str(session)]) == 0
    traced = ["--every", str(EVERY), "--spp", "16"]
    assert cli.main(["truth", str(session), "-o", str(truth), *traced]) == 0
    tiny = ["--model", "tiny", "--adapter", "street"]
    assert cli.main(["enhance", str(session), "-o", str(lifted), *tiny]) == 0
    with SessionReader(session) as reader:
        render = [reader.frame(k).array("color")[..., :3] for k in range(len(reader))]
    made, wanted = pictures(lifted), pictures(truth)
    assert len(made) == len(render) == FRAMES
    errors = [
        [mean_squared_error(np.ascontiguousarray(a[k * EVERY]), b) for k, b in enumerate(wanted)]
        for a in (render, made)
    ]
    before, after = (psnr_db(float(np.mean(each))) for each in errors)
    assert after > before + 2, (before, after)
