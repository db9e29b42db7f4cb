"""Capture of any Panda3D game, in two lines: `capture.attach(base)` after the scene is there.

    from engine_plugins.panda3d import capture
    capture.attach(base, game="my game")

Every rendered frame then goes to the client with colour before the interface, colour as presented,
depth, normals, motion, ids, albedo and roughness. Motion is exact for every node that moves rigidly
and NaN on skinned characters. `color` is drawn a second time, without render2d, so a game that
post-processes its picture shows that only in `color_ui`. Needs Panda3D's default axes (z up).
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from panda3d.core import (
    Camera as CameraNode,
)
from panda3d.core import (
    Character,
    ClockObject,
    GraphicsOutput,
    Lens,
    NodePath,
    PandaSystem,
    Texture,
)

from capture_bridge.buffers import BUFFERS, SEMANTIC_CLASSES, FrameArrays
from capture_bridge.errors import SetupError
from capture_bridge.link import DEFAULT_ENDPOINT, PluginLink
from capture_bridge.messages import Camera, FrameFlags, Hello, StreamInfo
from engine_plugins.panda3d.device import Device, Target, read_texture
from engine_plugins.panda3d.gbuffer import F64, PANDA_FROM_CV, GBuffer, Surface, View, retire

PLUGIN_VERSION = "1"
BUFFER_NAMES = (
    "color", "color_ui", "depth", "normal", "motion", "instance", "semantic", "albedo", "roughness",
)  # fmt: skip

_BEFORE_DRAW, _AFTER_DRAW = 49, 51  # igLoop, which draws, is task 50
_SEARCH_EVERY = 30  # frames between two looks for new nodes

Sink = Callable[[FrameArrays, Camera, int, FrameFlags], None]


def attach(
    base: Any,
    *,
    game: str = "Panda3D game",
    connect: str = DEFAULT_ENDPOINT,
    lockstep: bool = False,
    fps: float = 30.0,
    metres_per_unit: float = 1.0,
    token: str = "",
) -> Capture:
    """Stream the game's frames to a client at `connect`, from the next frame on.

    In real-time mode (the default) the game never waits: without a client nothing is captured, and
    frames that the client cannot take are counted. In lockstep the game's clock advances 1 / fps a
    frame, and each frame waits for the client.
    Raises SetupError (camera, threading model, driver), LinkError (lockstep without a client).
    """
    size = (base.win.getXSize(), base.win.getYSize())
    hello = make_hello(game, size, lockstep=lockstep, fps=fps, token=token)
    link = PluginLink(hello, connect)
    if lockstep:
        link.connect()
        clock = ClockObject.getGlobalClock()
        clock.setMode(ClockObject.MNonRealTime)
        clock.setDt(1.0 / fps)

    def send(arrays: FrameArrays, camera: Camera, t_sim_ns: int, flags: FrameFlags) -> None:
        link.send_frame(arrays, t_sim_ns=t_sim_ns, camera=camera, flags=flags)

    def wanted() -> bool:
        for command in link.poll():
            link.answer(command, ok=False, text=f"the plugin does not know {command.name!r}")
        return lockstep or link.connected

    return Capture(base, send, wanted=wanted, metres_per_unit=metres_per_unit, at_exit=link.close)


def make_hello(
    game: str, size: tuple[int, int], *, lockstep: bool, fps: float, token: str = "",
    params: Mapping[str, str] | None = None,
) -> Hello:  # fmt: skip
    """The plugin's hello for frames of `size` with all of BUFFER_NAMES."""
    streams = []
    for name in BUFFER_NAMES:
        row = BUFFERS[name]
        extra = {"classes": ",".join(SEMANTIC_CLASSES)} if name == "semantic" else {}
        streams.append(StreamInfo(name, *size, row.dtype, row.components, extra))
    return Hello(
        session_uuid=uuid.uuid4().hex,
        engine="Panda3D",
        engine_version=PandaSystem.getVersionString(),
        plugin="engine_plugins.panda3d",
        plugin_version=PLUGIN_VERSION,
        game=game,
        streams=tuple(streams),
        lockstep=lockstep,
        dt_sim_ns=round(1e9 / fps) if lockstep else 0,
        token=token,
        params=dict(params or {}),
    )


@dataclass(slots=True)
class _Tracked:
    node: NodePath
    surface: Surface
    pose: F64


