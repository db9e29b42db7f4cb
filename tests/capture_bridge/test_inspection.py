"""inspect on recorded sessions, whole and cut."""

from pathlib import Path

import pytest

from capture_bridge.inspection import Gap, inspect, to_text
from capture_bridge.messages import FrameFlags, Mark
from capture_bridge.session import Drop, DropStage, SessionWriter
from tests.capture_bridge.recorded import ENGINE, FRAMES, record


def test_streams_rate_and_size_are_told(tmp_path: Path) -> None:
    found = inspect(record(tmp_path / "s.mcap"))
    assert found.frames == FRAMES
    assert found.fps == pytest.approx(1e9 / (ENGINE.t_ns(1) - ENGINE.t_ns(0)), rel=1e-6)
    assert found.seconds == pytest.approx(ENGINE.t_ns(FRAMES - 1) / 1e9)
    assert {stream.name for stream in found.streams} == {s.name for s in ENGINE.hello().streams}
    assert 0 < sum(stream.stored_bytes for stream in found.streams) < found.num_bytes
    depth = next(stream for stream in found.streams if stream.name == "depth")
    assert depth.sizes == ((64, 36),)
    assert depth.raw_bytes == FRAMES * 64 * 36 * 4
    assert depth.frames == FRAMES
    text = to_text(found)
    assert all(stream.name in text for stream in found.streams)
    assert "24.000 frames/s" in text
    assert "no frame" in text


def test_gaps_losses_marks_flags_and_findings_are_told(tmp_path: Path) -> None:
    path = tmp_path / "s.mcap"
    with SessionWriter(path, ENGINE.hello()) as writer:
        for index in (0, 1, 4):
            message = ENGINE.message(index)
            if index == 4:
                object.__setattr__(message.header, "flags", FrameFlags.CUT | FrameFlags.TELEPORT)
            writer.write_frame(message, index + 1, 1)
        writer.write_drop(Drop(DropStage.PLUGIN, "no_credit", 2, 1, 5, first_seq=2))
        writer.write_mark(Mark(40_000_000, "the door opens"), 5, 1)
        writer.write_health({"buffer": "depth", "fault": "f", "text": "odd depth", "cure": "x"}, 5)
    found = inspect(path)
    assert found.gaps == (Gap(epoch=1, first_seq=2, count=2),)
    assert found.drops == {"plugin/no_credit": 2}
    assert found.flags == {"CUT": 1, "TELEPORT": 1}
    assert found.longest_ms == pytest.approx(125.0)
    text = to_text(found)
    for part in ("no_credit 2", "2 frames from seq 2 on", "the door opens", "CUT 1", "odd depth"):
        assert part in text


def test_a_cut_file_is_shown_up_to_its_last_group(tmp_path: Path) -> None:
    path = record(tmp_path / "s.mcap")
    path.write_bytes(path.read_bytes()[:-40])
    text = to_text(inspect(path))
    assert "NOT CLOSED" in text
    assert "realmaster recover" in text


def test_a_session_without_frames_is_told_so(tmp_path: Path) -> None:
    path = tmp_path / "s.mcap"
    SessionWriter(path, ENGINE.hello()).close()
    assert inspect(path).frames == 0
    assert "0 in 0.000 s" in to_text(inspect(path))
