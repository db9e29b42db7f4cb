"""The street game in a window, with a player at the keys. Needs a screen."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from typing import Any

import numpy as np
from panda3d.core import (
    CardMaker,
    ClockObject,
    GraphicsWindow,
    SamplerState,
    Texture,
    WindowProperties,
    loadPrcFileData,
)

from capture_bridge.errors import SetupError
from capture_bridge.link import PluginLink
from capture_bridge.messages import FrameFlags
from engine_plugins.panda3d.device import Device
from engine_plugins.street.game import GameOptions, make_hello
from engine_plugins.street.model import CameraPose
from engine_plugins.street.paths import look
from engine_plugins.street.raster import StreetRenderer
from engine_plugins.street.scene import Street, build_street
from engine_plugins.street.site import END_X, START_X

_KEYS = {
    "arrow_up": "ahead", "w": "ahead", "arrow_down": "back", "s": "back", "arrow_left": "left",
    "a": "left", "arrow_right": "right", "d": "right",
}  # fmt: skip


class Player:
    """A camera that keys move: it speeds up, brakes and turns smoothly. Pure, no window."""

    def __init__(self, street: Street) -> None:
        start = street.camera(0.0)
        self._fov = start.fov_x_deg
        self._place = start.world_from_camera[:3, 3].copy()
        ahead = start.world_from_camera[:3, 2]
        self._yaw = float(np.arctan2(ahead[1], ahead[0]))
        self._drives = street.path == "drive"
        self._speed = self._turn = 0.0

    def step(self, held: set[str], dt_s: float) -> CameraPose:
        """Go on by dt_s with these of "ahead", "back", "left", "right" held; the pose then."""
        fastest, push = (14.0, 5.0) if self._drives else (2.2, 6.0)
        wish = fastest * (("ahead" in held) - 0.4 * ("back" in held))
        self._speed += float(np.clip(wish - self._speed, -push * dt_s * 1.6, push * dt_s))
        wheel = ("left" in held) - ("right" in held)
        grip = min(1.0, abs(self._speed) / 4.0) if self._drives else 1.5
        self._turn += (0.7 * wheel * grip - self._turn) * min(1.0, 6.0 * dt_s)
        self._yaw += self._turn * dt_s
        way = self._speed * dt_s
        self._place[0] = np.clip(self._place[0] + way * np.cos(self._yaw), START_X, END_X - 15)
        self._place[1] = np.clip(self._place[1] + way * np.sin(self._yaw), -9.0, 9.0)
        return CameraPose(look(self._place.copy(), self._yaw, 0.0), self._fov)


def play_in_window(options: GameOptions) -> None:
    """Open the window and play until Esc. Raises SetupError where there is no screen."""
    _Window(options).run()


class _Window:
    def __init__(self, options: GameOptions) -> None:
        self._options = options
        self._base = _open(options)
        street = build_street(options.seed, options.path)
        device = Device(self._base.graphicsEngine, self._base.win)
        self._renderer = StreetRenderer(street, options.width, options.height, device=device)
        self._player = Player(street)
        self._held: set[str] = set()
        self._link: PluginLink | None = None
        self._t_s, self._recorded = 0.0, 0
        self._screen = _screen(self._base, options)
        for key, what in _KEYS.items():
            self._base.accept(key, self._held.add, [what])
            self._base.accept(f"{key}-up", self._held.discard, [what])
        self._base.accept("f9", self._toggle_recording)
        self._base.accept("escape", self._quit)
        self._base.taskMgr.remove("igLoop")  # the renderer draws, the window with the street
        self._running = True
        self._base.accept("window-event", self._on_window)

    def run(self) -> None:
        """Play until the player quits; always says bye."""
        clock = ClockObject.getGlobalClock()
        try:
            while self._running:
                self._base.taskMgr.step()  # the keys
                self._frame(min(0.1, clock.getDt()))
        finally:
            if self._link is not None:
                self._link.close("the player ends")
            self._renderer.close()
            self._base.destroy()

    def _frame(self, dt_s: float) -> None:
        self._t_s += dt_s
        arrays = self._renderer.render(self._t_s, pose=self._player.step(self._held, dt_s))
        shown = np.ascontiguousarray(arrays["color_ui"][::-1, :, [2, 1, 0, 3]])
        self._screen.setRamImage(shown.tobytes())
        if self._link is None:
            return
        camera = self._renderer.camera(self._t_s)
        flags = FrameFlags.CUT if self._recorded == 0 else FrameFlags.NONE
        self._link.send_frame(arrays, t_sim_ns=round(self._t_s * 1e9), camera=camera, flags=flags)
        self._recorded += 1
        for command in self._link.poll():
            self._link.answer(command, ok=False, text=f"unknown command {command.name!r}")

    def _toggle_recording(self) -> None:
        if self._link is not None:
            self._link.close("the player stopped recording")
            self._link = None
            self._title("")
            return
        hello = make_hello(replace(self._options, lockstep=False))
        self._link = PluginLink(hello, self._options.connect)
        self._recorded = 0
        self._title(" [recording]")

    def _title(self, suffix: str) -> None:
        if not isinstance(self._base.win, GraphicsWindow):
            return
        props = WindowProperties()
        props.setTitle(f"RealMaster street {self._options.seed}{suffix}")
        self._base.win.requestProperties(props)

    def _on_window(self, window: Any) -> None:
        if window is self._base.win and window.isClosed():
            self._quit()

    def _quit(self) -> None:
        self._running = False


def _open(options: GameOptions) -> Any:
    if sys.platform.startswith("linux") and not os.environ.get("DISPLAY"):
        raise SetupError("--window needs a screen, and DISPLAY is not set; leave --window away")
    loadPrcFileData(
        "",
        f"load-display pandagl\nwin-size {options.width} {options.height}\n"
        f"window-title RealMaster street {options.seed}\naudio-library-name null\n"
        "textures-power-2 none\nnotify-level-display fatal\nnotify-level-x11display fatal",
    )
    from direct.showbase.ShowBase import ShowBase

    try:
        base = ShowBase(windowType="onscreen")
    except Exception as error:
        raise SetupError(
            f"--window cannot open a window ({error}); leave --window away to run headless"
        ) from error
    base.disableMouse()
    return base


def _screen(base: Any, options: GameOptions) -> Texture:
    """A texture that fills the window."""
    texture = Texture("screen")
    texture.setup2dTexture(options.width, options.height, Texture.TUnsignedByte, Texture.FRgba)
    texture.setMagfilter(SamplerState.FTLinear)
    texture.setMinfilter(SamplerState.FTLinear)
    maker = CardMaker("screen")
    maker.setFrameFullscreenQuad()
    card = base.render2d.attachNewNode(maker.generate())
    card.setTexture(texture)
    return texture
