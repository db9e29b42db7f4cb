"""The health probe on sessions of the real street game: sound as recorded, each fault named."""

from pathlib import Path

import numpy as np
import pytest

from capture_bridge.health import HealthProbe
from capture_bridge.messages import Hello
from capture_bridge.session import SessionReader
from capture_bridge.verify import verify
from realmaster.street_game import StreetSession, record_street
from tests.capture_bridge.analytic_engine import AnalyticFrame, to_message
from tests.capture_bridge.plants import PLANTS, without

pytestmark = pytest.mark.street
pytest.importorskip("panda3d")

FRAMES = 12
Recorded = tuple[Path, Hello, list[AnalyticFrame]]


@pytest.fixture(scope="module", params=["drive", "walk"])
def recorded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """A session of a train seed, as the game sent it over TCP, and its frames."""
    path = tmp_path_factory.mktemp("street") / f"{request.param}.mcap"
    session = StreetSession(seed=12, width=640, height=360, seconds=FRAMES / 24, path=request.param)
    record_street(session, path)
    with SessionReader(path) as reader:
        frames = []
        for frame in reader.frames():
            header = frame.header
            assert header.camera is not None
            arrays = {name: np.array(array) for name, array in frame.arrays(frame.names).items()}
            frames.append(
                AnalyticFrame(
                    header.seq, header.t_sim_ns, header.t_render_ns, arrays, header.camera
                )
            )
        return path, reader.info.hello, frames


def named(hello: Hello, frames: list[AnalyticFrame]) -> list[str]:
    probe = HealthProbe(hello, every=1)
    for frame in frames:
        probe.observe(to_message(frame).header, frame.arrays)
    return [finding.fault for finding in probe.findings()]


def test_the_game_is_sound(recorded: Recorded) -> None:
    path, hello, frames = recorded
    assert verify(path).findings == ()
    assert len(frames) == FRAMES
    for missing in (("albedo",), ("instance", "semantic"), ("normal",), ("color", "color_ui")):
        assert named(hello, without(*missing)(frames)) == []


@pytest.mark.parametrize("name", PLANTS)
def test_a_planted_fault_is_named(name: str, recorded: Recorded) -> None:
    _, hello, frames = recorded
    fault, plant = PLANTS[name]
    assert named(hello, plant(frames)) == [fault]
