"""The street game as a real process over real TCP: complete in lockstep, clear when it fails."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("panda3d")

from capture_bridge.buffers import BUFFERS, SEMANTIC_CLASSES
from capture_bridge.link import ClientLink, FrameReceived, PluginConnected, PluginEnded
from engine_plugins.street.game import GameOptions, parse_options
from engine_plugins.street.scene import build_street

pytestmark = pytest.mark.street

ROOT = Path(__file__).parents[2]
EVENT_TIMEOUT_S = 60.0


def start(*arguments: str, display: bool = False) -> subprocess.Popen[str]:
    env = {k: v for k, v in os.environ.items() if display or k != "DISPLAY"}
    return subprocess.Popen(
        [sys.executable, "-m", "engine_plugins.street.game", *arguments],
        cwd=ROOT, env=env, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def take(client: ClientLink, frames: list[FrameReceived]) -> PluginConnected | PluginEnded:
    """Receive until the plugin comes or goes; frames on the way are kept and released."""
    deadline = time.monotonic() + EVENT_TIMEOUT_S
    while time.monotonic() < deadline:
        event = client.receive(1.0)
        if isinstance(event, FrameReceived):
            frames.append(event)
            client.release(event)
        elif isinstance(event, PluginConnected | PluginEnded):
            return event
        else:
            assert event is None, event
    raise AssertionError("the game neither came nor went")


def test_lockstep_over_tcp_loses_nothing() -> None:
    frames: list[FrameReceived] = []
    with ClientLink("tcp://127.0.0.1:0", max_frames_in_flight=2) as client:
        game = start(
            "--seed", "12", "--size", "96x64", "--fps", "20", "--seconds", "0.5",
            "--path", "walk", "--connect", client.endpoint,
        )  # fmt: skip
        connected = take(client, frames)
        ended = take(client, frames)
        out, err = game.communicate(timeout=30)
    assert (game.returncode, out, err) == (0, "", "")
    assert isinstance(connected, PluginConnected)
    assert isinstance(ended, PluginEnded)
    hello = connected.hello
    assert dict(hello.params) == {"seed": "12", "path": "walk"}
    assert hello.lockstep
    assert hello.dt_sim_ns == 50_000_000
    semantic = next(s for s in hello.streams if s.name == "semantic")
    assert semantic.params["classes"] == ",".join(SEMANTIC_CLASSES)
    assert ended.bye.last_seq == 9
    assert sum(ended.bye.drops.values()) == 0
    assert [f.frame.header.seq for f in frames] == list(range(10))
    assert [f.frame.header.t_sim_ns for f in frames] == [50_000_000 * k for k in range(10)]
    last = frames[-1].frame
    assert [d.name for d in last.header.buffers] == [s.name for s in hello.streams]
    street = build_street(12, "walk")
    camera = last.header.camera
    assert camera is not None
    np.testing.assert_allclose(camera.world_from_camera, street.camera(0.45).world_from_camera)
    np.testing.assert_allclose(camera.world_from_camera_prev, street.camera(0.4).world_from_camera)
    payload = dict(zip((d.name for d in last.header.buffers), last.payloads, strict=True))
    motion = np.frombuffer(payload["motion"], dtype=BUFFERS["motion"].numpy_dtype)
    assert np.isfinite(motion.astype(np.float32)).mean() > 0.99


def test_an_interrupted_game_says_bye() -> None:
    frames: list[FrameReceived] = []
    with ClientLink("tcp://127.0.0.1:0") as client:
        game = start("--size", "64x48", "--seconds", "600", "--connect", client.endpoint)
        take(client, frames)
        while len(frames) < 2:
            event = client.receive(EVENT_TIMEOUT_S)
            assert isinstance(event, FrameReceived)
            frames.append(event)
            client.release(event)
        game.send_signal(signal.SIGTERM)
        ended = take(client, frames)
        _, err = game.communicate(timeout=30)
    assert game.returncode == 130
    assert err == ""
    assert isinstance(ended, PluginEnded)
    assert ended.bye.last_seq - sum(ended.bye.drops.values()) == frames[-1].frame.header.seq


def test_no_client_and_no_screen_are_one_line_each() -> None:
    alone = start("--connect", "tcp://127.0.0.1:9", "--size", "64x48")
    blind = start("--window")
    _, alone_err = alone.communicate(timeout=60)
    _, blind_err = blind.communicate(timeout=60)
    assert (alone.returncode, blind.returncode) == (1, 1)
    assert alone_err.count("\n") == 1
    assert "nobody answered at tcp://127.0.0.1:9" in alone_err
    if sys.platform.startswith("linux"):
        assert blind_err.count("\n") == 1
        assert "needs a screen" in blind_err


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--size", "0x0"], "--size 0x0"),
        (["--size", "641x360"], "both even"),
        (["--size", "99999x99999"], "4096"),
        (["--seed", "-1"], "--seed -1"),
        (["--fps", "0"], "--fps"),
        (["--seconds", "nan"], "--seconds"),
        (["--path", "fly"], "--path"),
    ],
)
def test_wrong_arguments_are_named(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        parse_options(arguments)
    assert stopped.value.code == 2
    assert complaint in capsys.readouterr().err


def test_options_have_the_defaults_of_the_game() -> None:
    assert parse_options([]) == GameOptions()
    assert not parse_options(["--realtime"]).lockstep
    assert not parse_options(["--window"]).lockstep
