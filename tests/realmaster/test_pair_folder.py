import multiprocessing
import os
import signal
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from capture_bridge.errors import OutputError, ProtocolError
from realmaster.pair_folder import PairFolder
from realmaster.pair_record import PairRecord, read_record
from tests.realmaster.full_disk import with_file_limit

SETTINGS = {"editor": "truth", "propagator": "warp", "size": None, "frames": 81}
RECORD = PairRecord(
    name="s_00000_00002",
    accepted=True,
    reasons=(),
    figures={"psnr_db": 31.25, "identity": float("nan")},
    session="s.mcap",
    session_uuid="0123",
    epoch=1,
    seqs=(0, 1, 2),
    t_ns=(0, 41_666_667, 83_333_333),
    measured_fps=24.0,
    editor="truth",
    propagator="warp",
    caption="a street, in »daylight«",
    fps=24.0,
    size=(64, 32),
    crop=(0, 2, 64, 32),
    intrinsics=((40.0, 40.0, 32.0, 16.0),),
    anchors=(0, 2),
)
SPAWN = multiprocessing.get_context("spawn")


def begun(path: Path, part: str = "manifest.jsonl") -> PairFolder:
    folder = PairFolder(path, part)
    folder.begin(SETTINGS)
    return folder


def make(folder: PairFolder, record: PairRecord = RECORD, data: bytes = b"video") -> bool:
    with folder.claim(record.name) as room:
        if room is None:
            return False
        for name in (f"target/{record.name}.mp4", f"reference/{record.name}.mp4"):
            (room / name).parent.mkdir(exist_ok=True)
            (room / name).write_bytes(data)
        folder.commit(record, room)
    return True


def test_a_line_says_what_the_record_said() -> None:
    back = read_record(RECORD.to_line())
    assert back.figures["identity"] != back.figures["identity"]
    assert replace(back, figures={}) == replace(RECORD, figures={})
    assert RECORD.to_line().count(b"\n") == 1
    assert b"NaN" not in RECORD.to_line()


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b"[]",
        b"{}",
        b"[" * 100_000,
        b" " * (1 << 21),
        RECORD.to_line().replace(b's_00000_00002"', b'../../etc/passwd"'),
        RECORD.to_line().replace(b'"s_00000_00002"', b"7"),
        RECORD.to_line().replace(b"[64, 32]", b"[64]"),
        RECORD.to_line().replace(b"[64, 32]", b'"6432"'),
        RECORD.to_line().replace(b"[[40.0,", b"[[40.0, 40.0,"),
    ],
)
def test_a_damaged_line_is_refused_in_words(line: bytes) -> None:
    with pytest.raises(ProtocolError):
        read_record(line)


def test_a_pair_is_made_once_and_found_again(tmp_path: Path) -> None:
    folder = begun(tmp_path / "pairs")
    assert make(folder)
    assert not make(folder)
    assert not make(begun(tmp_path / "pairs"))
    again = PairFolder(tmp_path / "pairs")
    assert list(again.records()) == [RECORD.name]
    assert again.target(RECORD).read_bytes() == again.reference(RECORD).read_bytes() == b"video"
    assert {path.name for path in (tmp_path / "pairs").iterdir()} == {
        ".work",
        "settings.json",
        "manifest.jsonl",
        "target",
        "reference",
    }


def test_rejected_pairs_lie_apart(tmp_path: Path) -> None:
    folder = begun(tmp_path / "pairs")
    rejected = replace(RECORD, accepted=False, reasons=("structure 0.31, the limit is 0.7",))
    make(folder, rejected)
    assert folder.target(rejected) == tmp_path / "pairs/rejected/target/s_00000_00002.mp4"
    assert folder.target(rejected).is_file()
    assert not (tmp_path / "pairs" / "target").exists()


def test_shards_write_parts_that_are_read_as_one(tmp_path: Path) -> None:
    first = begun(tmp_path / "pairs", "manifest.0-of-2.jsonl")
    second = begun(tmp_path / "pairs", "manifest.1-of-2.jsonl")
    make(second, replace(RECORD, name="b"))
    make(first, replace(RECORD, name="a"))
    assert not make(second, replace(RECORD, name="a"))
    assert list(second.records()) == list(PairFolder(tmp_path / "pairs").records()) == ["a", "b"]


