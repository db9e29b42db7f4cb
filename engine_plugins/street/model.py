"""What a street is made of: plain data that the game draws and the truth path-traces alike.

World axes: right-handed, +z up, +x along the street, metres. Colours are linear unless a name says
sRGB. This file knows numpy alone: neither Panda3D nor Mitsuba.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
U32 = NDArray[np.uint32]


@dataclass(frozen=True, slots=True, eq=False)
class Texture:
    """Tiled sRGB image. pixels: (H, W, 3) u8, row 0 at v = 0 (the game and the truth both obey)."""

    name: str
    pixels: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Material:
    """A surface. base_color is linear and multiplies the texture (converted to linear)."""

    name: str
    semantic: str  # a name of SEMANTIC_CLASSES
    base_color: tuple[float, float, float]
    texture: str | None = None
    roughness: float = 0.8
    metallic: float = 0.0
    clearcoat: float = 0.0
    specular: float = 0.5  # as in the principled BSDF
    two_sided: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Mesh:
    """Triangles of one material that move together.

    vertices: (N, 3) metres, in world space when `mover` is -1, else in the mover's space.
    normals: (N, 3) unit, outward. uvs: (N, 2). faces: (M, 3) vertex indices, counter-clockwise from
    outside. face_instance: (M,) object id > 0.
    """

    material: str
    vertices: F32
    normals: F32
    uvs: F32
    faces: U32
    face_instance: U32
    mover: int = -1


@dataclass(frozen=True, slots=True, eq=False)
class Instance:
    """One object that people would name: a building, a car, a person."""

    id: int
    name: str
    semantic: str


@dataclass(frozen=True, slots=True, eq=False)
class Sun:
    """Direct light and sky. direction: unit, from the scene to the sun."""

    direction: F64
    turbidity: float


@dataclass(frozen=True, slots=True, eq=False)
class CameraPose:
    """world_from_camera: (4, 4), camera axes OpenCV's. fov_x_deg: horizontal field of view."""

    world_from_camera: F64
    fov_x_deg: float


def intrinsics(fov_x_deg: float, width: int, height: int) -> F64:
    """The (3, 3) pinhole matrix in pixels, square pixels, principal point at the image's centre."""
    focal = 0.5 * width / np.tan(np.radians(fov_x_deg) / 2)
    return np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]], dtype=np.float64)
