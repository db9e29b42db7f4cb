"""An engine whose every number is known in closed form: the test double for anything that records.

A camera drives over a textured plane past boxes and spheres (two of them moving); colour, depth,
normals, motion and ids follow from ray casting, so a test can compare against the truth. It speaks
through the public door: `frame(i)` gives arrays and a Camera, `message(i)` a protocol Frame,
`hello()` the Hello to open with. It knows the buffer table and the messages, nothing of files or
sockets.
"""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from capture_bridge.buffers import BUFFERS, SEMANTIC_CLASSES, FrameArrays
from capture_bridge.messages import (
    BufferDescriptor,
    Camera,
    Frame,
    FrameFlags,
    FrameHeader,
    Hello,
    Matrix,
    StreamInfo,
)

F64 = NDArray[np.float64]

ALL_BUFFERS = (
    "color",
    "color_ui",
    "depth",
    "normal",
    "motion",
    "instance",
    "semantic",
    "albedo",
    "roughness",
    "metallic",
)
SUN = np.array([0.45, -0.55, 0.7]) / np.linalg.norm([0.45, -0.55, 0.7])
NEAR_M, FAR_M = 0.1, 1000.0
HOST_START_NS = 1_000_000_000_000  # the host clock at game time 0


@dataclass(frozen=True)
class Solid:
    """A box (half sizes) or a sphere (radius in half[0]) that moves at a constant velocity."""

    kind: str  # "box" | "sphere"
    center: tuple[float, float, float]
    half: tuple[float, float, float]
    color: tuple[float, float, float]  # linear
    semantic: str
    velocity: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def center_at(self, t_s: float) -> F64:
        return np.array(self.center) + t_s * np.array(self.velocity)


SOLIDS = (
    Solid("box", (-7.0, 12.0, 3.5), (2.5, 4.0, 3.5), (0.45, 0.14, 0.09), "wall"),
    Solid("box", (7.5, 15.0, 5.0), (2.5, 5.0, 5.0), (0.50, 0.42, 0.28), "wall"),
    Solid("box", (-8.0, 26.0, 6.0), (3.0, 5.0, 6.0), (0.32, 0.30, 0.26), "wall"),
    Solid("box", (8.5, 32.0, 4.0), (3.0, 6.0, 4.0), (0.42, 0.22, 0.10), "wall"),
    Solid("box", (-1.0, 48.0, 7.0), (6.0, 3.0, 7.0), (0.36, 0.33, 0.22), "wall"),
    Solid("sphere", (-3.6, 9.0, 1.3), (1.0, 1.0, 1.0), (0.10, 0.26, 0.04), "foliage"),
    Solid("sphere", (4.2, 20.0, 1.6), (1.4, 1.4, 1.4), (0.12, 0.24, 0.03), "foliage"),
    Solid("box", (2.6, 9.5, 0.7), (0.9, 1.8, 0.7), (0.55, 0.03, 0.02), "vehicle"),
    Solid(
        "box", (-2.2, 17.0, 0.7), (0.9, 1.8, 0.7), (0.05, 0.10, 0.45), "vehicle", (0.0, -4.0, 0.0)
    ),
    Solid(
        "sphere", (-1.5, 11.0, 0.9), (0.6, 0.6, 0.6), (0.50, 0.34, 0.06), "person", (1.8, 0.0, 0.0)
    ),
)
GROUND_INSTANCE = len(SOLIDS) + 1


@dataclass(frozen=True)
class _Hits:
    """What the rays of one grid hit. depth (H, W) m; point, normal (H, W, 3) in the world."""

    depth: F64
    point: F64
    normal: F64
    index: NDArray[np.int64]  # into SOLIDS; len(SOLIDS) is the ground, -1 the sky


@dataclass(frozen=True)
class AnalyticFrame:
    """One rendered frame: arrays as in BUFFERS, and what the header says of it."""

    index: int
    t_sim_ns: int
    t_host_ns: int
    arrays: FrameArrays
    camera: Camera
    flags: FrameFlags = FrameFlags.NONE


