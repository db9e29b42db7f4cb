"""The path-traced truth of a street: the same geometry, camera and poses as the game, by Mitsuba.

Ids, depth and normals come from exact rays through the pixel centres, colour from path tracing with
Open Image Denoise, one fixed exposure and one fixed tone curve for every street. This file knows
Mitsuba and the street's plain data; it knows nothing of Panda3D and of sockets.
"""

import importlib
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capture_bridge.buffers import SEMANTIC_CLASSES, FrameArrays
from capture_bridge.errors import SetupError
from engine_plugins.street.mitsuba_scene import (
    StreetScene,
    fillers,
    load_scene,
    merge_parts,
    part_id,
    posed,
)
from engine_plugins.street.mitsuba_setup import SLOW_VARIANT, load_mitsuba
from engine_plugins.street.model import F32, F64, intrinsics

EXPOSURE = 11.0  # of scene radiance in front of the tone curve; the same for every street
_MAX_RADIANCE = 400.0  # above it lies the sun's disc alone; keeps the denoiser in range
_ROULETTE_DEPTH = 2  # half the time of Mitsuba's 5 for 7 % more noise, measured
_PASS_SAMPLES = 1 << 24  # paths in flight at a time: bounds memory at any size

# Stephen Hill's fit of the ACES RRT and sRGB ODT (BakingLab's ACES.hlsl, MIT licence): linear sRGB
# to the curve's space, the curve's rational polynomial, and back to linear sRGB.
_ACES_IN = np.array(
    [[0.59719, 0.35458, 0.04823], [0.07600, 0.90834, 0.01566], [0.02840, 0.13383, 0.83777]]
)
_ACES_OUT = np.array(
    [[1.60475, -0.53108, -0.07367], [-0.10208, 1.10813, -0.00605], [-0.00327, -0.07276, 1.07602]]
)
# Camera axes: OpenCV's are x right, y down; Mitsuba's x left, y up; both look along +z.
_MITSUBA_FROM_OPENCV = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """A camera in pixels. K: (3, 3). world_from_camera: (4, 4), OpenCV axes, metres."""

    K: F64
    world_from_camera: F64


