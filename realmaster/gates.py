"""Whether a pair may be trained on: its figures against limits, each failure with a reason.

The table of gates is GATES, the measures are in pair_measures.py. Knows no files and no models.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from realmaster.pair_measures import measured

if TYPE_CHECKING:
    from capture_bridge.session import SessionFrame
    from realmaster.faces import FaceIdentity

U8 = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Limits:
    """What a pair must keep to. Our choices, between what good and spoilt street clips have."""

    frozen: float = 0.0
    """Share of frames that stand still while the render moves."""
    anchor_structure: float = 0.9
    """Edges of the worst anchor that agree with the engine's, relative to the render's."""
    worst_anchor: float = 4.0
    """Mean Lab distance of the picture at an anchor from that anchor."""
    structure: float = 0.9
    """Edges of the pictures that agree with the engine's, relative to the render's."""
    unexplained: float = 20.0
    """What the engine's buffers cannot account for at the worst place, in Lab units."""
    color_jump: float = 1.5
    """Largest change of the mean color from one frame to the next, in Lab units."""
    flicker: float = 1.5
    """Warp error along the engine's motion per detail, relative to the render's."""
    identity: float = 0.4
    """Cosine of a person's face and the same person's in an anchor."""


@dataclass(frozen=True, slots=True)
class Gate:
    """One row. figure: of pair_measures, and the limit's name. what: it is when it fails."""

    figure: str
    what: str
    at_least: bool = False

    def reason(self, figures: Mapping[str, float], limits: Limits) -> str | None:
        """Why the pair fails; None where it passes or the figure could not be taken."""
        value, limit = figures.get(self.figure), float(getattr(limits, self.figure))
        if value is None or (value >= limit if self.at_least else value <= limit):
            return None
        bound = "at least" if self.at_least else "at most"
        return f"{self.figure}: {self.what} ({value:.3g}, {bound} {limit:g})"


#: In the order of their reasons: what explains others comes first.
GATES: tuple[Gate, ...] = (
    Gate("frozen", "pictures stand still while the render moves"),
    Gate("anchor_structure", "an anchor does not show what its frame shows", at_least=True),
    Gate("worst_anchor", "the pictures leave an anchor"),
    Gate("structure", "edges are not where the engine has them", at_least=True),
    Gate("unexplained", "something is shown that the engine does not have"),
    Gate("color_jump", "exposure or color jumps between two frames"),
    Gate("flicker", "the pictures flicker along the engine's motion"),
    Gate("identity", "a person's face is not that of the anchor", at_least=True),
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """accepted: no reason against it. figures: by name. reasons: each with figure and limit."""

    accepted: bool
    figures: Mapping[str, float]
    reasons: tuple[str, ...]


def judge(
    frames: "Sequence[SessionFrame]",
    pictures: Sequence[U8],
    anchors: Mapping[int, U8],
    limits: Limits | None = None,
    *,
    faces: "FaceIdentity | None" = None,
) -> Verdict:
    """The verdict on the pictures (T, H, W, 3) of a clip that were made from `anchors`.

    anchors: index into `frames` -> picture. faces: where a user has models for them.
    """
    limits = limits or Limits()
    figures = measured(frames, pictures, anchors)
    if faces is not None:
        figures |= faces.measured(frames, pictures, anchors)
    reasons = [reason for gate in GATES if (reason := gate.reason(figures, limits)) is not None]
    return Verdict(not reasons, figures, tuple(reasons))
