"""The G-buffer pass: one draw of a Panda3D scene gives depth, normal, motion, ids and albedo.

It draws whatever hangs under a scene root with its own shader, set as the capture camera's initial
state, so a game's own shaders and lights do not matter. Nodes that carry the tag `capture` get an
object id, a class, a roughness, and, where they move rigidly, true motion vectors. Skinned
characters are drawn in their pose, but their motion is marked unknown (NaN).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from panda3d.core import (
    AntialiasAttrib,
    BitMask32,
    Camera,
    ColorBlendAttrib,
    LMatrix4,
    LVecBase4,
    NodePath,
    RenderState,
    Shader,
    ShaderAttrib,
    TransparencyAttrib,
)

from capture_bridge.buffers import FrameArrays
from engine_plugins.panda3d.device import Device, Target
from engine_plugins.panda3d.glsl import ANISOTROPIC

F64 = NDArray[np.float64]

TAG = "capture"
_OVERRIDE = 1000

#: Panda3D's camera (x right, y forward, z up) and OpenGL's eye (x right, y up, -z forward), from
#: OpenCV's axes (x right, y down, z forward).
PANDA_FROM_CV = np.array(
    [[1, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]], dtype=np.float64
)
GL_FROM_CV = np.diag([1.0, -1.0, -1.0, 1.0])

_VERTEX = """#version 330
uniform mat4 p3d_ModelViewProjectionMatrix;
uniform mat4 p3d_ModelViewMatrix;
uniform mat3 p3d_NormalMatrix;
in vec4 p3d_Vertex;
in vec3 p3d_Normal;
in vec2 p3d_MultiTexCoord0;
in vec4 p3d_Color;
in float capture_instance;
out vec3 eye;
out vec3 normal;
out vec2 uv;
out vec4 tint;
flat out float vertex_instance;
void main() {
    gl_Position = p3d_ModelViewProjectionMatrix * p3d_Vertex;
    eye = (p3d_ModelViewMatrix * p3d_Vertex).xyz;
    normal = p3d_NormalMatrix * p3d_Normal;
    uv = p3d_MultiTexCoord0;
    tint = p3d_Color;
    vertex_instance = capture_instance;
}
"""

_FRAGMENT = (
    """#version 330
"""
    + ANISOTROPIC
    + """
uniform sampler2D p3d_Texture0;
uniform vec4 p3d_ColorScale;
uniform mat4 capture_prev_eye;   // previous eye space from this frame's, per rigid part
uniform vec4 capture_lens;       // fx, fy, cx, cy in pixels
uniform vec4 capture_lens_prev;
uniform vec4 capture_object;     // instance, semantic, roughness, motion known
uniform vec4 capture_color;      // linear base colour times the texture; a: texture is sRGB-encoded
in vec3 eye;
in vec3 normal;
in vec2 uv;
in vec4 tint;
flat in float vertex_instance;
layout(location = 0) out vec4 out_albedo;
layout(location = 1) out vec4 out_normal;
layout(location = 2) out vec4 out_geometry;
void main() {
    vec4 texel = anisotropic(p3d_Texture0, uv) * tint * p3d_ColorScale;
    CUT_OUT
    if (capture_color.a > 0.5) texel.rgb = pow(texel.rgb, vec3(2.2));
    out_albedo = vec4(texel.rgb * capture_color.rgb, capture_object.z);
    vec3 n = normalize(normal);
    if (dot(n, eye) > 0.0) n = -n;
    out_normal = vec4(n.x, -n.y, -n.z, capture_object.y);
    vec3 prev = (capture_prev_eye * vec4(eye, 1.0)).xyz;
    vec2 now_px = vec2(eye.x, -eye.y) / -eye.z * capture_lens.xy + capture_lens.zw;
    vec2 prev_px = vec2(prev.x, -prev.y) / -prev.z * capture_lens_prev.xy + capture_lens_prev.zw;
    bool known = capture_object.w > 0.5 && prev.z < -1e-4;
    vec2 motion = known ? prev_px - now_px : vec2(1e9);
    float id = vertex_instance > 0.5 ? vertex_instance : capture_object.x;
    out_geometry = vec4(-eye.z, motion, id);
}
"""
)


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """A pinhole camera: K (3, 3) in pixels and world_from_camera (4, 4), OpenCV axes, metres."""

    K: F64
    world_from_camera: F64


@dataclass(frozen=True, slots=True)
class Surface:
    """What the pass writes for a tagged node. instance < 2**24; color: linear, times texture."""

    instance: int = 0
    semantic: int = 0
    roughness: float = 0.6
    motion_known: bool = True
    color: tuple[float, float, float] = (1.0, 1.0, 1.0)
    texture_is_srgb_encoded: bool = True


def matrix(rows: F64) -> LMatrix4:
    """Panda3D's matrix (row vectors) of a (4, 4) that acts on column vectors."""
    return LMatrix4(*np.ascontiguousarray(rows.T, dtype=np.float64).ravel().tolist())


