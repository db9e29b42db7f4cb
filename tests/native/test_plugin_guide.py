"""The guide's example, recorded by the real client: what it says of its scene is what arrives."""

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from capture_bridge.link import ClientLink
from capture_bridge.recorder import record_link
from capture_bridge.session import SessionReader
from capture_bridge.verify import verify
from tests.native.conftest import ROOT, NativeBuild

pytestmark = [pytest.mark.native, pytest.mark.timeout(120)]

EXAMPLE = ROOT / "engine_plugins" / "core" / "example" / "software_renderer.cpp"
GUIDE = ROOT / "docs" / "plugin_guide.md"


@pytest.fixture(scope="module")
def session(native_build: NativeBuild, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("guide") / "s.mcap"
    program = native_build.target("software_renderer")
    with ClientLink("tcp://127.0.0.1:0") as client:
        process = subprocess.Popen([program, client.endpoint.rsplit(":", 1)[1], "60"])
        try:
            record_link(client, path)
        finally:
            process.kill()
            process.wait()
    return path


def test_verify_has_nothing_to_say(session: Path) -> None:
    result = verify(session)
    assert not result.findings
    assert result.frames > 10


def test_the_example_is_the_scene_that_it_claims(session: Path) -> None:
    with SessionReader(session) as reader:
        frame = reader.frame(len(reader) // 2)
        camera = frame.header.camera
        assert camera is not None
        arrays = frame.arrays(("depth", "normal", "color"))
    z_m = camera.world_from_camera[1, 3]
    v, u = np.mgrid[0:180, 0:320] + 0.5
    ground = v > 90
    expected = np.where(ground, 1.7 * 260 / np.where(ground, v - 90, 1), np.inf)
    ray = np.stack([(u - 160) / 260, (v - 90) / 260, np.ones_like(u)], axis=-1)
    center = np.array([0.3, 0.7, 12 - z_m])
    depth = arrays["depth"].astype(np.float64)
    on_sphere = depth < expected * (1 - 1e-4)
    assert on_sphere.sum() > 100
    np.testing.assert_allclose(depth[~on_sphere], expected[~on_sphere], rtol=1e-6)
    outward = ray[on_sphere] * depth[on_sphere][:, None] - center
    np.testing.assert_allclose(np.linalg.norm(outward, axis=-1), 1.0, atol=1e-5)
    normal = arrays["normal"].astype(np.float64)[on_sphere]
    np.testing.assert_allclose(normal, outward, atol=2e-3)


def test_the_guide_shows_the_examples_own_lines() -> None:
    source = "".join(EXAMPLE.read_text("utf-8").split())
    blocks = re.findall(r"```cpp\n(.*?)```", GUIDE.read_text("utf-8"), re.DOTALL)
    assert blocks
    for block in blocks:
        for line in block.splitlines():
            assert "".join(line.split()) in source, line
