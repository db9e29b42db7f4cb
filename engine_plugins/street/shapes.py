"""Triangles of simple solids: quads, boxes, lofts, spheres, prisms; the builder that merges them.

Every shape is unindexed between its flat faces, so that normals are sharp where a solid is. UVs are
in texture repeats: metres divided by `tile`. Pure numpy; knows nothing of streets.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine_plugins.street.model import F32, F64, U32, Mesh


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """Triangles in a space. vertices, normals: (N, 3); uvs: (N, 2); faces: (M, 3), CCW outside."""

    vertices: F64
    normals: F64
    uvs: F64
    faces: NDArray[np.int64]

    def moved(self, matrix: F64) -> Shape:
        """The shape under a rigid (4, 4) transform."""
        rotation = matrix[:3, :3]
        return Shape(
            self.vertices @ rotation.T + matrix[:3, 3],
            self.normals @ rotation.T,
            self.uvs,
            self.faces,
        )

    def shifted(self, *offset: float) -> Shape:
        """The shape moved by (x, y, z)."""
        return Shape(self.vertices + np.array(offset), self.normals, self.uvs, self.faces)

    def repeated(self, offsets: ArrayLike) -> Shape:
        """One copy of the shape at each of the (K, 3) offsets."""
        steps = np.asarray(offsets, dtype=np.float64).reshape(-1, 3)
        count, size = len(steps), len(self.vertices)
        vertices = (self.vertices[None] + steps[:, None]).reshape(-1, 3)
        faces = (self.faces[None] + size * np.arange(count)[:, None, None]).reshape(-1, 3)
        return Shape(
            vertices, np.tile(self.normals, (count, 1)), np.tile(self.uvs, (count, 1)), faces
        )


def _cross(a: F64, b: F64) -> F64:
    """np.cross for (..., 3), without its overhead on small arrays."""
    return np.stack(
        [
            a[..., 1] * b[..., 2] - a[..., 2] * b[..., 1],
            a[..., 2] * b[..., 0] - a[..., 0] * b[..., 2],
            a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0],
        ],
        -1,
    )


def _length(a: F64) -> F64:
    return np.asarray(np.sqrt((a * a).sum(-1, keepdims=True)))


def joined(*shapes: Shape) -> Shape:
    """All shapes as one."""
    starts = np.cumsum([0, *(len(s.vertices) for s in shapes[:-1])])
    return Shape(
        np.concatenate([s.vertices for s in shapes]),
        np.concatenate([s.normals for s in shapes]),
        np.concatenate([s.uvs for s in shapes]),
        np.concatenate([s.faces + k for s, k in zip(shapes, starts, strict=True)]),
    )


def quads(corners: ArrayLike, tile: float = 1.0, uvs: ArrayLike | None = None) -> Shape:
    """Flat quads from (N, 4, 3) corners, counter-clockwise from outside, first edge along u.

    uvs: (N, 4, 2) repeats; by default metres along the first edge and across it, over `tile`.
    """
    p = np.asarray(corners, dtype=np.float64).reshape(-1, 4, 3)
    normal = _cross(p[:, 2] - p[:, 0], p[:, 3] - p[:, 1])
    normal /= np.maximum(_length(normal), 1e-12)
    if uvs is None:
        u_axis = p[:, 1] - p[:, 0]
        u_axis /= np.maximum(_length(u_axis), 1e-12)
        v_axis = _cross(normal, u_axis)
        uv = np.stack([(p * u_axis[:, None]).sum(-1), (p * v_axis[:, None]).sum(-1)], -1) / tile
    else:
        uv = np.asarray(uvs, dtype=np.float64)
    return _quad_shape(p, normal, uv)


def _quad_shape(p: F64, normal: F64, uv: F64) -> Shape:
    first = 4 * np.arange(len(p))[:, None, None]
    faces = (np.array([[0, 1, 2], [0, 2, 3]])[None] + first).reshape(-1, 3)
    return Shape(p.reshape(-1, 3), np.repeat(normal, 4, axis=0), uv.reshape(-1, 2), faces)


_BOX_FACES: dict[str, list[tuple[int, int, int]]] = {
    "-x": [(0, 1, 0), (0, 0, 0), (0, 0, 1), (0, 1, 1)],
    "+x": [(1, 0, 0), (1, 1, 0), (1, 1, 1), (1, 0, 1)],
    "-y": [(0, 0, 0), (1, 0, 0), (1, 0, 1), (0, 0, 1)],
    "+y": [(1, 1, 0), (0, 1, 0), (0, 1, 1), (1, 1, 1)],
    "-z": [(0, 1, 0), (1, 1, 0), (1, 0, 0), (0, 0, 0)],
    "+z": [(0, 0, 1), (1, 0, 1), (1, 1, 1), (0, 1, 1)],
}


_BOX_CORNERS = np.array(list(_BOX_FACES.values()), dtype=np.float64)
_BOX_NORMALS = np.array(
    [[-1, 0, 0], [1, 0, 0], [0, -1, 0], [0, 1, 0], [0, 0, -1], [0, 0, 1]], float
)
_BOX_U = np.array([[0, -1, 0], [0, 1, 0], [1, 0, 0], [-1, 0, 0], [1, 0, 0], [1, 0, 0]], float)
_BOX_V = np.array([[0, 0, 1], [0, 0, 1], [0, 0, 1], [0, 0, 1], [0, -1, 0], [0, 1, 0]], float)


def box(low: ArrayLike, high: ArrayLike, tile: float = 1.0, omit: str = "") -> Shape:
    """An axis-aligned box; `omit` lists faces to leave out, e.g. "-z +y"."""
    lo, hi = np.asarray(low, dtype=np.float64), np.asarray(high, dtype=np.float64)
    chosen = [k for k, face in enumerate(_BOX_FACES) if face not in omit]
    p = lo + _BOX_CORNERS[chosen] * (hi - lo)
    u, v = (p * _BOX_U[chosen, None]).sum(-1), (p * _BOX_V[chosen, None]).sum(-1)
    return _quad_shape(p, _BOX_NORMALS[chosen], np.stack([u, v], -1) / tile)


def _face_normals(points: F64, faces: NDArray[np.int64]) -> F64:
    a, b, c = points[faces[:, 0]], points[faces[:, 1]], points[faces[:, 2]]
    return _cross(b - a, c - a)


def _gathered(faces: NDArray[np.int64], face_normal: F64, count: int) -> F64:
    """Unit vertex normals: the area-weighted mean of the faces around each of `count` vertices."""
    index = faces.ravel()
    sums: F64 = np.stack(
        [np.bincount(index, np.repeat(face_normal[:, k], 3), count) for k in range(3)], -1
    ).astype(np.float64)
    return np.asarray(sums / np.maximum(_length(sums), 1e-12))


def loft(rings: ArrayLike, tile: float = 1.0, *, closed: bool = True, caps: bool = True) -> Shape:
    """A smooth skin over (S, K, 3) rings; rings run counter-clockwise seen from the last ring.

    closed: each ring's last point joins its first. caps: flat ends (for convex rings).
    """
    r = np.asarray(rings, dtype=np.float64)
    count, points = r.shape[:2]
    columns = points + 1 if closed else points
    wrap = np.arange(columns) % points
    grid = r[:, wrap]
    i, j = np.meshgrid(np.arange(count - 1), np.arange(columns - 1), indexing="ij")
    a = i * columns + j
    quad = np.stack([a, a + 1, a + columns + 1, a + columns], -1).reshape(-1, 4)
    faces = np.concatenate([quad[:, [0, 1, 2]], quad[:, [0, 2, 3]]])
    flat = grid.reshape(-1, 3)
    face_normal = _face_normals(flat, faces)
    welded = (np.arange(count)[:, None] * points + wrap[None]).ravel()
    normals = _gathered(welded[faces], face_normal, count * points)[welded]
    faces = faces[_length(face_normal)[:, 0] > 1e-12]
    around = np.concatenate([[0], np.cumsum(_length(np.diff(grid.mean(0), axis=0))[:, 0])])
    along = np.concatenate([[0], np.cumsum(_length(np.diff(r.mean(1), axis=0))[:, 0])])
    uv = np.stack(np.broadcast_arrays(around[None], along[:, None]), -1).reshape(-1, 2) / tile
    skin = Shape(flat, normals, uv, faces)
    if not (caps and closed):
        return skin
    return joined(skin, polygon(r[0][::-1], tile), polygon(r[-1], tile))


def polygon(points: ArrayLike, tile: float = 1.0) -> Shape:
    """A flat convex polygon of (K, 3) points, counter-clockwise from outside."""
    p = np.asarray(points, dtype=np.float64)
    nxt = np.concatenate([p[1:], p[:1]])
    normal = _cross(p, nxt).sum(0)
    length = float(_length(normal)[0])
    normal = normal / length if length > 1e-12 else np.array([0.0, 0.0, 1.0])
    u_axis = _sideways(normal)
    uv = np.stack([p @ u_axis, p @ _cross(normal, u_axis)], -1) / tile
    k = np.arange(1, len(p) - 1)
    faces = np.stack([np.zeros_like(k), k, k + 1], -1)
    return Shape(p, np.tile(normal, (len(p), 1)), uv, faces)


def _sideways(axis: F64) -> F64:
    """A unit vector at right angles to a unit vector."""
    helper = np.array([1.0, 0, 0]) if abs(axis[0]) < 0.9 else np.array([0, 1.0, 0])
    across = _cross(helper, axis)
    return np.asarray(across / _length(across))


def prism(outline: ArrayLike, low: float, high: float, tile: float = 1.0) -> Shape:
    """A convex (K, 2) outline in (x, z), counter-clockwise seen from -y, extruded over y."""
    o = np.asarray(outline, dtype=np.float64)
    near = np.stack([o[:, 0], np.full(len(o), low), o[:, 1]], -1)
    far = near + np.array([0.0, high - low, 0.0])
    n_near, n_far = np.roll(near, -1, axis=0), np.roll(far, -1, axis=0)
    sides = quads(np.stack([near, far, n_far, n_near], 1), tile)
    return joined(sides, polygon(near, tile), polygon(far[::-1], tile))


def ellipse_ring(center: ArrayLike, rx: float, ry: float, points: int) -> F64:
    """A horizontal ellipse as (points, 3), counter-clockwise from above."""
    angle = 2 * np.pi * np.arange(points) / points
    ring = np.stack([rx * np.cos(angle), ry * np.sin(angle), np.zeros(points)], -1)
    return np.asarray(ring + np.asarray(center, dtype=np.float64))


def tube(stations: ArrayLike, points: int = 8, tile: float = 1.0, caps: bool = True) -> Shape:
    """A vertical loft over (S, 5) stations x, y, z, rx, ry from bottom to top."""
    rows = np.asarray(stations, dtype=np.float64)
    return loft([ellipse_ring(s[:3], s[3], s[4], points) for s in rows], tile, caps=caps)


def ellipsoid(center: ArrayLike, radii: ArrayLike, points: int = 10, rows: int = 7) -> Shape:
    """An ellipsoid with `points` around and `rows` along."""
    c, r = np.asarray(center, dtype=np.float64), np.asarray(radii, dtype=np.float64)
    t = np.linspace(-np.pi / 2, np.pi / 2, rows)
    rings = [
        ellipse_ring(
            c + np.array([0, 0, r[2] * np.sin(a)]),
            r[0] * max(np.cos(a), 1e-3),
            r[1] * max(np.cos(a), 1e-3),
            points,
        )
        for a in t
    ]
    return loft(rings, caps=False)


def rod(
    start: ArrayLike,
    end: ArrayLike,
    radius: float,
    end_radius: float | None = None,
    points: int = 8,
    tile: float = 1.0,
) -> Shape:
    """A (tapered) cylinder between two points."""
    a, b = np.asarray(start, dtype=np.float64), np.asarray(end, dtype=np.float64)
    axis = (b - a) / np.linalg.norm(b - a)
    u = _sideways(axis)
    v = _cross(axis, u)
    angle = 2 * np.pi * np.arange(points) / points
    ring = np.cos(angle)[:, None] * u + np.sin(angle)[:, None] * v
    last = radius if end_radius is None else end_radius
    return loft([a + radius * ring, b + last * ring], tile)


@lru_cache(maxsize=4)
def _icosphere(level: int) -> tuple[F64, NDArray[np.int64]]:
    g = (1 + 5**0.5) / 2
    v = [(-1, g, 0), (1, g, 0), (-1, -g, 0), (1, -g, 0), (0, -1, g), (0, 1, g), (0, -1, -g),
         (0, 1, -g), (g, 0, -1), (g, 0, 1), (-g, 0, -1), (-g, 0, 1)]  # fmt: skip
    f = [(0, 11, 5), (0, 5, 1), (0, 1, 7), (0, 7, 10), (0, 10, 11), (1, 5, 9), (5, 11, 4),
         (11, 10, 2), (10, 7, 6), (7, 1, 8), (3, 9, 4), (3, 4, 2), (3, 2, 6), (3, 6, 8), (3, 8, 9),
         (4, 9, 5), (2, 4, 11), (6, 2, 10), (8, 6, 7), (9, 8, 1)]  # fmt: skip
    verts = [np.array(p) / np.linalg.norm(p) for p in v]
    for _ in range(level):
        middle: dict[tuple[int, int], int] = {}
        new: list[tuple[int, int, int]] = []
        for tri in f:
            m = []
            for a, b in ((tri[0], tri[1]), (tri[1], tri[2]), (tri[2], tri[0])):
                key = (min(a, b), max(a, b))
                if key not in middle:
                    point = verts[a] + verts[b]
                    middle[key] = len(verts)
                    verts.append(point / np.linalg.norm(point))
                m.append(middle[key])
            new += [
                (tri[0], m[0], m[2]),
                (tri[1], m[1], m[0]),
                (tri[2], m[2], m[1]),
                (m[0], m[1], m[2]),
            ]
        f = new
    return np.array(verts), np.array(f, dtype=np.int64)


def blob(
    center: ArrayLike,
    radii: ArrayLike,
    rng: np.random.Generator,
    rough: float = 0.18,
    level: int = 2,
    tile: float = 1.0,
) -> Shape:
    """A lumpy ball: an icosphere whose radius varies by about `rough`."""
    unit, faces = _icosphere(level)
    waves = rng.normal(size=(6, 3)) * 2.6
    lump = np.cos(unit @ waves.T + rng.uniform(0, 6.3, 6)).mean(1) * 1.7
    jitter = rng.uniform(-1, 1, len(unit)) * 0.5
    points = unit * (1 + rough * (lump + jitter))[:, None] * np.asarray(radii)
    face_normal = _face_normals(points, faces)
    normals = _gathered(faces, face_normal, len(points))
    side = np.abs(face_normal).argmax(1)  # project along the face's main axis
    axes = np.array([[1, 2], [0, 2], [0, 1]])[side]
    corner_uv = np.take_along_axis(points[faces], axes[:, None, :], axis=2) / tile
    flat = faces.ravel()
    return Shape(
        points[flat] + np.asarray(center),
        normals[flat],
        corner_uv.reshape(-1, 2),
        np.arange(len(flat)).reshape(-1, 3),
    )


def cards(centers: F64, outward: F64, size: float, rng: np.random.Generator) -> Shape:
    """Small leaf-like rhombs at (N, 3) centres, tilted at random about (N, 3) outward axes."""
    count = len(centers)
    normal = outward + rng.normal(size=(count, 3)) * 0.55
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    u = _cross(normal, rng.normal(size=(count, 3)))
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    v = _cross(normal, u)
    extent = size * rng.uniform(0.6, 1.3, (count, 1))
    corners = np.stack([centers - u * extent, centers - v * extent * 0.6,
                        centers + u * extent, centers + v * extent * 0.6], 1)  # fmt: skip
    uv = rng.uniform(0, 1, (count, 1, 2)) + np.array([[0, 0], [0.1, 0], [0.1, 0.1], [0, 0.1]])
    return quads(corners, uvs=uv)


class MeshBuilder:
    """Collects shapes and merges them per (material, mover)."""

    def __init__(self) -> None:
        self._parts: dict[tuple[str, int], list[tuple[Shape, int]]] = defaultdict(list)

    def add(self, material: str, shape: Shape, instance: int, mover: int = -1) -> None:
        """Add triangles of one object."""
        self._parts[material, mover].append((shape, instance))

    def meshes(self) -> list[Mesh]:
        """The merged meshes, in the order in which their materials and movers first came."""
        merged = []
        for (material, mover), parts in self._parts.items():
            shape = joined(*(s for s, _ in parts))
            ids = np.concatenate([np.full(len(s.faces), i, dtype=np.uint32) for s, i in parts])
            merged.append(
                Mesh(
                    material,
                    _f32(shape.vertices),
                    _f32(shape.normals),
                    _f32(shape.uvs),
                    _u32(shape.faces),
                    ids,
                    mover,
                )
            )
        return merged


def _f32(array: F64) -> F32:
    return np.ascontiguousarray(array, dtype=np.float32)


def _u32(array: NDArray[np.int64]) -> U32:
    return np.ascontiguousarray(array, dtype=np.uint32)


def rigid(x: float = 0.0, y: float = 0.0, z: float = 0.0, yaw: float = 0.0) -> F64:
    """A (4, 4) turn about +z by `yaw` radians, then a shift."""
    c, s = np.cos(yaw), np.sin(yaw)
    return np.array([[c, -s, 0, x], [s, c, 0, y], [0, 0, 1, z], [0, 0, 0, 1]], dtype=np.float64)
