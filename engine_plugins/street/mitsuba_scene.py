"""A street as a Mitsuba scene: few large parts, principled surfaces, a sun and its sky.

This file knows Mitsuba's scene description and the street's plain data; it renders nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from engine_plugins.street.model import F32, F64, CameraPose, Material, Mesh, Sun, Texture

_ROUND = 128
_LEAST = 1e-4


class StreetScene(Protocol):
    """What the truth needs of a street; `engine_plugins.street.scene.Street` is one."""

    @property
    def materials(self) -> Mapping[str, Material]:
        """Materials by name."""

    @property
    def textures(self) -> Mapping[str, Texture]:
        """Textures by name."""

    @property
    def meshes(self) -> Sequence[Mesh]:
        """All triangles, merged per (material, mover)."""

    @property
    def sun(self) -> Sun:
        """Sun and sky."""

    def mover_pose(self, mover: int, t_s: float) -> F64:
        """Return (4, 4) world_from_mover at a time in seconds."""

    def camera(self, t_s: float) -> CameraPose:
        """Return the camera on its path."""


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """All triangles of one material that stand still, or all that move.

    mover_of_vertex: (N,) index into movers, None where nothing moves.
    """

    material: str
    vertices: F32
    normals: F32
    uvs: F32
    faces: NDArray[np.uint32]
    face_instance: NDArray[np.uint32]
    movers: tuple[int, ...] = ()
    mover_of_vertex: NDArray[np.int64] | None = None


def part_id(index: int) -> str:
    """Return the shape id of the part at an index."""
    return f"part_{index:04d}"


def merge_parts(meshes: Sequence[Mesh]) -> list[Part]:
    """Return few large parts, so that loading is fast and one kernel fits every street."""
    groups: dict[tuple[str, bool], list[Mesh]] = {}
    for mesh in meshes:
        groups.setdefault((mesh.material, mesh.mover >= 0), []).append(mesh)
    parts = []
    for (material, moves), members in sorted(groups.items(), key=lambda item: item[0]):
        starts = np.cumsum([0, *(len(mesh.vertices) for mesh in members)])
        part = Part(
            material=material,
            vertices=np.concatenate([mesh.vertices for mesh in members]).astype(np.float32),
            normals=np.concatenate([mesh.normals for mesh in members]).astype(np.float32),
            uvs=np.concatenate([mesh.uvs for mesh in members]).astype(np.float32),
            faces=np.concatenate(
                [mesh.faces + start for mesh, start in zip(members, starts, strict=False)]
            ).astype(np.uint32),
            face_instance=np.concatenate([mesh.face_instance for mesh in members]),
        )
        if moves:
            counts = [len(mesh.vertices) for mesh in members]
            part = replace(
                part,
                movers=tuple(mesh.mover for mesh in members),
                mover_of_vertex=np.repeat(np.arange(len(members)), counts),
            )
        parts.append(part)
    return parts


def load_scene(mi: Any, street: StreetScene, parts: Sequence[Part], t_s: float) -> Any:
    """Return the Mitsuba scene at a time; the shape of parts[i] has the id `part_id(i)`.

    mi: the module `mitsuba`, variant set.
    """
    bsdfs = {
        name: mi.load_dict(_bsdf(mi, street.materials[name], street.textures))
        for name in sorted({part.material for part in parts})
    }
    shapes = {
        part_id(index): _shape(
            mi, part_id(index), part, bsdfs[part.material], posed(street, part, t_s)
        )
        for index, part in enumerate(parts)
    }
    sky = {
        "type": "sunsky",
        "sun_direction": [float(v) for v in street.sun.direction],
        "turbidity": float(street.sun.turbidity),
    }
    # optimize=True would merge the shapes and lose which object a ray hit.
    return mi.load_dict({"type": "scene", "sky": sky, **shapes}, optimize=False)


def posed(street: StreetScene, part: Part, t_s: float) -> tuple[F32, F32]:
    """Return world-space vertices and normals (N, 3) of a part at a time."""
    if part.mover_of_vertex is None:
        return part.vertices, part.normals
    pose = np.stack([street.mover_pose(mover, t_s) for mover in part.movers])[part.mover_of_vertex]
    vertices = np.einsum("nij,nj->ni", pose[:, :3, :3], part.vertices) + pose[:, :3, 3]
    normals = np.einsum("nij,nj->ni", pose[:, :3, :3], part.normals)
    return vertices.astype(np.float32), normals.astype(np.float32)


def fillers(mi: Any, parts: Sequence[Part], materials: Mapping[str, Material]) -> list[Any]:
    """Return unused shapes and surfaces that bring a scene's numbers of both to round ones.

    Dr.Jit bakes these numbers into its kernels: with the same numbers for every street, and these
    objects kept alive as long as the scene, all streets share the compiled kernels.
    """
    used = {part.material for part in parts}
    num_surfaces = sum(2 if materials[name].two_sided else 1 for name in used)
    surfaces = [mi.load_dict({"type": "principled"}) for _ in range(1 + -num_surfaces % _ROUND)]
    properties = mi.Properties()
    properties["bsdf"] = surfaces[0]  # else each shape would make one of its own
    shapes = [mi.Mesh("filler", 3, 1, props=properties) for _ in range(-len(parts) % _ROUND)]
    return [*surfaces, *shapes]


def _shape(mi: Any, name: str, part: Part, bsdf: Any, pose: tuple[F32, F32]) -> Any:
    vertices, normals = pose
    properties = mi.Properties()
    properties["bsdf"] = bsdf
    shape = mi.Mesh(
        name,
        len(vertices),
        len(part.faces),
        props=properties,
        has_vertex_normals=True,
        has_vertex_texcoords=True,
    )
    values = mi.traverse(shape)
    values["vertex_positions"] = vertices.ravel()
    values["vertex_normals"] = normals.ravel()
    values["vertex_texcoords"] = part.uvs.ravel()
    values["faces"] = part.faces.ravel()
    values.update()
    return shape


def _bsdf(mi: Any, material: Material, textures: Mapping[str, Texture]) -> dict[str, Any]:
    """Return a principled BSDF's description (Disney's, as Mitsuba documents `principled`)."""
    base: dict[str, Any]
    if material.texture is None:
        base = {"type": "rgb", "value": [float(v) for v in material.base_color]}
    else:
        linear = _SRGB_TO_LINEAR[textures[material.texture].pixels] * material.base_color
        pixels = np.clip(linear, 0, 1).astype(np.float32)
        base = {"type": "bitmap", "bitmap": mi.Bitmap(pixels), "raw": False}
    bsdf: dict[str, Any] = {
        "type": "principled",
        "base_color": base,
        "roughness": float(material.roughness),
        "specular": float(material.specular),
    }
    if material.metallic > 0 or material.clearcoat > 0:
        # Never 0, which Mitsuba would take for a simpler surface with a kernel of its own.
        bsdf["metallic"] = max(float(material.metallic), _LEAST)
        bsdf["clearcoat"] = max(float(material.clearcoat), _LEAST)
        bsdf["clearcoat_gloss"] = 0.95
    return {"type": "twosided", "bsdf": bsdf} if material.two_sided else bsdf


def _srgb_table() -> F32:
    code = np.arange(256) / 255
    linear = np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4)
    return linear.astype(np.float32)


_SRGB_TO_LINEAR = _srgb_table()
