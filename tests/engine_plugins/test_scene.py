"""The street as data: repeatable, varied, well-formed, with smooth paths and walking that walks."""

from __future__ import annotations

import numpy as np
import pytest

from capture_bridge.buffers import SEMANTIC_CLASSES
from engine_plugins.street.font import draw_word
from engine_plugins.street.people import THIGH, Walker, person_poses
from engine_plugins.street.scene import Street, build_street
from engine_plugins.street.shapes import Shape, blob, box, ellipsoid, loft, prism, rod, tube

SEEDS = (0, 5, 907)


@pytest.fixture(scope="module", params=SEEDS)
def street(request: pytest.FixtureRequest) -> Street:
    return build_street(request.param, "walk" if request.param == 5 else "drive")


def volume(shape: Shape) -> float:
    a, b, c = (shape.vertices[shape.faces[:, k]] for k in range(3))
    return float((a * np.cross(b, c)).sum() / 6)


def test_solids_are_closed_and_face_outwards() -> None:
    rng = np.random.default_rng(0)
    solids = {
        6.0: box([1, 1, 1], [2, 3, 4]),
        np.pi * 0.99: rod([0, 0, 0], [1, 1, 1] / np.sqrt(3), 1.0, points=40),
        2.0: prism([(0, 0), (2, 0), (0, 1)], 3.0, 5.0),
        4.0 / 3 * np.pi * 0.95: ellipsoid([5, 5, 5], [1, 1, 1], 20, 14),
        1.0: tube([(0, 0, 0, 0.5642, 0.5642), (0, 0, 1, 0.5642, 0.5642)], 60),
    }
    for expected, solid in solids.items():
        assert volume(solid) == pytest.approx(expected, rel=0.07)
    assert volume(blob([1, 2, 3], [1, 1, 1], rng, 0.1)) == pytest.approx(4.0, rel=0.25)


def test_normals_point_the_way_the_faces_do() -> None:
    for shape in (
        box([0, 0, 0], [1, 2, 3]),
        rod([0, 0, 0], [0, 2, 1], 0.3),
        ellipsoid([0, 0, 0], [1, 2, 1]),
    ):
        a, b, c = (shape.vertices[shape.faces[:, k]] for k in range(3))
        flat = np.cross(b - a, c - a)
        assert ((flat * shape.normals[shape.faces].mean(1)).sum(1) > 0).all()
        np.testing.assert_allclose(np.linalg.norm(shape.normals, axis=1), 1, atol=1e-9)


def test_an_open_loft_has_no_seam() -> None:
    rings = [[(x, 0, 0), (x, 1, 0), (x, 2, 0.5)] for x in (0.0, 1.0)]
    assert len(loft(rings, closed=False).vertices) == 6


def test_a_seed_is_repeatable_to_the_bit() -> None:
    first, second = build_street(31), build_street(31)
    assert [(i.id, i.name, i.semantic) for i in first.instances] == [
        (i.id, i.name, i.semantic) for i in second.instances
    ]
    assert first.materials == second.materials
    for a, b in zip(first.meshes, second.meshes, strict=True):
        assert (a.material, a.mover) == (b.material, b.mover)
        np.testing.assert_array_equal(a.vertices, b.vertices)
        np.testing.assert_array_equal(a.face_instance, b.face_instance)
    for name, texture in first.textures.items():
        np.testing.assert_array_equal(texture.pixels, second.textures[name].pixels)
    np.testing.assert_array_equal(
        first.camera(2.0).world_from_camera, second.camera(2.0).world_from_camera
    )


def test_seeds_differ_and_paths_share_the_street() -> None:
    drive, walk, other = build_street(8), build_street(8, "walk"), build_street(9)
    static = {m.material: m for m in walk.meshes if m.mover < 0}
    for mesh in drive.meshes:
        if mesh.mover < 0:
            np.testing.assert_array_equal(mesh.vertices, static[mesh.material].vertices)
    assert not np.allclose(drive.sun.direction, other.sun.direction)
    assert [i.name for i in drive.instances] != [i.name for i in other.instances]


