"""Runs a test game with the plugin under Wine, and checks what was recorded against the truth."""

import json
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capture_bridge.client_link import ClientLink
from capture_bridge.messages import FrameFlags
from capture_bridge.recorder import RecordingOptions, RecordingSummary, record_link
from capture_bridge.session import SessionReader
from capture_bridge.verify import verify
from tests.wine.truth import STAMP, Scene, View, frame_of

ROOT = Path(__file__).parents[2]
WINE, WINESERVER = Path("/usr/lib/wine/wine64"), Path("/usr/lib/wine/wineserver64")
PATIENCE_S = 120.0  # for a whole run on a busy machine
PLAIN, GTAV = "realmaster_d3d", "realmaster_gtav"
PROJECTION = {"near": "0.1", "far": "200", "reversed_z": "yes", "fov_y": "60"}


@dataclass(frozen=True)
class Lab:
    """Where the programs are built, the environment that they run in, the scene's description."""

    build: Path
    environment: Mapping[str, str]
    scene: Path


class Game:
    """A test game in a folder of its own, as a player would install it."""

    def __init__(
        self, lab: Lab, folder: Path, name: str, *options: str, plugin: str = PLAIN,
        port: int = 1, **settings: str,
    ) -> None:  # fmt: skip
        self.folder, self.plugin, self.lab = folder, plugin, lab
        folder.mkdir(exist_ok=True)
        for path in (f"{name}.exe", "dinput8.dll", "ScriptHookV.dll"):
            shutil.copy(lab.build / path, folder)
        shutil.copy(lab.build / "plugins" / "gtav" / f"{plugin}.asi", folder)
        told = {"port": str(port), "trace": "trace.jsonl", **settings}
        text = "".join(f"{key} = {value}\n" for key, value in told.items())
        (folder / f"{plugin}.ini").write_text(text)
        command = [str(WINE), f"{name}.exe", "--report", "report.json", *options]
        if "--no-plugin" in options:
            command.remove("--no-plugin")
        else:
            command += ["--load", f"{plugin}.asi"]
        self.process = subprocess.Popen(
            command, cwd=folder, env=dict(lab.environment), text=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip

    def wait(self) -> None:
        """Until the game has ended by itself, which it must."""
        _, errors = self.process.communicate(timeout=PATIENCE_S)
        assert self.process.returncode == 0, f"{errors}\n{self.log()}"

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate(timeout=PATIENCE_S)

    def log(self) -> str:
        path = self.folder / "realmaster.log"
        return path.read_text() if path.exists() else ""

    def trace(self) -> list[dict[str, Any]]:
        text = (self.folder / "trace.jsonl").read_text()
        return [json.loads(line) for line in text.splitlines() if line.endswith("}")]

    def report(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads((self.folder / "report.json").read_text())
        return told


@contextmanager
def playing(lab: Lab, folder: Path, name: str, *options: str, **settings: str) -> Iterator[Game]:
    game = Game(lab, folder, name, *options, **settings)  # type: ignore[arg-type]
    try:
        yield game
    finally:
        game.close()


@dataclass(frozen=True)
class Recording:
    """A game's run through the real client, and what the run told about itself."""

    path: Path
    summary: RecordingSummary
    trace: list[dict[str, Any]]
    report: dict[str, Any]
    log: str


def record(lab: Lab, folder: Path, name: str, *options: str, plugin: str = PLAIN,
           **settings: str) -> Recording:  # fmt: skip
    """Plays until the game ends, recording all the while."""
    told = {**(PROJECTION if plugin == PLAIN else {}), **settings}
    path = folder / "session.mcap"
    link = ClientLink("tcp://127.0.0.1:0")
    try:
        port = int(link.endpoint.rsplit(":", 1)[1])
        with playing(lab, folder, name, *options, plugin=plugin, port=port, **told) as game:  # type: ignore[arg-type]
            limits = RecordingOptions(connect_s=PATIENCE_S, reconnect_s=PATIENCE_S, overwrite=True)
            summary = record_link(link, path, options=limits)
            game.wait()
            return Recording(path, summary, game.trace(), game.report(), game.log())
    finally:
        link.close()


@dataclass(frozen=True)
class Errors:
    """How far one frame is from the truth, over pixels that show one face with all neighbours.

    depth: relative, of faces (N,). flat: the same of faces that look straight at the camera.
    normal: length of the difference (N,). color: share of inner pixels that are not exact.
    hud_in_color: the frame says that its color could not be taken before the HUD.
    """

    frame: int
    depth: NDArray[np.float64]
    flat: NDArray[np.float64]
    normal: NDArray[np.float64]
    color: float
    color_ui: float
    sky_is_infinite: bool
    hud_in_color: bool


def verify_clean(path: Path) -> None:
    """Every byte is sound and the health probe finds nothing."""
    found = verify(path)
    assert not found.findings, [str(finding) for finding in found.findings]


def errors_of(lab: Lab, path: Path, *, straight: bool = False, every: int = 5) -> list[Errors]:
    """The errors of every so-manieth frame that has depth; the stamp says which frame it is."""
    scene = Scene(lab.scene)
    out = []
    with SessionReader(path) as session:
        for frame in session.frames():
            if frame.index % every == 0 and frame.has("depth"):
                arrays = frame.arrays(frame.names)
                number = frame_of(_rgba(arrays["color"]))
                depth = np.asarray(arrays["depth"], np.float64)
                height, width = depth.shape[:2]
                view = scene.view(0 if straight else number, width, height)
                flagged = bool(frame.header.flags & FrameFlags.HUD_IN_COLOR)
                out.append(_errors(scene, view, number, arrays, hud_in_color=flagged))
    return out


def assert_color(errors: list[Errors], *, hud: bool = True, sizes: int = 1) -> None:
    """Color exact and free of the HUD, but for the first frame of each size.

    The client may come in mid-frame, and at a new size the plugin's own targets are new as well.
    """
    assert sum(error.hud_in_color for error in errors) <= (sizes if hud else len(errors))
    for error in errors:
        assert error.color == 0 or error.hud_in_color
        assert (error.color_ui > 0) == hud


def _rgba(array: NDArray[np.generic]) -> NDArray[np.uint8]:
    return np.asarray(array, np.uint8)


def _errors(
    scene: Scene, view: View, number: int, arrays: Mapping[str, Any], *, hud_in_color: bool
) -> Errors:
    depth = np.asarray(arrays["depth"], np.float64).reshape(view.depth.shape)
    seen = view.inner & np.isfinite(view.depth)
    relative = np.abs(depth[seen] - view.depth[seen]) / view.depth[seen]
    flat = np.abs(view.normal[seen][:, 2]) > 1 - 1e-9
    normal = np.zeros(0)
    if "normal" in arrays:
        normal = np.linalg.norm(arrays["normal"].astype(np.float64) - view.normal, axis=-1)[seen]
    color = color_ui = np.nan
    if arrays["color"].shape[:2] == view.depth.shape:
        inner = view.inner.copy()
        inner[-STAMP:, :STAMP] = False
        truth = scene.color(view)[inner]
        color = float((_rgba(arrays["color"])[inner, :3] != truth).any(-1).mean())
        color_ui = float((_rgba(arrays["color_ui"])[inner, :3] != truth).any(-1).mean())
    sky = bool(np.isinf(depth[view.inner & np.isinf(view.depth)]).all())
    return Errors(number, relative, relative[flat], normal, color, color_ui, sky, hud_in_color)
