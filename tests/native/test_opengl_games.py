"""The OpenGL interposer on unmodified games of Debian: minetest and neverball.

They are not deterministic in time, so recordings are held against themselves: accounts, HUD, the
steadiness of depth, and blocks whose faces lie along the world's axes.
"""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from capture_bridge.recorder import RecordingOptions, RecordingSummary
from capture_bridge.session import SessionFrame, SessionReader
from capture_bridge.verify import verify
from realmaster.opengl_game import PLUGIN_VARIABLE, OpenGLGame, record_opengl_game
from tests.native.conftest import NativeBuild

pytestmark = [
    pytest.mark.native,
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="the interposer needs Linux"),
]
NEAR_M = 20.0
MINETEST_SETTINGS = """\
screen_w=640
screen_h=360
autosave_screensize=false
vsync=false
enable_sound=false
fixed_map_seed=1234
mg_name=v7
world_start_time=12000
time_speed=0
creative_mode=true
enable_damage=false
continuous_forward=true
autojump=true
viewing_range=80
fps_max=200
fps_max_unfocused=200
pause_on_lost_focus=false
bind_address=127.0.0.1
port={port}
"""


def program(name: str) -> str:
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/games")
    if found is None:
        pytest.skip(f"{name} is not installed (.ci/system-packages games)")
    return found


@pytest.fixture
def screen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An X server of its own, and a home that is thrown away."""
    reading, writing = os.pipe()
    server = subprocess.Popen(
        [
            *(program("Xvfb"), "-displayfd", str(writing), "-screen", "0", "1280x720x24"),
            *("+extension", "GLX", "-nolisten", "tcp"),
        ],
        pass_fds=[writing],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(writing)
    try:
        with os.fdopen(reading) as told:
            number = told.readline().strip()
        assert number, "Xvfb did not start"
        for name, value in {
            "DISPLAY": f":{number}",
            "HOME": str(tmp_path),
            "SDL_AUDIODRIVER": "dummy",
            "ALSOFT_DRIVERS": "null",
        }.items():
            monkeypatch.setenv(name, value)
        yield
    finally:
        server.terminate()
        server.wait(10)


@pytest.fixture
def plugin(native_build: NativeBuild, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PLUGIN_VARIABLE, str(native_build.target("realmaster_opengl")))


@pytest.fixture
def free_port() -> int:
    """A UDP port of this machine that is free now."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def record(game: OpenGLGame, path: Path, seconds: float) -> RecordingSummary:
    options = RecordingOptions(codec="raw", connect_s=120.0)
    return record_opengl_game(game, path, seconds=seconds, options=options)


def check_accounts(path: Path, summary: RecordingSummary) -> None:
    """Sound, nothing wrong by the probe (HUD in color among it), every gap a counted drop."""
    assert [str(finding) for finding in verify(path).findings] == []
    assert not [cause for cause in summary.drops if cause.startswith("link/")]


def share_along_axes(frame: SessionFrame) -> float | None:
    """Share of near pixels whose normal lies within 3 degrees of a block's face."""
    camera = frame.header.camera
    assert camera is not None
    depth, normal = frame.array("depth"), frame.array("normal").astype(np.float64)
    near = (depth < NEAR_M) & (np.abs(normal).sum(-1) > 0)
    if near.mean() < 0.1:
        return None
    world: NDArray[np.float64] = normal[near] @ camera.world_from_camera[:3, :3].T
    # The first camera's heading is not the blocks': it is what most walls say, modulo 90 degrees.
    walls = world[np.abs(world[:, 2]) < 0.05]
    heading = np.angle(np.exp(4j * np.arctan2(walls[:, 1], walls[:, 0])).sum()) / 4
    turn = np.exp(-1j * heading) * (world[:, 0] + 1j * world[:, 1])
    along = np.stack([np.abs(turn.real), np.abs(turn.imag), np.abs(world[:, 2])]).max(0)
    return float((along > np.cos(np.radians(3))).mean())


def test_minetest(plugin: None, screen: None, tmp_path: Path, free_port: int) -> None:
    world = tmp_path / "world"
    world.mkdir()
    (world / "world.mt").write_text(
        "gameid = minetest\nbackend = sqlite3\nplayer_backend = sqlite3\nauth_backend = sqlite3\n"
    )
    settings = tmp_path / "minetest.conf"
    settings.write_text(MINETEST_SETTINGS.format(port=free_port))
    command = [
        *(program("minetest"), "--go", "--world", str(world), "--gameid", "minetest"),
        *("--config", str(settings), "--name", "tester"),
    ]
    path = tmp_path / "minetest.mcap"
    summary = record(OpenGLGame(command, metres_per_unit=0.1), path, 12.0)
    check_accounts(path, summary)
    with SessionReader(path) as session:
        assert session.info.hello.params["pose"] == "model views"
        labels = [mark.label for mark in session.marks()]
        assert labels[-1] == "HUD cut by: full depth clear"  # which the hand follows
        shares = [share_along_axes(frame) for frame in session.frames()]
        told = [share for share in shares if share is not None]
        assert len(told) >= 5 and np.median(told) >= 0.75
        last = session.frame(-1)
        color, presented = last.array("color")[..., :3], last.array("color_ui")[..., :3]
        other = (color != presented).any(-1)
        height, width = other.shape
        assert other[height - 40 :, width // 3 : 2 * width // 3].mean() > 0.3  # the hotbar
        assert other[height // 2 - 6 : height // 2 + 6, width // 2 - 6 : width // 2 + 6].any()
        assert not other[height // 4 : height // 2 - 12].any()  # and the world is the same


def test_neverball(plugin: None, screen: None, tmp_path: Path) -> None:
    folder = tmp_path / ".neverball"
    folder.mkdir()
    (folder / "neverballrc").write_text("fullscreen 0\nwidth 640\nheight 360\nvsync 0\n")
    game = OpenGLGame([program("neverball"), "-l", "map-easy/easy.sol"])
    path = tmp_path / "neverball.mcap"
    summary = record(game, path, 6.0)
    check_accounts(path, summary)
    with SessionReader(path) as session:
        labels = [mark.label for mark in session.marks()]
        assert labels[-1] == "HUD cut by: orthographic projection"
        assert len(session) >= 5
        medians = []
        for frame in session.frames(names=("color", "color_ui", "depth")):
            camera = frame.header.camera
            assert camera is not None and abs(camera.near_m - 0.1) < 1e-4
            assert abs(camera.far_m - 512) < 1
            depth = frame.array("depth")
            medians.append(np.median(depth[np.isfinite(depth)]))
            assert (frame.array("color") != frame.array("color_ui")).any(-1).mean() > 0.02
        steps = np.abs(np.diff(np.log(medians)))
        assert steps.max() < 0.1  # the camera orbits; depth does not jump