@dataclass
class AnalyticEngine:
    """A deterministic drive; `frame(i)` is a pure function of the fields and i."""

    width: int = 192
    height: int = 108
    fps: float = 24.0
    speed_mps: float = 6.0
    buffers: tuple[str, ...] = ALL_BUFFERS
    session_uuid: str = "0123456789abcdef0123456789abcdef"
    params: Mapping[str, str] = field(default_factory=dict)

    def t_ns(self, index: int) -> int:
        """Game time of frame `index` in ns."""
        return round(index * 1e9 / self.fps)

    def camera_pose(self, t_s: float) -> Matrix:
        """world_from_camera (4, 4) at t_s: forward along +y, swaying and slowly turning."""
        yaw = 0.10 * np.sin(1.1 * t_s + 0.4)
        pitch = 0.04 + 0.02 * np.sin(1.7 * t_s)  # positive looks down
        forward = np.array(
            [np.sin(yaw) * np.cos(pitch), np.cos(yaw) * np.cos(pitch), -np.sin(pitch)]
        )
        right = np.array([np.cos(yaw), -np.sin(yaw), 0.0])
        pose = np.eye(4)
        pose[:3, 0], pose[:3, 2] = right, forward
        pose[:3, 1] = np.cross(forward, right)
        pose[:3, 3] = (0.3 * np.sin(0.9 * t_s), self.speed_mps * t_s, 1.6)
        return pose

    def camera(self, index: int) -> Camera:
        """The camera of frame `index`; of frame 0 the pose before is extrapolated."""
        t_s, t_prev_s = self.t_ns(index) / 1e9, self.t_ns(index - 1) / 1e9
        focal = 0.9 * self.width
        k = np.array([[focal, 0, self.width / 2], [0, focal, self.height / 2], [0, 0, 1.0]])
        return Camera(k, self.camera_pose(t_s), self.camera_pose(t_prev_s), NEAR_M, FAR_M)

    def frame(self, index: int) -> AnalyticFrame:
        """Render frame `index`."""
        camera = self.camera(index)
        t_s, t_prev_s = self.t_ns(index) / 1e9, self.t_ns(index - 1) / 1e9
        rays = _rays(camera.K, self.width, self.height, 0.5, 0.5)
        hits = _cast(camera.world_from_camera, rays, t_s)
        arrays = self._geometry(hits, rays, camera, t_s, t_prev_s)
        arrays |= self._material(hits, t_s)
        arrays["color"] = self._color(camera, t_s)
        arrays["color_ui"] = _with_hud(arrays["color"])
        wanted = {name: np.ascontiguousarray(arrays[name]) for name in self.buffers}
        t_ns = self.t_ns(index)
        return AnalyticFrame(index, t_ns, HOST_START_NS + t_ns, wanted, camera)

    def hello(self, *, lockstep: bool = True) -> Hello:
        """The Hello that declares the streams of `buffers`."""
        streams = tuple(
            StreamInfo(
                name,
                self.width,
                self.height,
                BUFFERS[name].dtype,
                BUFFERS[name].components,
                {"classes": ",".join(SEMANTIC_CLASSES)} if name == "semantic" else {},
            )
            for name in self.buffers
        )
        return Hello(
            self.session_uuid,
            "analytic",
            "1",
            "analytic-engine",
            "1",
            "plane and solids",
            streams,
            lockstep=lockstep,
            dt_sim_ns=round(1e9 / self.fps) if lockstep else 0,
            params=dict(self.params),
        )

    def message(self, index: int) -> Frame:
        """Frame `index` as the protocol's Frame (seq = index, raw payloads, checksums)."""
        return to_message(self.frame(index))

    def _geometry(
        self, hits: _Hits, rays: F64, camera: Camera, t_s: float, t_prev_s: float
    ) -> FrameArrays:
        rotation = camera.world_from_camera[:3, :3]
        sky = hits.index < 0
        normal = hits.normal @ rotation  # world -> camera
        normal[sky] = 0.0
        before = hits.point.copy()
        for i, solid in enumerate(SOLIDS):
            before[hits.index == i] += solid.center_at(t_prev_s) - solid.center_at(t_s)
        prev = camera.world_from_camera_prev
        local = (before - prev[:3, 3]) @ prev[:3, :3]
        local[sky] = (rays @ rotation.T @ prev[:3, :3])[sky]  # a direction: rotation alone moves it
        uv = local @ camera.K.T
        with np.errstate(divide="ignore", invalid="ignore"):
            uv = uv[..., :2] / uv[..., 2:]
        rows, cols = np.mgrid[: self.height, : self.width] + 0.5
        motion = uv - np.stack([cols, rows], -1)
        motion[local[..., 2] <= 0] = np.nan
        depth = np.where(sky, np.inf, hits.depth).astype(np.float32)
        with np.errstate(divide="ignore"):
            device = (1 / NEAR_M - 1 / depth) / (1 / NEAR_M - 1 / FAR_M)
        table = np.array(
            [SEMANTIC_CLASSES.index(s.semantic) for s in SOLIDS]
            + [SEMANTIC_CLASSES.index("ground"), SEMANTIC_CLASSES.index("sky")],
            np.uint8,
        )
        return {
            "depth": depth,
            "depth_raw": np.clip(device, 0, 1).astype(np.float32),
            "normal": normal.astype(np.float16),
            "motion": motion.astype(np.float16),
            "instance": (hits.index + 1).astype(np.uint32),
            "semantic": table[hits.index],  # -1 is the last row: sky
        }

    def _material(self, hits: _Hits, t_s: float) -> FrameArrays:
        albedo = _albedo(hits, t_s)
        albedo[hits.index < 0] = 0.0
        shiny = np.isin(hits.index, [i for i, s in enumerate(SOLIDS) if s.semantic == "vehicle"])
        return {
            "albedo": (albedo * 255 + 0.5).astype(np.uint8),
            "roughness": np.where(shiny, 70, 220).astype(np.uint8),
            "metallic": np.where(shiny, 40, 0).astype(np.uint8),
        }

    def _color(self, camera: Camera, t_s: float) -> NDArray[np.uint8]:
        """sRGB (H, W, 4) of four samples per pixel."""
        total = np.zeros((self.height, self.width, 3))
        for dx, dy in ((0.25, 0.25), (0.75, 0.25), (0.25, 0.75), (0.75, 0.75)):
            rays = _rays(camera.K, self.width, self.height, dx, dy)
            hits = _cast(camera.world_from_camera, rays, t_s)
            light = 0.35 + 0.9 * np.maximum(hits.normal @ SUN, 0.0)
            shaded = _albedo(hits, t_s) * light[..., None]
            world = rays @ camera.world_from_camera[:3, :3].T
            up = np.clip(world[..., 2] / np.linalg.norm(world, axis=-1), 0, 1)[..., None]
            sky = (1 - up) * np.array([0.62, 0.74, 0.88]) + up * np.array([0.16, 0.34, 0.80])
            total += np.where((hits.index < 0)[..., None], sky, shaded)
        linear = np.clip(total / 4, 0, 1)
        srgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
        alpha = np.full((self.height, self.width, 1), 255, np.uint8)
        return np.concatenate([(srgb * 255 + 0.5).astype(np.uint8), alpha], -1)


