"""`realmaster clips` on a session that was recorded through the writer."""

import json
from pathlib import Path

import pytest

from capture_bridge.images import read_png
from capture_bridge.session import SessionWriter
from realmaster import cli
from realmaster.commands.clips import MAX_SHEET_CLIPS
from tests.capture_bridge.analytic_engine import AnalyticEngine

FRAMES = 21
ENGINE = AnalyticEngine(width=32, height=18, buffers=("color", "instance"))


@pytest.fixture
def session(tmp_path: Path) -> Path:
    path = tmp_path / "drive.mcap"
    with SessionWriter(path, ENGINE.hello(), codec="raw") as writer:
        for index in range(FRAMES):
            message = ENGINE.message(index)
            writer.write_frame(message, message.header.t_send_ns, 1)
    return path


def test_the_table_names_every_part_and_sums_up(
    session: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["clips", str(session), "--length", "9"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["frames", "seq", "epoch", "fps", "jitter", "why"]
    assert [line.split()[0] for line in lines[1:3]] == [
        "01234567-1-000000-9",
        "01234567-1-000009-9",
    ]
    assert "24.00" in lines[1]
    assert "3 frames are left where the session ends" in lines[3]
    assert lines[-1] == "2 clips of 18 frames in 21; left out: 3 too short"


def test_json_has_the_same_and_nothing_else(
    session: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["clips", str(session), "--length", "9", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert [clip["start"] for clip in plan["clips"]] == [0, 9]
    assert plan["refusals"][0]["reason"] == "too short"
    assert plan["num_frames"] == FRAMES


def test_a_session_too_short_for_a_clip_says_so(
    session: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["clips", str(session)]) == 1
    assert "21 frames are left where the session ends; a clip has 81" in capsys.readouterr().out


def test_a_contact_sheet_has_a_row_per_clip_and_is_not_overwritten(
    session: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sheet = tmp_path / "sheet.png"
    arguments = ["clips", str(session), "--sheet", str(sheet), "--length"]
    assert cli.main([*arguments, "9"]) == 0
    two = read_png(sheet)
    assert cli.main([*arguments, "17"]) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert cli.main([*arguments, "17", "--overwrite"]) == 0
    one = read_png(sheet)
    row = two.shape[0] - one.shape[0]
    assert two.shape[1] == one.shape[1]
    assert one.shape[0] > row > one.shape[0] // 3
    assert MAX_SHEET_CLIPS * row < 65535


def test_a_wrong_length_is_one_line(session: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["clips", str(session), "--length", "80"]) == 1
    assert capsys.readouterr().err == (
        "realmaster clips: clip length 80: LTX takes 8k + 1 frames; 73 or 81 will do\n"
    )
