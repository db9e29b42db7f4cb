import os
import signal
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from capture_bridge.errors import OutputError, SessionError
from capture_bridge.media import VideoReader, VideoWriter, from_ticks, join_videos, to_ticks

# Uneven on purpose: a game's frames are.
TIMES_NS = [7_000_000_000 + round(i * 1e9 / 24) + (i % 3) * 3_000_000 for i in range(60)]


def picture(index: int, width: int, height: int) -> NDArray[np.uint8]:
    y, x = np.mgrid[:height, :width]
    planes = [x * 255 // width, y * 255 // height, np.full_like(x, (index * 4) % 256)]
    return np.stack(planes, -1).astype(np.uint8)


def write(path: Path, width: int, height: int, **options: object) -> None:
    with VideoWriter(path, width, height, **options) as writer:  # type: ignore[arg-type]
        for index, t_ns in enumerate(TIMES_NS):
            writer.write(picture(index, width, height), t_ns)


def test_time_stamps_are_rounded_to_the_videos_clock() -> None:
    assert to_ticks(1_000_000_000) == 90_000
    assert to_ticks(41_666_667) == 3750
    for t_ns in (*TIMES_NS, 0, 1, 2**53 + 1):
        assert abs(from_ticks(to_ticks(t_ns)) - t_ns) <= 5556


@pytest.mark.parametrize(("width", "height"), [(64, 36), (65, 37), (33, 18)])
def test_frames_order_sizes_and_times_come_back(tmp_path: Path, width: int, height: int) -> None:
    write(tmp_path / "v.mp4", width, height, tags={"session_uuid": "ab" * 16})
    with VideoReader(tmp_path / "v.mp4") as reader:
        assert (reader.width, reader.height, reader.num_frames) == (width, height, len(TIMES_NS))
        assert reader.tags == {"session_uuid": "ab" * 16}
        frames = list(reader)
        assert len(list(reader)) == len(frames)  # iterating again starts over
    assert len(frames) == len(TIMES_NS)
    for index, (rgb, t_ns) in enumerate(frames):
        assert t_ns == from_ticks(to_ticks(TIMES_NS[index] - TIMES_NS[0]))
        truth = picture(index, width, height)
        assert rgb.shape == truth.shape and rgb.dtype == np.uint8
        assert np.abs(rgb.astype(int) - truth).mean() < 4


@pytest.mark.parametrize("chroma", ["420", "444"])
def test_flat_colours_survive(tmp_path: Path, chroma: str) -> None:
    for number, rgb in enumerate([(255, 0, 0), (0, 255, 0), (0, 0, 255), (200, 30, 90), (9, 9, 9)]):
        path = tmp_path / f"{number}.mp4"
        flat = np.full((36, 64, 3), rgb, np.uint8)
        with VideoWriter(path, 64, 36, chroma=chroma) as writer:  # type: ignore[arg-type]
            writer.write(flat, 0)
        with VideoReader(path) as reader:
            (read, _), *rest = reader
        assert not rest and np.abs(read.astype(int) - flat).max() <= 2


def test_colour_lies_where_players_look_for_it(tmp_path: Path) -> None:
    """Colour samples belong to the left pixel of each pair (H.264's default), not between both."""
    width, height, blue = 64, 48, 3
    row = np.full((width, 3), 96, np.uint8)
    row[:, 2] = 32 + blue * np.arange(width)
    rgb = np.tile(row, (height, 1, 1))
    path = tmp_path / "ramp.mp4"
    with VideoWriter(path, width, height, crf=0) as video:
        video.write(rgb, 0)
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
    planes = frame.to_ndarray(format="yuv420p")
    u = planes[height : height + height // 4].reshape(height // 2, width // 2)[height // 4]
    b = 32 + blue * np.arange(0, width, 2.0)
    expected = 128 + 224 / 255 * (b - (0.0722 * b + 0.9278 * 96)) / 1.8556
    inside = slice(4, -4)
    assert np.abs(u[inside] - expected[inside]).max() < 0.6
    with VideoReader(path) as video:
        (back, _) = next(iter(video))
    error = back[:, 8:-8, 2].astype(int) - rgb[:, 8:-8, 2]
    assert abs(error.mean()) < 0.3


def test_the_file_is_a_plain_mp4_with_its_index_in_front_and_its_clock(tmp_path: Path) -> None:
    path = tmp_path / "v.mp4"
    write(path, 64, 36)
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat") and b"moof" not in data
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.time_base is not None and stream.time_base.denominator == 90_000
        assert stream.codec_context.colorspace == 1 and stream.codec_context.color_range == 1
        pts = [packet.pts for packet in container.demux(stream) if packet.size]
    assert pts == [to_ticks(t - TIMES_NS[0]) for t in TIMES_NS]
    assert [p.name for p in tmp_path.iterdir()] == ["v.mp4"]


def test_segments_join_without_encoding_anew(tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole.mp4", []
    for first in range(0, 60, 25):
        parts.append(tmp_path / f"{first}.mp4")
        with VideoWriter(parts[-1], 64, 36, origin_ns=TIMES_NS[0]) as writer:
            for index in range(first, min(first + 25, 60)):
                writer.write(picture(index, 64, 36), TIMES_NS[index])
        with VideoReader(parts[-1]) as reader:
            _, t_ns = next(iter(reader))
            assert t_ns == from_ticks(to_ticks(TIMES_NS[first] - TIMES_NS[0]))
    before = [part.read_bytes() for part in parts]
    join_videos(parts, whole, tags={"session_uuid": "cd" * 16})
    assert [part.read_bytes() for part in parts] == before
    pictures = []
    for part in parts:
        with VideoReader(part) as reader:
            pictures += [rgb for rgb, _ in reader]
    with VideoReader(whole) as reader:
        joined = list(reader)
        assert reader.tags["session_uuid"] == "cd" * 16
    assert [t for _, t in joined] == [from_ticks(to_ticks(t - TIMES_NS[0])) for t in TIMES_NS]
    assert all(np.array_equal(a, b) for a, (b, _) in zip(pictures, joined, strict=True))


_WRITER = """
import sys
from capture_bridge.media import VideoWriter
from tests.capture_bridge.test_media import picture

writer = VideoWriter(sys.argv[1], 64, 36)
for index in range(100_000):
    writer.write(picture(index, 64, 36), index * 41_666_667)
    if index % 100 == 99:
        print(index, flush=True)
"""


def test_what_was_written_before_a_kill_plays(tmp_path: Path) -> None:
    path = tmp_path / "v.mp4"
    with subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        written = [int(process.stdout.readline()) for _ in range(3)][-1] + 1
        os.kill(process.pid, signal.SIGKILL)
    readable = 0
    with VideoReader(path) as reader:
        try:
            for index, (_, t_ns) in enumerate(reader):
                assert t_ns == from_ticks(to_ticks(index * 41_666_667))
                readable += 1
        except SessionError:
            pass  # the fragment that was cut off
    # Encoder and fragment hold back a key frame's interval each, and x264 looks ahead a little.
    assert readable >= written - 160


def test_outputs_are_never_overwritten_unasked(tmp_path: Path) -> None:
    path = tmp_path / "v.mp4"
    path.write_bytes(b"precious")
    with pytest.raises(OutputError, match="--overwrite"):
        VideoWriter(path, 64, 36)
    assert path.read_bytes() == b"precious"
    write(path, 64, 36, overwrite=True)
    with pytest.raises(OutputError, match="cannot write"):
        VideoWriter(tmp_path / "absent" / "v.mp4", 64, 36)


def test_wrong_pictures_and_times_are_refused(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "v.mp4", 64, 36) as writer:
        writer.write(picture(0, 64, 36), 1000)
        with pytest.raises(OutputError, match="64x36"):
            writer.write(picture(0, 36, 64), 2_000_000)
        with pytest.raises(OutputError, match="does not follow"):
            writer.write(picture(0, 64, 36), 1000)
        with pytest.raises(OutputError, match="does not follow"):
            writer.write(picture(0, 64, 36), 0)


def test_what_is_no_video_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(SessionError, match="cannot read"):
        VideoReader(tmp_path / "absent.mp4")
    path = tmp_path / "v.mp4"
    for data in (b"", b"no video at all" * 100):
        path.write_bytes(data)
        with pytest.raises(SessionError, match="cannot read"):
            VideoReader(path)
