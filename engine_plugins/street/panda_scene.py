"""A street's meshes and textures as Panda3D nodes. Knows Panda3D, not how anything is shaded."""

from __future__ import annotations

from typing import Any

import numpy as np
from panda3d.core import (
    Geom,
    GeomEnums,
    GeomNode,
    GeomTriangles,
    GeomVertexArrayFormat,
    GeomVertexData,
    GeomVertexFormat,
    InternalName,
    NodePath,
    SamplerState,
    Texture,
)

from engine_plugins.street import model
from engine_plugins.street.model import U32
from engine_plugins.street.scene import Street

_BLOCK_M = 64.0
#: What is drawn first within a block: what tends to hide the rest.
_ORDER = ("vehicle", "person", "prop", "foliage", "wall", "glass", "ground")


def attach_meshes(street: Street, root: NodePath) -> dict[str, NodePath]:
    """Hang every mesh under root; the nodes by the mesh's index as text.

    Vertices carry position, normal, UV and the object's id (`capture_instance`).
    """
    textures = {name: _texture(t) for name, t in street.textures.items()}
    white = _texture(model.Texture("white", np.full((1, 1, 3), 255, dtype=np.uint8)))
    vertex_format = _format()
    nodes = {}
    for index, mesh in enumerate(street.meshes):
        material = street.materials[mesh.material]
        node = root.attachNewNode(mesh.material)
        for block, faces in _blocks(mesh):
            part = node.attachNewNode(_geom_node(mesh, faces, vertex_format))
            # near before far on the usual way along +x; equal depths fall out alike in every run
            part.setBin("fixed", block * 1000 + index)
        node.setTexture(textures[material.texture] if material.texture else white)
        node.setTwoSided(material.two_sided)
        nodes[str(index)] = node
    return nodes


def _blocks(mesh: model.Mesh) -> list[tuple[int, U32]]:
    """The faces of a standing mesh by blocks along the street, so that unseen ones are culled."""
    if mesh.mover >= 0:
        return [(-20, mesh.faces)]
    block = np.floor(mesh.vertices[mesh.faces[:, 0], 0] / _BLOCK_M).astype(np.int64)
    return [(int(k), mesh.faces[block == k]) for k in np.unique(block)]


def _format() -> Any:
    columns = GeomVertexArrayFormat()
    columns.addColumn(InternalName.getVertex(), 3, GeomEnums.NTFloat32, GeomEnums.CPoint)
    columns.addColumn(InternalName.getNormal(), 3, GeomEnums.NTFloat32, GeomEnums.CNormal)
    columns.addColumn(InternalName.getTexcoord(), 2, GeomEnums.NTFloat32, GeomEnums.CTexcoord)
    columns.addColumn(
        InternalName.make("capture_instance"), 1, GeomEnums.NTFloat32, GeomEnums.COther
    )
    return GeomVertexFormat.registerFormat(GeomVertexFormat(columns))


def _geom_node(mesh: model.Mesh, faces: U32, vertex_format: Any) -> GeomNode:
    used, index = np.unique(faces, return_inverse=True)
    count = len(used)
    instance = np.zeros(len(mesh.vertices), dtype=np.float32)
    instance[mesh.faces.ravel()] = np.repeat(mesh.face_instance, 3)
    rows = np.concatenate([mesh.vertices, mesh.normals, mesh.uvs, instance[:, None]], axis=1)[used]
    data = GeomVertexData(mesh.material, vertex_format, Geom.UHStatic)
    data.uncleanSetNumRows(count)
    view = memoryview(data.modifyArray(0)).cast("B")
    view[:] = np.ascontiguousarray(rows, dtype=np.float32).tobytes()
    triangles = GeomTriangles(Geom.UHStatic)
    triangles.setIndexType(Geom.NTUint32)
    handle = triangles.modifyVertices()
    handle.uncleanSetNumRows(faces.size)
    index_view = memoryview(handle).cast("B")
    index_view[:] = np.ascontiguousarray(index.ravel(), dtype=np.uint32).tobytes()
    geom = Geom(data)
    geom.addPrimitive(triangles)
    node = GeomNode(mesh.material)
    node.addGeom(geom)
    return node


def _texture(source: model.Texture) -> Texture:
    """An sRGB texture with mipmaps. Row 0 of the pixels lies at v = 0, as in OpenGL."""
    height, width = source.pixels.shape[:2]
    texture = Texture(source.name)
    texture.setup2dTexture(width, height, Texture.TUnsignedByte, Texture.FSrgb)
    texture.setRamImage(np.ascontiguousarray(source.pixels[..., ::-1]).tobytes())
    texture.setMinfilter(SamplerState.FTLinearMipmapLinear)
    texture.setMagfilter(SamplerState.FTLinear)
    texture.setWrapU(SamplerState.WMRepeat)
    texture.setWrapV(SamplerState.WMRepeat)
    texture.setAnisotropicDegree(1)
    return texture
