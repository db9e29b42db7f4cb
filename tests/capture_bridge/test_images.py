from pathlib import Path
from typing import Any

import numpy as np
import OpenEXR
import pytest

from capture_bridge.errors import OutputError, SessionError
from capture_bridge.images import read_exr, read_png, write_exr, write_png
from tests.capture_bridge.session_fixtures import frame


def test_png_keeps_every_pixel(tmp_path: Path) -> None:
    arrays = frame(0).arrays
    rgba = np.asarray(arrays["color"], np.uint8)
    ids = np.asarray(arrays["instance"]).astype(np.uint16) * 1000
    images: list[Any] = [rgba, np.ascontiguousarray(rgba[..., :3]), rgba[..., 0], ids]
    for number, image in enumerate(images):
        write_png(tmp_path / f"{number}.png", image)
        read = read_png(tmp_path / f"{number}.png")
        assert read.dtype == image.dtype and np.array_equal(read, image)


def test_exr_keeps_every_buffer_exactly(tmp_path: Path) -> None:
    arrays = frame(3).arrays
    write_exr(tmp_path / "f.exr", arrays, {"session_uuid": "ab" * 16})
    read, attributes = read_exr(tmp_path / "f.exr")
    assert attributes["session_uuid"] == "ab" * 16
    assert set(read) == set(arrays)
    for name, array in arrays.items():
        assert read[name].dtype == array.dtype and read[name].tobytes() == array.tobytes(), name


def test_all_8_bit_codes_survive_the_way_through_linear_light(tmp_path: Path) -> None:
    codes = np.arange(256, dtype=np.uint8).reshape(16, 16)
    color = np.stack([codes, codes.T, codes[::-1], codes[:, ::-1]], -1)
    write_exr(tmp_path / "f.exr", {"color": color})
    assert np.array_equal(read_exr(tmp_path / "f.exr")[0]["color"], color)


def test_exr_channels_have_the_names_and_types_that_others_look_for(tmp_path: Path) -> None:
    arrays = frame(3).arrays
    write_exr(tmp_path / "f.exr", arrays)
    with OpenEXR.File(str(tmp_path / "f.exr"), separate_channels=True) as file:
        kinds = {name: c.pixels.dtype.name for name, c in file.channels().items()}
        red = file.channels()["R"].pixels.copy()
    for name in ("R", "G", "B", "A", "N.X", "N.Y", "N.Z", "motion.U", "motion.V"):
        assert kinds[name] == "float16"
    assert kinds["Z"] == "float32" and kinds["id.instance"] == kinds["id.semantic"] == "uint32"
    srgb = np.asarray(arrays["color"], np.float64)[..., 0] / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    assert np.allclose(red, linear, rtol=1e-3, atol=1e-6)


def test_errors_are_ours(tmp_path: Path) -> None:
    arrays = frame(0).arrays
    with pytest.raises(OutputError, match="cannot write"):
        write_exr(tmp_path / "absent" / "f.exr", arrays)
    with pytest.raises(OutputError, match="one size"):
        write_exr(tmp_path / "f.exr", {**arrays, "depth": arrays["depth"][:5]})
    with pytest.raises(OutputError, match="cannot write"):
        write_png(tmp_path / "absent" / "f.png", np.zeros((4, 4), np.uint8))
    (tmp_path / "bad").write_bytes(b"nothing of the kind")
    for read in (read_exr, read_png):
        with pytest.raises(SessionError, match="bad"):
            read(tmp_path / "bad")
        with pytest.raises(SessionError, match="absent"):
            read(tmp_path / "absent")
    assert not (tmp_path / "f.exr").exists()
