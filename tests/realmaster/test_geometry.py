import numpy as np
import pytest

from capture_bridge.messages import Camera
from realmaster import geometry

K = np.array([[40.0, 0, 32], [0, 40, 24], [0, 0, 1]])
WIDTH, HEIGHT = 64, 48


def camera(translation: tuple[float, float, float] = (0, 0, 0), yaw: float = 0.0) -> Camera:
    """The current camera at the origin; the previous one moved and turned about its y axis."""
    prev = np.eye(4)
    prev[:3, :3] = [[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]]
    prev[:3, 3] = translation
    return Camera(K, np.eye(4), prev, 0.1, np.inf)


def test_unproject_puts_pixel_centres_on_their_rays() -> None:
    points = geometry.unproject(np.full((HEIGHT, WIDTH), 8.0, np.float32), K)
    assert points[24, 32] == pytest.approx([8 * 0.5 / 40, 8 * 0.5 / 40, 8])
    assert points[0, 0] == pytest.approx([8 * -31.5 / 40, 8 * -23.5 / 40, 8])


def test_world_points_apply_the_pose() -> None:
    pose = np.eye(4)
    pose[:3, :3] = [[0, 0, 1], [-1, 0, 0], [0, -1, 0]]  # looks along world +x, z up
    pose[:3, 3] = [1, 2, 3]
    points = geometry.world_points(np.full((HEIGHT, WIDTH), 4.0), Camera(K, pose, pose, 0.1, 9.0))
    assert points[24, 32] == pytest.approx([1 + 4, 2 - 4 * 0.5 / 40, 3 - 4 * 0.5 / 40])


def test_motion_of_a_camera_that_stepped_forward_points_inward() -> None:
    depth = np.full((HEIGHT, WIDTH), 10.0, np.float32)
    motion, inverse = geometry.reproject(depth, camera((0, 0, -2)))  # it was 2 m further back
    x = np.arange(WIDTH) + 0.5 - 32
    assert motion[10, :, 0] == pytest.approx(x * 10 / 12 - x, abs=1e-4)
    assert inverse == pytest.approx(np.full_like(inverse, 1 / 12))


def test_motion_of_the_sky_follows_rotation_alone() -> None:
    depth = np.full((HEIGHT, WIDTH), np.inf, np.float32)
    moved, inverse = geometry.reproject(depth, camera((5, 5, 5), yaw=0.1))
    assert np.array_equal(moved, geometry.motion_from_depth(depth, camera(yaw=0.1)))
    angle = np.arctan2(0.5, 40) - 0.1
    assert moved[24, 32, 0] + 0.5 == pytest.approx(40 * np.tan(angle), abs=1e-4)
    assert np.array_equal(inverse, np.zeros_like(inverse))


def test_motion_is_unknown_where_depth_is() -> None:
    depth = np.full((HEIGHT, WIDTH), np.nan, np.float32)
    assert np.isnan(geometry.motion_from_depth(depth, camera((1, 0, 0)))).all()


def test_warp_moves_whole_and_half_pixels() -> None:
    ramp = np.tile(np.arange(WIDTH, dtype=np.float32) * 4, (HEIGHT, 1))
    motion = np.zeros((HEIGHT, WIDTH, 2), np.float16)
    motion[..., 0] = 3
    warped, valid = geometry.warp_by_motion(ramp, motion)
    assert np.array_equal(warped[:, :-3], ramp[:, 3:])
    assert valid[:, :-3].all()
    assert not valid[:, -3:].any()
    motion[..., 0] = 0.5
    warped, _ = geometry.warp_by_motion(ramp, motion)
    assert warped[5, 10] == 42
    motion[..., 0], motion[..., 1] = 0, -1
    image = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    shifted, valid = geometry.warp_by_motion(image, motion)
    assert np.array_equal(shifted[1:], image[:-1])
    assert not shifted[0].any()
    assert not valid[0].any()


