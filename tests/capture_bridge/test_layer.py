from pathlib import Path

import pytest
from mcap.reader import make_reader

from capture_bridge.errors import OutputError, SessionError
from capture_bridge.layer import LayerFrame, read_layer, write_layer
from tests.capture_bridge.session_fixtures import write_session

FRAMES = tuple(LayerFrame(1 + i // 5, i % 5, i * 41_666_667 - 10, i * 10, i * 7) for i in range(12))
TAGS = {"session_uuid": "ab" * 16, "model": "fast"}


def test_a_layer_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "v.mcap"
    write_layer(path, "v.mp4", iter(FRAMES), tags=TAGS)
    layer = read_layer(path)
    assert layer.frames == FRAMES
    assert (layer.session_uuid, layer.video, layer.tags) == ("ab" * 16, "v.mp4", TAGS)
    with path.open("rb") as file:
        messages = list(make_reader(file, validate_crcs=True).iter_messages())
    assert len(messages) == len(FRAMES) and messages[3][1].topic == "/enhanced"
    assert [p.name for p in tmp_path.iterdir()] == ["v.mcap"]


def test_what_is_no_layer_is_one_clear_error(tmp_path: Path) -> None:
    write_session(tmp_path / "s.mcap", num_frames=1)
    with pytest.raises(SessionError, match="no session layer"):
        read_layer(tmp_path / "s.mcap")
    with pytest.raises(SessionError, match="cannot open"):
        read_layer(tmp_path / "absent.mcap")
    with pytest.raises(OutputError, match="cannot write"):
        write_layer(tmp_path / "absent" / "v.mcap", "v.mp4", FRAMES, tags=TAGS)
    write_layer(tmp_path / "v.mcap", "v.mp4", FRAMES, tags=TAGS)
    data = bytearray((tmp_path / "v.mcap").read_bytes())
    place = data.index(b"zstd") + 20
    data[place] ^= 255
    (tmp_path / "v.mcap").write_bytes(data)
    with pytest.raises(SessionError, match="damaged"):
        read_layer(tmp_path / "v.mcap")


def test_a_layer_replaces_a_layer_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "v.mcap"
    for _ in range(2):
        write_layer(path, "v.mp4", FRAMES, tags=TAGS)
    path.write_bytes(b"a recording, for all it knows")
    with pytest.raises(OutputError, match=r"is no layer .*v\.enhanced\.mp4"):
        write_layer(path, "v.mp4", FRAMES, tags=TAGS)
    assert path.read_bytes() == b"a recording, for all it knows"
