"""attach() on a small game that has nothing to do with the street: a box, and one that moves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

pytest.importorskip("panda3d")

from direct.showbase.ShowBase import ShowBase
from panda3d.core import CardMaker, ClockObject, NodePath, OrthographicLens, loadPrcFileData

from capture_bridge.buffers import SEMANTIC_CLASSES, FrameArrays
from capture_bridge.errors import SetupError
from capture_bridge.link import ClientLink, FrameReceived, PluginConnected, PluginEnded
from capture_bridge.messages import Camera, FrameFlags
from engine_plugins.panda3d import capture

pytestmark = pytest.mark.street

WIDTH, HEIGHT = 160, 120
Captured = tuple[FrameArrays, Camera, int, FrameFlags]


@pytest.fixture(scope="module")
def base() -> Iterator[Any]:
    loadPrcFileData(
        "",
        f"load-display p3headlessgl\naux-display\nwin-size {WIDTH} {HEIGHT}\n"
        "audio-library-name null\nnotify-level-egldisplay fatal\ntextures-power-2 none",
    )
    made = ShowBase(windowType="offscreen")
    yield made
    made.destroy()


@pytest.fixture
def game(base: Any) -> Iterator[tuple[Any, NodePath]]:
    """A blue world with a floor card, a still card 10 m ahead, and one that the test moves."""
    base.setBackgroundColor(0.1, 0.2, 0.9)
    base.disableMouse()
    base.cam.setPos(0, 0, 1)
    parts = []
    for name, x, y, tint in (
        ("still", -1.5, 10.0, (1, 0, 0, 1)),
        ("mover", 1.0, 6.0, (0, 1, 0, 1)),
    ):
        maker = CardMaker(name)
        maker.setFrame(-1, 1, -1, 1)
        maker.setHasNormals(True)
        card = base.render.attachNewNode(maker.generate())
        card.setPos(x, y, 1)
        card.setColorScale(*tint)
        parts.append(card)
    interface = CardMaker("interface")
    interface.setFrame(-0.2, 0.2, -0.2, 0.2)
    sign = base.render2d.attachNewNode(interface.generate())
    sign.setColor(1, 1, 1, 1)
    yield base, parts[1]
    for node in (*parts, sign):
        node.removeNode()


def step(base: Any) -> None:
    base.taskMgr.step()


def test_buffers_of_a_foreign_game(game: tuple[Any, NodePath]) -> None:
    base, mover = game
    frames: list[Captured] = []
    taken = capture.Capture(base, lambda *frame: frames.append(frame))
    taken.describe(mover, semantic="vehicle", roughness=0.25)
    try:
        step(base)
        mover.setX(1.2)
        base.cam.setX(0.1)
        step(base)
    finally:
        taken.close()
    (first, _, _, flags), (now, camera, _, later_flags) = frames
    assert flags is FrameFlags.CUT
    assert later_flags is FrameFlags.NONE
    assert np.isnan(first["motion"].astype(float)).all()
    focal = camera.K[0, 0]
    ids = now["instance"]
    on_mover = now["semantic"] == SEMANTIC_CLASSES.index("vehicle")
    on_still = (now["semantic"] == SEMANTIC_CLASSES.index("prop")) & ~on_mover
    # the mover spans x 0.2..2.2 less the camera's 0.1, at 6 m
    columns = np.nonzero(on_mover.any(0))[0]
    expected = WIDTH / 2 + focal * np.array([0.1, 2.1]) / 6
    assert abs(columns[0] - expected[0]) <= 1
    assert abs(columns[-1] + 1 - min(expected[1], WIDTH)) <= 1
    np.testing.assert_allclose(now["depth"][on_mover], 6.0, rtol=1e-5)
    np.testing.assert_allclose(now["depth"][on_still], 10.0, rtol=1e-5)
    assert len(np.unique(ids[on_mover])) == 1
    assert len(np.unique(ids)) == 3
    assert (now["roughness"][on_mover] == 64).all()
    np.testing.assert_allclose(
        now["normal"][on_still].astype(float), [[0, 0, -1]] * on_still.sum(), atol=1e-3
    )
    # the camera went 0.1 to the right, the mover 0.2: in the frame before, it was 0.1 further left
    motion = now["motion"].astype(float)
    np.testing.assert_allclose(
        motion[on_mover], [[-focal * 0.1 / 6, 0]] * on_mover.sum(), atol=0.01
    )
    np.testing.assert_allclose(
        motion[on_still], [[focal * 0.1 / 10, 0]] * on_still.sum(), atol=0.01
    )
    sky = ids == 0
    np.testing.assert_allclose(motion[sky], 0, atol=1e-3)
    assert np.isinf(now["depth"][sky]).all()
    assert (now["albedo"][on_still] == [255, 0, 0]).all()


def test_color_lacks_the_interface_and_color_ui_has_it(game: tuple[Any, NodePath]) -> None:
    base, _ = game
    frames: list[Captured] = []
    taken = capture.Capture(base, lambda *frame: frames.append(frame))
    try:
        step(base)
    finally:
        taken.close()
    color, presented = frames[0][0]["color"], frames[0][0]["color_ui"]
    middle = (HEIGHT // 2, WIDTH // 2)
    assert (presented[middle] == 255).all()
    assert not (color[middle][:3] == 255).all()
    corner = np.abs(color[2, 2].astype(int) - [26, 51, 230, 255])
    assert corner.max() <= 1
    assert (np.abs(color.astype(int) - presented).max(-1) > 2).mean() < 0.06


def test_refuses_a_camera_without_perspective(game: tuple[Any, NodePath]) -> None:
    base, _ = game
    with pytest.raises(SetupError, match="perspective"):
        capture.intrinsics_of(OrthographicLens(), (4, 3))
    taken = capture.Capture(base, lambda *_: None)
    try:
        with pytest.raises(ValueError, match="unknown class 'cow'"):
            taken.describe(base.render, semantic="cow")
    finally:
        taken.close()


def test_attach_streams_in_real_time_without_waiting(game: tuple[Any, NodePath]) -> None:
    base, mover = game
    with ClientLink("tcp://127.0.0.1:0") as client:
        taken = capture.attach(base, game="two cards", connect=client.endpoint)
        received: list[FrameReceived] = []
        hello = None
        for k in range(400):
            mover.setX(k * 0.01)
            step(base)
            event = client.receive(0.02)
            if isinstance(event, PluginConnected):
                hello = event.hello
            if isinstance(event, FrameReceived):
                received.append(event)
                client.release(event)
            if len(received) == 3:
                break
    assert hello is not None
    assert hello.game == "two cards"
    assert not hello.lockstep
    assert {s.name for s in hello.streams} == set(capture.BUFFER_NAMES)
    seqs = [event.frame.header.seq for event in received]
    assert seqs == sorted(set(seqs))
    assert received[-1].frame.header.camera is not None
    taken.close()
    assert ClockObject.getGlobalClock().getMode() == ClockObject.MNormal
    assert PluginEnded is not None
