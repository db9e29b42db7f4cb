"""The player's camera, and the window's loop on an off-screen stand-in for the window."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("panda3d")

from capture_bridge.link import ClientLink, FrameReceived, PluginConnected, PluginEnded
from engine_plugins.street.scene import Street, build_street
from engine_plugins.street.window import Player

pytestmark = pytest.mark.street

ROOT = Path(__file__).parents[2]

# A window needs a screen; an off-screen buffer has the same loop, keys included.
PLAY = """
import sys
from panda3d.core import loadPrcFileData
from engine_plugins.street import window
from engine_plugins.street.game import GameOptions

loadPrcFileData("", "load-display p3headlessgl\\naux-display\\nnotify-level-egldisplay fatal\\n"
                "win-size 96 64\\naudio-library-name null\\ntextures-power-2 none")

def open_offscreen(options):
    from direct.showbase.ShowBase import ShowBase
    base = ShowBase(windowType="offscreen")
    def press(task):
        if task.frame == 1:
            base.messenger.send("w")
            base.messenger.send("f9")
        if task.frame == int(sys.argv[2]):
            base.messenger.send("f9")
            base.messenger.send("escape")
            return task.done
        task.frame += 1
        return task.cont
    base.taskMgr.add(press, "press").frame = 0
    return base

window._open = open_offscreen
window.play_in_window(GameOptions(seed=4, width=96, height=64, connect=sys.argv[1], lockstep=False))
"""


@pytest.fixture(scope="module")
def street() -> Street:
    return build_street(4)


def test_the_player_drives_ahead_brakes_and_turns(street: Street) -> None:
    player = Player(street)
    start = player.step(set(), 0.05).world_from_camera
    for _ in range(60):
        pose = player.step({"ahead"}, 0.05).world_from_camera
    way = pose[:3, 3] - start[:3, 3]
    assert way @ start[:3, 2] > 15
    for _ in range(40):
        turned = player.step({"ahead", "left"}, 0.05).world_from_camera
    assert np.degrees(np.arctan2(turned[1, 2], turned[0, 2])) > 20
    for _ in range(200):
        stopped = player.step(set(), 0.05).world_from_camera
    rest = player.step(set(), 0.05).world_from_camera
    assert np.linalg.norm(rest[:3, 3] - stopped[:3, 3]) < 1e-3


def test_the_player_stays_in_the_street(street: Street) -> None:
    player = Player(street)
    for _ in range(800):
        pose = player.step({"ahead"}, 0.1).world_from_camera
    assert -60 <= pose[0, 3] <= 180
    assert abs(pose[1, 3]) <= 9


def test_keys_record_and_quit() -> None:
    received: list[FrameReceived] = []
    ended = None
    with ClientLink("tcp://127.0.0.1:0") as client:
        env = {k: v for k, v in os.environ.items() if k != "DISPLAY"}
        game = subprocess.Popen(
            [sys.executable, "-c", PLAY, client.endpoint, "25"],
            cwd=ROOT, env=env, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            first = client.receive(60)
            event = first
            while ended is None and (event is not None or game.poll() is None):
                event = client.receive(1)
                if isinstance(event, FrameReceived):
                    received.append(event)
                    client.release(event)
                ended = event if isinstance(event, PluginEnded) else None
        finally:
            _, err = game.communicate(timeout=60)
    assert game.returncode == 0, err
    assert isinstance(first, PluginConnected)
    assert not first.hello.lockstep
    assert received
    assert ended is not None
    assert ended.bye.last_seq + 1 == len(received) + sum(ended.bye.drops.values())
    cameras = [event.frame.header.camera for event in received]
    assert cameras[-1] is not None and cameras[0] is not None
    assert cameras[-1].world_from_camera[0, 3] > cameras[0].world_from_camera[0, 3]