class Capture:
    """The capture of a running ShowBase. `sink` gets the arrays, camera, game time and flags.

    wanted: asked before each frame; where it says no, nothing is drawn for the capture.
    """

    def __init__(
        self,
        base: Any,
        sink: Sink,
        *,
        wanted: Callable[[], bool] = lambda: True,
        metres_per_unit: float = 1.0,
        at_exit: Callable[[], object] | None = None,
    ) -> None:
        if not base.graphicsEngine.getThreadingModel().isSingleThreaded():
            raise SetupError(
                "capture needs Panda3D's single-threaded rendering: remove threading-model from "
                "the game's configuration"
            )
        self._base, self._sink, self._unit = base, sink, metres_per_unit
        self._wanted, self._at_exit = wanted, at_exit
        self._device = Device(base.graphicsEngine, base.win)
        self._tracked: dict[str, _Tracked] = {}
        self._instances: dict[str, int] = {}
        self._described: list[tuple[NodePath, dict[str, Any]]] = []
        self._prev: View | None = None
        self._now: View | None = None
        self._frames = 0
        self._size = (base.win.getXSize(), base.win.getYSize())
        self._presented = Texture("capture-presented")
        base.win.addRenderTexture(
            self._presented, GraphicsOutput.RTMCopyTexture, GraphicsOutput.RTPColor
        )
        self._open_passes()
        base.taskMgr.add(self._before_draw, "capture-before-draw", sort=_BEFORE_DRAW)
        base.taskMgr.add(self._after_draw, "capture-after-draw", sort=_AFTER_DRAW)
        base.exitFunc = _chained(getattr(base, "exitFunc", None), self.close)

    def describe(
        self,
        node: NodePath,
        *,
        semantic: str | None = None,
        roughness: float | None = None,
        name: str | None = None,
    ) -> None:
        """Say what a node and all below it are: a name of SEMANTIC_CLASSES, 0..1, an object's name.

        Nodes that share a name share an object id. Raises ValueError for an unknown class.
        """
        if semantic is not None and semantic not in SEMANTIC_CLASSES:
            raise ValueError(f"unknown class {semantic!r}; known: {', '.join(SEMANTIC_CLASSES)}")
        what: dict[str, Any] = {}
        if semantic is not None:
            what["semantic"] = SEMANTIC_CLASSES.index(semantic)
        if roughness is not None:
            what["roughness"] = roughness
        if name is not None:
            what["instance"] = self._instance(f"named {name}")
        self._described.append((node, what))
        self.search()

    def search(self) -> None:
        """Take in nodes that are new; also done by itself now and then."""
        found: dict[str, _Tracked] = {}
        for node in self._base.render.findAllMatches("**/+GeomNode"):
            key = f"n{node.getKey()}"
            surface = self._surface(node)
            old = self._tracked.get(key)
            found[key] = _Tracked(
                node, surface, _pose(node, self._base.render) if old is None else old.pose
            )
            if old is None or old.surface != surface:
                self._gbuffer.tag(node, key, surface)
        self._tracked = found

    def close(self) -> None:
        """Stop capturing, say bye to the client, and free the buffers. Twice does no harm."""
        if self._frames < 0:
            return
        self._frames = -1
        for name in ("capture-before-draw", "capture-after-draw"):
            self._base.taskMgr.remove(name)
        for tracked in self._tracked.values():
            tracked.node.clearTag("capture")
        self._close_passes()
        if self._base.win.countTextures() == 1:  # none of the game's own
            self._base.win.clearRenderTextures()
        if self._at_exit is not None:
            self._at_exit()

    def _open_passes(self) -> None:
        mask = self._base.camNode.getCameraMask()
        self._gbuffer = GBuffer(self._device, self._base.render, self._size, mask=mask)
        self._gbuffer.camera.reparentTo(self._base.cam)
        self._color = Target(self._device, "capture-color", self._size, ("color",))
        node = CameraNode("capture-color", self._base.camLens)
        node.setScene(self._base.render)
        node.setCameraMask(mask)
        self._color_camera = self._base.cam.attachNewNode(node)
        region = self._color.buffer.makeDisplayRegion()
        region.setCamera(self._color_camera)
        self._tracked = {}
        self.search()

    def _close_passes(self) -> None:
        self._gbuffer.close()
        self._color.close()
        retire(self._color_camera)

    def _instance(self, label: str) -> int:
        return self._instances.setdefault(label, len(self._instances) + 1)

    def _surface(self, node: NodePath) -> Surface:
        top, skinned = node, False
        while top.getParent() != self._base.render:
            top = top.getParent()
            skinned = skinned or isinstance(top.node(), Character)
        surface = Surface(
            instance=self._instance(f"node {top.getKey()}"),
            semantic=SEMANTIC_CLASSES.index("prop"),
            motion_known=not skinned,
        )
        for above, what in self._described:
            if above == node or above.isAncestorOf(node):
                surface = replace(surface, **what)
        return surface

    def _before_draw(self, task: Any) -> Any:
        wanted = self._wanted()
        self._gbuffer.set_active(wanted)
        self._color.buffer.setActive(wanted)
        if not wanted:
            self._now = self._prev = None
            return task.cont
        size = (self._base.win.getXSize(), self._base.win.getYSize())
        if size != self._size:
            self._close_passes()
            self._size, self._prev = size, None
            self._open_passes()
        if self._frames % _SEARCH_EVERY == 0:
            self.search()
        lens = self._base.camLens
        self._gbuffer.camera.node().setLens(lens)
        self._color_camera.node().setLens(lens)
        self._color.buffer.setClearColor(self._base.win.getClearColor())
        camera = _pose(self._base.cam, self._base.render) @ PANDA_FROM_CV
        self._now = View(intrinsics_of(lens, size), camera)
        moved: dict[str, tuple[F64, F64]] = {}
        for key, tracked in self._tracked.items():
            if tracked.node.isEmpty():
                continue
            pose = _pose(tracked.node, self._base.render)
            moved[key] = (pose, tracked.pose)
            tracked.pose = pose
        self._gbuffer.prepare(self._now, self._prev or self._now, moved)
        return task.cont

    def _after_draw(self, task: Any) -> Any:
        if self._now is None:
            return task.cont
        arrays = self._gbuffer.read(self._now, self._prev)
        arrays["semantic"][np.isinf(arrays["depth"])] = SEMANTIC_CLASSES.index("sky")
        arrays["depth"] = np.multiply(arrays["depth"], self._unit, dtype=np.float32)
        color = self._color.read("color")
        color[..., 3] = 255
        presented = read_texture(self._device, self._presented, self._size)
        presented[..., 3] = 255
        lens = self._base.camLens
        camera = Camera(
            self._now.K,
            self._in_metres(self._now),
            self._in_metres(self._prev or self._now),
            lens.getNear() * self._unit,
            lens.getFar() * self._unit,
        )
        flags = FrameFlags.CUT if self._prev is None else FrameFlags.NONE
        t_sim_ns = round(ClockObject.getGlobalClock().getFrameTime() * 1e9)
        ordered = {"color": color, "color_ui": presented, **arrays}
        self._sink({name: ordered[name] for name in BUFFER_NAMES}, camera, t_sim_ns, flags)
        self._prev = self._now
        self._frames += 1
        return task.cont

    def _in_metres(self, view: View) -> F64:
        pose = view.world_from_camera.copy()
        pose[:3, 3] *= self._unit
        return pose


def _pose(node: NodePath, root: NodePath) -> F64:
    rows = node.getMat(root)
    return np.array([[rows.getCell(r, c) for r in range(4)] for c in range(4)], dtype=np.float64)


def intrinsics_of(lens: Lens, size: tuple[int, int]) -> F64:
    """K (3, 3) in pixels of a perspective lens. Raises SetupError for any other lens."""
    if not lens.isPerspective():
        raise SetupError("the game's camera is not a perspective one: there is no depth to capture")
    film, offset = lens.getFilmSize(), lens.getFilmOffset()
    scale_x, scale_y = size[0] / film[0], size[1] / film[1]
    focal = lens.getFocalLength()
    return np.array(
        [
            [focal * scale_x, 0, size[0] / 2 - offset[0] * scale_x],
            [0, focal * scale_y, size[1] / 2 + offset[1] * scale_y],
            [0, 0, 1],
        ],
        dtype=np.float64,
    )


def _chained(first: Any, second: Callable[[], None]) -> Callable[[], None]:
    def both() -> None:
        second()
        if callable(first):
            first()

    return both
