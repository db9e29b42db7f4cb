"""THE table of buffers: what an engine can send per frame, and what its numbers mean.

Camera axes are OpenCV's (+x right, +y down, +z forward), right-handed, metres; pixel centres lie at
+0.5; rows run top to bottom; numbers are little-endian. `engine_plugins/buffers.json` is this table
for plugins in other languages (a test fails when it is stale). This file imports numpy alone.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Buffer:
    """One row of the table."""

    name: str
    dtype: str  # numpy's little-endian code: "u1", "<u4", "<f2", "<f4"
    components: int
    meaning: str
    invalid: str

    @property
    def numpy_dtype(self) -> np.dtype[np.generic]:
        """The dtype of one component."""
        return np.dtype(self.dtype)

    @property
    def pixel_bytes(self) -> int:
        """Bytes of one pixel."""
        return self.numpy_dtype.itemsize * self.components

    def shape(self, width: int, height: int) -> tuple[int, ...]:
        """Shape of the array: (height, width), with a last axis where components > 1."""
        return (height, width) if self.components == 1 else (height, width, self.components)


def _table(*rows: Buffer) -> Mapping[str, Buffer]:
    return MappingProxyType({row.name: row for row in rows})


BUFFERS: Mapping[str, Buffer] = _table(
    Buffer("color", "u1", 4, "sRGB, R G B A, before the HUD is drawn", "-"),
    Buffer("color_hdr", "<f2", 4, "scene-linear Rec.709, R G B A, before the HUD is drawn", "-"),
    Buffer("color_ui", "u1", 4, "sRGB, R G B A, the frame as presented, HUD included", "-"),
    Buffer("depth", "<f4", 1, "planar z in metres (not ray distance)", "+inf sky, NaN unknown"),
    Buffer("depth_raw", "<f4", 1, "device depth; near, far and reversed are the camera's", "-"),
    Buffer("normal", "<f2", 3, "unit, camera space, faces the camera (z < 0)", "0,0,0"),
    Buffer(
        "motion",
        "<f2",
        2,
        "pixels, p_prev = p_cur + motion, jitter removed, camera and objects",
        "NaN",
    ),
    Buffer("instance", "<u4", 1, "object id", "0 none"),
    Buffer("semantic", "u1", 1, "class id; the table is in the stream's parameters", "255"),
    Buffer("albedo", "u1", 3, "linear base colour, 255 is 1.0", "-"),
    Buffer("roughness", "u1", 1, "linear perceptual roughness, 255 is 1.0", "-"),
    Buffer("metallic", "u1", 1, "linear, 255 is 1.0", "-"),
)

#: Semantic classes of our own engines, in the order of their ids; other engines bring their own.
SEMANTIC_CLASSES: tuple[str, ...] = (
    "none",
    "sky",
    "ground",
    "wall",
    "foliage",
    "glass",
    "vehicle",
    "person",
    "prop",
)

FrameArrays = dict[str, NDArray[np.generic]]
"""The buffers of one frame by name; shapes and dtypes are those of `BUFFERS`."""


def to_json() -> str:
    """The table as the text of `engine_plugins/buffers.json`."""
    rows = {name: asdict(row) for name, row in BUFFERS.items()}
    return json.dumps({"buffers": rows, "semantic_classes": SEMANTIC_CLASSES}, indent=2) + "\n"