def to_message(
    frame: AnalyticFrame, *, seq: int | None = None, drops: Mapping[str, int] | None = None
) -> Frame:
    """The protocol's Frame of `frame`; seq defaults to its index. Payloads are raw and tight."""
    descriptors, payloads = [], []
    for name, array in frame.arrays.items():
        row = BUFFERS[name]
        height, width = array.shape[:2]
        payload = np.ascontiguousarray(array).tobytes()
        descriptors.append(
            BufferDescriptor(
                name,
                width,
                height,
                row.dtype,
                row.components,
                width * row.pixel_bytes,
                checksum=zlib.crc32(payload),
            )
        )
        payloads.append(payload)
    size = (descriptors[0].width, descriptors[0].height)
    header = FrameHeader(
        seq=frame.index if seq is None else seq,
        frame_id=frame.index,
        t_sim_ns=frame.t_sim_ns,
        t_render_ns=frame.t_host_ns,
        t_send_ns=frame.t_host_ns + 2_000_000,
        render_size=size,
        output_size=size,
        camera=frame.camera,
        buffers=tuple(descriptors),
        flags=frame.flags,
        drops=dict(drops or {}),
    )
    return Frame(header, tuple(payloads))


def _rays(k: Matrix, width: int, height: int, dx: float, dy: float) -> F64:
    """Camera-space directions (H, W, 3) with z = 1 through (x + dx, y + dy)."""
    rows, cols = np.mgrid[:height, :width]
    return np.stack(
        [
            (cols + dx - k[0, 2]) / k[0, 0],
            (rows + dy - k[1, 2]) / k[1, 1],
            np.ones((height, width)),
        ],
        -1,
    )


