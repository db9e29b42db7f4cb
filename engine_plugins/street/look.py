"""How the street game looks: the colour pass, its shadow maps and sky. Knows Panda3D and GLSL."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from panda3d.core import (
    BitMask32,
    Camera,
    CardMaker,
    ColorWriteAttrib,
    CullFaceAttrib,
    DepthTestAttrib,
    LMatrix4,
    LVecBase3,
    NodePath,
    OmniBoundingVolume,
    OrthographicLens,
    RenderState,
    SamplerState,
    Shader,
    ShaderAttrib,
)

from engine_plugins.panda3d.device import Device, Target
from engine_plugins.panda3d.gbuffer import PANDA_FROM_CV, View, matrix, retire
from engine_plugins.street.glsl import (
    DEPTH_FRAGMENT,
    DEPTH_VERTEX,
    FRAGMENT,
    RESOLVE_FRAGMENT,
    RESOLVE_VERTEX,
    SKY_FRAGMENT,
    SKY_VERTEX,
    VERTEX,
)
from engine_plugins.street.model import F64, Material
from engine_plugins.street.scene import Street

STATIC, MOVING, SKY, ALL = (BitMask32.bit(k) for k in (1, 2, 3, 4))
# Texels of 2.7 cm over the whole street and of 3.5 cm about the camera.
_STATIC_MAP, _MOVING_MAP = (8192, 2048), (2048, 1024)
#: The picture is drawn this many times as wide and as high, and each pixel is the mean of four.
_SUPERSAMPLING = 2


class Look:
    """The colour pass: `camera` is placed by the owner, `read` gives the picture."""

    def __init__(
        self, device: Device, street: Street, root: NodePath, nodes: dict[str, NodePath],
        size: tuple[int, int],
    ) -> None:  # fmt: skip
        self._root, self._device = root, device
        self._sun = np.asarray(street.sun.direction)
        drawn = (_SUPERSAMPLING * size[0], _SUPERSAMPLING * size[1])
        self._drawn = Target(device, "street-drawn", drawn, ("color",))
        self._target = Target(device, "street-color", size, ("color",), sort=-5)
        camera = Camera("street")
        camera.setScene(root)
        camera.setCameraMask(STATIC | MOVING | SKY)
        self.camera = root.attachNewNode(camera)
        self._drawn.buffer.makeDisplayRegion().setCamera(self.camera)
        self._resolve = _resolving(self._target, self._drawn)
        for key, node in nodes.items():
            mesh = street.meshes[int(key)]
            node.hide(BitMask32.allOn())
            node.show(MOVING if mesh.mover >= 0 else STATIC)
            _shade(node, street.materials[mesh.material])
        root.setShader(Shader.make(Shader.SL_GLSL, VERTEX, FRAGMENT))
        for name, value in _weather(street).items():
            root.setShaderInput(name, value)
        self._sky = _sky_card(root)
        self._static = _ShadowMap(device, root, STATIC, _STATIC_MAP, "static")
        self._moving = _ShadowMap(device, root, MOVING, _MOVING_MAP, "moving")
        self._static.place(self._sun, (-45.0, 175.0), (-18.0, 18.0), (0.0, 14.0))
        self._static.buffer.setOneShot(True)
        root.setShaderInput("static_map", self._static.texture)
        root.setShaderInput("static_from_world", self._static.uv_from_world)
        root.setShaderInput("moving_map", self._moving.texture)

    def prepare(self, view: View) -> None:
        """Set this frame's camera-dependent inputs."""
        eye = view.world_from_camera[:3, 3]
        ahead = view.world_from_camera[:3, 2]
        middle = np.round((eye[0] + 24.0 * ahead[0]) / 8.0) * 8.0
        self._moving.place(self._sun, (middle - 36, middle + 36), (-12.0, 12.0), (0.0, 2.2))
        self._root.setShaderInput("moving_from_world", self._moving.uv_from_world)
        self._root.setShaderInput("eye_world", *(float(v) for v in eye))
        inverse = np.linalg.inv(view.K) / [_SUPERSAMPLING, _SUPERSAMPLING, 1]
        world_from_pixel = view.world_from_camera[:3, :3] @ inverse
        full = np.eye(4)
        full[:3, :3] = world_from_pixel
        self._sky.setShaderInput("world_from_pixel", matrix(full))
        self._sky.setShaderInput("frame_height", float(self._drawn.size[1]))

    def read(self) -> NDArray[np.uint8]:
        """The picture, (H, W, 4) u8 sRGB, alpha 255."""
        image = self._target.read("color")
        image[..., 3] = 255
        return image

    def close(self) -> None:
        """Free the buffers."""
        self._static.close()
        self._moving.close()
        self._drawn.close()
        self._target.close()
        retire(self.camera)
        self._resolve.removeNode()


