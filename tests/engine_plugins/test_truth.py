"""The truth must be the game's own scene: same ids, depths, normals, textures the same way up."""

import importlib.util
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pytest
from numpy.typing import NDArray

from capture_bridge.buffers import SEMANTIC_CLASSES, FrameArrays
from capture_bridge.errors import SessionError, SetupError
from capture_bridge.messages import Hello
from engine_plugins.street import mitsuba_setup
from engine_plugins.street.mitsuba_setup import load_mitsuba
from engine_plugins.street.model import CameraPose, Material, Mesh, Sun, Texture
from engine_plugins.street.scene import build_street
from engine_plugins.street.session_truth import render_session_truth, street_of_session
from engine_plugins.street.truth import TruthRenderer, _pixel_rays, filmic

needs_mitsuba = pytest.mark.skipif(
    importlib.util.find_spec("mitsuba") is None, reason="needs realmaster[truth]"
)

FORWARD = np.array([[0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 1.5], [0, 0, 0, 1]], np.float64)
GROUND, WALL, CAR = 1, 2, 7


def quad(
    material: str, corners: list[tuple[float, float, float]], who: int, mover: int = -1
) -> Mesh:
    """Two triangles; corners counter-clockwise from outside, uv (0,0) (1,0) (1,1) (0,1)."""
    points = np.array(corners, np.float32)
    normal = np.cross(points[1] - points[0], points[2] - points[0])
    return Mesh(
        material,
        points,
        np.tile(normal / np.linalg.norm(normal), (4, 1)).astype(np.float32),
        np.array([(0, 0), (1, 0), (1, 1), (0, 1)], np.float32),
        np.array([(0, 1, 2), (0, 2, 3)], np.uint32),
        np.full(2, who, np.uint32),
        mover,
    )


@dataclass
class TinyStreet:
    """Ground, a wall 10 m ahead with a red-below, blue-above texture, and a sheet that drives."""

    textures: dict[str, Texture] = field(default_factory=dict)
    materials: dict[str, Material] = field(default_factory=dict)
    meshes: list[Mesh] = field(default_factory=list)
    sun: Sun = field(default_factory=lambda: Sun(np.array([-0.6, 0.0, 0.8]), 3.0))

    def __post_init__(self) -> None:
        pixels = np.zeros((8, 8, 3), np.uint8)
        pixels[:4] = (200, 0, 0)
        pixels[4:] = (0, 0, 200)
        self.textures = {"two": Texture("two", pixels)}
        self.materials = {
            "asphalt": Material("asphalt", "ground", (0.1, 0.1, 0.1)),
            "painted": Material("painted", "wall", (1.0, 1.0, 0.5), "two"),
            "paint": Material("paint", "vehicle", (0.1, 0.6, 0.1), clearcoat=1.0, metallic=0.3),
        }
        self.meshes = [
            quad("asphalt", [(-9, -9, 0), (30, -9, 0), (30, 9, 0), (-9, 9, 0)], GROUND),
            quad("painted", [(10, 4, 0), (10, -4, 0), (10, -4, 4), (10, 4, 4)], WALL),
            quad("paint", [(0, 1, 0), (0, 0, 0), (0, 0, 1), (0, 1, 1)], CAR, mover=0),
        ]

    def mover_pose(self, mover: int, t_s: float) -> NDArray[np.float64]:
        assert mover == 0
        pose = np.eye(4)
        pose[0, 3] = 5 + t_s
        return pose

    def camera(self, t_s: float) -> CameraPose:
        del t_s
        return CameraPose(FORWARD, 60.0)


def test_filmic_keeps_grey_grey_and_rises_from_black_to_white() -> None:
    ramp = np.concatenate([[0.0], np.geomspace(1e-4, 50, 200)])
    code = filmic(np.repeat(ramp[:, None], 3, axis=1)).astype(int)
    assert code[0].tolist() == [0, 0, 0]
    assert code[-1].min() >= 250
    assert np.all(np.diff(code[:, 1]) >= 0)
    assert np.ptp(code, axis=1).max() <= 1


