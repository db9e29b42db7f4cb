"""The Direct3D 11 capture under Wine, on a game whose every pixel is known."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from capture_bridge.client_link import ClientLink
from capture_bridge.messages import FrameFlags
from capture_bridge.recorder import RecordingOptions, record_link
from capture_bridge.session import SessionReader
from tests.wine.wine_games import (
    GTAV,
    PATIENCE_S,
    PROJECTION,
    Lab,
    assert_color,
    errors_of,
    playing,
    record,
    verify_clean,
)

pytestmark = [pytest.mark.wine, pytest.mark.slow]
GAME = "d3d11_game"
BOXES = 8  # draws of the scene; the decoy has twice as many
RENDERED, GENERATED = 0, 1
CALIBRATE, FRAME = 1, 2


def assert_true(lab: Lab, path: Path, *, hud: bool = True, sizes: int = 1) -> None:
    """Depth below 1e-4, normals within 1 %, color exact, sky infinite, HUD only in color_ui.

    The first frame of a size has no normals: the plugin finds out anew which target holds them.
    """
    errors = errors_of(lab, path)
    assert len(errors) >= 3
    assert sum(error.normal.size == 0 for error in errors) <= 1
    assert_color(errors, hud=hud, sizes=sizes)
    for error in errors:
        assert error.depth.size > 10_000
        assert error.depth.max() < 1e-4
        assert error.normal.size == 0 or error.normal.max() < 0.01
        assert error.sky_is_infinite


@pytest.mark.parametrize("depth_format", ["d24s8", "d32s8"])
def test_every_pixel_is_right(lab: Lab, tmp_path: Path, depth_format: str) -> None:
    run = record(lab, tmp_path, GAME, "--format", depth_format, "--frames", "70")
    assert_true(lab, run.path)
    verify_clean(run.path)
    assert run.summary.frames >= 20
    rendered = [line for line in run.trace if line["order"] == FRAME]
    assert {tuple(line["depth"]) for line in run.trace[1:]} == {(640, 360)}  # never the decoy
    assert {(line["draws"], line["candidates"]) for line in run.trace[1:]} == {(BOXES, 2)}
    assert all(line["hud"] for line in rendered[1:])
    assert run.trace[-1]["not_ready"] > 0, "the query never held a readback back"
    assert run.report["unloaded"]


def test_the_streams_say_where_normals_come_from(lab: Lab, tmp_path: Path) -> None:
    run = record(lab, tmp_path, GAME, "--format", "d32s8", "--frames", "60")
    with SessionReader(run.path) as session:
        streams = {stream.name: stream for stream in session.info.hello.streams}
    params = streams["normal"].params
    assert params["source"] == "gbuffer" and params["target"] == "1"
    assert params["encoding"] == "xyz, camera space, signs +1-1+1"
    assert float(params["agreement_deg"]) < 2.0


def test_loaded_late_and_unloaded_while_the_game_goes_on(lab: Lab, tmp_path: Path) -> None:
    run = record(lab, tmp_path, GAME, "--format", "d24s8", "--load-at", "7", "--frames", "120",
                 "--unload-at", "90")  # fmt: skip
    assert_true(lab, run.path)
    assert run.report["unloaded"] and run.report["frames"] >= 120
    assert run.summary.reason.startswith("the plugin ended")


def test_the_proxy_loader_loads_it(lab: Lab, tmp_path: Path) -> None:
    run = record(lab, tmp_path, GAME, "--format", "d32s8", "--dinput8", "--frames", "60")
    assert_true(lab, run.path)


def test_resize(lab: Lab, tmp_path: Path) -> None:
    run = record(lab, tmp_path, GAME, "--format", "d32s8", "--frames", "110",
                 "--resize", "60:800x450")  # fmt: skip
    assert_true(lab, run.path, sizes=2)
    with SessionReader(run.path) as session:
        sizes = [tuple(header.output_size) for header in session.headers]
        flags = [header.flags for header in session.headers]
    first = sizes.index((800, 450))
    unclean = [k for k, flag in enumerate(flags) if flag & FrameFlags.HUD_IN_COLOR]
    assert set(unclean) <= {0, first}
    assert set(sizes[:first]) == {(640, 360)} and set(sizes[first:]) == {(800, 450)}
    assert flags[first] & FrameFlags.CUT


def test_depth_cleared_before_present_is_kept(lab: Lab, tmp_path: Path) -> None:
    run = record(lab, tmp_path, GAME, "--format", "d24s8", "--clear-late", "--frames", "60")
    assert_true(lab, run.path)
    assert all(
        line["snapshot"] for line in [line for line in run.trace if line["order"] == FRAME][1:]
    )


def test_upscaled_and_generated_frames_say_so(lab: Lab, tmp_path: Path) -> None:
    run = record(lab, tmp_path, GAME, "--format", "d32s8", "--render-scale", "0.5", "--generated",
                 "--frames", "60")  # fmt: skip
    for error in errors_of(lab, run.path, every=1):
        assert error.depth.max() < 1e-4
    generated = rendered = 0
    with SessionReader(run.path) as session:
        for frame in session.frames():
            header = frame.header
            if header.flags & FrameFlags.GENERATED:
                generated += 1
                assert frame.names == ("color_ui",)
            else:
                rendered += 1
                assert tuple(header.render_size) == (320, 180)
                assert tuple(header.output_size) == (640, 360)
    assert generated >= 10 and rendered >= 10


def test_gtav_takes_camera_and_classes_from_the_game(lab: Lab, tmp_path: Path) -> None:
    run = record(lab, tmp_path, GAME, "--format", "d24s8", "--gta", "--world-normals",
                 "--frames", "80", plugin=GTAV)  # fmt: skip
    assert_true(lab, run.path)
    verify_clean(run.path)
    with SessionReader(run.path) as session:
        assert session.info.hello.params["camera"] == "ScriptHookV"
        for frame in session.frames():
            camera, classes = frame.header.camera, frame.array("semantic")
            assert camera is not None and camera.reversed_z
            assert (camera.near_m, camera.far_m) == pytest.approx((0.1, 200.0))
            assert set(np.unique(classes)) == {1, 2, 6}  # sky, ground, vehicle


def test_gtav_stops_where_a_session_goes_online(lab: Lab, tmp_path: Path) -> None:
    run = record(lab, tmp_path, GAME, "--format", "d32s8", "--gta", "--online-at", "50",
                 "--frames", "90", plugin=GTAV)  # fmt: skip
    assert "online" in run.log
    assert all(line["order"] == 0 for line in run.trace if line["present"] > 51)
    assert any(line["order"] == FRAME for line in run.trace)


def test_gtav_refuses_where_nobody_can_say_that_it_is_offline(lab: Lab, tmp_path: Path) -> None:
    game = playing(lab, tmp_path, GAME, "--frames", "20", plugin=GTAV, **PROJECTION)
    with game as running:
        running.process.communicate(timeout=PATIENCE_S)
        assert "ScriptHookV is not loaded" in running.log()
        assert not (tmp_path / "trace.jsonl").exists()


def test_the_hotkey_stops_and_starts(lab: Lab, tmp_path: Path) -> None:
    run = record(lab, tmp_path, GAME, "--format", "d32s8", "--frames", "90",
                 "--press-key-at", "60")  # fmt: skip
    assert "stopped by the hotkey" in run.log
    assert any(line["order"] == FRAME for line in run.trace)
    assert run.trace[-1]["order"] == 0


def test_without_a_receiver_the_game_goes_on(lab: Lab, tmp_path: Path) -> None:
    with playing(lab, tmp_path, GAME, "--frames", "60", **PROJECTION) as game:
        game.wait()
        assert game.report()["frames"] >= 60
        assert game.trace()[-1]["sent"] == 0 and game.trace()[-1]["rendered"] > 0


def _wait_for(condition: object, process: "subprocess.Popen[str]") -> None:
    assert callable(condition)
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert process.poll() is None, "the game ended"
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.01)


def test_a_receiver_that_restarts_gets_frames_again(lab: Lab, tmp_path: Path) -> None:
    done = tmp_path / "done"
    limits = RecordingOptions(connect_s=PATIENCE_S, overwrite=True)
    link = ClientLink("tcp://127.0.0.1:0")
    endpoint = link.endpoint
    port = endpoint.rsplit(":", 1)[1]
    with playing(lab, tmp_path, GAME, "--until", "done", "--frames", "30", port=port,
                 **PROJECTION) as game:  # fmt: skip
        first = record_link(link, tmp_path / "first.mcap", frames=10, options=limits)
        link.close()
        link = ClientLink(endpoint)
        try:
            second = record_link(link, tmp_path / "second.mcap", frames=10, options=limits)
        finally:
            link.close()
        done.touch()
        game.wait()
    assert first.frames == second.frames == 10
    for name in ("first.mcap", "second.mcap"):
        assert all(error.depth.max() < 1e-4 for error in errors_of(lab, tmp_path / name))


_RECEIVER = """
import sys
from capture_bridge.client_link import ClientLink
from capture_bridge.recorder import RecordingOptions, record_link
link = ClientLink("tcp://127.0.0.1:0")
print(link.endpoint, flush=True)
record_link(link, sys.argv[1], options=RecordingOptions(connect_s=120),
            progress=lambda told: print(told.frames, flush=True))