def filmic(radiance: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    """Return sRGB u8 (…, 3) of scene-linear radiance (…, 3): fixed exposure, ACES curve, encode."""
    x = np.asarray(radiance, np.float64) * EXPOSURE @ _ACES_IN.T
    x = (x * (x + 0.0245786) - 0.000090537) / (x * (0.983729 * x + 0.4329510) + 0.238081)
    linear = np.clip(x @ _ACES_OUT.T, 0.0, 1.0)
    encoded = np.where(
        linear <= 0.0031308, 12.92 * linear, 1.055 * np.power(linear, 1 / 2.4) - 0.055
    )
    code: NDArray[np.uint8] = np.round(encoded * 255).astype(np.uint8)
    return code


class TruthRenderer:
    """Path-traces one street at one size.

    width, height: of the virtual frame. crop: (x, y, width, height) of it to render, in pixels; the
    whole frame when None. spp: samples per pixel. max_depth: of a path, in vertices. t_s:
    the moment at which it is loaded; the first one to render saves a move.
    Raises SetupError when Mitsuba or the denoiser cannot run here.
    """

    def __init__(
        self,
        street: StreetScene,
        width: int,
        height: int,
        *,
        spp: int = 64,
        max_depth: int = 6,
        crop: tuple[int, int, int, int] | None = None,
        t_s: float = 0.0,
    ) -> None:
        self._mi = load_mitsuba()
        self._denoise = _load_denoiser()
        self._street = street
        self._width, self._height = width, height
        self._spp, self._crop = spp, crop or (0, 0, width, height)
        self._parts = merge_parts(street.meshes)
        self._t_s = t_s
        self._scene = load_scene(self._mi, street, self._parts, t_s)
        self._fillers = fillers(self._mi, self._parts, street.materials)
        # Two renders: nested in one integrator, Mitsuba 3.9 would trace every path twice.
        self._color = self._mi.load_dict(
            {"type": "path", "max_depth": max_depth, "rr_depth": _ROULETTE_DEPTH}
        )
        self._guides = self._mi.load_dict({"type": "aov", "aovs": "albedo:albedo,normal:sh_normal"})
        self._parameters = self._mi.traverse(self._scene)

    def render(self, t_s: float, *, view: View | None = None, seed: int = 0) -> FrameArrays:
        """Return color (H, W, 3), and depth, instance, semantic, normal as in BUFFERS, at a time.

        view: in place of the street's own camera; its K is that of the virtual frame.
        """
        return {
            "color": self.color(t_s, view=view, seed=seed),
            **self.geometry(t_s, view=view),
        }

    def color(self, t_s: float, *, view: View | None = None, seed: int = 0) -> NDArray[np.uint8]:
        """Return the exposed and tone-mapped frame, sRGB (H, W, 3); seed: of the random paths."""
        return filmic(self.radiance(t_s, view=view, seed=seed))

    def radiance(self, t_s: float, *, view: View | None = None, seed: int = 0) -> F32:
        """Return denoised scene-linear colour (H, W, 3); seed: of the random paths."""
        self._move(t_s)
        sensor = self._sensor(self._cropped(view or self._path_view(t_s)))
        color = np.clip(self._sampled(self._color, sensor, seed), 0.0, _MAX_RADIANCE)
        guides = self._sampled(self._guides, sensor, seed)
        albedo = np.ascontiguousarray(np.clip(guides[..., :3], 0.0, 1.0))
        normal = np.ascontiguousarray(guides[..., 3:6])
        denoised: F32 = self._denoise(color, albedo, normal, hdr=True)
        return denoised

    def geometry(self, t_s: float, *, view: View | None = None) -> FrameArrays:
        """Return depth, normal, instance and semantic of the surfaces at the pixel centres."""
        self._move(t_s)
        view = self._cropped(view or self._path_view(t_s))
        *_, width, height = self._crop
        z, normal, part_hit, face = self._cast(view, width, height)
        hit = part_hit >= 0
        instance = np.zeros(width * height, np.uint32)
        semantic = np.full(width * height, SEMANTIC_CLASSES.index("sky"), np.uint8)
        for index, part in enumerate(self._parts):
            mine = part_hit == index
            instance[mine] = part.face_instance[face[mine]]
            name = self._street.materials[part.material].semantic
            semantic[mine] = SEMANTIC_CLASSES.index(name)
        rays = _pixel_rays(view.K, width, height)
        camera_normal = normal @ view.world_from_camera[:3, :3]
        away = np.sum(camera_normal * rays, axis=1) > 0
        camera_normal[away] *= -1
        camera_normal[~hit] = 0
        size = (height, width)
        return {
            "depth": np.where(hit, z, np.inf).astype(np.float32).reshape(size),
            "normal": camera_normal.astype(np.float16).reshape(*size, 3),
            "instance": instance.reshape(size),
            "semantic": semantic.reshape(size),
        }

    def albedo(self, t_s: float, *, view: View | None = None) -> F32:
        """Return linear diffuse albedo (H, W, 3) at the pixel centres, 0 where there is sky."""
        self._move(t_s)
        view = self._cropped(view or self._path_view(t_s))
        *_, width, height = self._crop
        hit = self._intersect(view, width, height)
        value = hit.bsdf().eval_diffuse_reflectance(hit, hit.is_valid())
        return np.asarray(value, np.float32).T.reshape(height, width, 3)

    def _sampled(self, integrator: Any, sensor: Any, seed: int) -> F32:
        """Return the mean of all samples (H, W, channels), rendered in passes of bounded memory."""
        *_, width, height = self._crop
        spp_per_pass = max(1, min(self._spp, _PASS_SAMPLES // (width * height)))
        passes = []
        for done in range(0, self._spp, spp_per_pass):
            spp = min(spp_per_pass, self._spp - done)
            image = self._mi.render(
                self._scene, sensor=sensor, integrator=integrator, spp=spp, seed=seed * 4096 + done
            )
            passes.append(np.nan_to_num(np.asarray(image, np.float32)) * (spp / self._spp))
        total: F32 = np.sum(passes, axis=0)
        return total

    def _path_view(self, t_s: float) -> View:
        pose = self._street.camera(t_s)
        K = intrinsics(pose.fov_x_deg, self._width, self._height)
        return View(K, np.asarray(pose.world_from_camera, np.float64))

    def _cropped(self, view: View) -> View:
        K = np.array(view.K, np.float64)
        K[0, 2] -= self._crop[0]
        K[1, 2] -= self._crop[1]
        return replace(view, K=K)

    def _move(self, t_s: float) -> None:
        if t_s == self._t_s:
            return
        self._t_s = t_s
        for index, part in enumerate(self._parts):
            if part.mover_of_vertex is not None:
                vertices, normals = posed(self._street, part, t_s)
                # Both at once: Mitsuba recomputes smooth normals when positions change alone.
                self._parameters[f"{part_id(index)}.vertex_positions"] = vertices.ravel()
                self._parameters[f"{part_id(index)}.vertex_normals"] = normals.ravel()
        self._parameters.update()

    def _sensor(self, view: View) -> Any:
        """Return a Mitsuba sensor of the crop.

        A shifted principal point instead of a film crop: the kernels stay the same at every crop.
        """
        *_, width, height = self._crop
        return self._mi.load_dict(
            {
                "type": "perspective",
                "fov": float(2 * np.degrees(np.arctan(width / 2 / view.K[0, 0]))),
                "fov_axis": "x",
                "principal_point_offset_x": float(0.5 - view.K[0, 2] / width),
                "principal_point_offset_y": float(0.5 - view.K[1, 2] / height),
                "to_world": self._mi.ScalarTransform4f(
                    view.world_from_camera @ _MITSUBA_FROM_OPENCV
                ),
                "near_clip": 0.05,
                "far_clip": 5000.0,
                "film": {
                    "type": "hdrfilm",
                    "width": width,
                    "height": height,
                    "rfilter": {"type": "box"},
                    "pixel_format": "rgb",
                    "component_format": "float32",
                },
                # At 16 samples a pixel as near to the converged picture as 32 independent ones.
                "sampler": {"type": "multijitter"},
            }
        )

    def _intersect(self, view: View, width: int, height: int) -> Any:
        """Return Mitsuba's surface interaction of the rays through all pixel centres."""
        mi = self._mi
        world = _pixel_rays(view.K, width, height) @ view.world_from_camera[:3, :3].T
        origin = mi.Point3f(*(float(v) for v in view.world_from_camera[:3, 3]))
        ray = mi.Ray3f(origin, mi.Vector3f(world.T.astype(np.float32)))
        return self._scene.ray_intersect(ray, mi.RayFlags.All, True)

    def _cast(
        self, view: View, width: int, height: int
    ) -> tuple[F64, F64, NDArray[np.int64], NDArray[np.int64]]:
        """Return planar z (N,), world normal (N, 3), part (-1: sky) and its face (N,) per pixel."""
        if self._mi.variant() == SLOW_VARIANT:
            return self._cast_one_by_one(view, width, height)
        dr = importlib.import_module("drjit")
        hit = self._intersect(view, width, height)
        # Rays have planar length 1, so the distance is planar z.
        z = np.asarray(hit.t, np.float64)
        shape = np.asarray(dr.reinterpret_array(self._mi.UInt32, hit.shape))
        part_of = np.full(int(shape.max(initial=0)) + 1, -1, np.int64)
        for one in self._scene.shapes():
            pointer = self._mi.ShapePtr(one)
            registered = int(np.asarray(dr.reinterpret_array(self._mi.UInt32, pointer))[0])
            if registered < len(part_of):
                part_of[registered] = int(one.id().removeprefix("part_"))
        normal = np.asarray(hit.sh_frame.n, np.float64).T.copy()
        return z, normal, part_of[shape], np.asarray(hit.prim_index, np.int64)

    def _cast_one_by_one(
        self, view: View, width: int, height: int
    ) -> tuple[F64, F64, NDArray[np.int64], NDArray[np.int64]]:
        mi = self._mi
        count = width * height
        world = _pixel_rays(view.K, width, height) @ view.world_from_camera[:3, :3].T
        origin = mi.Point3f(*(float(v) for v in view.world_from_camera[:3, 3]))
        z, normal = np.full(count, np.inf), np.zeros((count, 3))
        part, face = np.full(count, -1, np.int64), np.zeros(count, np.int64)
        for pixel, direction in enumerate(world):
            hit = self._scene.ray_intersect(mi.Ray3f(origin, mi.Vector3f(direction)))
            if hit.is_valid():
                z[pixel], normal[pixel] = hit.t, np.asarray(hit.sh_frame.n)
                part[pixel] = int(hit.shape.id().removeprefix("part_"))
                face[pixel] = hit.prim_index
        return z, normal, part, face


def _pixel_rays(K: F64, width: int, height: int) -> F64:
    """Return (N, 3) camera-space directions through the pixel centres, z = 1, rows top down."""
    row, column = np.mgrid[0:height, 0:width] + 0.5
    x, y = (column - K[0, 2]) / K[0, 0], (row - K[1, 2]) / K[1, 1]
    return np.stack([x.ravel(), y.ravel(), np.ones(width * height)], axis=1)


@cache
def _load_denoiser() -> Any:
    try:
        return importlib.import_module("mitsuba_oidn").denoise
    except ImportError as error:
        raise SetupError(
            f"the truth's denoiser cannot be loaded ({error}): pip install 'realmaster[truth]'"
        ) from error
