"""What the pixels of a frame, and of the frame before it, say about each other.

`Reduced` keeps a bounded sample of one frame; `FramePair` compares two and computes each quantity
at most once. These are measurements only: which figure is a fault, and what its cure is, health.py
knows. Grids are float32, (rows, cols) of at most about GRID_WIDTH columns; pixel units are those of
the header's render_size, axes OpenCV's. This file knows buffers and messages, no files, no sockets.
"""

from collections.abc import Mapping
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from capture_bridge.alignment import (
    F32,
    MIN_PIXELS,
    EdgeOffsets,
    Mask,
    MovingEdges,
    edge_offsets,
    finite_vectors,
    moving_edges,
)
from capture_bridge.messages import Camera, FrameFlags, FrameHeader

#: Columns of the sampling grid: enough for medians that are good to a few per cent.
GRID_WIDTH = 320
#: Motion below this is none at all: a quarter of the finest step that shows in color.
STILL_PX = 0.02
#: Motion further than this from the epipolar line belongs to other poses.
MAX_OFF_EPIPOLAR_PX = 0.5
#: A frame with one of these flags is not connected to the frame before it.
UNCONNECTED = (
    FrameFlags.CUT
    | FrameFlags.TELEPORT
    | FrameFlags.PAUSED
    | FrameFlags.LOADING
    | FrameFlags.MENU
    | FrameFlags.GENERATED
)

#: Ways in which engines commonly get motion wrong: name -> p_cur + f(motion, size) is p_prev.
MOTION_HYPOTHESES: Mapping[str, tuple[float, float, bool]] = {
    "sign_flipped": (-1.0, -1.0, False),
    "y_flipped": (1.0, -1.0, False),
    "uv_units": (1.0, 1.0, True),
    "ndc_units": (0.5, -0.5, True),
}


