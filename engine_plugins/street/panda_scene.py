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
from engine_plugins.street.scene import Street


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
        node = root.attachNewNode(_geom_node(mesh, vertex_format))
        node.setTexture(textures[material.texture] if material.texture else white)
        node.setTwoSided(material.two_sided)
        node.setBin("fixed", index)  # equal depths then fall out the same in every run
        nodes[str(index)] = node
    return nodes


def _format() -> Any:
    columns = GeomVertexArrayFormat()
    columns.addColumn(InternalName.getVertex(), 3, GeomEnums.NTFloat32, GeomEnums.CPoint)
    columns.addColumn(InternalName.getNormal(), 3, GeomEnums.NTFloat32, GeomEnums.CNormal)
    columns.addColumn(InternalName.getTexcoord(), 2, GeomEnums.NTFloat32, GeomEnums.CTexcoord)
    columns.addColumn(
        InternalName.make("capture_instance"), 1, GeomEnums.NTFloat32, GeomEnums.COther
    )
    return GeomVertexFormat.registerFormat(GeomVertexFormat(columns))


def _geom_node(mesh: model.Mesh, vertex_format: Any) -> GeomNode:
    count = len(mesh.vertices)
    instance = np.zeros(count, dtype=np.float32)
    instance[mesh.faces.ravel()] = np.repeat(mesh.face_instance, 3)
    rows = np.concatenate([mesh.vertices, mesh.normals, mesh.uvs, instance[:, None]], axis=1)
    data = GeomVertexData(mesh.material, vertex_format, Geom.UHStatic)
    data.uncleanSetNumRows(count)
    view = memoryview(data.modifyArray(0)).cast("B")
    view[:] = np.ascontiguousarray(rows, dtype=np.float32).tobytes()
    triangles = GeomTriangles(Geom.UHStatic)
    triangles.setIndexType(Geom.NTUint32)
    handle = triangles.modifyVertices()
    handle.uncleanSetNumRows(mesh.faces.size)
    index_view = memoryview(handle).cast("B")
    index_view[:] = np.ascontiguousarray(mesh.faces, dtype=np.uint32).tobytes()
    geom = Geom(data)
    geom.addPrimitive(triangles)
    node = GeomNode(mesh.material)
    node.addGeom(geom)
    return node


def _texture(source: model.Texture) -> Texture:
    """An sRGB texture with mipmaps. Row 0 of the pixels lies at v = 0, as in OpenGL itself."""
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