@pytest.mark.parametrize("channels", [1, 4, 16])
def test_warp_takes_any_number_of_channels_and_skips_unknown_motion(channels: int) -> None:
    prev = np.random.default_rng(0).random((HEIGHT, WIDTH, channels), dtype=np.float32)
    motion = np.zeros((HEIGHT, WIDTH, 2), np.float32)
    motion[3, 4] = np.nan
    warped, valid = geometry.warp_by_motion(prev, motion)
    assert warped.shape == prev.shape
    assert not valid[3, 4]
    assert valid.sum() == valid.size - 1
    assert np.array_equal(warped[valid], prev[valid])
    assert not warped[3, 4].any()


def ground_and_wall(height_m: float = 1.5) -> np.ndarray:
    """Flat ground below the horizon, sky above, a wall 6 m away in the middle."""
    rows = np.arange(HEIGHT) + 0.5 - 24
    with np.errstate(divide="ignore"):
        ground = np.where(rows > 0, height_m * 40 / rows, np.inf)
    depth = np.repeat(ground[:, None], WIDTH, axis=1).astype(np.float32)
    depth[:, 24:40] = np.minimum(depth[:, 24:40], 6)
    return depth


def test_nothing_is_occluded_in_a_still_world_even_at_grazing_angles() -> None:
    depth = ground_and_wall()
    motion = np.zeros((HEIGHT, WIDTH, 2), np.float16)
    assert not geometry.occlusion_mask(depth, depth, motion, camera()).any()
    assert not geometry.occlusion_mask(depth, depth, motion).any()


def test_what_a_sliding_camera_uncovers_is_occluded_and_nothing_else() -> None:
    """The camera moved 0.45 m to the right: the wall slid 3 px to the left over the sky."""
    depth_prev = np.full((HEIGHT, WIDTH), np.inf, np.float32)
    depth_prev[:, 30:40] = 6
    depth = np.full((HEIGHT, WIDTH), np.inf, np.float32)
    depth[:, 27:37] = 6
    moved = camera((-0.45, 0, 0))
    motion = geometry.motion_from_depth(depth, moved)
    assert motion[0, 30] == pytest.approx([3, 0], abs=1e-5)
    occluded = geometry.occlusion_mask(depth, depth_prev, motion, moved)
    assert occluded[:, 37:40].all()
    occluded[:, 37:40] = False
    assert not occluded.any()


def test_a_car_that_drives_is_not_occluded_but_the_road_behind_it_is() -> None:
    depth_prev = np.full((HEIGHT, WIDTH), 10, np.float32)
    depth_prev[20:30, 10:20] = 5.0
    depth = np.full((HEIGHT, WIDTH), 10, np.float32)
    depth[20:30, 14:24] = 5.3
    motion = np.zeros((HEIGHT, WIDTH, 2), np.float16)
    motion[20:30, 14:24] = [-4, 0]
    occluded = geometry.occlusion_mask(depth, depth_prev, motion, camera())
    expected = np.zeros_like(occluded)
    expected[20:30, 10:14] = True
    assert np.array_equal(occluded, expected)


def test_edges_stand_at_silhouettes_and_creases_and_nowhere_on_a_slanted_plane() -> None:
    ground = ground_and_wall()
    ground[:, 24:40] = ground[:, :1]
    horizon = geometry.edges_from_buffers(ground)
    assert horizon[23:25].all()
    assert not horizon[:23].any()
    assert not horizon[25:].any()
    depth = np.full((HEIGHT, WIDTH), 10, np.float32)
    depth[:, 20:] = 5
    assert list(np.flatnonzero(geometry.edges_from_buffers(depth)[7])) == [19, 20]
    flat = np.full((HEIGHT, WIDTH), 10, np.float32)
    normal = np.zeros((HEIGHT, WIDTH, 3), np.float16)
    normal[..., 2] = -1
    normal[10:] = [0, -1, 0]
    assert list(np.flatnonzero(geometry.edges_from_buffers(flat, normal)[:, 3])) == [9, 10]
    instance = np.ones((HEIGHT, WIDTH), np.uint32)
    instance[:, 50:] = 2
    assert list(np.flatnonzero(geometry.edges_from_buffers(flat, None, instance)[0])) == [49, 50]