class Reduced:
    """A bounded sample of one frame; keeps nothing of the arrays that it was made from.

    Raises nothing: a buffer that is absent is None, and measurements that need it abstain.
    """

    def __init__(self, header: FrameHeader, arrays: Mapping[str, NDArray[np.generic]]) -> None:
        self.header = header
        self.width, self.height = header.render_size
        self.stride = max(1, -(-self.width // GRID_WIDTH))
        start = self.stride // 2
        self.cols = np.arange(start, self.width, self.stride)
        self.rows = np.arange(start, self.height, self.stride)
        self.color = self._sample(arrays.get("color"))
        self.albedo = self._sample(arrays.get("albedo"))
        self.semantic = self._sample(arrays.get("semantic"))
        self.instance = self._sample(arrays.get("instance"))
        self.depth = _as_f32(self._sample(arrays.get("depth")))
        self.normal = _as_f32(self._sample(arrays.get("normal")))
        self.color_hdr = self._sample(arrays.get("color_hdr"))
        self.motion = _as_f32(self._sample(arrays.get("motion")))
        if self.motion is not None:
            height, width = arrays["motion"].shape[:2]
            self.motion *= np.array([self.width / width, self.height / height], np.float32)
        self.luma = self._luma(arrays.get("color"))

    def _sample(self, array: NDArray[np.generic] | None) -> NDArray[np.generic] | None:
        """The grid's pixels of a buffer of any size, as a copy."""
        if array is None:
            return None
        height, width = array.shape[:2]
        if (width, height) == (self.width, self.height):
            start = self.stride // 2
            return np.array(array[start :: self.stride, start :: self.stride])
        rows = ((self.rows + 0.5) * height / self.height).astype(np.intp)
        cols = ((self.cols + 0.5) * width / self.width).astype(np.intp)
        return np.array(array[np.ix_(rows, cols)])

    def _luma(self, color: NDArray[np.generic] | None) -> NDArray[np.uint8] | None:
        """Full-size 8-bit luma (H, W) at render_size."""
        if color is None:
            return None
        luma = cv2.cvtColor(np.ascontiguousarray(color, np.uint8), cv2.COLOR_RGBA2GRAY)
        if luma.shape != (self.height, self.width):
            luma = cv2.resize(luma, (self.width, self.height), interpolation=cv2.INTER_AREA)
        return np.asarray(luma, np.uint8)

    @cached_property
    def rays(self) -> F32 | None:
        """(rows, cols, 3) camera-space directions with z = 1 through the grid's pixels."""
        camera = self.header.camera
        if camera is None:
            return None
        rays = np.ones((len(self.rows), len(self.cols), 3), np.float32)
        rays[..., 0] = ((self.cols + 0.5 - camera.K[0, 2]) / camera.K[0, 0])[None, :]
        rays[..., 1] = ((self.rows + 0.5 - camera.K[1, 2]) / camera.K[1, 1])[:, None]
        return rays

    @cached_property
    def depth_known(self) -> Mask | None:
        """Where depth is a distance: finite and in front of the camera."""
        return None if self.depth is None else np.isfinite(self.depth) & np.asarray(self.depth > 0)

    @cached_property
    def depth_range(self) -> tuple[float, float, float] | None:
        """The 5th, 50th and 95th percentile of known depth in m; None where nothing is known."""
        if self.depth is None or self.depth_known is None or self.depth_known.sum() < MIN_PIXELS:
            return None
        low, middle, high = np.percentile(self.depth[self.depth_known], (5, 50, 95))
        return float(low), float(middle), float(high)

    def surface_normals(self, depth: F32) -> tuple[F32, Mask] | None:
        """Normals of a depth map by central differences, and where it is smooth enough to trust.

        (rows - 2, cols - 2, 3) unit, facing the camera. Disparity is affine on any plane, so its
        second difference marks silhouettes and creases whatever the slope.
        """
        if self.rays is None or self.depth_known is None:
            return None
        depth = np.where(self.depth_known, depth, np.nan).astype(np.float32)
        with np.errstate(invalid="ignore", divide="ignore"):
            disparity = 1 / depth
            middle = disparity[1:-1, 1:-1]
            bend_x = disparity[1:-1, 2:] + disparity[1:-1, :-2] - 2 * middle
            bend_y = disparity[2:, 1:-1] + disparity[:-2, 1:-1] - 2 * middle
            smooth = np.abs(bend_x) + np.abs(bend_y) < 0.02 * middle
            x, y = self.rays[..., 0] * depth, self.rays[..., 1] * depth
            ax, ay, az = (p[1:-1, 2:] - p[1:-1, :-2] for p in (x, y, depth))  # along the row
            bx, by, bz = (p[2:, 1:-1] - p[:-2, 1:-1] for p in (x, y, depth))  # along the column
            normal = np.stack([by * az - bz * ay, bz * ax - bx * az, bx * ay - by * ax], -1)
            length = np.sqrt(np.einsum("...i,...i", normal, normal))
            normal /= length[..., None]
        return normal, smooth & np.isfinite(length)


def _as_f32(array: NDArray[np.generic] | None) -> F32 | None:
    return None if array is None else array.astype(np.float32)


class FramePair:
    """A frame with the frame before it, or without where they do not connect.

    `arrays` are this frame's full-size buffers, used during the call that made the pair only.
    `moving_classes` are the semantic ids that move by themselves, `green_classes` those of plants.
    """

    def __init__(
        self,
        now: Reduced,
        before: Reduced | None,
        arrays: Mapping[str, NDArray[np.generic]],
        moving_classes: frozenset[int] = frozenset(),
        green_classes: frozenset[int] = frozenset(),
    ) -> None:
        self.now = now
        self.arrays = arrays
        self.moving_classes = moving_classes
        self.green_classes = green_classes
        connected = (
            before is not None
            and before.header.seq + 1 == now.header.seq
            and before.header.render_size == now.header.render_size
            and not now.header.flags & UNCONNECTED
        )
        self.before = before if connected else None

    # --- camera, depth and motion --------------------------------------------------------------

    @cached_property
    def motion_valid(self) -> Mask | None:
        """Where motion is a number."""
        motion = self.now.motion
        return None if motion is None else finite_vectors(motion)

    @cached_property
    def static(self) -> Mask | None:
        """Pixels with depth and motion that do not move by themselves, as far as ids tell."""
        if self.motion_valid is None or self.now.depth_known is None:
            return None
        static: Mask = np.asarray(self.motion_valid & self.now.depth_known)
        if self.now.semantic is not None and self.moving_classes:
            static = static & ~np.isin(self.now.semantic, list(self.moving_classes))
        return np.asarray(static) if int(static.sum()) >= MIN_PIXELS else None

    def flow_from_pose(self, depth: F32) -> F32 | None:
        """Motion (rows, cols, 2) in px that the two camera poses imply for static points."""
        terms = self._reprojection
        if terms is None:
            return None
        toward, shift = terms
        with np.errstate(invalid="ignore", divide="ignore"):
            inverse = np.where(depth > 0, 1 / depth, np.nan).astype(np.float32)
            projected = toward + shift * inverse[..., None]
            flow = projected[..., :2] / projected[..., 2:]
        flow[projected[..., 2] <= 0] = np.nan
        flow[..., 0] -= (self.now.cols + 0.5)[None, :]
        flow[..., 1] -= (self.now.rows + 0.5)[:, None]
        return np.asarray(flow, np.float32)

    @cached_property
    def _reprojection(self) -> tuple[F32, F32] | None:
        """a (rows, cols, 3) and b (3,): the point at depth z was seen along a + b / z, in px."""
        camera, rays = self.now.header.camera, self.now.rays
        if camera is None or rays is None or not np.isfinite(camera.world_from_camera_prev).all():
            return None
        k_prev = self._previous_camera(camera).K
        try:
            prev_from_now = np.linalg.solve(camera.world_from_camera_prev, camera.world_from_camera)
        except np.linalg.LinAlgError:
            return None
        toward = rays @ (k_prev @ prev_from_now[:3, :3]).T.astype(np.float32)
        return toward, (k_prev @ prev_from_now[:3, 3]).astype(np.float32)

    def _previous_camera(self, camera: Camera) -> Camera:
        before = self.before.header.camera if self.before is not None else None
        return camera if before is None else before

    @cached_property
    def pose_flow(self) -> F32 | None:
        """flow_from_pose of the depth as recorded."""
        return None if self.now.depth is None else self.flow_from_pose(self.now.depth)

    @cached_property
    def depth_before(self) -> tuple[F32, F32] | None:
        """Of pixels that were in view: depth in the frame before by the poses, and as recorded.

        (n,) each, in m; None without poses or depths.
        """
        terms, before, flow, depth = self._reprojection, self.before, self.pose_flow, self.now.depth
        if terms is None or before is None or before.depth is None or flow is None or depth is None:
            return None
        toward, shift = terms
        expected = toward[..., 2] * depth + shift[2]
        flow = np.where(np.isfinite(flow), flow, np.inf)
        x = np.arange(len(self.now.cols)) + np.round(flow[..., 0] / self.now.stride)
        y = np.arange(len(self.now.rows))[:, None] + np.round(flow[..., 1] / self.now.stride)
        seen = (x >= 0) & (y >= 0) & (x < len(self.now.cols)) & (y < len(self.now.rows))
        recorded = before.depth[y[seen].astype(np.intp), x[seen].astype(np.intp)]
        return expected[seen].astype(np.float32), recorded

    @cached_property
    def pose_flow_px(self) -> float | None:
        """Median length of the flow that pose and depth imply: how much the camera moved."""
        if self.before is None or self.pose_flow is None:
            return None
        length = np.linalg.norm(self.pose_flow, axis=-1)
        length = length[np.isfinite(length)]
        return float(np.median(length)) if length.size >= MIN_PIXELS else None

    @cached_property
    def motion_px(self) -> float | None:
        """Median length of the motion buffer in px."""
        if self.now.motion is None or self.motion_valid is None or not self.motion_valid.any():
            return None
        return float(np.median(np.linalg.norm(self.now.motion[self.motion_valid], axis=-1)))

    def motion_as(self, hypothesis: str) -> F32 | None:
        """Motion read under one of MOTION_HYPOTHESES, (rows, cols, 2) px."""
        if self.now.motion is None:
            return None
        x, y, relative = MOTION_HYPOTHESES[hypothesis]
        size = (self.now.width, self.now.height) if relative else (1, 1)
        return self.now.motion * np.array([x * size[0], y * size[1]], np.float32)

    @cached_property
    def motion_residual_px(self) -> float | None:
        """Median distance of motion from pose_flow on static pixels; None where unknown."""
        return None if self.now.motion is None else self._residual_px(self.now.motion)

    @cached_property
    def repaired_residuals_px(self) -> dict[str, float]:
        """The same for each of MOTION_HYPOTHESES."""
        readings = {name: self.motion_as(name) for name in MOTION_HYPOTHESES}
        found = {n: self._residual_px(m) for n, m in readings.items() if m is not None}
        return {name: residual for name, residual in found.items() if residual is not None}

    def _residual_px(self, motion: F32, flow: F32 | None = None) -> float | None:
        flow = self.pose_flow if flow is None else flow
        if self.before is None or self.static is None or flow is None:
            return None
        gap = (motion - flow)[self.static]
        length = np.hypot(gap[:, 0], gap[:, 1])
        length = length[np.isfinite(length)]
        return float(np.median(length)) if length.size >= MIN_PIXELS else None

    def residual_for_depth_px(self, depth: F32) -> float | None:
        """Median distance of motion from the flow that another reading of depth implies."""
        flow = self.flow_from_pose(depth)
        if self.now.motion is None or flow is None:
            return None
        return self._residual_px(self.now.motion, flow)

    @cached_property
    def disparity_correlation(self) -> float | None:
        """Rank correlation of 1/depth with the disparity that motion and poses triangulate.

        None without translation or motion, or where motion and poses contradict each other whatever
        the depth (off the epipolar lines, or behind the camera).
        """
        terms, motion = self._reprojection, self.now.motion
        if (self.motion_px or 0.0) <= STILL_PX:
            return None
        if self.before is None or terms is None or motion is None or self.static is None:
            return None
        toward, shift = terms
        u = motion[..., 0] + (self.now.cols + 0.5).astype(np.float32)[None, :]
        v = motion[..., 1] + (self.now.rows + 0.5).astype(np.float32)[:, None]
        slope_u, slope_v = shift[0] - u * shift[2], shift[1] - v * shift[2]
        value_u = u * toward[..., 2] - toward[..., 0]
        value_v = v * toward[..., 2] - toward[..., 1]
        steepness = slope_u**2 + slope_v**2
        assert self.now.depth is not None
        usable = self.static & (np.hypot(value_u, value_v) > 0.3) & (steepness > 0)
        if usable.sum() < MIN_PIXELS:
            return None
        off_line = np.abs(slope_u * value_v - slope_v * value_u)[usable] / np.sqrt(
            steepness[usable]
        )
        seen = ((slope_u * value_u + slope_v * value_v)[usable] / steepness[usable])[::7]
        if np.median(off_line) > MAX_OFF_EPIPOLAR_PX or (seen > 0).mean() < 0.8:
            return None
        return rank_correlation(seen, (1 / self.now.depth[usable])[::7])

    # --- normals -------------------------------------------------------------------------------

    @cached_property
    def normal_angle_deg(self) -> float | None:
        """Median angle between the depth map's normals and the normal buffer."""
        return None if self._normals is None else _median_angle_deg(*self._normals)

    @cached_property
    def repaired_angles_deg(self) -> dict[str, float]:
        """The same with the normal buffer read as engines commonly get it wrong."""
        camera = self.now.header.camera
        if self._normals is None or camera is None:
            return {}
        surface, given = self._normals
        readings = {
            "flipped": -given,
            "world_space": given @ camera.world_from_camera[:3, :3].astype(np.float32),
            "opengl_axes": given * np.array([1, -1, -1], np.float32),
            "packed_01": 2 * given - 1,
        }
        return {name: _median_angle_deg(surface, reading) for name, reading in readings.items()}

    @cached_property
    def _normals(self) -> tuple[F32, F32] | None:
        return None if self.now.depth is None else self._both_normals(self.now.depth)

    @cached_property
    def normal_angle_if_radial_deg(self) -> float | None:
        """normal_angle_deg, had depth been the distance along the ray."""
        if self.now.depth is None or self.now.rays is None:
            return None
        both = self._both_normals(self.now.depth / np.linalg.norm(self.now.rays, axis=-1))
        return None if both is None else _median_angle_deg(*both)

    def _both_normals(self, depth: F32) -> tuple[F32, F32] | None:
        """(n, 3) of the depth map and (n, 3) of the buffer, where both can be trusted."""
        found, normal = self.now.surface_normals(depth), self.now.normal
        if found is None or normal is None:
            return None
        surface, smooth = found
        inner = normal[1:-1, 1:-1]
        usable: Mask = np.logical_and(smooth, np.linalg.norm(inner, axis=-1) > 0.2)
        return (surface[usable], inner[usable]) if usable.sum() >= MIN_PIXELS else None

    # --- color ---------------------------------------------------------------------------------

    def warp_error(self, motion: F32) -> float | None:
        """Mean absolute luma difference (levels) to the frame before along `motion`."""
        if self.before is None or self.before.luma is None or self.now.luma is None:
            return None
        valid = finite_vectors(motion)
        if valid.sum() < MIN_PIXELS:
            return None
        safe = np.where(valid[..., None], motion, 0)
        x = (safe[..., 0] + self.now.cols.astype(np.float32)[None, :]).astype(np.float32)
        y = (safe[..., 1] + self.now.rows.astype(np.float32)[:, None]).astype(np.float32)
        valid &= (x >= 0) & (y >= 0) & (x < self.now.width - 1) & (y < self.now.height - 1)
        if valid.sum() < MIN_PIXELS:
            return None
        warped = cv2.remap(self.before.luma, x, y, cv2.INTER_LINEAR).astype(np.float32)
        here = self.now.luma[
            self.now.rows[0] :: self.now.stride, self.now.cols[0] :: self.now.stride
        ]
        return float(np.abs(warped - here)[valid].mean())

    @cached_property
    def same_color(self) -> bool:
        """Whether every pixel's luma is that of the frame before."""
        return (
            self.before is not None
            and self.before.luma is not None
            and self.now.luma is not None
            and np.array_equal(self.before.luma, self.now.luma)
        )

    @cached_property
    def edges(self) -> MovingEdges | None:
        """Steps of ids (of depth where there are no ids) that move across themselves."""
        found = {name: self.arrays.get(name) for name in ("motion", "depth", "instance")}
        motion, depth, ids = found.values()
        size = (self.now.height, self.now.width)
        if motion is None or depth is None:
            return None
        if any(array is not None and array.shape[:2] != size for array in found.values()):
            return None
        return moving_edges(motion, depth, ids, every=2 * self.now.stride)

    @cached_property
    def color_offsets(self) -> EdgeOffsets | None:
        """Where color's edges lie against those of ids, or of depth where there are no ids."""
        if self.now.luma is None or self.edges is None:
            return None
        return edge_offsets(self.now.luma, self.edges, is_depth=False)

    @cached_property
    def depth_offsets(self) -> EdgeOffsets | None:
        """Where depth's edges lie against those of ids; None without ids."""
        if self.edges is None or "instance" not in self.arrays:
            return None
        return edge_offsets(self.arrays["depth"], self.edges, is_depth=True)

    @cached_property
    def flow(self) -> F32 | None:
        """The motion buffer, or what poses and depth imply where there is none."""
        return self.now.motion if self.now.motion is not None else self.pose_flow


def rank_correlation(a: F32, b: F32) -> float:
    """Spearman's rank correlation of two (n,) samples; 0 where one of them is constant."""
    ranks = [
        np.argsort(np.argsort(x, kind="stable"), kind="stable").astype(np.float64) for x in (a, b)
    ]
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def _median_angle_deg(a: F32, b: F32) -> float:
    """a unit (n, 3), b (n, 3) of any length."""
    length = np.maximum(np.sqrt(np.einsum("ni,ni->n", b, b)), 1e-6)
    cosine = np.median(np.einsum("ni,ni->n", a, b) / length)
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))