link.close()
"""


def test_a_receiver_that_stalls_does_not_stall_the_game(lab: Lab, tmp_path: Path) -> None:
    """SIGSTOP: frames are dropped and counted while the game's presents go on."""
    receiver = subprocess.Popen(
        [sys.executable, "-c", _RECEIVER, str(tmp_path / "session.mcap")],
        cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert receiver.stdout is not None
        port = receiver.stdout.readline().strip().rsplit(":", 1)[1]
        with playing(lab, tmp_path, GAME, "--until", "done", "--frames", "30", port=port,
                     **PROJECTION) as game:  # fmt: skip
            while int(receiver.stdout.readline() or "1") < 3:
                pass
            os.kill(receiver.pid, signal.SIGSTOP)
            stopped_at = game.trace()[-1]["present"]
            _wait_for(lambda: game.trace()[-1]["present"] > stopped_at + 40, game.process)
            dropped = game.trace()[-1]["rendered"] - game.trace()[-1]["sent"]
            assert dropped > 10
            os.kill(receiver.pid, signal.SIGCONT)
            (tmp_path / "done").touch()
            game.wait()
            slowest_ms = max(game.report()["ms"][1:])
        receiver.wait(PATIENCE_S)
    finally:
        receiver.kill()
        receiver.wait(PATIENCE_S)
        assert receiver.stdout is not None
        receiver.stdout.close()
    assert slowest_ms < 5000, "a present waited for the receiver"