def _cast(world_from_camera: Matrix, rays: F64, t_s: float) -> _Hits:
    """The nearest hit of each ray; since rays have z = 1, the ray parameter is the planar depth."""
    origin = world_from_camera[:3, 3]
    direction = rays @ world_from_camera[:3, :3].T
    with np.errstate(divide="ignore", invalid="ignore"):
        ground = -origin[2] / direction[..., 2]
    best = np.where(ground > 0, ground, np.inf)
    index = np.where(ground > 0, len(SOLIDS), -1)
    normal = np.zeros_like(direction)
    normal[..., 2] = 1.0
    for i, solid in enumerate(SOLIDS):
        center = solid.center_at(t_s)
        hit = _hit_box if solid.kind == "box" else _hit_sphere
        depth, solid_normal = hit(origin - center, direction, np.array(solid.half))
        nearer = depth < best
        best = np.where(nearer, depth, best)
        index = np.where(nearer, i, index)
        normal = np.where(nearer[..., None], solid_normal, normal)
    reach = np.where(np.isfinite(best), best, 0.0)
    return _Hits(best, origin + reach[..., None] * direction, normal, index)


def _hit_box(origin: F64, direction: F64, half: F64) -> tuple[F64, F64]:
    with np.errstate(divide="ignore", invalid="ignore"):
        a, b = (-half - origin) / direction, (half - origin) / direction
    near, far = np.minimum(a, b), np.maximum(a, b)
    enter, leave = near.max(-1), far.min(-1)
    depth = np.where((enter < leave) & (enter > NEAR_M), enter, np.inf)
    face = np.eye(3)[near.argmax(-1)]
    return depth, -np.sign(direction) * face


def _hit_sphere(origin: F64, direction: F64, half: F64) -> tuple[F64, F64]:
    a = (direction**2).sum(-1)
    b = (direction * origin).sum(-1)
    root = b**2 - a * (float(origin @ origin) - half[0] ** 2)
    depth = np.where(root > 0, (-b - np.sqrt(np.maximum(root, 0))) / a, np.inf)
    depth = np.where(depth > NEAR_M, depth, np.inf)
    reach = np.where(np.isfinite(depth), depth, 0.0)
    return depth, (origin + reach[..., None] * direction) / half[0]


def _albedo(hits: _Hits, t_s: float) -> F64:
    """Linear base colour (H, W, 3): a pattern in object space that fades with distance."""
    local = hits.point.copy()
    base = np.full((*hits.index.shape, 3), (0.17, 0.15, 0.12))
    road = (np.abs(local[..., 0]) < 4.0) & (hits.index == len(SOLIDS))
    base[road] = (0.10, 0.10, 0.105)
    for i, solid in enumerate(SOLIDS):
        mask = hits.index == i
        local[mask] -= solid.center_at(t_s)
        base[mask] = solid.color
    x, y, z = np.moveaxis(local, -1, 0)
    fade = np.exp(-((np.where(np.isfinite(hits.depth), hits.depth, 0) / 35.0) ** 2))
    blocks = np.tanh(4 * np.sin(2.6 * x) * np.sin(2.2 * y + 0.7) * np.cos(3.0 * z))
    fine = np.sin(9.1 * x + 2.0 * np.sin(3.3 * y)) * np.sin(8.3 * y + 1.3 * z) * np.cos(7.0 * z)
    albedo: F64 = np.clip(base * (1 + fade * (0.30 * blocks + 0.25 * fine))[..., None], 0, 1)
    return albedo


def _with_hud(color: NDArray[np.generic]) -> NDArray[np.uint8]:
    """color_ui: bars and a dial of stripes in two corners, opaque."""
    ui = np.array(color, np.uint8)
    height, width = ui.shape[:2]
    h, w = height // 8, width // 4
    panel = ui[height - h - 4 : height - 4, 4 : 4 + w]
    panel[:] = (20, 20, 24, 255)
    panel[2:-2:3, 2:-2] = (235, 235, 80, 255)
    dial = ui[4 : 4 + h, width - h - 4 : width - 4]
    dial[:, ::2] = (250, 250, 250, 255)
    dial[:, 1::2] = (10, 10, 10, 255)
    return ui
