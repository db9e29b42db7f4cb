import itertools
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from mcap.reader import make_reader

from capture_bridge.errors import OutputError, SessionError
from capture_bridge.messages import Mark
from capture_bridge.recover import recover
from capture_bridge.session import Drop, SessionReader, SessionWriter
from tests.capture_bridge.session_fixtures import (
    GROUP_FRAMES,
    NUM_FRAMES,
    frame,
    hello,
    message,
    t_recv_ns,
    write_session,
)


def assert_whole(path: Path, num_frames: int) -> None:
    """A finished session of frames 0..num_frames-1, exact, that others read too."""
    with SessionReader(path) as reader:
        assert reader.info.finished
        assert reader.seqs.tolist() == list(range(num_frames))
        for got in reader.frames():
            for name, array in frame(got.index).arrays.items():
                assert got.array(name).tobytes() == array.tobytes()
    with path.open("rb") as file:
        messages = make_reader(file, validate_crcs=True).iter_messages(topics=["/color"])
        assert sum(1 for _ in messages) == num_frames


def group_ends(path: Path) -> list[int]:
    """Where the file stood after each group of GROUP_FRAMES frames, while it was written."""
    ends = []
    with SessionWriter(path, hello(), codec="shuffle+zstd") as writer:
        for index in range(NUM_FRAMES):
            writer.write_frame(message(index), t_recv_ns(index), 1)
            if index % GROUP_FRAMES == GROUP_FRAMES - 1:
                writer.flush()
                ends.append(writer.num_bytes)
    return ends


def test_cut_at_any_byte_all_up_to_the_last_whole_group_is_read(tmp_path: Path) -> None:
    whole = tmp_path / "whole.mcap"
    ends = group_ends(whole)
    data, cut_path = whole.read_bytes(), tmp_path / "cut.mcap"
    near = [end + off for end in ends for off in (-20, -1, 0, 1, 9, 20)]
    spread = range(ends[0], len(data), 2999)
    for cut in sorted({*near, *spread, len(data) - 1}):
        cut_path.write_bytes(data[:cut])
        expected = sum(end <= cut for end in ends) * GROUP_FRAMES
        with SessionReader(cut_path, unfinished_ok=True) as reader:
            # A chunk of headers may be whole a few bytes before its index is.
            assert expected <= len(reader) <= expected + GROUP_FRAMES
            for got in reader.frames():
                assert got.array("color").tobytes() == frame(got.index).arrays["color"].tobytes()


def test_a_cut_before_the_first_group_says_so(tmp_path: Path) -> None:
    whole, cut_path = tmp_path / "whole.mcap", tmp_path / "cut.mcap"
    ends = group_ends(whole)
    data = whole.read_bytes()
    for cut in (1, 7, 8, 30, 100, ends[0] // 2):
        cut_path.write_bytes(data[:cut])
        with pytest.raises(SessionError):
            recover(cut_path, tmp_path / "out.mcap")
        assert not (tmp_path / "out.mcap").exists()


def test_recover_makes_a_whole_file_and_counts_what_is_lost(tmp_path: Path) -> None:
    whole, cut_path, out = (tmp_path / f"{name}.mcap" for name in ("whole", "cut", "out"))
    ends = group_ends(whole)
    cut_path.write_bytes(whole.read_bytes()[: ends[2] + 1234])
    before = cut_path.read_bytes()
    recovery = recover(cut_path, out)
    assert recovery.frames == 3 * GROUP_FRAMES
    assert (recovery.lost_frames, recovery.lost_groups) == (0, 0)
    assert 0 < recovery.lost_bytes <= 1234
    assert f"{3 * GROUP_FRAMES} frames kept" in str(recovery)
    assert_whole(out, recovery.frames)
    assert cut_path.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cut.mcap", "out.mcap", "whole.mcap"]
    with pytest.raises(OutputError, match="--overwrite"):
        recover(cut_path, out)
    with pytest.raises(OutputError, match="broken file itself"):
        recover(cut_path, cut_path, overwrite=True)


def test_recover_drops_damaged_frames_and_keeps_the_rest(tmp_path: Path) -> None:
    path, out = tmp_path / "s.mcap", tmp_path / "out.mcap"
    with SessionWriter(path, hello(), codec="raw") as writer:
        for index in range(4):
            writer.write_frame(message(index), t_recv_ns(index), 1)
        writer.write_drop(Drop("plugin", "no_credit", 2, 1, 5))
        writer.write_mark(Mark(1, "here"), 5, 1)
        writer.write_epoch(hello(), 2)
    data = bytearray(path.read_bytes())
    pixels = frame(2).arrays["depth"].tobytes()
    data[data.index(pixels) + 100] ^= 4
    data[-20] ^= 1  # and the index is damaged too
    path.write_bytes(data)
    with pytest.raises(SessionError, match="recover"):
        SessionReader(path)
    recovery = recover(path, out)
    assert (recovery.frames, recovery.lost_frames, recovery.lost_bytes) == (3, 1, 0)
    with SessionReader(out) as reader:
        assert reader.seqs.tolist() == [0, 1, 3]
        assert [d.cause for d in reader.drops()] == ["no_credit"]
        assert [m.label for m in reader.marks()] == ["here"]
        assert set(reader.info.hellos) == {1, 2}


def test_recovering_a_whole_file_loses_nothing(tmp_path: Path) -> None:
    write_session(tmp_path / "s.mcap")
    recovery = recover(tmp_path / "s.mcap", tmp_path / "out.mcap")
    assert (recovery.frames, recovery.lost_frames, recovery.lost_bytes) == (NUM_FRAMES, 0, 0)
    assert_whole(tmp_path / "out.mcap", NUM_FRAMES)


_WRITER = """
import sys
from capture_bridge.session import SessionWriter
from tests.capture_bridge.session_fixtures import hello, message

frames = [message(i) for i in range(3)]
with SessionWriter(sys.argv[1], hello(), codec=sys.argv[2]) as writer:
    for number in range(100_000):
        writer.write_frame(frames[number % 3], number, 1 + number // 3)
        if number % 4 == 3:
            writer.flush()
            print(writer.num_frames_in_file, flush=True)
"""


@pytest.mark.parametrize(("codec", "num_lines"), [("raw", 1), ("raw", 40), ("shuffle+zstd", 9)])
def test_what_was_flushed_survives_a_kill(tmp_path: Path, codec: str, num_lines: int) -> None:
    path, out = tmp_path / "s.mcap", tmp_path / "out.mcap"
    with subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(path), codec], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        lines = list(itertools.islice(process.stdout, num_lines))
        os.kill(process.pid, signal.SIGKILL)
    in_file = int(lines[-1])
    with SessionReader(path, unfinished_ok=True) as reader:
        assert len(reader) >= in_file
        assert not reader.info.finished
    recovery = recover(path, out)
    assert recovery.frames >= in_file and recovery.lost_frames == 0
    with SessionReader(out) as reader:
        assert len(reader) == recovery.frames
        for got in reader.frames():
            truth = frame(got.header.seq).arrays["normal"]
            assert got.array("normal").tobytes() == truth.tobytes()
