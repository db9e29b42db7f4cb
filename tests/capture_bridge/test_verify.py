"""verify on recorded sessions: sound ones give nothing, each spoilt one its own finding."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from capture_bridge.container_reader import Container
from capture_bridge.errors import SessionError
from capture_bridge.messages import Frame, FrameHeader
from capture_bridge.recover import recover
from capture_bridge.session import Drop, DropStage, SessionWriter
from capture_bridge.verify import verify
from tests.capture_bridge.recorded import ENGINE, FRAMES, T_RECV_NS, record


def faults(path: Path, *, health: bool = False) -> list[str]:
    return [finding.fault for finding in verify(path, health=health).findings]


def change_header(change: Callable[[FrameHeader], FrameHeader]) -> Callable[[Frame], Frame]:
    return lambda frame: replace(frame, header=change(frame.header))


def test_a_sound_session_has_no_finding(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    checked = verify(record(tmp_path / "s.mcap"), progress=lambda *at: seen.append(at))
    assert checked.findings == ()
    assert checked.frames == FRAMES
    assert checked.buffers == FRAMES * len(ENGINE.hello().streams)
    assert seen == [(i + 1, FRAMES) for i in range(FRAMES)]


def test_a_gap_must_be_accounted_for_exactly(tmp_path: Path) -> None:
    def drop(count: int, stage: DropStage = DropStage.PLUGIN) -> Drop:
        return Drop(stage, "no_credit", count, epoch=1, t_recv_ns=9, first_seq=2)

    def told(frame: Frame) -> Frame:
        lost = {"no_credit": 2} if frame.header.seq > 3 else {}
        return replace(frame, header=replace(frame.header, drops=lost))

    gap = (2, 3)
    assert faults(record(tmp_path / "bare.mcap", skip=gap)) == ["unaccounted_gap"]
    assert faults(record(tmp_path / "told.mcap", told, skip=gap, drops=[drop(2)])) == []
    few = faults(record(tmp_path / "few.mcap", told, skip=gap, drops=[drop(1)]))
    assert few == ["unaccounted_gap", "drops_disagree"]
    link = record(tmp_path / "link.mcap", skip=gap, drops=[drop(2, DropStage.LINK)])
    assert faults(link) == ["lost_link"]


def test_frames_lost_by_the_disk_are_a_finding(tmp_path: Path) -> None:
    drop = Drop(DropStage.DISK, "write", 1, epoch=1, t_recv_ns=9, first_seq=2)
    assert faults(record(tmp_path / "s.mcap", skip=(2,), drops=[drop])) == ["lost_disk"]


def test_counts_of_drops_never_run_back(tmp_path: Path) -> None:
    back = change_header(lambda h: replace(h, drops={"no_credit": FRAMES - h.seq}))
    (finding,) = verify(record(tmp_path / "s.mcap", back), health=False).findings
    assert finding.fault == "drops_run_back"
    assert finding.count == FRAMES - 1


def test_any_flipped_byte_is_a_finding(tmp_path: Path) -> None:
    path = record(tmp_path / "s.mcap")
    whole = path.read_bytes()
    container = Container(path)
    first = container.contents.chunks[0].start  # before it lie schemas, which the index repeats
    container.close()
    for place in np.linspace(first, len(whole) - 10, 12).astype(int).tolist():
        spoilt = bytearray(whole)
        spoilt[place] ^= 0x40
        path.write_bytes(spoilt)
        try:
            assert faults(path), f"byte {place} of {len(whole)}"
        except SessionError as error:
            assert str(path) in str(error)  # what makes it a session at all was hit


def test_a_cut_file_is_a_finding_and_recover_cures_it(tmp_path: Path) -> None:
    path = tmp_path / "s.mcap"
    with SessionWriter(path, ENGINE.hello()) as writer:
        for index in range(FRAMES):
            message = ENGINE.message(index)
            writer.write_frame(message, message.header.t_send_ns + T_RECV_NS, 1)
            writer.flush()
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    (finding,) = verify(path, health=False).findings
    assert finding.fault == "unfinished"
    assert "realmaster recover" in str(finding)
    recover(path, tmp_path / "fixed.mcap")
    assert faults(tmp_path / "fixed.mcap") == []


def test_no_session_at_all_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "s.mcap"
    for data in (b"", b"PNG\r\n", b"\x89MCAP0\r\n"):
        path.write_bytes(data)
        with pytest.raises(SessionError):
            verify(path)


def test_streams_must_be_there_as_declared(tmp_path: Path) -> None:
    hello = ENGINE.hello()
    path = record(tmp_path / "less.mcap", hello=replace(hello, streams=hello.streams[1:]))
    assert faults(path) == ["undeclared_buffer"]
    wide = (replace(hello.streams[0], width=128), *hello.streams[1:])
    assert faults(record(tmp_path / "wide.mcap", hello=replace(hello, streams=wide))) == [
        "other_size"
    ]

    def without_depth(frame: Frame) -> Frame:
        keep = [b.name != "depth" for b in frame.header.buffers]
        buffers = tuple(itertools.compress(frame.header.buffers, keep))
        payloads = tuple(itertools.compress(frame.payloads, keep))
        return Frame(replace(frame.header, buffers=buffers), payloads)

    (finding,) = verify(record(tmp_path / "gone.mcap", without_depth), health=False).findings
    assert (finding.buffer, finding.fault, finding.count) == ("depth", "missing_buffer", FRAMES)


def test_poses_are_rigid_and_finite(tmp_path: Path) -> None:
    def with_pose(pose: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> list[str]:
        def change(header: FrameHeader) -> FrameHeader:
            assert header.camera is not None
            return replace(header, camera=replace(header.camera, world_from_camera=pose))

        (tmp_path / "s.mcap").unlink(missing_ok=True)
        return faults(record(tmp_path / "s.mcap", change_header(change)))

    assert with_pose(np.diag([1.0, 1.0, -1.0, 1.0])) == ["pose_not_rigid"]  # left-handed
    assert with_pose(2 * np.eye(4)) == ["pose_not_rigid"]
    assert with_pose(np.eye(4)) == []


def test_times_that_were_multiplied_out_are_a_finding(tmp_path: Path) -> None:
    real_time = ENGINE.hello(lockstep=False)
    wobble = np.random.default_rng(3).integers(0, 900_000, 20)
    for name, measured in (("made_up", False), ("measured", True)):
        path = tmp_path / f"{name}.mcap"
        with SessionWriter(path, real_time) as writer:
            for index in range(20):
                message = ENGINE.message(0)
                t_ns = index * 41_666_667 + (int(wobble[index]) if measured else 0)
                header = replace(
                    message.header, seq=index, t_sim_ns=t_ns, t_render_ns=t_ns, t_send_ns=t_ns + 9
                )
                writer.write_frame(Frame(header, message.payloads), t_ns + 50, 1)
        assert faults(path) == ([] if measured else ["made_up_times"])


def test_the_recorders_own_count_is_held_against_the_file(tmp_path: Path) -> None:
    path = tmp_path / "s.mcap"
    writer = SessionWriter(path, ENGINE.hello())
    message = ENGINE.message(0)
    writer.write_frame(message, 5, 1)
    writer.close({"frames": "2", "dropped/plugin/no_credit": "3"})
    assert faults(path) == ["frames_disagree", "losses_disagree"]
