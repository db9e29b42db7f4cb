"""The street drawn by Panda3D: the game's picture and its true buffers, in process and headless.

Lambert sun with a shadow map, hemisphere ambient, mirrored sky on glass and paint, light haze. The
G-buffer is the Panda3D plugin's own pass, so the street is captured like any other game.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from panda3d.core import NodePath, PerspectiveLens

from capture_bridge.buffers import SEMANTIC_CLASSES, FrameArrays
from capture_bridge.messages import Camera
from engine_plugins.panda3d.device import Target, open_headless
from engine_plugins.panda3d.gbuffer import PANDA_FROM_CV, GBuffer, Surface, View, matrix
from engine_plugins.street.hud import draw_hud
from engine_plugins.street.look import Look
from engine_plugins.street.model import F64, intrinsics
from engine_plugins.street.panda_scene import attach_meshes
from engine_plugins.street.scene import Street

NEAR_M, FAR_M = 0.2, 900.0
Crop = tuple[int, int, int, int]


class StreetRenderer:
    """Draws frames of one street. Close it (or use it as a context manager) to free its buffers.

    width, height: the virtual frame. crop: (x, y, w, h), the part of it that is really drawn, with
    the same pixels as the whole frame would have there; K's principal point moves with it.
    """

    def __init__(
        self, street: Street, width: int, height: int, *, crop: Crop | None = None
    ) -> None:
        self.street = street
        self._frame_size = (width, height)
        self._crop: Crop = (0, 0, width, height) if crop is None else crop
        x, y, w, h = self._crop
        if min(x, y) < 0 or min(w, h) < 1 or x + w > width or y + h > height:
            raise ValueError(f"crop {self._crop} does not lie in the frame {width}x{height}")
        self.size = (w, h)
        self._device = open_headless()
        self._root = NodePath("street")
        self._nodes = attach_meshes(street, self._root)
        self._look = Look(self._device, street, self._root, self._nodes, self.size)
        missing = Surface(semantic=SEMANTIC_CLASSES.index("none"), texture_is_srgb_encoded=False)
        self._gbuffer = GBuffer(self._device, self._root, self.size, default=missing, cut_out=False)
        for key, node in self._nodes.items():
            self._gbuffer.tag(node, key, self._surface(key))
        self._prev_t: float | None = None
        self._camera: Camera | None = None

    def _surface(self, key: str) -> Surface:
        mesh = self.street.meshes[int(key)]
        material = self.street.materials[mesh.material]
        return Surface(
            semantic=SEMANTIC_CLASSES.index(material.semantic),
            roughness=material.roughness,
            color=material.base_color,
            texture_is_srgb_encoded=False,
        )

    def view(self, t_s: float) -> View:
        """The pinhole camera at time t_s, K that of the crop."""
        pose = self.street.camera(t_s)
        K = intrinsics(pose.fov_x_deg, *self._frame_size)
        K[0, 2] -= self._crop[0]
        K[1, 2] -= self._crop[1]
        return View(K, pose.world_from_camera)

    def render(self, t_s: float, *, prev_t: float | None = None, cut: bool = False) -> FrameArrays:
        """The buffers of the frame at time t_s.

        Motion points to the frame at prev_t, by default the one rendered before; with cut, or on
        the first frame, motion is NaN.
        """
        before = self._prev_t if prev_t is None else prev_t
        if cut:
            before = None
        view = self.view(t_s)
        prev = view if before is None else self.view(before)
        poses = [self.street.mover_pose(m, t_s) for m in range(self.street.num_movers)]
        moved: dict[str, tuple[F64, F64]] = {}
        prev_poses = poses
        if before is not None:
            prev_poses = [self.street.mover_pose(m, before) for m in range(self.street.num_movers)]
        for key, node in self._nodes.items():
            mover = self.street.meshes[int(key)].mover
            if mover >= 0:
                node.setMat(matrix(poses[mover]))
                moved[key] = (poses[mover], prev_poses[mover])
        lens = _lens(view.K, self.size)
        place = matrix(view.world_from_camera @ np.linalg.inv(PANDA_FROM_CV))
        for camera in (self._gbuffer.camera, self._look.camera):
            camera.node().setLens(lens)
            camera.setMat(place)
        self._gbuffer.prepare(view, prev, moved)
        self._look.prepare(view)
        self._device.engine.renderFrame()
        arrays = self._gbuffer.read(view, None if before is None else prev)
        semantic = arrays["semantic"]
        semantic[~np.isfinite(arrays["depth"])] = SEMANTIC_CLASSES.index("sky")
        color = self._look.read()
        arrays = {"color": color, "color_ui": draw_hud(color, self.street, t_s), **arrays}
        self._prev_t = t_s
        self._camera = Camera(
            view.K, view.world_from_camera, prev.world_from_camera, NEAR_M, FAR_M, reversed_z=False
        )
        return arrays

    def camera(self, t_s: float) -> Camera:
        """The camera of a frame at t_s; its previous pose is that of the frame rendered before.

        For the frame rendered last this is that frame's camera.
        """
        view = self.view(t_s)
        if self._camera is not None and self._prev_t == t_s:
            return self._camera
        prev = view if self._prev_t is None else self.view(self._prev_t)
        return Camera(view.K, view.world_from_camera, prev.world_from_camera, NEAR_M, FAR_M)

    def close(self) -> None:
        """Free the graphics memory; the renderer cannot draw afterwards."""
        self._gbuffer.close()
        self._look.close()
        self._root.removeNode()

    def __enter__(self) -> StreetRenderer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _lens(K: F64, size: tuple[int, int]) -> PerspectiveLens:
    width, height = size
    lens = PerspectiveLens()
    lens.setFilmSize(width, height)
    lens.setFocalLength(float(K[0, 0]))
    lens.setFilmOffset(float(width / 2 - K[0, 2]), float(K[1, 2] - height / 2))
    lens.setNearFar(NEAR_M, FAR_M)
    return lens