def test_other_settings_are_one_error_that_names_them(tmp_path: Path) -> None:
    begun(tmp_path / "pairs")
    folder = PairFolder(tmp_path / "pairs")
    with pytest.raises(OutputError, match="editor was 'truth' and is 'flux-kontext'") as caught:
        folder.begin({**SETTINGS, "editor": "flux-kontext"})
    assert "frames" not in str(caught.value)
    assert "another folder" in str(caught.value)


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"x")
    with pytest.raises(OutputError, match=r"holds holiday\.jpg and is no folder of pairs"):
        begun(tmp_path)
    with pytest.raises(OutputError, match="takes a folder"):
        begun(tmp_path / "holiday.jpg")
    with pytest.raises(OutputError, match="is no folder of pairs"):
        PairFolder(tmp_path).check()
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.jpg"]


@pytest.mark.parametrize("text", ["{", "[]", '{"format": 99}'])
def test_settings_that_cannot_be_read_are_told(text: str, tmp_path: Path) -> None:
    begun(tmp_path / "pairs")
    (tmp_path / "pairs" / "settings.json").write_text(text)
    with pytest.raises(OutputError, match="choose another folder"):
        begun(tmp_path / "pairs")


def test_a_line_that_was_cut_off_is_written_anew(tmp_path: Path) -> None:
    folder = begun(tmp_path / "pairs")
    make(folder, replace(RECORD, name="a"))
    manifest = tmp_path / "pairs" / "manifest.jsonl"
    whole = manifest.read_bytes()
    manifest.write_bytes(whole + RECORD.to_line()[:40])
    again = PairFolder(tmp_path / "pairs")
    assert list(again.records()) == ["a"]
    assert make(again)
    assert manifest.read_bytes() == whole + RECORD.to_line()


def test_a_damaged_manifest_names_the_line_and_the_cure(tmp_path: Path) -> None:
    make(begun(tmp_path / "pairs"))
    with (tmp_path / "pairs" / "manifest.jsonl").open("ab") as file:
        file.write(b'{"name": "x"}\n')
    with pytest.raises(OutputError, match=r"begins with '\{\"name\": \"x\"\}' is damaged.*remove"):
        PairFolder(tmp_path / "pairs").records()


def _claim_and_wait(path: Path, door: Connection) -> None:
    with PairFolder(path).claim(RECORD.name) as room:
        assert room is not None
        (room / "half.mp4").write_bytes(b"ha")
        door.send("claimed")
        door.recv()


def test_a_dead_process_gives_its_clip_back_and_leaves_no_half(tmp_path: Path) -> None:
    folder = begun(tmp_path / "pairs")
    ours, theirs = SPAWN.Pipe()
    other = SPAWN.Process(target=_claim_and_wait, args=(tmp_path / "pairs", theirs))
    other.start()
    try:
        assert ours.poll(30)
        with folder.claim(RECORD.name) as room:
            assert room is None
        assert other.pid is not None
        os.kill(other.pid, signal.SIGKILL)
        other.join(30)
        with folder.claim(RECORD.name) as room:
            assert room is not None
            assert list(room.iterdir()) == []
    finally:
        other.kill()
        other.join(30)
        ours.close()
        theirs.close()


@pytest.mark.parametrize("room_for", [3, 300])
def test_a_full_disk_is_told_and_the_folder_stays_whole(tmp_path: Path, room_for: int) -> None:
    """With 3 bytes the videos do not fit, with 300 they do and the manifest's line does not."""
    folder = begun(tmp_path / "pairs")
    with pytest.raises(OutputError, match="same command goes on"):
        with_file_limit(room_for, lambda: make(folder))
    manifest = tmp_path / "pairs" / "manifest.jsonl"
    assert not manifest.exists() or manifest.read_bytes() == b""
    assert not (tmp_path / "pairs" / ".work" / RECORD.name).exists()
    assert make(folder)
    assert list(PairFolder(tmp_path / "pairs").records()) == [RECORD.name]
