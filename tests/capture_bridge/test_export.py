"""export on recorded sessions: exact times, exact pixels, nothing overwritten."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from capture_bridge.errors import MissingBufferError, OutputError
from capture_bridge.export import export
from capture_bridge.images import read_exr, read_png
from capture_bridge.media import VideoReader
from capture_bridge.messages import Frame
from capture_bridge.session import SessionReader, SessionWriter
from tests.capture_bridge.analytic_engine import AnalyticEngine, to_message
from tests.capture_bridge.recorded import ENGINE, FRAMES, record


def test_a_video_keeps_the_measured_times(tmp_path: Path) -> None:
    path = record(tmp_path / "s.mcap", skip=(2, 3))
    seen: list[tuple[int, int]] = []
    (video,) = export(path, tmp_path / "out", "mp4", progress=lambda *at: seen.append(at))
    assert video == tmp_path / "out" / "s.mp4"
    with VideoReader(video) as reader:
        frames = list(reader)
    colors = [ENGINE.frame(i).arrays["color"][..., :3].astype(float) for i in range(FRAMES)]
    expected = [ENGINE.t_ns(index) for index in (0, 1, 4, 5)]
    assert [t_ns for _, t_ns in frames] == pytest.approx(expected, abs=1e9 / 90_000)
    gaps = [np.abs(frames[2][0] - color).mean() for color in colors]
    assert int(np.argmin(gaps)) == 4
    assert seen[-1] == (4, 4)


def test_pictures_are_exact_and_named_by_seq(tmp_path: Path) -> None:
    path = record(tmp_path / "s.mcap", skip=(2,))
    written = export(path, tmp_path / "png", "png")
    assert [file.name for file in written][1:3] == ["01_00000001.png", "01_00000003.png"]
    with SessionReader(path) as reader:
        assert np.array_equal(read_png(written[2]), reader.frame(2).array("color"))
        about, *lines = (tmp_path / "png" / "frames.jsonl").read_text().splitlines()
        assert json.loads(about)["session_uuid"] == reader.info.session_uuid
    third = json.loads(lines[2])
    assert (third["file"], third["seq"], third["t_ns"]) == (written[2].name, 3, ENGINE.t_ns(3))
    assert np.array_equal(third["camera"]["K"], ENGINE.camera(3).K)


def test_an_exr_holds_every_buffer(tmp_path: Path) -> None:
    path = record(tmp_path / "s.mcap")
    written = export(path, tmp_path / "exr", "exr")
    arrays, attributes = read_exr(written[0])
    with SessionReader(path) as reader:
        frame = reader.frame(0)
        assert set(arrays) == set(frame.names)
        for name in frame.names:
            floats = name in ("depth", "normal", "motion")
            assert np.array_equal(arrays[name], frame.array(name), equal_nan=floats), name
        assert attributes["session_uuid"] == reader.info.session_uuid
        k = np.array(attributes["K"].split(), float)
        assert np.array_equal(k, ENGINE.camera(0).K.ravel())
    assert attributes["seq"] == "0"


def test_buffers_of_another_size_stand_beside(tmp_path: Path) -> None:
    small = AnalyticEngine(32, 18, buffers=("depth",))
    path = tmp_path / "s.mcap"
    with SessionWriter(path, ENGINE.hello()) as writer:
        color = AnalyticEngine(64, 36, buffers=("color",)).message(0)
        depth = to_message(small.frame(0))
        buffers = color.header.buffers + depth.header.buffers
        header = replace(color.header, buffers=buffers)
        writer.write_frame(Frame(header, color.payloads + depth.payloads), 5, 1)
    written = export(path, tmp_path / "exr", "exr")
    assert [file.name for file in written] == ["01_00000000.exr", "01_00000000.32x18.exr"]
    assert set(read_exr(written[0])[0]) == {"color"}
    assert np.array_equal(read_exr(written[1])[0]["depth"], small.frame(0).arrays["depth"])


@pytest.mark.parametrize("format", ["mp4", "png", "exr"])
def test_nothing_is_overwritten(tmp_path: Path, format: str) -> None:
    path, out = record(tmp_path / "s.mcap"), tmp_path / "out"
    last = export(path, out, format)[-1]  # type: ignore[arg-type]
    others = [file for file in out.iterdir() if file != last and format != "mp4"]
    for file in others:
        file.unlink()
    with pytest.raises(OutputError, match="--overwrite"):
        export(path, out, format)  # type: ignore[arg-type]
    assert list(out.iterdir()) == [last]  # refused before anything was written
    assert len(export(path, out, format, overwrite=True)) in (1, FRAMES)  # type: ignore[arg-type]


def test_what_cannot_be_exported_is_named(tmp_path: Path) -> None:
    path = record(tmp_path / "s.mcap")
    with pytest.raises(MissingBufferError, match="color_hdr"):
        export(path, tmp_path / "hdr", "png", buffer="color_hdr")
    with pytest.raises(OutputError, match="exr"):
        export(path, tmp_path / "depth", "png", buffer="depth")
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="folder"):
        export(path, tmp_path / "file" / "out", "png")


def test_a_failed_video_leaves_nothing(tmp_path: Path) -> None:
    other = AnalyticEngine(32, 18, buffers=("color",))
    path = tmp_path / "s.mcap"
    with SessionWriter(path, ENGINE.hello()) as writer:
        writer.write_frame(ENGINE.message(0), 5, 1)
        writer.write_frame(other.message(1), 6, 1)
    with pytest.raises(OutputError, match="64x36"):
        export(path, tmp_path / "out", "mp4")
    assert list((tmp_path / "out").iterdir()) == []
