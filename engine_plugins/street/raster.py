"""The street drawn by Panda3D: the game's picture and its true buffers, in process and headless.

Lambert sun with a shadow map, hemisphere ambient, mirrored sky on glass and paint, light haze. The
G-buffer is the Panda3D plugin's own pass, so the street is captured like any other game.
"""

from __future__ import annotations

import numpy as np
from panda3d.core import NodePath, PerspectiveLens

from capture_bridge.buffers import SEMANTIC_CLASSES, FrameArrays
from capture_bridge.messages import Camera
from engine_plugins.panda3d.device import Device, open_headless
from engine_plugins.panda3d.gbuffer import PANDA_FROM_CV, GBuffer, Surface, View, matrix
from engine_plugins.street.hud import draw_hud
from engine_plugins.street.look import MOVING, STATIC, Look
from engine_plugins.street.model import F64, CameraPose, intrinsics
from engine_plugins.street.panda_scene import attach_meshes
from engine_plugins.street.scene import Street

NEAR_M, FAR_M = 0.2, 900.0
Crop = tuple[int, int, int, int]


class StreetRenderer:
    """Draws frames of one street. Close it (or use it as a context manager) to free its buffers.

    width, height: the virtual frame. crop: (x, y, w, h), the part of it that is really drawn, with
    the same pixels as the whole frame would have there; K's principal point moves with it.
    device: where to draw, by default the process's headless one.
    """

    def __init__(
        self, street: Street, width: int, height: int, *, crop: Crop | None = None,
        device: Device | None = None,
    ) -> None:  # fmt: skip
        self.street = street
        self._frame_size = (width, height)
        self._crop: Crop = (0, 0, width, height) if crop is None else crop
        x, y, w, h = self._crop
        if min(x, y) < 0 or min(w, h) < 1 or x + w > width or y + h > height:
            raise ValueError(f"crop {self._crop} does not lie in the frame {width}x{height}")
        self.size = (w, h)
        self._device = open_headless() if device is None else device
        self._root = NodePath("street")
        self._nodes = attach_meshes(street, self._root)
        self._look = Look(self._device, street, self._root, self._nodes, self.size)
        missing = Surface(semantic=SEMANTIC_CLASSES.index("none"), texture_is_srgb_encoded=False)
        self._gbuffer = GBuffer(
            self._device,
            self._root,
            self.size,
            default=missing,
            mask=STATIC | MOVING,
            cut_out=False,
        )  # not the sky's card, which would be a white quad in the world
        for key, node in self._nodes.items():
            self._gbuffer.tag(node, key, self._surface(key))
        self._prev: tuple[float, View] | None = None
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
        """The pinhole camera of the street's path at time t_s, K that of the crop."""
        return self._view_from(self.street.camera(t_s))

    def _view_from(self, pose: CameraPose) -> View:
        K = intrinsics(pose.fov_x_deg, *self._frame_size)
        K[0, 2] -= self._crop[0]
        K[1, 2] -= self._crop[1]
        return View(K, pose.world_from_camera)

    def render(
        self, t_s: float, *, prev_t: float | None = None, cut: bool = False,
        pose: CameraPose | None = None,
    ) -> FrameArrays:  # fmt: skip
        """The buffers of the frame at time t_s, seen from the street's path or from `pose`.

        Motion points to the frame at prev_t of the path, by default to the one rendered before;
        with cut, or on the first frame, motion is NaN.
        """
        before = self._prev if prev_t is None else (prev_t, self.view(prev_t))
        if cut:
            before = None
        view = self.view(t_s) if pose is None else self._view_from(pose)
        prev = view if before is None else before[1]
        moved = self._move(t_s, t_s if before is None else before[0])
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
        self._camera = Camera(
            view.K, view.world_from_camera, prev.world_from_camera, NEAR_M, FAR_M, reversed_z=False
        )
        shown = draw_hud(
            color, self.street, t_s, view.world_from_camera, self._speed(t_s, view, before)
        )
        self._prev = (t_s, view)
        return {"color": color, "color_ui": shown, **arrays}

    def _speed(self, t_s: float, view: View, before: tuple[float, View] | None) -> float:
        """Metres per second since the frame before, or along the path where there is none."""
        t_prev, prev = before or (t_s - 0.05, self.view(t_s - 0.05))
        way = view.world_from_camera[:3, 3] - prev.world_from_camera[:3, 3]
        return float(np.linalg.norm(way) / max(abs(t_s - t_prev), 1e-3))

    def _move(self, t_s: float, before_s: float) -> dict[str, tuple[F64, F64]]:
        """Put the movers where they are at t_s; their poses then and before, by node."""
        count = self.street.num_movers
        poses = [self.street.mover_pose(mover, t_s) for mover in range(count)]
        prev_poses = [self.street.mover_pose(mover, before_s) for mover in range(count)]
        moved = {}
        for key, node in self._nodes.items():
            mover = self.street.meshes[int(key)].mover
            if mover >= 0:
                node.setMat(matrix(poses[mover]))
                moved[key] = (poses[mover], prev_poses[mover])
        return moved

    def camera(self, t_s: float) -> Camera:
        """The camera of a frame at t_s; its previous pose is that of the frame rendered before.

        For the frame rendered last this is that frame's camera.
        """
        if self._camera is not None and self._prev is not None and self._prev[0] == t_s:
            return self._camera
        view = self.view(t_s)
        prev = view if self._prev is None else self._prev[1]
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
