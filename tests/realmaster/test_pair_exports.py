"""The exports as other trainers' own loaders read them; where those are not installed, skipped.

DiffSynth-Studio alone is on PyPI: pip install diffsynth pandas imageio-ffmpeg torchvision
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from realmaster.pair_folder import PairFolder
from realmaster.pairs import PairMaker, make_pairs, plan
from tests.realmaster.pair_doubles import RULES, SETTINGS, Brighter, record

unified_dataset = pytest.importorskip(
    "diffsynth.core.data.unified_dataset", reason="diffsynth is not installed", exc_type=ImportError
)

# imageio leaves its pipe from ffmpeg to the garbage collector.
pytestmark = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)
FRAMES = 9


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("exports")
    session = record(home / "s.mcap", 2 * FRAMES)
    settings = replace(SETTINGS, caption='a "street", in daylight')
    folder = PairFolder(home / "pairs")
    folder.begin(settings.to_json())
    jobs, _ = plan([session], RULES, frozenset())
    make_pairs(jobs, folder, PairMaker(folder, settings, Brighter(home / "log")).make_all)
    return folder.path


@pytest.mark.parametrize("metadata", ["metadata.csv", "metadata.jsonl"])
def test_diffsynth_reads_both_videos_in_step(metadata: str, pairs: Path) -> None:
    Dataset = unified_dataset.UnifiedDataset
    read = Dataset.default_video_operator(
        base_path=str(pairs),
        height_division_factor=32,
        width_division_factor=32,
        num_frames=FRAMES,
        time_division_factor=8,
        frame_rate=24,
        fix_frame_rate=True,
    )
    dataset = Dataset(
        base_path=str(pairs),
        metadata_path=str(pairs / metadata),
        data_file_keys=("video", "in_context_videos"),
        main_data_operator=read,
    )
    assert len(dataset) == 2
    for row in (dataset[0], dataset[1]):
        assert row["prompt"] == 'a "street", in daylight'
        assert row["frame_rate"] == 24
        assert len(row["video"]) == len(row["in_context_videos"]) == FRAMES
        for target, reference in zip(row["video"], row["in_context_videos"], strict=True):
            assert target.size == (64, 32)
            twice = np.minimum(2 * np.asarray(reference, np.int64), 255)
            assert np.abs(np.asarray(target, np.int64) - twice).mean() < 6
