"""Anchors: a few frames of a clip made photoreal, each held to the engine's structure.

An editor changes one picture; this file chooses which frames it gets, takes the best of several
seeds, and refuses what no longer shows the engine's geometry where it was. Knows arrays; no model.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from realmaster.color import srgb_u8_to_lab
from realmaster.conditions import CANNY_HIGH, CANNY_LOW
from realmaster.coverage import Sight, new_objects, sight_of, unshown
from realmaster.geometry import edges_from_buffers

if TYPE_CHECKING:
    from capture_bridge.session import SessionFrame

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]

#: Frames between the first and the last that are looked at, at most.
_LOOKED_AT = 20
#: Gradients above it (Lab units per pixel) count as this: one strong edge is no better than two.
_STRONGEST = 20.0
#: Sigma, in pixels, of what counts as local where edges are compared.
_LOCAL_PX = 4.0
#: How far an edit is looked for off its place: a share of the height, at least 8 pixels.
_SEARCH = 0.02


class ImageEditor(Protocol):
    """What makes one frame photoreal."""

    @property
    def name(self) -> str:
        """As the user typed it."""

    @property
    def heeds_seed(self) -> bool:
        """Whether another seed gives another picture."""

    def edit(self, frame: "SessionFrame", prompt: str, seed: int) -> U8:
        """The frame as (H, W, 3) sRGB u8 of color's size, everything where it was.

        Equal inputs give equal pictures. Raises RealMasterError.
        """


@dataclass(frozen=True, slots=True)
class AnchorRules:
    """What anchors must be; the limits are our choices.

    seeds: how many are tried. min_structure, max_offset_px: see Structure; on 60 path-traced truths
    of validation streets the structure was 0.51 to 0.99 and the offset 0; enlarged by 3 % they had
    0.10 to 0.51, mirrored at most 0.08. max_new: the share of a picture that objects may cover
    which no anchor shows, before it becomes one, too; max_unshown: the same of all surfaces, that
    none shows sharply: over 81 frames of validation streets 0.3 for a walk, 0.73 for a drive, where
    a third anchor brought `warp` 0.03 to 0.09 nearer to the truth (G). most: of anchors.
    """

    seeds: int = 3
    min_structure: float = 0.4
    max_offset_px: float = 1.0
    max_new: float = 0.1
    max_unshown: float = 0.6
    most: int = 4


@dataclass(frozen=True, slots=True)
class Structure:
    """How well a picture's edges lie on the engine's.

    score: their correlation over that of the render: 1 is as good as the render, 0 unrelated.
    offset_px: how far the picture must be moved, by whole pixels, for its edges to lie best.
    """

    score: float
    offset_px: float


@dataclass(frozen=True, slots=True, eq=False)
class EditedAnchors:
    """pictures: index into the clip -> (H, W, 3); empty where an edit was refused: reasons say."""

    pictures: Mapping[int, U8]
    figures: Mapping[str, float]
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class _Edit:
    picture: U8
    seed: int
    structure: Structure


def choose_anchors(frames: Sequence["SessionFrame"], rules: AnchorRules | None = None) -> list[int]:
    """Indices into the clip's frames: the first, the last, and those between that are needed.

    While a frame has more than the rules allow of what no anchor shows, the one with most of it
    becomes an anchor. Without instance buffer, depth or camera less is known, down to the ends.
    """
    rules = rules or AnchorRules()
    chosen = sorted({0, len(frames) - 1})
    step = max(1, (len(frames) - 2) // _LOOKED_AT)
    between = {i: sight_of(frames[i]) for i in range(1, len(frames) - 1, step)}
    anchors = [sight_of(frames[i]) for i in chosen] if between else []
    while between and len(chosen) < rules.most:
        need = {i: _need(sight, anchors, rules) for i, sight in between.items()}
        most = max(need, key=lambda i: need[i])
        if need[most] <= 1:
            break
        chosen.append(most)
        anchors.append(between.pop(most))
    return sorted(chosen)


def _need(frame: Sight, anchors: Sequence[Sight], rules: AnchorRules) -> float:
    """What the anchors miss of a frame, 1 at the rules' limits."""
    return max(
        new_objects(frame, anchors) / rules.max_new, unshown(frame, anchors) / rules.max_unshown
    )


def edit_anchors(
    frames: Sequence["SessionFrame"],
    editor: ImageEditor,
    prompt: str,
    rules: AnchorRules | None = None,
) -> EditedAnchors:
    """Photoreal pictures of a clip's anchors, the best of several seeds each.

    If one is refused, all are: pictures is empty, and reasons name the frame and the figure.
    figures: edit_structure, the worst anchor's; edit_offset_px, the largest; edit_seed_I.
    """
    rules = rules or AnchorRules()
    edits: dict[int, _Edit] = {}
    for index in choose_anchors(frames, rules):
        edit = _best(frames[index], editor, prompt, rules)
        edits[index] = edit
        if reason := _refusal(frames[index], editor, edit, rules):
            return EditedAnchors({}, _figures(edits), (reason,))
    return EditedAnchors({i: edit.picture for i, edit in edits.items()}, _figures(edits))


