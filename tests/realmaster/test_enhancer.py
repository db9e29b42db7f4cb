from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from capture_bridge.errors import MissingBufferError, OutputError
from capture_bridge.layer import read_layer
from capture_bridge.media import VideoReader
from capture_bridge.session import SessionFrame, SessionReader, SessionWriter
from realmaster import enhancer
from realmaster.enhancer import State, enhance_session, layer_path, work_folder
from realmaster.passthrough import CopyModel
from realmaster.tiers import load_model
from tests.capture_bridge.analytic_engine import AnalyticEngine

FRAMES = 7


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(enhancer, "SEGMENT_FRAMES", 3)
    return record(tmp_path / "s.mcap", FRAMES)


def record(path: Path, frames: int, width: int = 64) -> Path:
    engine = AnalyticEngine(width=width, height=36)
    with SessionWriter(path, engine.hello(), codec="raw") as writer:
        for index in range(frames):
            writer.write_frame(engine.message(index), t_recv_ns=1 + index, epoch=1)
    return path


class Dying(CopyModel):
    """Stops like a killed process before its `after`-th frame of all."""

    def __init__(self, after: int) -> None:
        self.left = after

    def enhance(self, frames: Iterable[SessionFrame], state: State) -> Iterator[NDArray[np.uint8]]:
        for picture in super().enhance(frames, state):
            if self.left == 0:
                raise KeyboardInterrupt
            self.left -= 1
            yield picture


class ReadsAhead(CopyModel):
    """Reads its whole segment before the first picture, as a window of a diffusion model does."""

    def enhance(self, frames: Iterable[SessionFrame], state: State) -> Iterator[NDArray[np.uint8]]:
        yield from super().enhance(list(frames), state)


def frames_of(video: Path) -> list[tuple[NDArray[np.uint8], int]]:
    with VideoReader(video) as reader:
        return list(reader)


def test_output_has_the_sessions_frames_times_and_names(session: Path, tmp_path: Path) -> None:
    out = tmp_path / "s.enhanced.mp4"
    seen: list[tuple[int, int]] = []
    made = enhance_session(session, out, CopyModel(), progress=lambda *at: seen.append(at))
    assert made.frames == FRAMES
    assert seen == [(n, FRAMES) for n in range(1, FRAMES + 1)]
    with SessionReader(session) as reader:
        times = [header.t_sim_ns for header in reader.headers]
        layer = read_layer(layer_path(out))
        assert layer.session_uuid == reader.info.session_uuid
        assert layer.video == out.name
        assert [frame.t_sim_ns for frame in layer.frames] == times
        assert [frame.seq for frame in layer.frames] == reader.seqs.tolist()
        for (picture, t_ns), frame in zip(frames_of(out), reader.frames(), strict=True):
            assert abs(t_ns - (frame.header.t_sim_ns - times[0])) <= 1e9 / 90_000
            render = frame.array("color")[..., :3].astype(int)
            assert np.abs(picture.astype(int) - render).mean() < 6  # 4:2:0 on a tiny picture
    assert not work_folder(out).exists()


@pytest.mark.parametrize("frames", range(1, 9))
def test_every_length_comes_out_whole(
    frames: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(enhancer, "SEGMENT_FRAMES", 3)
    out = tmp_path / "out.mp4"
    enhance_session(record(tmp_path / "s.mcap", frames), out, ReadsAhead())
    assert len(frames_of(out)) == frames == len(read_layer(layer_path(out)).frames)


@pytest.mark.parametrize("killed_after", range(FRAMES))
def test_a_killed_run_goes_on_and_ends_the_same(
    killed_after: int, session: Path, tmp_path: Path
) -> None:
    whole, out = tmp_path / "whole.mp4", tmp_path / "out.mp4"
    enhance_session(session, whole, CopyModel())
    with pytest.raises(KeyboardInterrupt):
        enhance_session(session, out, Dying(killed_after))
    assert not out.exists()
    made = enhance_session(session, out, CopyModel())
    assert made.resumed_frames == killed_after // 3 * 3
    assert read_layer(layer_path(out)).frames == read_layer(layer_path(whole)).frames
    for (ours, at), (theirs, then) in zip(frames_of(out), frames_of(whole), strict=True):
        assert at == then
        assert np.array_equal(ours, theirs)


def test_another_models_leftovers_are_not_resumed(session: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    with pytest.raises(KeyboardInterrupt):
        enhance_session(session, out, Dying(5))
    other = ReadsAhead()
    other.fingerprint = "copy-2"
    assert enhance_session(session, out, other).resumed_frames == 0


def test_segments_of_another_quality_are_not_joined(
    session: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their coding settings differ, which one stream cannot hold."""
    out = tmp_path / "out.mp4"
    with pytest.raises(KeyboardInterrupt):
        enhance_session(session, out, Dying(5))
    monkeypatch.setattr("realmaster.enhancer.VIDEO_QUALITY", {"crf": 30})
    assert enhance_session(session, out, CopyModel()).resumed_frames == 0


def test_a_recording_is_never_overwritten_by_a_layer(session: Path, tmp_path: Path) -> None:
    before = session.read_bytes()
    other = tmp_path / "other.mcap"
    other.write_bytes(before)
    for recording in (session, other):
        with pytest.raises(OutputError, match=r"is no layer .*enhanced\.mp4"):
            enhance_session(session, recording.with_suffix(".mp4"), CopyModel(), overwrite=True)
        assert recording.read_bytes() == before
        assert not recording.with_suffix(".mp4").exists()
    torn = tmp_path / "torn.mcap"
    torn.write_bytes(before[: len(before) // 2])
    with pytest.raises(OutputError, match="is no layer"):
        enhance_session(session, torn.with_suffix(".mp4"), CopyModel(), overwrite=True)
    out = tmp_path / "again.mp4"
    for _ in range(2):
        enhance_session(session, out, CopyModel(), overwrite=True)
    assert len(read_layer(layer_path(out)).frames) == FRAMES


def test_nothing_is_overwritten_unasked(session: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    out.write_bytes(b"mine")
    with pytest.raises(OutputError, match="--overwrite"):
        enhance_session(session, out, CopyModel())
    assert out.read_bytes() == b"mine"
    enhance_session(session, out, CopyModel(), overwrite=True)
    assert len(frames_of(out)) == FRAMES


def test_outputs_that_cannot_be_written_are_told_before_any_work(
    session: Path, tmp_path: Path
) -> None:
    for bad in (tmp_path / "absent" / "out.mp4", tmp_path / "out.avi", Path("/proc/out.mp4")):
        with pytest.raises(OutputError):
            enhance_session(session, bad, CopyModel())


def test_a_missing_buffer_is_named(session: Path, tmp_path: Path) -> None:
    model = CopyModel()
    model.requires = frozenset({"color_hdr", "color"})
    with pytest.raises(MissingBufferError, match="no color_hdr, which model 'copy' needs"):
        enhance_session(session, tmp_path / "out.mp4", model)


def test_an_unknown_model_is_told_with_those_there_are() -> None:
    with pytest.raises(Exception, match="no model 'slow'; there are fast, copy"):
        load_model("slow")
    assert load_model("copy").name == "copy"