@pytest.mark.truth
@needs_mitsuba
def test_ids_depth_and_normals_are_those_of_the_geometry() -> None:
    frame = TruthRenderer(TinyStreet(), 64, 36).geometry(0.0)
    middle, low, top = (14, 20), (35, 32), (0, 0)
    assert frame["instance"][middle] == WALL
    assert frame["semantic"][middle] == 3
    assert frame["depth"][middle] == pytest.approx(10.0, abs=1e-4)
    assert frame["normal"][middle].tolist() == pytest.approx([0, 0, -1], abs=1e-3)
    assert frame["instance"][low] == GROUND
    assert frame["normal"][low].tolist() == pytest.approx([0, -1, 0], abs=1e-3)
    assert frame["instance"][top] == 0
    assert frame["semantic"][top] == 1
    assert np.isinf(frame["depth"][top])
    assert frame["normal"][top].tolist() == [0, 0, 0]


@pytest.mark.truth
@needs_mitsuba
def test_movers_move_with_time() -> None:
    renderer = TruthRenderer(TinyStreet(), 64, 36)
    for t_s in (0.0, 2.0, 1.0):
        frame = renderer.geometry(t_s)
        seen = frame["depth"][frame["instance"] == CAR]
        assert seen.size > 10
        assert seen == pytest.approx(np.full(seen.shape, 5 + t_s), abs=1e-4)


@pytest.mark.truth
@needs_mitsuba
def test_texture_row_zero_lies_at_v_zero_and_the_base_colour_multiplies() -> None:
    albedo = TruthRenderer(TinyStreet(), 64, 36).albedo(0.0)
    below, above = albedo[19, 16], albedo[9, 16]  # z about 1.2 m and 3 m of the 4 m wall
    value = ((200 / 255 + 0.055) / 1.055) ** 2.4
    assert below.tolist() == pytest.approx([value, 0, 0], abs=2e-3)
    assert above.tolist() == pytest.approx([0, 0, value / 2], abs=2e-3)


@pytest.mark.truth
@needs_mitsuba
def test_a_crop_is_the_same_pixels_of_the_whole_frame() -> None:
    whole = TruthRenderer(TinyStreet(), 64, 36, spp=64)
    x, y, width, height = 10, 7, 40, 24
    part = TruthRenderer(TinyStreet(), 64, 36, spp=64, crop=(x, y, width, height))
    cut = np.s_[y : y + height, x : x + width]
    for name, value in part.geometry(0.0).items():
        there = np.asarray(whole.geometry(0.0)[name][cut], np.float64)
        np.testing.assert_allclose(value.astype(np.float64), there, atol=2e-3, err_msg=name)
    difference = part.color(0.0).astype(float) - whole.color(0.0)[cut]
    assert np.abs(difference).mean() < 3


@pytest.mark.truth
@needs_mitsuba
def test_the_same_seed_gives_the_same_picture_and_the_sun_lights_the_wall() -> None:
    street = TinyStreet()
    renderer = TruthRenderer(street, 64, 36, spp=16)
    first = renderer.color(0.0, seed=3)
    assert np.array_equal(renderer.color(0.0, seed=3), first)
    street.sun = Sun(np.array([0.6, 0.0, 0.8]), 3.0)
    shaded = TruthRenderer(street, 64, 36, spp=16).color(0.0, seed=3)
    wall = np.s_[15:21, 14:24, 0]
    assert first[wall].mean() > 1.5 * shaded[wall].mean() > 5


@pytest.mark.truth
@needs_mitsuba
def test_a_library_that_is_no_llvm_is_found_out_without_harm() -> None:
    assert not mitsuba_setup.variant_works(mitsuba_setup.FAST_VARIANT, "/nonexistent/libLLVM.so")


@pytest.mark.truth
@needs_mitsuba
def test_the_slow_variant_renders_here() -> None:
    assert mitsuba_setup.variant_works(mitsuba_setup.SLOW_VARIANT)


def test_without_mitsuba_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SetupError, match=r"pip install 'realmaster\[truth\]'"):
        mitsuba_setup.load_mitsuba.__wrapped__()


def test_a_machine_without_any_usable_llvm_falls_back_with_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    chosen: list[str] = []
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(mitsuba_setup, "llvm_candidates", lambda: ["/one", ""])
    monkeypatch.setattr(
        mitsuba_setup, "variant_works", lambda variant, path="": variant == "scalar_rgb"
    )
    monkeypatch.setattr(mitsuba_setup, "_set_variant", chosen.append)
    mitsuba_setup.load_mitsuba.__wrapped__()
    assert chosen == ["scalar_rgb"]
    assert "libllvm19" in caplog.text


def hello(**params: str) -> Hello:
    return Hello("0" * 32, "panda3d", "1", "street", "1", "another game", (), params=params)