def test_meshes_are_sound(street: Street) -> None:
    names = {i.id for i in street.instances}
    kinds = {i.id: i.semantic for i in street.instances}
    assert len(names) == len(street.instances)
    assert set(kinds.values()) <= set(SEMANTIC_CLASSES)
    triangles = 0
    for mesh in street.meshes:
        material = street.materials[mesh.material]
        assert material.semantic in SEMANTIC_CLASSES
        assert material.texture is None or material.texture in street.textures
        assert -1 <= mesh.mover < street.num_movers
        for array in (mesh.vertices, mesh.normals, mesh.uvs):
            assert np.isfinite(array).all()
            assert len(array) == len(mesh.vertices)
        np.testing.assert_allclose(np.linalg.norm(mesh.normals, axis=1), 1, atol=1e-4)
        assert mesh.faces.max() < len(mesh.vertices)
        assert set(np.unique(mesh.face_instance).tolist()) <= names
        owner = np.zeros(len(mesh.vertices), dtype=np.uint32)
        owner[mesh.faces.ravel()] = np.repeat(mesh.face_instance, 3)
        np.testing.assert_array_equal(owner[mesh.faces], mesh.face_instance[:, None].repeat(3, 1))
        triangles += len(mesh.faces)
    assert 80_000 < triangles < 280_000
    people = [i for i in street.instances if i.name == "person"]
    assert 6 <= len(people) <= 15


def test_the_sun_is_as_promised(street: Street) -> None:
    direction = street.sun.direction
    assert np.linalg.norm(direction) == pytest.approx(1)
    assert 34 <= np.degrees(np.arcsin(direction[2])) <= 58


def test_cameras_are_rigid_and_smooth(street: Street) -> None:
    steps = np.arange(0, 10, 1 / 60)
    poses = np.array([street.camera(t).world_from_camera for t in steps])
    np.testing.assert_allclose(
        poses[:, :3, :3] @ poses[:, :3, :3].transpose(0, 2, 1),
        np.tile(np.eye(3), (len(poses), 1, 1)),
        atol=1e-9,
    )
    np.testing.assert_allclose(np.linalg.det(poses[:, :3, :3]), 1)
    speed = np.linalg.norm(np.diff(poses[:, :3, 3], axis=0), axis=1) * 60
    low, high = (0.9, 1.9) if street.path == "walk" else (5.5, 12.5)
    assert low < speed.min() and speed.max() < high
    jerk = np.diff(poses[:, :3, 3], n=2, axis=0) * 60**2
    assert np.abs(jerk).max() < 3.0
    turn = np.degrees(np.linalg.norm(np.diff(poses[:, :3, 2], axis=0), axis=1)) * 60
    assert turn.max() < 30


def test_movers_are_rigid_and_the_path_stays_clear_of_cars(street: Street) -> None:
    for t_s in (0.0, 4.3, 10.0):
        for mover in range(street.num_movers):
            pose = street.mover_pose(mover, t_s)
            np.testing.assert_allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3), atol=1e-9)
    bodies = {m.mover for m in street.meshes if m.mover >= 0 and m.material == "plate"}
    for t_s in np.arange(0, 10.1, 0.5):
        eye = street.camera(t_s).world_from_camera[:3, 3]
        for mover in bodies:
            local = np.linalg.inv(street.mover_pose(mover, t_s)) @ [*eye, 1]
            assert abs(local[0]) > 2.9 or abs(local[1]) > 1.2, (mover, t_s)


def test_feet_stand_while_the_body_walks() -> None:
    who = Walker(
        start=(0, 0),
        heading=0.0,
        speed=1.35,
        phase=0.0,
        scale=1.0,
        ground_z=0.0,
        coat="",
        trousers="",
        skin="",
        hair="",
        long_coat=False,
        bag=False,
        stocky=1.0,
    )
    sole = np.array([0.0, 0, -0.5, 1])
    half_step_s = 0.5 * 1.42 / who.speed
    for name, lift_off_s in (("shin_l", 0.5 * half_step_s), ("shin_r", 1.5 * half_step_s)):
        times = lift_off_s + np.linspace(0, half_step_s, 40)
        places = np.array([person_poses(who, float(t))[name] @ sole for t in times])
        assert np.abs(places[:, 2]).max() < 0.08  # this foot is on the ground
        assert abs(places[-1, 0] - places[0, 0]) < 0.2  # and the body passes over it by 0.71 m
    pose = person_poses(who, 0.3)
    assert np.isclose(np.linalg.norm(pose["shin_l"][:3, 3] - pose["thigh_l"][:3, 3]), THIGH)


def test_words_that_do_not_fit_or_cannot_be_spelt_are_refused() -> None:
    assert draw_word("CAFE", 20, 60, scale=1).sum() > 40
    with pytest.raises(ValueError, match="does not fit"):
        draw_word("CAFE", 5, 60, scale=1)
    with pytest.raises(KeyError):
        draw_word("é", 20, 60, scale=1)