class GBuffer:
    """The pass over one scene. Draws with `camera`, whose lens and place the owner keeps.

    cut_out: honour the textures' alpha (a scene without such textures draws faster without).
    """

    def __init__(
        self, device: Device, scene: NodePath, size: tuple[int, int], *,
        default: Surface | None = None, mask: BitMask32 | None = None, cut_out: bool = True,
    ) -> None:  # fmt: skip
        self.size = size
        self._default = Surface() if default is None else default
        self._target = Target(device, "capture-gbuffer", size, ("color", "hrgba", "float"))
        test = "if (texel.a < 0.5) discard;" if cut_out else ""
        self._shader = Shader.make(Shader.SL_GLSL, _VERTEX, _FRAGMENT.replace("CUT_OUT", test))
        self._surfaces: dict[str, Surface] = {}
        self._states: dict[str, Any] = {}
        node = Camera("capture")
        node.setScene(scene)
        node.setTagStateKey(TAG)
        if mask is not None:
            node.setCameraMask(mask)
        self.camera = scene.attachNewNode(node)
        region = self._target.buffer.makeDisplayRegion()
        region.setCamera(self.camera)

    def tag(self, node: NodePath, key: str, surface: Surface) -> None:
        """Give the node and what hangs under it a surface; key: unique within this pass."""
        node.setTag(TAG, key)
        self._surfaces[key] = surface
        self.camera.node().setTagState(key, self._state(surface, None))

    def prepare(self, view: View, prev: View, moved: dict[str, tuple[F64, F64]]) -> None:
        """Set this frame's view, the previous one, and (world, previous world) of moving tags."""
        gl_from_world = GL_FROM_CV @ np.linalg.inv(view.world_from_camera)
        prev_gl_from_world = GL_FROM_CV @ np.linalg.inv(prev.world_from_camera)
        world_from_gl = np.linalg.inv(gl_from_world)
        attrib = self._attrib(self._default, prev_gl_from_world @ world_from_gl)
        attrib = attrib.setShaderInput("capture_lens", _lens_vector(view.K))
        attrib = attrib.setShaderInput("capture_lens_prev", _lens_vector(prev.K))
        self.camera.node().setInitialState(
            RenderState.make(
                attrib.setShader(self._shader, _OVERRIDE),
                TransparencyAttrib.make(TransparencyAttrib.MNone),
                ColorBlendAttrib.makeOff(),
                AntialiasAttrib.make(AntialiasAttrib.MNone),
                _OVERRIDE,
            )
        )
        for key, (pose, pose_prev) in moved.items():
            delta = prev_gl_from_world @ pose_prev @ np.linalg.inv(pose) @ world_from_gl
            self.camera.node().setTagState(key, self._state(self._surfaces[key], delta))

    def _state(self, surface: Surface, delta: F64 | None) -> RenderState:
        return RenderState.make(self._attrib(surface, delta), _OVERRIDE)

    def _attrib(self, surface: Surface, delta: F64 | None) -> Any:
        attrib = ShaderAttrib.make()
        if delta is not None:
            attrib = attrib.setShaderInput("capture_prev_eye", matrix(delta))
        what = LVecBase4(
            surface.instance, surface.semantic, surface.roughness, surface.motion_known
        )
        attrib = attrib.setShaderInput("capture_object", what)
        color = LVecBase4(*surface.color, surface.texture_is_srgb_encoded)
        return attrib.setShaderInput("capture_color", color)

    def read(self, view: View, prev: View | None) -> FrameArrays:
        """The buffers of the frame that the engine has just drawn.

        depth, normal, motion, instance, semantic (sky is 1 where nothing was drawn and the default
        class is 0), albedo, roughness, as in `capture_bridge.buffers`. prev None: motion is NaN.
        """
        geometry, normal = self._target.read("float"), self._target.read("hrgba")
        surface = self._target.read("color")
        depth = np.ascontiguousarray(geometry[..., 0])
        sky = depth <= 0
        depth[sky] = np.inf
        motion = geometry[..., 1:3]
        motion[motion[..., 0] > 1e8] = np.nan
        if prev is None:
            motion[:] = np.nan
        else:
            motion[sky] = _sky_motion(sky, view, prev)
        return {
            "depth": depth,
            "normal": normal[..., :3].astype(np.float16),
            "motion": motion.astype(np.float16),
            "instance": geometry[..., 3].astype(np.uint32),
            "semantic": normal[..., 3].astype(np.uint8),
            "albedo": np.ascontiguousarray(surface[..., :3]),
            "roughness": np.ascontiguousarray(surface[..., 3]),
        }

    def set_active(self, active: bool) -> None:
        """Whether the engine draws the pass from now on."""
        self._target.buffer.setActive(active)

    def close(self) -> None:
        """Free the pass's buffers and its camera."""
        self._target.close()
        retire(self.camera)


def retire(camera: NodePath) -> None:
    """Remove a camera that hangs in the scene it draws: the two would keep each other alive."""
    camera.node().setScene(NodePath())
    camera.node().clearTagStates()
    camera.removeNode()


def _lens_vector(K: F64) -> LVecBase4:
    return LVecBase4(float(K[0, 0]), float(K[1, 1]), float(K[0, 2]), float(K[1, 2]))


def _sky_motion(sky: NDArray[np.bool_], view: View, prev: View) -> F64:
    """Motion (N, 2) of the pixels of the sky, which lies infinitely far away."""
    rows, cols = np.nonzero(sky)
    pixels = np.stack([cols + 0.5, rows + 0.5, np.ones(len(rows))])
    turn = prev.world_from_camera[:3, :3].T @ view.world_from_camera[:3, :3]
    rays = prev.K @ turn @ np.linalg.inv(view.K) @ pixels
    ahead = rays[2] > 1e-6
    moved = rays[:2] / np.where(ahead, rays[2], 1.0) - pixels[:2]
    return np.where(ahead, moved, np.nan).T