def _resolving(target: Target, drawn: Target) -> NodePath:
    """A screen-filling card in `target`; its pixels are means of what was drawn there."""
    maker = CardMaker("resolve")
    maker.setFrameFullscreenQuad()
    card = NodePath(maker.generate())
    card.setShader(Shader.make(Shader.SL_GLSL, RESOLVE_VERTEX, RESOLVE_FRAGMENT))
    texture = drawn.textures["color"]
    texture.setMinfilter(SamplerState.FTLinear)
    texture.setMagfilter(SamplerState.FTLinear)
    card.setShaderInput("picture", texture)
    card.setShaderInput("texel", 1.0 / target.size[0], 1.0 / target.size[1])
    card.setDepthTest(False)
    card.setDepthWrite(False)
    card.node().setBounds(OmniBoundingVolume())
    scene = NodePath("resolving")
    card.reparentTo(scene)
    camera = scene.attachNewNode(Camera("resolving", OrthographicLens()))
    target.buffer.makeDisplayRegion().setCamera(camera)
    return scene


def _shade(node: NodePath, material: Material) -> None:
    reflective = {"glass": 0.04}.get(material.semantic, 0.0)
    if material.clearcoat > 0:
        reflective = 0.04
    if material.metallic > 0.5:
        reflective = max(reflective, 0.35)
    leaf = 1.0 if material.texture == "leaves" or material.name == "flower" else 0.0
    node.setShaderInput("base_color", *material.base_color, 1.0)
    node.setShaderInput("gloss", reflective, material.roughness, material.metallic, leaf)


def _weather(street: Street) -> dict[str, Any]:
    """Sun, sky and haze colours (linear) of the street's sun."""
    height = float(street.sun.direction[2])
    haze = (street.sun.turbidity - 2.2) / 2.3
    warm = 1 - height
    return {
        "sun_direction": LVecBase3(*map(float, street.sun.direction)),
        "sun_color": LVecBase3(3.1, 3.1 - 0.75 * warm, 3.1 - 1.6 * warm) * (0.92 + 0.16 * height),
        "sky_top": LVecBase3(0.13 + 0.05 * haze, 0.27 + 0.06 * haze, 0.60 + 0.02 * haze),
        "sky_low": LVecBase3(0.62 + 0.1 * haze, 0.74 + 0.04 * haze, 0.88),
    }


def _sky_card(root: NodePath) -> NodePath:
    maker = CardMaker("sky")
    maker.setFrameFullscreenQuad()
    card = root.attachNewNode(maker.generate())
    card.hide(BitMask32.allOn())
    card.show(SKY)
    card.setShader(Shader.make(Shader.SL_GLSL, SKY_VERTEX, SKY_FRAGMENT), 10)
    card.setBin("fixed", 1_000_000)  # last, where nothing else was drawn
    card.setDepthWrite(False)
    card.setAttrib(DepthTestAttrib.make(DepthTestAttrib.MLessEqual))
    card.node().setFinal(True)
    card.node().setBounds(OmniBoundingVolume())
    return card


class _ShadowMap:
    """An orthographic depth map of what a mask shows, seen from the sun."""

    def __init__(
        self, device: Device, root: NodePath, mask: BitMask32, size: tuple[int, int], name: str
    ) -> None:
        self._target = Target(device, f"shadow-{name}", size, ("depth",), sort=-20)
        self.buffer, self.texture = self._target.buffer, self._target.textures["depth"]
        self._lens = OrthographicLens()
        node = Camera(f"shadow-{name}", self._lens)
        node.setScene(root)
        node.setCameraMask(mask)
        shader = Shader.make(Shader.SL_GLSL, DEPTH_VERTEX, DEPTH_FRAGMENT)
        node.setInitialState(
            RenderState.make(
                ShaderAttrib.make(shader, 1000),
                ColorWriteAttrib.make(ColorWriteAttrib.COff),
                CullFaceAttrib.make(CullFaceAttrib.MCullNone),
                1000,
            )
        )
        self._camera = root.attachNewNode(node)
        self.buffer.makeDisplayRegion().setCamera(self._camera)
        self.uv_from_world = LMatrix4.identMat()

    def place(
        self, sun: F64, x: tuple[float, float], y: tuple[float, float], z: tuple[float, float]
    ) -> None:
        """Cover the light's way to a box of the world; `uv_from_world` then maps into the map."""
        forward = -sun
        right = np.array([1.0, 0, 0]) - sun * sun[0]
        right /= np.linalg.norm(right)
        down = np.cross(forward, right)
        corners = np.array([[a, b, c] for a in x for b in y for c in z])
        across, along = corners @ right, corners @ down
        depth = corners @ forward
        u0, u1, v0, v1 = across.min(), across.max(), along.min(), along.max()
        near, far = depth.min() - 45.0, depth.max() + 1.0
        pose = np.eye(4)
        pose[:3, 0], pose[:3, 1], pose[:3, 2] = right, down, forward
        pose[:3, 3] = right * (u0 + u1) / 2 + down * (v0 + v1) / 2 + forward * near
        self._lens.setFilmSize(float(u1 - u0), float(v1 - v0))
        self._lens.setNearFar(0.0, float(far - near))
        self._camera.setMat(matrix(pose @ np.linalg.inv(PANDA_FROM_CV)))
        rows = np.eye(4)
        rows[0, :3], rows[0, 3] = right / (u1 - u0), -u0 / (u1 - u0)
        rows[1, :3], rows[1, 3] = -down / (v1 - v0), v1 / (v1 - v0)
        rows[2, :3], rows[2, 3] = forward / (far - near), -near / (far - near)
        self.uv_from_world = matrix(rows)

    def close(self) -> None:
        """Free the map."""
        self._target.close()
        retire(self._camera)
