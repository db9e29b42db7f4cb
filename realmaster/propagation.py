"""Carrying photoreal anchors over a clip: the seam, and the table of who does it.

A propagator makes a picture of every frame of a clip from the pictures of a few. This file knows
neither warping nor models; torch is imported only by the row that needs it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Literal, Protocol

import numpy as np
import tyro
from numpy.typing import NDArray

from capture_bridge.errors import MissingBufferError, RealMasterError, SetupError
from realmaster.factories import factory

if TYPE_CHECKING:
    from capture_bridge.session import SessionFrame

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]

Control = Literal["edges", "depth", "normal", "motion", "canny", "warp"]


@dataclass(frozen=True, slots=True, eq=False)
class Propagated:
    """What was made of a clip.

    pictures: (T, H, W, 3) sRGB u8, one per frame, of color's size. confidence: (T, H, W) float32 in
    [0, 1]: how surely a pixel shows what an anchor shows; 0 is a hole that was filled. figures: by
    name, for the manifest.
    """

    pictures: U8
    confidence: F32
    figures: Mapping[str, float] = field(default_factory=dict)


class Propagator(Protocol):
    """What carries anchors over a clip."""

    @property
    def name(self) -> str:
        """As the user typed it."""

    @property
    def requires(self) -> frozenset[str]:
        """The buffers without which it cannot work."""

    def propagate(self, frames: "Sequence[SessionFrame]", anchors: Mapping[int, U8]) -> Propagated:
        """Pictures of all frames from those of some.

        frames: consecutive frames of one take. anchors: index into `frames` -> picture (H, W, 3)
        of color's size; at least one. Equal inputs give equal pictures. MissingBufferError and
        RealMasterError as by `check_clip`.
        """


@dataclass(frozen=True, slots=True)
class PropagationOptions:
    """What a user may set; None is the preset's own."""

    fill: Literal["fast", "render"] = "fast"
    """What fills the places that no anchor shows (warp)."""
    prompt: str = "a photorealistic video, filmed with a real camera"
    """What the video shows (vace)."""
    negative: str = "video game, 3D render, cartoon, blurry, low quality, distorted"
    """What guidance leads away from (vace)."""
    seed: int = 0
    """Of the noise; the same seed gives the same video (vace)."""
    preset: str = "wan2.1-vace-1.3b"
    """Whose weights and settings (vace)."""
    weights: Annotated[str | None, tyro.conf.arg(metavar="FOLDER")] = None
    """A folder in diffusers' layout or a Hub id in the place of the preset's weights (vace)."""
    control: Control | None = None
    """What leads the model between the anchors (vace)."""
    anchor_hold: int = 1
    """For how many frames each anchor is shown to the model (vace)."""
    steps: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None
    """Denoising steps (vace)."""
    guidance: Annotated[float | None, tyro.conf.arg(metavar="FLOAT")] = None
    """How strongly the prompt is followed (vace)."""
    fit: Literal["auto", "none", "offload", "fp8"] = "auto"
    """How video memory is saved (vace)."""


@dataclass(frozen=True, slots=True)
class PropagatorRow:
    """One row. factory: "module:callable" that takes the options. packages: what it imports."""

    factory: str
    what: str
    packages: tuple[str, ...] = ()


PROPAGATORS: Mapping[str, PropagatorRow] = MappingProxyType(
    {
        "warp": PropagatorRow(
            "realmaster.warp_propagation:make_warp",
            "the anchors' change of the render, carried along the engine's motion: no weights",
        ),
        "vace": PropagatorRow(
            "realmaster.families.vace:make_vace",
            "a Wan VACE model led by the anchors and the engine's geometry",
            packages=("torch", "diffusers"),
        ),
    }
)


def load_propagator(name: str, options: PropagationOptions | None = None) -> Propagator:
    """The propagator of that name; SetupError when there is none or its packages are missing."""
    if name not in PROPAGATORS:
        raise SetupError(f"there is no propagator '{name}'; there are {', '.join(PROPAGATORS)}")
    row = PROPAGATORS[name]
    make = factory(name, row.factory, row.packages, "diffusion")
    made: Propagator = make(options or PropagationOptions())
    return made


def check_clip(
    frames: "Sequence[SessionFrame]", anchors: Mapping[int, U8], requires: frozenset[str]
) -> tuple[int, int]:
    """The clip's (height, width). MissingBufferError; RealMasterError where anchors do not fit."""
    for frame in frames:
        absent = sorted(name for name in requires if not frame.has(name))
        if absent:
            raise MissingBufferError(
                f"frame {frame.header.seq} has no {', '.join(absent)}, which the anchors are "
                "carried along; record it with an engine plugin that gives it"
            )
    if not frames or not anchors:
        raise RealMasterError("a clip needs at least one frame and one anchor")
    height, width = frames[0].array("color").shape[:2]
    for index, picture in anchors.items():
        if not 0 <= index < len(frames):
            raise RealMasterError(f"anchor {index} lies outside the clip of {len(frames)} frames")
        if picture.shape != (height, width, 3) or picture.dtype != np.uint8:
            raise RealMasterError(
                f"anchor {index} is {picture.shape[1]}x{picture.shape[0]} and the clip "
                f"{width}x{height}: an anchor has the size of its frame"
            )
    return height, width
