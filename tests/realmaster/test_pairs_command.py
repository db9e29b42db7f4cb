"""`realmaster pairs` as a user calls it."""

import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from capture_bridge.media import VideoReader
from realmaster import cli, editors
from realmaster.editors import EditorRow
from tests.realmaster.pair_doubles import record

CLIPS = 2


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(tmp_path_factory.mktemp("session") / "drive.mcap", CLIPS * 9 + 2)


@pytest.fixture(autouse=True)
def _brighter(monkeypatch: pytest.MonkeyPatch) -> None:
    row = EditorRow("tests.realmaster.pair_doubles:open_editor", "twice the render", extra="")
    monkeypatch.setattr(editors, "EDITORS", {**editors.EDITORS, "brighter": row})
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)


def pairs(*arguments: object) -> int:
    flags = ["--editor", "brighter", "--propagate", "warp", "--fill", "render", "--length", "9"]
    return cli.main(["pairs", *map(str, arguments), *flags])


def told(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that an error is."""
    lines = [line for line in capsys.readouterr().err.splitlines() if "realmaster pairs:" in line]
    assert len(lines) == 1
    return lines[0]


def test_a_session_becomes_a_folder_of_pairs(
    session: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "pairs"
    assert pairs(session, "-o", out) == 0
    words = capsys.readouterr().out
    assert f"{CLIPS} clips" in words
    assert "made by this run" in words
    manifest = [json.loads(line) for line in (out / "manifest.jsonl").read_bytes().splitlines()]
    assert len(manifest) == CLIPS
    for line in manifest:
        assert {"edit_structure", "holes", "structure", "flicker"} <= line["figures"].keys()
        top = out if line["accepted"] else out / "rejected"
        with VideoReader(top / "target" / f"{line['name']}.mp4") as video:
            assert len(list(video)) == 9
    assert sum(line["accepted"] for line in manifest) == len(
        (out / "metadata.jsonl").read_text().splitlines()
    )
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.mp4")}
    assert pairs(session, "-o", out) == 0
    assert "0 made by this run" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.mp4")} == before


def test_other_settings_are_one_line_before_any_work(
    session: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "pairs"
    assert pairs(session, "-o", out, "--shard", "0/2") == 0
    files = sorted(out.rglob("*"))
    assert pairs(session, "-o", out, "--size", "32x32", "--caption", "x") == 1
    words = told(capsys)
    assert "caption was None and is 'x'" in words
    assert "size was None and is [32, 32]" in words
    assert "editor" not in words
    assert sorted(out.rglob("*")) == files


def test_shards_of_the_environment_and_lists_without_sessions(
    session: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "pairs"
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        assert pairs(session, "-o", out) == 0
    assert len(list(out.glob("manifest.*-of-2.jsonl"))) == 2
    listed = (out / "metadata.jsonl").read_bytes()
    (out / "metadata.jsonl").unlink()
    monkeypatch.setenv("RANK", "0")
    assert cli.main(["pairs", "-o", str(out)]) == 0
    assert (out / "metadata.jsonl").read_bytes() == listed
    assert "pairs in metadata.jsonl" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--length", "81"), "gives no clip: 20 frames are left.*or give --length 17"),
        (("--size", "100x100"), r"--size 100x100: sides must be multiples of 32.*try 96x96"),
        (("--size", "640x352"), r"the session's frames are 64x36, and nothing is enlarged"),
        (("--shard", "4/4"), r"--shard 4/4: write I/N"),
        (("--shard", "0/2", "--ray", "local"), r"--ray spreads the clips by itself"),
        (("--editor", "magic"), r"no editor 'magic'; there are truth"),
        (("--faces", "."), r"\. holds 0 YuNet detectors and 0 other \.onnx files"),
        (("--propagate", "magic"), r"no propagator 'magic'; there are warp"),
    ],
)
def test_mistakes_are_one_line_with_the_cure(
    arguments: tuple[str, ...],
    words: str,
    session: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    flags = {"--editor": "brighter", "--propagate": "warp", "--length": "9"}
    flags |= dict(zip(arguments[::2], arguments[1::2], strict=True))
    given = [part for pair in flags.items() for part in pair]
    monkeypatch.chdir(tmp_path)
    assert cli.main(["pairs", str(session), "-o", str(tmp_path / "pairs"), *given]) == 1
    assert re.search(words, told(capsys))
    assert not list((tmp_path / "pairs").rglob("*.mp4"))


def test_a_session_without_motion_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    blind = record(tmp_path / "blind.mcap", 9, buffers=("color", "depth"))
    assert pairs(blind, "-o", tmp_path / "pairs") == 1
    words = told(capsys)
    assert "blind.mcap has no motion, which making pairs needs" in words
    assert "record it with a plugin" in words
    assert not (tmp_path / "pairs").exists()


def test_a_missing_session_is_told_before_an_editor_is_loaded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "realmaster.commands.pairs.OpenStages", lambda _: pytest.fail("an editor was loaded")
    )
    assert pairs(tmp_path / "none.mcap", "-o", tmp_path / "pairs") == 1
    assert "none.mcap" in told(capsys)


@pytest.mark.skipif(sys.platform == "win32", reason="signals as on POSIX")
def test_ctrl_c_is_one_line_and_the_same_command_goes_on(
    session: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "pairs"
    rows = editors.EDITORS
    stopped = replace(rows["brighter"], factory="tests.realmaster.pair_doubles:open_stopped")
    with monkeypatch.context() as patch:
        patch.setattr(editors, "EDITORS", {**rows, "brighter": stopped})
        assert pairs(session, "-o", out) == 130
    assert "what was finished is kept" in capsys.readouterr().err
    assert len((out / "manifest.jsonl").read_bytes().splitlines()) == 1
    assert pairs(session, "-o", out) == 0
    assert "1 made by this run" in capsys.readouterr().out


@pytest.mark.street
@pytest.mark.truth
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_street_game_becomes_pairs_without_weights(tmp_path: Path) -> None:
    session, out = tmp_path / "drive.mcap", tmp_path / "pairs"
    recorded = [
        "record",
        "--source",
        "street",
        "--size",
        "128x72",
        "--seed",
        "803",
        "--fps",
        "24",
        "--seconds",
        "0.375",
    ]
    assert cli.main([*recorded, "-o", str(session)]) == 0
    made = ["--editor", "truth", "--truth-spp", "16", "--propagate", "warp", "--length", "9"]
    assert cli.main(["pairs", str(session), "-o", str(out), *made]) == 0
    (line,) = map(json.loads, (out / "manifest.jsonl").read_bytes().splitlines())
    assert line["accepted"], line["reasons"]
    assert line["anchors"][0] == 0
    assert line["anchors"][-1] == 8
