"""The Direct3D 12 capture under Wine. The tracked state is asserted, since a wrong one shows in no
pixel here: Wine's Vulkan does not care.
"""

import itertools
from pathlib import Path
from typing import Any

import pytest

from capture_bridge.messages import FrameFlags
from capture_bridge.session import SessionReader
from tests.wine.wine_games import Lab, Recording, assert_color, errors_of, record, verify_clean

pytestmark = [pytest.mark.wine, pytest.mark.slow]
GAME = "d3d12_game"
BOXES = 8
FRAME = 2
PIXEL_SHADER_RESOURCE = 0x80
# R24G8 keeps depth in steps of 2 ** -24: at z metres, near n, that is a relative z / n * 2 ** -25.
FLAT_LIMIT = {"d32": 1e-5, "r32": 1e-5, "d32s8": 1e-5, "d24s8": 1e-5 + 64 / 0.1 * 2**-25}


def frames_of(run: Recording) -> list[dict[str, Any]]:
    return [line for line in run.trace if line["order"] == FRAME]


def assert_true(lab: Lab, run: Recording, depth_format: str) -> None:
    errors = errors_of(lab, run.path, straight=True)
    assert len(errors) >= 3
    for error in errors:
        assert error.flat.size > 3_000
        assert error.flat.max() < FLAT_LIMIT[depth_format]
        assert error.depth.max() < 1e-4  # slanted faces: the rasterizer's own snapping
        assert error.sky_is_infinite


@pytest.mark.parametrize("depth_format", ["d32", "r32", "d24s8", "d32s8"])
def test_every_pixel_is_right(lab: Lab, tmp_path: Path, depth_format: str) -> None:
    run = record(lab, tmp_path, GAME, "--format", depth_format, "--straight", "--frames", "90")
    assert_true(lab, run, depth_format)
    errors = errors_of(lab, run.path, straight=True)
    assert_color(errors)
    assert max(error.normal.max() for error in errors) < 0.01
    lines = run.trace[1:]
    assert {line["state"] for line in lines} == {PIXEL_SHADER_RESOURCE}
    assert {tuple(line["depth"]) for line in lines} == {(640, 360)}
    assert {(line["draws"], line["candidates"]) for line in lines} == {(BOXES, 2)}
    assert lines[-1]["late"] == 0 and lines[-1]["ignored"] == 0
    assert all(line["hud"] for line in frames_of(run)[1:])
    assert run.report["unloaded"]


def test_a_moving_camera_verifies_clean(lab: Lab, tmp_path: Path) -> None:
    run = record(lab, tmp_path, GAME, "--format", "d32", "--frames", "70")
    verify_clean(run.path)
    errors = errors_of(lab, run.path)
    assert_color(errors)
    for error in errors:
        assert error.depth.max() < 1e-4 and error.normal.max() < 0.01


def test_loaded_late_it_knows_depth_by_its_barriers(lab: Lab, tmp_path: Path) -> None:
    """Views were made before the hooks: no draws, no G-buffer are seen, and it says so."""
    run = record(lab, tmp_path, GAME, "--format", "d32", "--straight", "--load-at", "6",
                 "--frames", "90")  # fmt: skip
    assert_true(lab, run, "d32")
    lines = run.trace[2:]
    assert {line["state"] for line in lines} == {PIXEL_SHADER_RESOURCE}
    assert {line["draws"] for line in lines} == {1}
    assert lines[-1]["late"] == 2
    assert "guessed" in run.log
    with SessionReader(run.path) as session:
        streams = {stream.name: stream for stream in session.info.hello.streams}
        assert streams["normal"].params == {"source": "depth"}
        for header in session.headers:
            assert header.flags & FrameFlags.HUD_IN_COLOR


def test_polled_eagerly_it_waits_for_the_fence(lab: Lab, tmp_path: Path) -> None:
    run = record(lab, tmp_path, GAME, "--format", "d32s8", "--straight", "--frames", "80",
                 eager_poll="yes")  # fmt: skip
    assert_true(lab, run, "d32s8")
    last = run.trace[-1]
    assert last["not_ready"] > 10
    assert last["collected"] >= last["submitted"] - 3


def test_a_full_ring_drops_and_counts(lab: Lab, tmp_path: Path) -> None:
    run = record(lab, tmp_path, GAME, "--format", "d32", "--straight", "--generated",
                 "--frames", "80", ring="1")  # fmt: skip
    assert run.trace[-1]["full"] > 0
    assert run.summary.drops.get("plugin/readback_late", 0) > 0
    assert "link/unexplained" not in run.summary.drops
    verify_sequence(run)


def verify_sequence(run: Recording) -> None:
    """Every gap in seq is a counted drop."""
    with SessionReader(run.path) as session:
        headers = list(session.headers)
    for before, now in itertools.pairwise(headers):
        dropped = sum(now.drops.values()) - sum(before.drops.values())
        assert now.seq - before.seq - 1 == dropped


def test_depth_cleared_in_the_list_is_copied_ahead_of_it(lab: Lab, tmp_path: Path) -> None:
    run = record(lab, tmp_path, GAME, "--format", "d32", "--straight", "--clear-late",
                 "--frames", "90")  # fmt: skip
    assert_true(lab, run, "d32")
    assert all(line["snapshot"] for line in frames_of(run)[1:])


def test_resize(lab: Lab, tmp_path: Path) -> None:
    run = record(lab, tmp_path, GAME, "--format", "d32", "--straight", "--frames", "120",
                 "--resize", "90:800x450")  # fmt: skip
    assert_true(lab, run, "d32")
    with SessionReader(run.path) as session:
        sizes = {tuple(header.output_size) for header in session.headers}
    assert sizes == {(640, 360), (800, 450)}
