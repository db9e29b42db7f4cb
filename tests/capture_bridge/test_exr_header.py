"""Headers of EXR files: what is there is read, and what is too much is refused before decoding."""

import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import OpenEXR
import pytest

from capture_bridge import exr_header
from capture_bridge.errors import LimitError, RealMasterError, SessionError
from capture_bridge.exr_header import read_exr_header
from capture_bridge.images import read_exr_channels

BOX = struct.pack("<4i", 0, 0, 15, 8)


def attribute(name: str, kind: str, value: bytes) -> bytes:
    return name.encode() + b"\0" + kind.encode() + b"\0" + struct.pack("<i", len(value)) + value


def channel_list(names: Sequence[str], kind: int = 1, step: int = 1) -> bytes:
    rows = (n.encode() + b"\0" + struct.pack("<iIii", kind, 0, step, step) for n in names)
    return b"".join(rows) + b"\0"


def header(*extra: bytes, channels: bytes | None = None, flags: int = 2) -> bytes:
    """The bytes of a file without a pixel."""
    parts = [
        attribute("channels", "chlist", channel_list("R") if channels is None else channels),
        attribute("compression", "compression", b"\0"),
        attribute("dataWindow", "box2i", BOX),
        attribute("displayWindow", "box2i", BOX),
        *extra,
    ]
    return b"v/1\x01" + struct.pack("<I", flags) + b"".join(parts) + b"\0"


def test_parts_tiles_and_channels_are_read(tmp_path: Path) -> None:
    plane = np.arange(12 * 20, dtype=np.float32).reshape(12, 20)
    planes = {"R": plane, "deep.er.G": plane.astype(np.float16)}
    path = tmp_path / "tiled.exr"
    kind = {"type": OpenEXR.tiledimage, "tiles": OpenEXR.TileDescription()}
    kinds = (kind, {"type": OpenEXR.scanlineimage})
    for header_of in kinds:
        with OpenEXR.File(header_of, dict(planes)) as file:  # it changes what it is given
            file.write(str(path))
        told = read_exr_header(path)
        assert told.channels == {"R": "<f4", "deep.er.G": "<f2"}
        assert (told.parts[0].width, told.parts[0].height) == (20, 12)
        found = read_exr_channels(told, ["deep.er.G", "R"])
        assert all(np.array_equal(found[name], planes[name]) for name in planes)

    parts = [
        OpenEXR.Part({"type": OpenEXR.scanlineimage}, {"Y": plane + i}, f"p{i}") for i in (1, 2)
    ]
    with OpenEXR.File(parts) as file:
        file.write(str(path))
    told = read_exr_header(path)
    assert list(told.channels) == ["p1.Y", "p2.Y"] and len(told.parts) == 2
    assert np.array_equal(read_exr_channels(told, ["p2.Y"])["p2.Y"], plane + 2)


def test_a_damaged_part_is_one_error_and_nothing_else_is_printed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    plane = np.random.default_rng(3).random((64, 64)).astype(np.float32)
    parts = [OpenEXR.Part({"type": OpenEXR.scanlineimage}, {"Y": plane}, name) for name in "ab"]
    path = tmp_path / "parts.exr"
    with OpenEXR.File(parts) as file:
        file.write(str(path))
    path.write_bytes(path.read_bytes()[:-3000])
    told = read_exr_header(path)
    with pytest.raises(SessionError, match=r"b\.Y cannot be decoded"):
        read_exr_channels(told, list(told.channels))
    assert capfd.readouterr() == ("", "")


REFUSED: dict[str, tuple[bytes, str]] = {
    "channels": (
        header(channels=channel_list([f"c{i}" for i in range(exr_header.MAX_CHANNELS + 1)])),
        "more than 1024 channels",
    ),
    "attributes": (
        header(*(attribute(f"a{i}", "int", b"1234") for i in range(exr_header.MAX_ATTRIBUTES))),
        "more than 4096 attributes",
    ),
    "parts": (
        header(flags=0x1002) + header()[8:] * exr_header.MAX_PARTS + b"\0",
        "more than 64 parts",
    ),
    "a long name": (header(attribute("n" * 300, "int", b"1234")), "does not end"),
    "deep": (header(flags=0x802), "deep data"),
    "deep by its type": (header(attribute("type", "string", b"deepscanline")), "deep data"),
    "subsampled": (header(channels=channel_list("R", step=2)), "subsampled"),
    "a type": (header(channels=channel_list("R", kind=9)), "unknown type 9"),
    "no parts": (b"v/1\x01" + struct.pack("<I", 0x1002) + b"\0", "no picture"),
    "no window": (b"v/1\x01" + struct.pack("<I", 2) + b"\0", "dataWindow is missing"),
    "no pixels": (header(), "cut off"),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_what_is_too_much_or_unknown_is_refused(tmp_path: Path, fault: str) -> None:
    data, words = REFUSED[fault]
    path = tmp_path / "f.exr"
    path.write_bytes(data)
    with pytest.raises(RealMasterError, match=words) as caught:
        read_exr_header(path)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


def test_a_header_that_does_not_end_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exr_header, "MAX_HEADER_BYTES", 1000)
    path = tmp_path / "f.exr"
    path.write_bytes(header(attribute("manifest", "string", b"x" * 2000)))
    with pytest.raises(LimitError, match="more than 1000 bytes"):
        read_exr_header(path)


def test_more_pixels_than_the_limit_are_not_decoded(tmp_path: Path) -> None:
    big = struct.pack("<4i", 0, 0, 16383, 16383)
    data = header(channels=channel_list([f"c{i}" for i in range(8)], kind=2)).replace(BOX, big)
    path = tmp_path / "f.exr"
    start = len(data)
    offsets = [start + 8 * 16384 + 8 * i for i in range(16384)]
    path.write_bytes(data + struct.pack("<16384Q", *offsets) + b"\0" * 8 * 16384)
    told = read_exr_header(path)  # 16384 blocks, each of them empty: all within the file
    with pytest.raises(LimitError, match="bytes of pixels"):
        read_exr_channels(told, list(told.channels))
