"""The OpenGL interposer on small programs whose depth, normals and poses are known exactly."""

import ctypes
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from capture_bridge.errors import LinkError, SetupError
from capture_bridge.messages import FrameFlags
from capture_bridge.recorder import RecordingOptions, RecordingSummary
from capture_bridge.session import SessionReader
from capture_bridge.verify import verify
from realmaster.opengl_game import PLUGIN_VARIABLE, OpenGLGame, record_opengl_game
from tests.native.conftest import NativeBuild
from tests.native.opengl_truth import depth_and_normal, frame_number, steps_between

pytestmark = [
    pytest.mark.native,
    pytest.mark.skipif(sys.platform != "linux", reason="the interposer needs Linux"),
]
MAGENTA = np.array([255, 0, 255])


@dataclass(frozen=True)
class Recorded:
    """A recording of a test program."""

    path: Path
    summary: RecordingSummary


Record = Callable[..., Recorded]


def need_egl() -> None:
    try:
        ctypes.CDLL("libEGL.so.1")
    except OSError:
        pytest.skip("libEGL.so.1 is not installed (.ci/system-packages street)")


@pytest.fixture
def programs(native_build: NativeBuild, monkeypatch: pytest.MonkeyPatch) -> NativeBuild:
    """The build, with the interposer built and chosen."""
    need_egl()
    monkeypatch.setenv(PLUGIN_VARIABLE, str(native_build.target("realmaster_opengl")))
    return native_build


@pytest.fixture
def record(programs: NativeBuild, tmp_path: Path) -> Record:
    """Record some seconds of a program of opengl_apps/ with its arguments."""

    def run(program: str, *arguments: str, seconds: float = 2.0) -> Recorded:
        app = programs.target(f"opengl_{program}")
        path = tmp_path / "session.mcap"
        summary = record_opengl_game(
            OpenGLGame([str(app), *arguments], max_fps=0),
            path,
            seconds=seconds,
            options=RecordingOptions(codec="raw", connect_s=30.0, overwrite=True),
        )
        return Recorded(path, summary)

    return run


def check_truth(
    recorded: Recorded, *, scale: float = 1.0, depth_error: float = 2e-4, normal_deg: float = 1.5
) -> None:
    """Depth and normals of the first and last frames against the scene, away from edges, and the
    camera's steps between them."""
    with SessionReader(recorded.path) as session:
        assert len(session) >= 5
        before: tuple[int, NDArray[np.float64], int] | None = None
        for index in sorted({*range(len(session))[:12], *range(len(session))[-12:]}):
            frame = session.frame(index)
            header, depth = frame.header, frame.array("depth")
            camera = header.camera
            assert camera is not None
            number = frame_number(frame.array("color"), scale=scale)
            height, width = depth.shape
            true_depth, true_normal = depth_and_normal(number, camera.K, (width, height))
            clear = away_from_edges(true_depth, true_normal)
            clear[height - 10 :, :10] = False  # the number itself is a picture of nothing
            sky = np.isinf(true_depth)
            assert np.isinf(depth[clear & sky]).mean() > 0.999
            solid = clear & ~sky & (true_depth < 25)
            error = np.abs(depth[solid] / true_depth[solid] - 1)
            assert solid.mean() > 0.2 and np.quantile(error, 0.995) < depth_error
            dots = (frame.array("normal")[solid].astype(np.float64) * true_normal[solid]).sum(-1)
            assert np.quantile(dots, 0.01) > np.cos(np.radians(normal_deg))
            if before is not None and header.seq == before[2] + 1:
                step = np.linalg.inv(before[1]) @ camera.world_from_camera
                assert np.allclose(step, steps_between(before[0], number), atol=3e-3), number
            before = (number, camera.world_from_camera, header.seq)