def structure(frame: "SessionFrame", picture: U8) -> Structure:
    """How well a picture (H, W, 3) of the frame's size has its edges where the engine has them.

    Edges are depth's, normals' and objects'; without depth those that Canny finds in the render.
    Both scores are Pearson's correlation of what is left of edges and gradients over `_LOCAL_PX`;
    the score is their ratio, so a frame whose geometry hardly shows asks no more of its edit.
    """
    render = np.ascontiguousarray(frame.array("color")[..., :3].astype(np.uint8, copy=False))
    edges = _local(_engine_edges(frame, render))
    edited, own = _local(_gradient(picture)), _local(_gradient(render))
    score = _correlation(edited, edges)
    of_render = _correlation(own, edges)
    return Structure(score / max(of_render, 1e-3), _offset_px(edited, edges))


def _best(frame: "SessionFrame", editor: ImageEditor, prompt: str, rules: AnchorRules) -> _Edit:
    edits = []
    for seed in range(rules.seeds if editor.heeds_seed else 1):
        picture = editor.edit(frame, prompt, seed)
        assert picture.shape == (*frame.array("color").shape[:2], 3), "editors keep the size"
        edits.append(_Edit(picture, seed, structure(frame, picture)))
    return max(edits, key=lambda edit: edit.structure.score)


def _refusal(
    frame: "SessionFrame", editor: ImageEditor, edit: _Edit, rules: AnchorRules
) -> str | None:
    where = f"anchor seq {frame.header.seq}: '{editor.name}'"
    tried = f"best of {rules.seeds} seeds" if editor.heeds_seed else "which heeds no seed"
    score, offset_px = edit.structure.score, edit.structure.offset_px
    if offset_px > rules.max_offset_px:
        return f"{where} moved the picture by {offset_px:.1f} px ({tried})"
    if not score >= rules.min_structure:
        return (
            f"{where} changed the structure: edit_structure {score:.2f}, at least "
            f"{rules.min_structure:g} is asked for ({tried})"
        )
    return None


def _figures(edits: Mapping[int, _Edit]) -> dict[str, float]:
    structures = [edit.structure for edit in edits.values()]
    return {
        "edit_structure": min(found.score for found in structures),
        "edit_offset_px": max(found.offset_px for found in structures),
        **{f"edit_seed_{index}": float(edit.seed) for index, edit in edits.items()},
    }


# --- pixels ----------------------------------------------------------------------------------


def _engine_edges(frame: "SessionFrame", render: U8) -> F32:
    if not frame.has("depth"):
        gray = cv2.cvtColor(render, cv2.COLOR_RGB2GRAY)
        return np.asarray(cv2.Canny(gray, CANNY_LOW, CANNY_HIGH) > 0, np.float32)
    edges = edges_from_buffers(
        frame.array("depth").astype(np.float32, copy=False),
        frame.array("normal").astype(np.float32) if frame.has("normal") else None,
        frame.array("instance").astype(np.uint32, copy=False) if frame.has("instance") else None,
    )
    return edges.astype(np.float32)


def _gradient(picture: U8) -> F32:
    """Length of the Lab gradient (H, W), at most `_STRONGEST`."""
    lab = srgb_u8_to_lab(np.ascontiguousarray(picture))
    dx, dy = (cv2.Scharr(lab, cv2.CV_32F, *way, scale=1 / 32) for way in ((1, 0), (0, 1)))
    squared = cv2.transform(dx * dx + dy * dy, np.ones((1, 3), np.float32))
    return np.minimum(np.sqrt(squared), np.float32(_STRONGEST)).astype(np.float32)


def _local(values: F32) -> F32:
    return np.asarray(values - cv2.GaussianBlur(values, (0, 0), _LOCAL_PX), np.float32)


def _correlation(a: F32, b: F32) -> float:
    """Pearson's; 0 where one of them is flat."""
    a, b = a - a.mean(), b - b.mean()
    norm = float(np.sqrt(float((a * a).sum()) * float((b * b).sum())))
    return float((a * b).sum()) / norm if norm > 0 else 0.0


def _offset_px(edited: F32, edges: F32) -> float:
    """By how much `edited` lies best on `edges` when it is moved; 0 where nothing is to be seen."""
    height, width = edges.shape
    reach = min(max(8, round(_SEARCH * height)), (min(height, width) - 1) // 4)
    inner = np.ascontiguousarray(edges[reach : height - reach, reach : width - reach])
    if reach < 1 or inner.std() == 0 or edited.std() == 0:
        return 0.0
    found = cv2.matchTemplate(edited, inner, cv2.TM_CCOEFF_NORMED)
    y, x = np.unravel_index(int(np.argmax(found)), found.shape)
    return float(np.hypot(float(x) - reach, float(y) - reach))
