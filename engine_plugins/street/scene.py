"""One procedural street, a pure function of its seed: geometry, materials, movers, camera paths.

World axes: +x along the street, +y to the left, +z up, metres; the road's middle is y = 0. Traffic
keeps right. Seeds 0-799 train, 800-899 validate, 900-999 test. Pure numpy: neither Panda3D nor
Mitsuba.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from engine_plugins.street.model import (
    F64,
    CameraPose,
    Instance,
    Material,
    Mesh,
    Sun,
    Texture,
)
from engine_plugins.street.paths import draw_camera_path
from engine_plugins.street.residents import add_parked_cars, add_people, add_traffic
from engine_plugins.street.site import KERB_M, PathName, Pose, Site
from engine_plugins.street.textures import street_textures

__all__ = ["PathName", "Street", "build_street"]


@dataclass(eq=False)
class Street:
    """A street to draw: meshes in world or mover space, their materials, and poses over time."""

    seed: int
    path: PathName
    materials: dict[str, Material]
    textures: dict[str, Texture]
    meshes: list[Mesh]
    instances: list[Instance]
    sun: Sun
    _poses: list[Pose] = field(repr=False)
    _camera: Callable[[float], CameraPose] = field(repr=False)

    @property
    def num_movers(self) -> int:
        """How many rigid parts move."""
        return len(self._poses)

    def mover_pose(self, mover: int, t_s: float) -> F64:
        """World from mover space, rigid (4, 4), at time t_s >= 0."""
        return self._poses[mover](t_s)

    def camera(self, t_s: float) -> CameraPose:
        """The camera on the street's path at time t_s >= 0; smooth, valid for any t_s."""
        return self._camera(t_s)


def build_street(seed: int, path: PathName = "drive") -> Street:
    """The street of a seed, with a camera that drives along it or walks on its pavement."""
    site = Site(seed, path)
    site.ground()
    site.houses()
    site.backdrop()
    site.pavements()
    add_parked_cars(site)
    add_traffic(site)
    add_people(site)
    camera = draw_camera_path(site.stream(9), site.layout, path, KERB_M)
    textures = street_textures(site.stream(1))
    meshes = site.builder.meshes()
    used = {m.material for m in meshes}
    materials = {k: v for k, v in site.materials.items() if k in used}
    named = {m.texture for m in materials.values() if m.texture is not None}
    textures = {k: v for k, v in textures.items() if k in named}
    return Street(
        seed, path, materials, textures, meshes, site.instances, site.sun(), site.poses, camera
    )
