"""What leads a video model besides its prompt: pictures of the engine's buffers.

Lines stand where depth, normals and objects end, so texture and shadow draw none; Canny on the
color is left for sessions without buffers. How a family of models wants them is a table. Knows
arrays and OpenCV; no model and no file.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from capture_bridge.errors import MissingBufferError
from realmaster.geometry import edges_from_buffers, inverse_depth

if TYPE_CHECKING:
    from capture_bridge.session import SessionFrame

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]

Kind = Literal["edges", "depth", "normal", "motion", "canny"]
Size = tuple[int, int]

#: ControlNet's annotator's own thresholds of cv2.Canny (lllyasviel/ControlNet, gradio_canny2image).
CANNY_LOW, CANNY_HIGH = 100, 200
#: Share of pixels beyond either end of a clip's range of depth or speed: they are clipped.
_OUTSIDE = 0.005
#: Every n-th pixel is asked for a clip's range.
_STRIDE = 4
#: Middlebury's color wheel: the numbers of steps from red to yellow to green, cyan, blue, magenta
#: and back (Baker et al. 2011, "A Database and Evaluation Methodology for Optical Flow").
_WHEEL_STEPS = (15, 6, 4, 11, 13, 6)
_WHEEL_CORNERS = (
    (255, 0, 0),
    (255, 255, 0),
    (0, 255, 0),
    (0, 255, 255),
    (0, 0, 255),
    (255, 0, 255),
)


@dataclass(frozen=True, slots=True)
class ConditionStyle:
    """How a family of models wants its conditions.

    kinds: those that it was trained on, best first. lines: colors of edges and canny. In all of
    them near is white, far and sky are black, and motion is Middlebury's wheel on white.
    """

    kinds: tuple[Kind, ...]
    lines: Literal["black on white", "white on black"]
    source: str


STYLES: Mapping[str, ConditionStyle] = MappingProxyType(
    {
        "wan2.1-vace": ConditionStyle(
            kinds=("depth", "edges", "motion"),
            lines="black on white",
            source="ali-vilab/VACE: annotators/depth.py (min to max of MiDaS, near is white), "
            "scribble (issue 100: white background with black lines, neither Canny nor AnyLine), "
            "flow.py (RAFT's flow_viz)",
        ),
        "wan2.2-vace-fun": ConditionStyle(
            kinds=("canny", "depth", "edges"),
            lines="white on black",
            source="alibaba-pai/Wan2.2-VACE-Fun-A14B, model card: Canny, Depth, Pose, MLSD",
        ),
        "ltx2": ConditionStyle(
            kinds=("canny", "depth", "edges"),
            lines="white on black",
            source="Lightricks/LTX-2-19b-IC-LoRA-Canny-Control and its siblings for depth, pose",
        ),
    }
)


@dataclass(frozen=True, slots=True)
class Scale:
    """What black and white mean. far, near: inverse depth (1/m); speed: pixels a frame."""

    far: float
    near: float
    speed: float


def condition(
    frame: "SessionFrame",
    kind: Kind,
    *,
    style: ConditionStyle | None = None,
    scale: Scale | None = None,
    size: Size | None = None,
) -> U8:
    """One picture (H, W, 3) u8 of a frame, as the style wants it (the table's first by default).

    scale: of the whole clip, without which the frame is scaled by itself. size: (width, height) to
    make it at; lines keep their strength when they shrink. MissingBufferError names what it lacks.
    """
    require(frame, kind)
    if kind in ("depth", "motion") and scale is None:
        scale = clip_scale([frame])
    drawn = _DRAW[kind](frame, scale)
    if kind in ("edges", "canny"):
        return _lines(drawn, _LINE_PX[kind], style or STYLES["wan2.1-vace"], size)
    if size is None or size == (drawn.shape[1], drawn.shape[0]):
        return drawn
    shrinks = size[0] < drawn.shape[1]
    mode = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(drawn, size, interpolation=mode), np.uint8)


def clip_conditions(
    frames: Sequence["SessionFrame"],
    kind: Kind,
    *,
    style: ConditionStyle | None = None,
    size: Size | None = None,
) -> U8:
    """Pictures (T, H, W, 3) u8 of a clip on one scale, so that nothing pumps from frame to frame.

    Where the first frame's motion is unknown, after a cut, it shows the second's, as VACE's own
    annotator does. Raises MissingBufferError where a frame lacks what the kind needs.
    """
    for frame in frames:
        require(frame, kind)
    scale = clip_scale(frames) if kind in ("depth", "motion") else None
    pictures = np.stack(
        [condition(frame, kind, style=style, scale=scale, size=size) for frame in frames]
    )
    if kind == "motion" and len(frames) > 1 and not np.isfinite(frames[0].array("motion")).any():
        pictures[0] = pictures[1]
    return pictures


def drawable(frame: "SessionFrame", kind: Kind) -> Kind:
    """The kind itself where the frame has what it needs, else canny, which needs color alone."""
    return kind if all(frame.has(name) for name in NEEDS[kind]) else "canny"


def require(frame: "SessionFrame", kind: Kind) -> None:
    """Raise MissingBufferError where the frame lacks what the kind needs."""
    missing = [name for name in NEEDS[kind] if not frame.has(name)]
    if missing:
        cure = "; canny needs color alone" if kind != "canny" else ""
        raise MissingBufferError(
            f"frame {frame.index} has no {', '.join(missing)}, which the condition '{kind}' needs: "
            f"record it with a plugin that sends it{cure}"
        )


def clip_scale(frames: Sequence["SessionFrame"]) -> Scale:
    """The range of inverse depth and of speed that a clip's frames have, outliers left out.

    1 for what no frame knows. far is 0 where there is sky.
    """
    depths = [_sample(inverse_depth(_floats(frame, "depth"))) for frame in _with(frames, "depth")]
    speeds = [
        _sample(np.linalg.norm(_floats(frame, "motion"), axis=-1).astype(np.float32))
        for frame in _with(frames, "motion")
    ]
    known = np.concatenate([*depths, np.empty(0, np.float32)])
    speed = np.concatenate([*speeds, np.empty(0, np.float32)])
    far, near = np.quantile(known, (_OUTSIDE, 1 - _OUTSIDE)) if known.size else (0.0, 1.0)
    fastest = float(np.quantile(speed, 1 - _OUTSIDE)) if speed.size else 1.0
    return Scale(float(far), float(near), fastest)


def flow_picture(flow: F32, fastest: float) -> U8:
    """Flow (H, W, 2) in pixels as colors (H, W, 3): the hue is the direction, white stands still.

    Right is red, down yellow to green. fastest: pixels at which colors are full; faster is darker.
    NaN is white: the wheel has no color for it. Baker et al. 2011, as RAFT's flow_viz draws it.
    """
    wheel = _wheel()
    dx, dy = np.moveaxis(np.nan_to_num(flow, nan=0.0) + np.float32(0), -1, 0) / max(fastest, 1e-6)
    radius = np.hypot(dx, dy)[..., None]
    place = (np.arctan2(-dy, -dx) / np.pi + 1) / 2 * (len(wheel) - 1)
    below = np.floor(place).astype(np.intp)
    part = (place - below)[..., None]
    hue = (1 - part) * wheel[below] + part * wheel[(below + 1) % len(wheel)]
    color = np.where(radius <= 1, 1 - radius * (1 - hue), 0.75 * hue)
    return np.asarray(np.rint(255 * color), np.uint8)


# --- kinds -----------------------------------------------------------------------------------


def _edges(frame: "SessionFrame", _: Scale | None) -> U8:
    mask = edges_from_buffers(
        _floats(frame, "depth"),
        _floats(frame, "normal") if frame.has("normal") else None,
        frame.array("instance").astype(np.uint32) if frame.has("instance") else None,
    )
    return mask.astype(np.uint8) * np.uint8(255)


def _canny(frame: "SessionFrame", _: Scale | None) -> U8:
    color = np.ascontiguousarray(frame.array("color")[..., :3].astype(np.uint8, copy=False))
    gray = cv2.cvtColor(color, cv2.COLOR_RGB2GRAY)
    return np.asarray(cv2.Canny(gray, CANNY_LOW, CANNY_HIGH), np.uint8)


def _depth(frame: "SessionFrame", scale: Scale | None) -> U8:
    assert scale is not None
    known = np.nan_to_num(inverse_depth(_floats(frame, "depth")), nan=0.0)
    unit = (known - scale.far) / max(scale.near - scale.far, 1e-6)
    gray = np.rint(np.clip(unit, 0, 1) * 255).astype(np.uint8)
    return np.repeat(gray[..., None], 3, axis=-1)


def _normal(frame: "SessionFrame", _: Scale | None) -> U8:
    """x to the right, y up, z to the viewer: what faces the camera is (128, 128, 255)."""
    toward = _floats(frame, "normal") * np.array([1, -1, -1], np.float32)
    return np.asarray(np.rint(np.clip(toward * 127.5 + 127.5, 0, 255)), np.uint8)


def _motion(frame: "SessionFrame", scale: Scale | None) -> U8:
    assert scale is not None
    return flow_picture(-_floats(frame, "motion"), scale.speed)  # from the frame before to this one


_LINE_PX: Mapping[Kind, int] = MappingProxyType({"edges": 2, "canny": 1})
NEEDS: Mapping[Kind, tuple[str, ...]] = MappingProxyType(
    {
        "edges": ("depth",),
        "depth": ("depth",),
        "normal": ("normal",),
        "motion": ("motion",),
        "canny": ("color",),
    }
)
_DRAW: Mapping[Kind, Callable[["SessionFrame", Scale | None], U8]] = MappingProxyType(
    {"edges": _edges, "depth": _depth, "normal": _normal, "motion": _motion, "canny": _canny}
)


# --- pixels ----------------------------------------------------------------------------------


def _lines(lines: U8, width_px: int, style: ConditionStyle, size: Size | None) -> U8:
    """Lines (H, W), 255 on 0, in the style's colors and size."""
    if size is not None and size != (lines.shape[1], lines.shape[0]):
        shrink = max(lines.shape[1] / size[0], lines.shape[0] / size[1])
        if shrink > 1:  # as wide as two new pixels, so that each fills one whole and none fades
            side = int(np.ceil(2 * shrink)) - width_px + 1
            lines = np.asarray(cv2.dilate(lines, np.ones((side, side), np.uint8)), np.uint8)
        mode = cv2.INTER_AREA if shrink > 1 else cv2.INTER_LINEAR
        lines = np.asarray(cv2.resize(lines, size, interpolation=mode), np.uint8)
    if style.lines == "black on white":
        lines = np.asarray(cv2.bitwise_not(lines), np.uint8)
    return np.repeat(lines[..., None], 3, axis=-1)


def _wheel() -> NDArray[np.float64]:
    """The wheel's colors (55, 3) in [0, 1]."""
    corners = np.array([*_WHEEL_CORNERS, _WHEEL_CORNERS[0]]) / 255
    return np.concatenate(
        [
            start + np.arange(steps)[:, None] / steps * (end - start)
            for start, end, steps in zip(corners[:-1], corners[1:], _WHEEL_STEPS, strict=True)
        ]
    )


def _floats(frame: "SessionFrame", name: str) -> NDArray[np.floating[Any]]:
    return frame.array(name).astype(np.float32, copy=False)


def _with(frames: Sequence["SessionFrame"], name: str) -> list["SessionFrame"]:
    return [frame for frame in frames if frame.has(name)]


def _sample(values: F32) -> F32:
    some = values[::_STRIDE, ::_STRIDE]
    return some[np.isfinite(some)]
