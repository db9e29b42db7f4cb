"""`realmaster train`, and what it made in `realmaster enhance`: the commands of a user."""

from pathlib import Path

import pytest

from capture_bridge.media import VideoReader
from realmaster.cli import main
from tests.realmaster.families.tiny_checkpoint import write_tiny
from tests.realmaster.test_diffusion import record
from tests.training.pairs_files import write_pairs


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("command")
    write_pairs(folder / "pairs", clips=2, frames=9)
    write_tiny(folder / "weights")
    return folder


def arguments(folder: Path, output: Path, *more: str) -> list[str]:
    return [
        *("train", "tiny", "--pairs", str(folder / "pairs"), "-o", str(output)),
        *("--weights", str(folder / "weights"), "--steps", "2", "--batch", "2", "--rank", "4"),
        *more,
    ]


def test_what_was_trained_enhances_a_session(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "adapter"
    assert main(arguments(folder, output, "--trigger", "STREET")) == 0
    assert "step 2, loss" in capsys.readouterr().out
    session = record(tmp_path / "s.mcap", 12, (48, 32))
    made = tmp_path / "o.mp4"
    command = ["enhance", str(session), "-o", str(made), "--model", "tiny", "--steps", "1"]
    assert main([*command, "--weights", str(folder / "weights"), "--adapter", str(output)]) == 0
    with VideoReader(made) as video:
        assert sum(1 for _ in video) == 12


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--lr", "7"], "--lr 7.0: above 0"),
        (["--frames", "8"], "takes 4k+1 frames, such as 5"),
        (["--weights", "./nowhere"], "no such folder"),
        (["--resume"], "no checkpoint"),
        (["--pairs", "./nothing"], "no folder of pairs"),
        (["--size", "10x10"], "--size"),
    ],
)
def test_a_user_s_mistake_is_one_line(
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    more: list[str],
    words: str,
) -> None:
    assert main(arguments(folder, tmp_path / "out", *more)) == 1
    error = capsys.readouterr().err.strip()
    assert words in error
    assert "\n" not in error
