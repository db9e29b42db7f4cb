"""The street's picture and buffers: exact geometry, exact motion, crops, repeatability."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

pytest.importorskip("panda3d")

from capture_bridge.buffers import BUFFERS, SEMANTIC_CLASSES, FrameArrays
from capture_bridge.messages import Camera
from engine_plugins.street.raster import StreetRenderer
from engine_plugins.street.scene import Street, build_street

pytestmark = pytest.mark.street

WIDTH, HEIGHT = 240, 136
T0, T1 = 1.0, 1.0 + 1 / 24


@pytest.fixture(scope="module")
def street() -> Street:
    return build_street(907, "drive")


@pytest.fixture(scope="module")
def renderer(street: Street) -> Iterator[StreetRenderer]:
    with StreetRenderer(street, WIDTH, HEIGHT) as made:
        yield made


@pytest.fixture(scope="module")
def pair(renderer: StreetRenderer) -> tuple[FrameArrays, FrameArrays, Camera]:
    before = renderer.render(T0, cut=True)
    now = renderer.render(T1)
    return before, now, renderer.camera(T1)


def rays(K: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    rows, cols = np.mgrid[0 : shape[0], 0 : shape[1]] + 0.5
    return np.stack([cols, rows, np.ones(shape)], -1) @ np.linalg.inv(K).T


def camera_points(frame: FrameArrays, camera: Camera) -> np.ndarray:
    depth = frame["depth"].astype(np.float64)
    return rays(camera.K, depth.shape) * np.where(np.isfinite(depth), depth, 0.0)[..., None]


def project(K: np.ndarray, points: np.ndarray) -> np.ndarray:
    pixels = points @ K.T
    return pixels[..., :2] / pixels[..., 2:]


def test_buffers_are_the_tables(pair: tuple[FrameArrays, FrameArrays, Camera]) -> None:
    for name, array in pair[1].items():
        assert array.dtype == BUFFERS[name].numpy_dtype, name
        assert array.shape == BUFFERS[name].shape(WIDTH, HEIGHT), name
    assert np.isnan(pair[0]["motion"].astype(float)).all()
    assert (pair[1]["color"][..., 3] == 255).all()


def test_sky_is_where_depth_is_infinite(pair: tuple[FrameArrays, FrameArrays, Camera]) -> None:
    _, now, _ = pair
    sky = now["semantic"] == SEMANTIC_CLASSES.index("sky")
    assert 0.02 < sky.mean() < 0.6
    np.testing.assert_array_equal(sky, np.isinf(now["depth"]))
    np.testing.assert_array_equal(sky, now["instance"] == 0)
    assert (now["normal"][sky] == 0).all()


def test_normals_face_the_camera_and_agree_with_depth(
    pair: tuple[FrameArrays, FrameArrays, Camera],
) -> None:
    _, now, camera = pair
    normal = now["normal"].astype(np.float64)
    solid = np.isfinite(now["depth"])
    np.testing.assert_allclose(np.linalg.norm(normal[solid], axis=-1), 1, atol=2e-3)
    toward = (normal * rays(camera.K, solid.shape)).sum(-1)
    assert (toward[solid] < 1e-2).all()
    points = camera_points(now, camera)
    across, down = points[1:-1, 2:] - points[1:-1, :-2], points[2:, 1:-1] - points[:-2, 1:-1]
    geometric = np.cross(down, across)
    geometric /= np.linalg.norm(geometric, axis=-1, keepdims=True) + 1e-12
    ids, kinds = now["instance"], now["semantic"]
    flat = solid[1:-1, 1:-1] & np.isin(kinds[1:-1, 1:-1], [SEMANTIC_CLASSES.index("ground")])
    for shift_y, shift_x in ((0, 1), (2, 1), (1, 0), (1, 2)):
        near = ids[shift_y : shift_y + flat.shape[0], shift_x : shift_x + flat.shape[1]]
        flat &= near == ids[1:-1, 1:-1]
    cosine = (geometric * normal[1:-1, 1:-1]).sum(-1)[flat]
    assert flat.sum() > 500
    assert np.median(cosine) > 0.999


def test_depth_is_planar_and_puts_the_road_at_height_zero(
    pair: tuple[FrameArrays, FrameArrays, Camera], street: Street
) -> None:
    _, now, camera = pair
    road = next(i.id for i in street.instances if i.name == "road")
    points = camera_points(now, camera)[now["instance"] == road]
    pose = camera.world_from_camera
    heights = points @ pose[2, :3] + pose[2, 3]
    assert len(heights) > 300
    assert np.abs(heights).max() < 0.01


def test_motion_of_what_stands_is_the_cameras(
    pair: tuple[FrameArrays, FrameArrays, Camera], street: Street
) -> None:
    _, now, camera = pair
    points = camera_points(now, camera)
    pose, prev = camera.world_from_camera, camera.world_from_camera_prev
    world = points @ pose[:3, :3].T + pose[:3, 3]
    before = (world - prev[:3, 3]) @ prev[:3, :3]
    expected = project(camera.K, before) - project(camera.K, points + np.array([0, 0, 1e-12]))
    moving = [i.id for i in street.instances if i.name.startswith(("moving", "person"))]
    still = np.isfinite(now["depth"]) & ~np.isin(now["instance"], moving)
    error = np.abs(now["motion"].astype(np.float64) - expected)[still]
    size = np.abs(expected[still])
    assert (error <= 0.02 + size * 1e-3).all()


def test_motion_of_movers_finds_them_in_the_frame_before(street: Street) -> None:
    movers = {
        int(m.face_instance[0])
        for m in street.meshes
        if m.mover >= 0 and np.isfinite(m.vertices).all()
    }
    with StreetRenderer(street, WIDTH, HEIGHT) as renderer:
        before = renderer.render(2.0)
        view_before = renderer.view(2.0)
        now = renderer.render(2.0 + 1 / 24)
        view = renderer.view(2.0 + 1 / 24)
    seen = 0
    for mesh in street.meshes:
        if mesh.mover < 0:
            continue
        mask = now["instance"] == mesh.face_instance[0]
        mask &= now["semantic"] == SEMANTIC_CLASSES.index("vehicle")
        if mask.sum() < 30 or mesh.material != "plate":
            continue
        pose = street.mover_pose(mesh.mover, 2.0 + 1 / 24)
        prev = street.mover_pose(mesh.mover, 2.0)
        points = (rays(view.K, mask.shape) * now["depth"].astype(float)[..., None])[mask]
        world = points @ view.world_from_camera[:3, :3].T + view.world_from_camera[:3, 3]
        local = (world - pose[:3, 3]) @ pose[:3, :3]
        moved = local @ prev[:3, :3].T + prev[:3, 3]
        camera = view_before.world_from_camera
        expected = project(view.K, (moved - camera[:3, 3]) @ camera[:3, :3]) - project(
            view.K, points
        )
        error = np.abs(now["motion"].astype(float)[mask] - expected).max(1)
        assert np.median(error) < 0.02  # wheels turn, so not every pixel follows the body
        assert np.quantile(error, 0.7) < 0.1
        seen += 1
    assert movers
    assert seen >= 1
    assert before["color"].shape == now["color"].shape


def test_a_crop_has_the_pixels_of_the_whole_frame(
    street: Street, pair: tuple[FrameArrays, FrameArrays, Camera]
) -> None:
    x, y, w, h = 70, 30, 96, 64
    with StreetRenderer(street, WIDTH, HEIGHT, crop=(x, y, w, h)) as part:
        part.render(T0)
        crop = part.render(T1)
    whole = {k: v[y : y + h, x : x + w] for k, v in pair[1].items()}
    same = crop["instance"] == whole["instance"]
    assert same.mean() > 0.998
    solid = same & np.isfinite(whole["depth"]) & np.isfinite(crop["depth"])
    error = np.abs(crop["depth"][solid] / whole["depth"][solid] - 1)
    assert np.quantile(error, 0.99) < 1e-3
    color = np.abs(crop["color"].astype(int) - whole["color"])
    assert (color.max(-1) > 8).mean() < 0.02
    motion = np.abs(crop["motion"].astype(float) - whole["motion"])[same]
    assert np.quantile(motion, 0.99) < 0.05
    with pytest.raises(ValueError, match="does not lie in the frame"):
        StreetRenderer(street, WIDTH, HEIGHT, crop=(200, 0, 96, 64))


def test_a_pixel_is_the_mean_of_what_it_covers(
    street: Street, pair: tuple[FrameArrays, FrameArrays, Camera]
) -> None:
    with StreetRenderer(street, 4 * WIDTH, 4 * HEIGHT) as fine:
        parts = fine.render(T1)["color"].reshape(HEIGHT, 4, WIDTH, 4, 4)
    error = np.abs(pair[1]["color"] - parts.mean((1, 3))).max(-1)
    assert (error > 24).mean() < 0.02  # one sample a pixel, its edges smoothed: 0.048


def test_the_same_seed_gives_the_same_bytes(renderer: StreetRenderer) -> None:
    with StreetRenderer(build_street(907, "drive"), WIDTH, HEIGHT) as other:
        other.render(0.3)
        again = other.render(T1, prev_t=T0)
    once = renderer.render(T1, prev_t=T0)
    for name, array in once.items():
        np.testing.assert_array_equal(array, again[name], err_msg=name)


def test_nothing_but_the_street_is_in_the_buffers() -> None:
    with StreetRenderer(build_street(800, "drive"), 256, 144) as renderer:
        frame = renderer.render(0.2664)
    surface = np.isfinite(frame["depth"])
    assert surface.any()
    assert (frame["instance"][surface] > 0).all()  # the sky's card once stood in the road