@pytest.mark.parametrize(
    "params", [{}, {"seed": "7"}, {"seed": "-1", "path": "drive"}, {"seed": "7", "path": "swim"}]
)
def test_only_sessions_of_the_street_game_have_a_truth(params: dict[str, str]) -> None:
    with pytest.raises(SessionError, match="another game"):
        street_of_session(hello(**params))


def test_a_frame_that_the_session_does_not_have_is_refused() -> None:
    with pytest.raises(SessionError, match="frame 3 is not in the session"):
        next(render_session_truth(hello(seed="7", path="drive"), [], [3]))


def uniform(*images: NDArray[np.generic]) -> NDArray[np.bool_]:
    """Where every image is the same all over the 3x3 neighbourhood."""
    same = np.ones(images[0].shape, np.bool_)
    for image in images:
        padded = np.pad(image, 1, mode="edge")
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3))
        same &= np.all(windows == image[..., None, None], axis=(2, 3))
    return same


@pytest.mark.truth
@pytest.mark.street
@needs_mitsuba
@pytest.mark.parametrize(
    ("seed", "path", "t_s"),
    [(21, "walk", 1.77), (1, "walk", 2.0), (3, "drive", 1.0)],
)
def test_the_truth_and_the_game_see_the_same(
    seed: int, path: Literal["drive", "walk"], t_s: float
) -> None:
    raster = pytest.importorskip("engine_plugins.street.raster")
    street = build_street(seed, path)
    with raster.StreetRenderer(street, 320, 180) as renderer:
        game: FrameArrays = renderer.render(t_s)
    truth = TruthRenderer(street, 320, 180, t_s=t_s).geometry(t_s)

    classes = set(np.unique(truth["semantic"]))
    assert SEMANTIC_CLASSES.index("vehicle") in classes
    assert SEMANTIC_CLASSES.index("person") in classes
    unmixed = uniform(game["instance"], truth["instance"])
    assert unmixed.mean() > 0.5
    agree = game["instance"] == truth["instance"]
    assert agree[unmixed].mean() >= 0.995
    assert (game["semantic"] == truth["semantic"])[unmixed].mean() >= 0.995
    surface = unmixed & agree & (truth["instance"] != 0)
    depth = [frame["depth"][surface].astype(np.float64) for frame in (game, truth)]
    assert np.median(np.abs(depth[0] - depth[1]) / depth[1]) < 1e-3
    normal = [frame["normal"][surface].astype(np.float64) for frame in (game, truth)]
    assert np.median(np.sum(normal[0] * normal[1], axis=-1)) > 0.999


@pytest.mark.truth
@pytest.mark.street
@needs_mitsuba
def test_the_games_shadows_lie_where_rays_to_the_sun_are_blocked() -> None:
    """Each object of the ground is split at its best brightness into lit and shaded pixels."""
    raster = pytest.importorskip("engine_plugins.street.raster")
    wrong = total = 0
    for seed, path in ((7, "drive"), (12, "walk"), (5, "drive")):
        street, t_s = build_street(seed, path), 2.0
        with raster.StreetRenderer(street, 320, 180) as renderer:
            game: FrameArrays = renderer.render(t_s)
            view = renderer.view(t_s)
        truth = TruthRenderer(street, 320, 180, t_s=t_s)
        depth = np.where(game["depth"] < 25, game["depth"], 0)
        points = _pixel_rays(view.K, 320, 180) * depth.reshape(-1, 1)
        points = points @ view.world_from_camera[:3, :3].T
        points += view.world_from_camera[:3, 3] + [0, 0, 0.01]
        mi = load_mitsuba()
        origins = mi.Point3f(*points.T.astype(np.float32))
        blocked = truth._scene.ray_test(
            mi.Ray3f(origins, mi.Vector3f(*map(float, street.sun.direction)))
        )
        lit = ~np.asarray(blocked).reshape(180, 320)
        ground = (game["semantic"] == SEMANTIC_CLASSES.index("ground")) & (depth > 0)
        brightness = game["color"][..., :3].mean(-1)
        for instance in np.unique(game["instance"][ground]):
            mine = ground & (game["instance"] == instance)
            split = [(brightness[mine] > at) == lit[mine] for at in range(20, 220, 4)]
            wrong += mine.sum() - max(map(np.sum, split))
        total += ground.sum()
    assert wrong / total < 0.0101  # 0.0092; with texels of 5 cm, and biases for them, 0.0111
