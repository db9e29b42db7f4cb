"""Other programs open a session unmodified: Rerun's own checker, converter and reader."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from capture_bridge.session import SessionCodec
from tests.capture_bridge.session_fixtures import NUM_FRAMES, frame, write_session

rerun_chunk = pytest.importorskip("rerun.chunk")

RERUN = shutil.which("rerun", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")


def rerun(*args: str | Path) -> str:
    assert RERUN is not None, "rerun-sdk brings the command"
    done = subprocess.run(
        [RERUN, *map(str, args)], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def rows(rrd: Path, entity: str, column: str) -> list[Any]:
    """All values of a column, in order of time."""
    values: list[Any] = []
    for chunk in rerun_chunk.RrdReader(str(rrd)).stream():
        batch = chunk.to_record_batch()
        if chunk.entity_path == entity and column in batch.schema.names:
            values += batch.column(batch.schema.names.index(column)).to_pylist()
    return [value[0] for value in values]


@pytest.mark.parametrize("codec", ["raw", "shuffle+zstd", "shuffle+lz4"])
def test_rerun_finds_images_depth_and_camera(tmp_path: Path, codec: SessionCodec) -> None:
    path, rrd = tmp_path / "s.mcap", tmp_path / "s.rrd"
    write_session(path, codec=codec)
    checked = rerun("mcap", "check", "--full", path)
    for topic in ("/color", "/depth", "/camera", "/tf", "/frame"):
        (line,) = [row.split() for row in checked.splitlines() if f" {topic} " in row]
        assert line[0] == "ok"
    rerun("mcap", "convert", path, "-o", rrd)

    for name in ("color", "depth"):
        pixels = rows(rrd, f"/{name}", "Image:buffer")
        assert len(pixels) == NUM_FRAMES
        for index, values in enumerate(pixels):
            assert np.array(values, np.uint8).tobytes() == frame(index).arrays[name].tobytes()
        formats = rows(rrd, f"/{name}", "Image:format")
        assert {(f["width"], f["height"]) for f in formats} == {(32, 18)}
    focal_lengths = rows(rrd, "/camera", "Pinhole:image_from_camera")
    assert np.allclose(focal_lengths[0], frame(0).camera.K.T.ravel())
    translations = rows(rrd, "/tf", "Transform3D:translation")
    for index, translation in enumerate(translations):
        assert np.allclose(translation, frame(index).camera.world_from_camera[:3, 3], atol=1e-4)
    assert len(translations) == NUM_FRAMES
