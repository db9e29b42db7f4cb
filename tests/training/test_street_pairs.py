"""Training pairs: which are made, where they are cut, and what lies in a file."""

import importlib.util
import logging
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("panda3d", reason="needs realmaster[street]")

from capture_bridge.errors import OutputError, RealMasterError
from training import street_pairs
from training.street_pairs import Options, Sample, choose_tile, parse_seeds, plan, run

SIZE = (256, 144)


def test_a_plan_is_deterministic_complete_and_mixed_from_its_beginning() -> None:
    seeds = parse_seeds("0:40,800:810")
    samples = plan(seeds, 2)
    assert samples == plan(seeds, 2)
    assert len(set(samples)) == len(samples) == 50 * 2 * 2
    beginning = samples[:40]
    assert {sample.path for sample in beginning} == {"drive", "walk"}
    assert len({sample.seed for sample in beginning}) == 20
    assert any(sample.seed >= 800 for sample in beginning)
    assert any(sample.seed < 800 for sample in beginning)


def test_shards_share_the_plan_out_without_overlap() -> None:
    seeds = list(range(17))
    shards = [plan(seeds, 2, (index, 3)) for index in range(3)]
    dealt = [sample for shard in shards for sample in shard]
    assert sorted(map(str, dealt)) == sorted(map(str, plan(seeds, 2)))


def test_test_seeds_are_refused() -> None:
    with pytest.raises(RealMasterError, match="900"):
        plan(parse_seeds("0:5,850:901"), 1)


@pytest.mark.parametrize("text", ["", "a", "1:", "1:2:3", "-1", "1,,2", "1:99999999"])
def test_a_list_of_seeds_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(RealMasterError, match="--seeds"):
        parse_seeds(text)


def test_tiles_lie_in_their_frames_and_depend_on_the_sample_alone() -> None:
    widths = set()
    for seed in range(60):
        tile = choose_tile(Sample(seed, "walk", 1), SIZE)
        assert tile == choose_tile(Sample(seed, "walk", 1), SIZE)
        x, y, width, height = tile.crop
        assert (width, height) == SIZE
        assert 0 <= x <= tile.virtual_size[0] - width
        assert 0 <= y <= tile.virtual_size[1] - height
        widths.add(tile.virtual_size[0])
    assert widths == {int(zoom * SIZE[0]) for zoom in street_pairs.ZOOMS}
    assert choose_tile(Sample(1, "walk", 1), SIZE) != choose_tile(Sample(1, "walk", 0), SIZE)
    assert choose_tile(Sample(1, "walk", 1), SIZE) != choose_tile(Sample(1, "drive", 1), SIZE)


def test_an_interrupted_write_leaves_no_sample(tmp_path: Path) -> None:
    target = tmp_path / "missing" / "0001_walk_0.npz"
    with pytest.raises(OutputError, match="cannot write"):
        street_pairs.write_sample(target, {"seed": np.array(1)})
    street_pairs.write_sample(tmp_path / target.name, {"seed": np.array(1)})
    assert [path.name for path in tmp_path.iterdir()] == [target.name]


@pytest.mark.parametrize(
    "options", [Options(shard="2/2"), Options(size="256"), Options(workers=0), Options(spp=0)]
)
def test_options_out_of_range_are_refused(options: Options) -> None:
    with pytest.raises(RealMasterError, match="--"):
        run(options)


@pytest.mark.truth
@pytest.mark.street
@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("mitsuba") is None, reason="needs realmaster[truth]")
def test_a_rendered_sample_is_what_the_head_of_the_file_says(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(street_pairs, "_STREETS_PER_PROCESS", 1)  # its processes are replaced once
    options = Options(seeds="4", out=tmp_path, size="64x36", spp=4, num=1, shard="0/1")
    assert run(options) == 2
    files = sorted(tmp_path.iterdir())
    assert [path.name for path in files] == ["0004_drive_0.npz", "0004_walk_0.npz"]
    with np.load(files[0], allow_pickle=False) as sample:
        shapes = {name: (sample[name].shape, sample[name].dtype.str) for name in sample.files}
        depth, motion = sample["depth"], sample["motion"]
        tile = choose_tile(Sample(4, "drive", 0), (64, 36))
        assert float(sample["t_s"]) == tile.t_s
        assert int(sample["virtual_width"]) == tile.virtual_size[0]
        assert sample["truth"].std() > 5
    assert shapes == {
        "color": ((3, 36, 64, 3), "|u1"),
        "depth": ((3, 36, 64), "<f4"),
        "normal": ((3, 36, 64, 3), "<f2"),
        "motion": ((3, 36, 64, 2), "<f2"),
        "albedo": ((3, 36, 64, 3), "|u1"),
        "roughness": ((3, 36, 64), "|u1"),
        "semantic": ((3, 36, 64), "|u1"),
        "K": ((3, 3), "<f8"),
        "world_from_camera": ((3, 4, 4), "<f8"),
        "truth": ((36, 64, 3), "|u1"),
        "seed": ((), "<i8"),
        "t_s": ((), "<f8"),
        "virtual_width": ((), "<i8"),
    }
    assert np.all(depth > 0)
    assert np.isfinite(motion).all()
    written = [path.stat().st_mtime_ns for path in files]
    assert run(options) == 0
    assert [path.stat().st_mtime_ns for path in files] == written