def away_from_edges(depth: NDArray[np.float64], normal: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Pixels whose neighbours within 2 show the same surface."""
    same = np.ones(depth.shape, bool)
    for axis in (0, 1):
        for shift in (-2, -1, 1, 2):
            same &= (np.abs(np.roll(normal, shift, axis) - normal).max(-1)) < 1e-6
            same &= np.isinf(np.roll(depth, shift, axis)) == np.isinf(depth)
    same[:2] = same[-2:] = False
    same[:, :2] = same[:, -2:] = False
    return same


def has_magenta(color: NDArray[np.uint8]) -> bool:
    return bool((color[..., :3] == MAGENTA).all(-1).mean() > 0.001)


def check_hud(recorded: Recorded) -> None:
    """The HUD, which alone is magenta, is in color_ui and not in color."""
    with SessionReader(recorded.path) as session:
        for frame in session.frames(names=("color", "color_ui")):
            assert has_magenta(frame.array("color_ui"))
            assert not has_magenta(frame.array("color"))


def check_accounts(recorded: Recorded) -> None:
    # The frame's number is drawn with the world and stands still: the probe takes it for a HUD.
    found = [str(f) for f in verify(recorded.path).findings if f.fault != "hud_in_color"]
    assert found == []
    assert not [cause for cause in recorded.summary.drops if cause.startswith("link/")]


def params_of(recorded: Recorded, stream: str) -> dict[str, str]:
    with SessionReader(recorded.path) as session:
        return next(dict(s.params) for s in session.info.hello.streams if s.name == stream)


@pytest.mark.parametrize(
    ("arguments", "trigger"),
    [
        ((), "swap"),
        (("--hud",), "orthographic projection"),
        (("--head", "--hud"), "partial depth clear"),
        (("--mirror", "--sky", "--hud"), "orthographic projection"),
        (("--mirror", "--head", "--hud"), "partial depth clear"),
    ],
)
def test_fixed_function(record: Record, arguments: tuple[str, ...], trigger: str) -> None:
    recorded = record("fixed", *arguments)
    check_truth(recorded)
    assert params_of(recorded, "color")["trigger"] == trigger
    assert params_of(recorded, "normal") == {"source": "depth"}
    if "--hud" in arguments:
        check_hud(recorded)
        check_accounts(recorded)
    with SessionReader(recorded.path) as session:
        cameras = [header.camera for header in session.headers]
        far = {round(camera.far_m) for camera in cameras if camera is not None}
        assert far == {100, 300}  # it changes every frame, and depth is right in all
        flagged = {bool(h.flags & FrameFlags.HUD_IN_COLOR) for h in session.headers}
        assert flagged == {trigger == "swap"}


def test_weapon_at_a_depth_range_of_its_own_is_metric(record: Record) -> None:
    recorded = record("fixed", "--weapon", "--hud")
    with SessionReader(recorded.path) as session:
        for frame in session.frames(names=("color", "depth")):
            color, depth = frame.array("color"), frame.array("depth")
            weapon = (color[..., 0] > 180) & (color[..., 2] < 60) & (color[..., 1] < 100)
            assert weapon.sum() > 200
            front = depth[weapon]
            # The box's front is 0.44 from the camera, its back 0.56.
            assert 0.439 < front.min() < 0.441 and front.max() < 0.57
            others = ~weapon & np.isfinite(depth)
            assert depth[others].min() > 1.0


@pytest.mark.parametrize("way", ["--subdata", "--map", "--persistent"])
def test_deferred_with_a_uniform_buffer(record: Record, way: str) -> None:
    recorded = record("deferred", way)
    check_truth(recorded, scale=1.5, normal_deg=2.0)
    check_hud(recorded)
    check_accounts(recorded)
    params = params_of(recorded, "normal")
    assert params["source"] == "gbuffer" and params["encoding"].startswith("octahedral")
    assert params["attachment"] == "1" and float(params["agreement_10deg"]) > 0.9
    with SessionReader(recorded.path) as session:
        header = session.frame(0).header
        assert (header.render_size, header.output_size) == ((320, 180), (480, 270))
        assert session.frame(0).array("depth").shape == (180, 320)


@pytest.mark.parametrize(
    ("way", "encoding"), [("--world", "xyz_unsigned"), ("--spheremap", "spheremap")]
)
def test_encodings_of_normals_are_found(record: Record, way: str, encoding: str) -> None:
    recorded = record("deferred", way, "--map")
    assert params_of(recorded, "normal")["encoding"] == encoding
    check_truth(recorded, scale=1.5, normal_deg=2.5)


@pytest.mark.parametrize("arguments", [(), ("--samples",)])
def test_reversed_infinite_depth(record: Record, arguments: tuple[str, ...]) -> None:
    recorded = record("reversed", *arguments)
    # A sample lies up to half a pixel from the centre: on the far floor that is some centimetres.
    check_truth(recorded, depth_error=0.04 if arguments else 2e-4)
    check_hud(recorded)
    check_accounts(recorded)
    with SessionReader(recorded.path) as session:
        camera = session.frame(0).header.camera
        assert camera is not None and camera.reversed_z and np.isinf(camera.far_m)
        assert abs(camera.near_m - 0.1) < 1e-3


def test_resize_goes_on_in_the_new_size(record: Record) -> None:
    recorded = record("fixed", "--hud", "--resize", seconds=6.0)
    with SessionReader(recorded.path) as session:
        sizes = [header.render_size for header in session.headers]
    assert sizes[0] == (320, 180) and sizes[-1] == (400, 240)
    assert not [cause for cause in recorded.summary.drops if cause.endswith("oversize")]
    check_truth(recorded)


@pytest.mark.parametrize("variant", ["plain", "asan"])
def test_normals_and_motion_at_every_width(native_build: NativeBuild, variant: str) -> None:
    """With the sanitizers it is the code for processors without AVX2."""
    program = native_build.target("opengl_pixels", variant)
    done = subprocess.run([program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_menu_is_no_world(programs: NativeBuild, tmp_path: Path) -> None:
    menu = OpenGLGame([str(programs.target("opengl_fixed")), "--menu"])
    options = RecordingOptions(connect_s=2.0)
    with pytest.raises(LinkError, match="no perspective projection"):
        record_opengl_game(menu, tmp_path / "menu.mcap", seconds=1.0, options=options)


def test_errors_say_what_to_do(
    programs: NativeBuild, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = os.environ[PLUGIN_VARIABLE]
    options = RecordingOptions(connect_s=5.0)
    monkeypatch.setenv(PLUGIN_VARIABLE, str(tmp_path / "nowhere.so"))
    with pytest.raises(SetupError, match="not there"):
        record_opengl_game(OpenGLGame(["true"]), tmp_path / "a", seconds=1, options=options)
    monkeypatch.setenv(PLUGIN_VARIABLE, built)
    with pytest.raises(SetupError, match="no program 'no-such-game'"):
        record_opengl_game(OpenGLGame(["no-such-game"]), tmp_path / "a", seconds=1, options=options)
    early = OpenGLGame(["sh", "-c", "echo cannot find data; exit 7"])
    with pytest.raises(LinkError, match=r"status 7 .* last words: cannot find data"):
        record_opengl_game(early, tmp_path / "a", seconds=1, options=options)
    assert not (tmp_path / "a").exists()
