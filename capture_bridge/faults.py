"""How each fault of an engine's buffers is measured: one function per fault, a figure or None.

None means that this frame cannot tell (no motion, no sky, no edges). Which figure is too much, and
what its cure is, stands in checks.py's table; clocks and poses are header_faults.py's.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from capture_bridge.alignment import F32, MIN_PIXELS, StaticEdges, disparity_of, row_shift_px
from capture_bridge.evidence import STILL_PX, FramePair
from capture_bridge.messages import FrameFlags

#: Motion and reprojection agree to about 0.1 px on true buffers (f16 rounding, jitter); 0.5 px is
#: the usual bar for temporal reuse. Plus 5 % for fast motion, where f16 steps grow.
RESIDUAL_PX = 0.5
RESIDUAL_SHARE = 0.05
#: Below this much motion neither sign nor scale shows above RESIDUAL_PX.
MIN_MOTION_PX = 0.6
#: Normal maps and smooth shading tilt true normals by 10 to 15 degrees in the median.
NORMAL_DEG = 25.0
#: A distance along the ray bends flat walls by 5 to 20 degrees at usual fields of view.
RADIAL_DEG = 2.0
#: A wall seen head-on is flat too, but never to a thousandth over nearly the whole image.
FLAT_SPREAD = 1e-3


@dataclass(frozen=True, slots=True)
class Scene:
    """What a pixel check may look at: the pair, and what stood still over all frames so far."""

    pair: FramePair
    static_edges: StaticEdges


# --- depth -------------------------------------------------------------------------------------


def depth_absent(scene: Scene) -> float | None:
    """Share of pixels whose depth is unknown."""
    depth = scene.pair.now.depth
    return None if depth is None else float(np.isnan(depth).mean())


def depth_flat(scene: Scene) -> float | None:
    """Share of known pixels within FLAT_SPREAD of the median, zero and infinity included."""
    depth, luma = scene.pair.now.depth, scene.pair.now.luma
    if depth is None:
        return None
    told = depth[~np.isnan(depth)]
    if told.size < MIN_PIXELS:
        return None
    middle = float(np.median(told))
    if np.isinf(middle):  # a view of nothing but sky is all infinite, and smooth in color
        textured = luma is not None and np.abs(np.diff(luma.astype(np.int16), axis=1)).mean() > 3
        return float(np.isinf(told).mean()) if textured else None
    return float((np.abs(told - middle) <= FLAT_SPREAD * abs(middle)).mean())


def depth_flips(scene: Scene) -> float | None:
    """Share of pixels whose depth doubled or halved since the last frame, while color went on.

    Both in place and, where there are poses, at the place that they say the pixel had.
    """
    before, now = scene.pair.before, scene.pair.now
    if before is None or before.depth is None or now.depth is None:
        return None
    if before.luma is not None and now.luma is not None:
        step = now.stride
        was, seen = before.luma[::step, ::step].ravel(), now.luma[::step, ::step].ravel()
        if was.std() > 0 and seen.std() > 0 and np.corrcoef(was, seen)[0, 1] < 0.5:
            return None  # the view itself changed: a cut that is not flagged
    in_place = _flipped(before.depth, now.depth)
    along_poses = scene.pair.depth_before
    if along_poses is None or along_poses[0].size < MIN_PIXELS:
        return in_place
    # A step towards a wall halves its depth, too: that is a flip only where no pose explains it.
    return min(in_place, _flipped(*along_poses))


def _flipped(before: F32, now: F32) -> float:
    """Share of pixels whose depth differs by more than a factor of two."""
    a, b = disparity_of(before), disparity_of(now)
    return float((np.maximum(a, b) > 2 * np.minimum(a, b) + 1e-6).mean())


def depth_reversed(scene: Scene) -> float | None:
    """How surely near and far are swapped: minus the rank correlation with triangulated disparity.

    Where nothing can be triangulated: the share of pixels squeezed against the near plane, which is
    where swapped device depth puts everything beyond a few near distances.
    """
    pair, camera = scene.pair, scene.pair.now.header.camera
    if pair.disparity_correlation is not None:
        return -pair.disparity_correlation
    if pair.now.depth is None or pair.now.depth_known is None or camera is None:
        return None
    known = pair.now.depth[pair.now.depth_known]
    if known.size < MIN_PIXELS or pair.now.depth_range is None:
        return None
    return float((known < 1.5 * camera.near_m).mean())


def depth_scaled(scene: Scene, *, factor: float) -> float | None:
    """Residual in px that vanishes when depth is multiplied by `factor`; 0 when it does not."""
    pair = scene.pair
    if pair.now.depth is None or not _moves(pair) or pair.motion_residual_px is None:
        return None
    if _explained_motion(pair) is not None:
        return 0.0
    other = pair.residual_for_depth_px(pair.now.depth * np.float32(factor))
    explained = other is not None and other <= _residual_limit(pair)
    return pair.motion_residual_px if explained else 0.0


def depth_radial(scene: Scene) -> float | None:
    """How many times better the normals fit if depth is taken as the distance along the ray."""
    angle = scene.pair.normal_angle_deg
    if angle is None:
        return None
    if not RADIAL_DEG < angle < NORMAL_DEG:
        return 0.0
    radial = scene.pair.normal_angle_if_radial_deg
    return None if radial is None else angle / max(radial, 0.5)


# --- normals -----------------------------------------------------------------------------------


def normal_read_as(scene: Scene, *, hypothesis: str) -> float | None:
    """Angle to the depth map's normals in degrees, if `hypothesis` is what repairs it; else 0."""
    angle = scene.pair.normal_angle_deg
    if angle is None or angle <= NORMAL_DEG:
        return angle
    return angle if _normal_repair(scene.pair, angle) == hypothesis else 0.0


def normal_disagrees(scene: Scene) -> float | None:
    """Angle to the depth map's normals in degrees, if no known mistake repairs it; else 0."""
    angle = scene.pair.normal_angle_deg
    if angle is None or angle <= NORMAL_DEG:
        return angle
    return angle if _normal_repair(scene.pair, angle) is None else 0.0


def _normal_repair(pair: FramePair, angle: float) -> str | None:
    """The reading of the normals that at least halves the angle; None if there is none."""
    angles = pair.repaired_angles_deg
    best = min(angles, key=lambda name: angles[name], default=None)
    return best if best is not None and angles[best] <= 0.5 * angle else None


# --- motion and camera -------------------------------------------------------------------------


def motion_absent(scene: Scene) -> float | None:
    """Share of pixels with depth but without motion."""
    now, valid = scene.pair.now, scene.pair.motion_valid
    if valid is None or now.depth_known is None or now.depth_known.sum() < MIN_PIXELS:
        return None
    return None if scene.pair.before is None else float((~valid[now.depth_known]).mean())


def motion_zero(scene: Scene) -> float | None:
    """Share of pixels that moved, by poses or by ids, where motion is zero throughout."""
    pair = scene.pair
    if pair.before is None or pair.now.motion is None or pair.motion_valid is None:
        return None
    if not np.nanmax(np.abs(pair.now.motion), initial=-1.0) <= STILL_PX:
        return 0.0
    if pair.pose_flow is not None:
        length = np.linalg.norm(pair.pose_flow, axis=-1)
        moved = float((length[np.isfinite(length)] > RESIDUAL_PX).mean()) if length.size else 0.0
        if moved > 0:
            return moved
    jittered = any(pair.now.header.jitter_px) or any(pair.before.header.jitter_px)
    if pair.now.instance is None or pair.before.instance is None or jittered:
        return None
    return float((pair.now.instance != pair.before.instance).mean())


def motion_read_as(scene: Scene, *, hypothesis: str) -> float | None:
    """Residual to the poses' flow in px, if `hypothesis` is what repairs motion; else 0."""
    pair = scene.pair
    if not _moves(pair):
        return None
    if pair.motion_residual_px is None:
        return _sign_by_color(pair) if hypothesis == "sign_flipped" else None
    return pair.motion_residual_px if _explained_motion(pair) == hypothesis else 0.0


def camera_disagrees(scene: Scene) -> float | None:
    """Residual between motion and poses in px, if color sides with motion; else 0."""
    residual = _unexplained_residual(scene.pair)
    return residual if not residual or _color_sides_with_motion(scene.pair) else 0.0


def motion_disagrees(scene: Scene) -> float | None:
    """Residual between motion and poses in px, if color sides with the poses; else 0."""
    residual = _unexplained_residual(scene.pair)
    return 0.0 if residual and _color_sides_with_motion(scene.pair) else residual


def _moves(pair: FramePair) -> bool:
    """Whether the camera moves enough to tell right motion from wrong."""
    amounts = (pair.pose_flow_px or 0.0, pair.motion_px or 0.0)
    return pair.before is not None and max(amounts) >= MIN_MOTION_PX


def _residual_limit(pair: FramePair) -> float:
    return max(RESIDUAL_PX, RESIDUAL_SHARE * (pair.pose_flow_px or 0.0))


def _explained_motion(pair: FramePair) -> str | None:
    """What motion must be read as to agree with the poses ("as_is", …); None if nothing helps."""
    limit, residual = _residual_limit(pair), pair.motion_residual_px
    if residual is None or residual <= limit:
        return "as_is"
    residuals = pair.repaired_residuals_px
    best = min(residuals, key=lambda name: residuals[name], default="")
    if not best or residuals[best] > min(limit, 0.5 * residual) or pair.now.motion is None:
        return None
    repaired = pair.motion_as(best)
    by_best = None if repaired is None else pair.warp_error(repaired)
    by_motion = pair.warp_error(pair.now.motion)
    contradicted = by_best is not None and by_motion is not None and by_motion < by_best
    return None if contradicted else best  # color follows motion as it is: the poses are wrong


def _unexplained_residual(pair: FramePair) -> float | None:
    """Residual in px beyond what a known mistake of motion explains; 0 if one does."""
    if not _moves(pair) or pair.motion_residual_px is None or motion_is_zero(pair):
        return None
    if _explained_motion(pair) is not None:
        return 0.0
    return pair.motion_residual_px


def motion_is_zero(pair: FramePair) -> bool:
    """Whether the motion buffer says that nothing at all moves."""
    return pair.motion_px is not None and pair.motion_px <= STILL_PX


def _color_sides_with_motion(pair: FramePair) -> bool:
    """Whether the frame before, warped by motion, looks more like this one than by the poses."""
    if pair.now.motion is None or pair.pose_flow is None:
        return True
    by_motion, by_pose = pair.warp_error(pair.now.motion), pair.warp_error(pair.pose_flow)
    return by_motion is None or by_pose is None or by_motion <= by_pose


def _sign_by_color(pair: FramePair) -> float | None:
    """Motion's median length in px if minus motion warps color clearly better; else 0."""
    motion = pair.now.motion
    if motion is None:
        return None
    errors = [pair.warp_error(sign * motion) for sign in (np.float32(1), np.float32(-1))]
    if errors[0] is None or errors[1] is None:
        return None
    return pair.motion_px if errors[1] < 0.7 * errors[0] else 0.0


# --- color -------------------------------------------------------------------------------------

#: A buffer is late when its edges are this much stronger where they stood one frame ago.
LATE_RATIO = 1.25


def color_late(scene: Scene) -> float | None:
    """How many times stronger color's edges are where ids (or depth) stood one frame ago."""
    found = scene.pair.color_offsets
    return None if found is None else found.before / max(found.at, found.after, 1e-6)


def depth_late(scene: Scene) -> float | None:
    """The same for depth's edges against those of ids; without ids, against those of color."""
    found = scene.pair.depth_offsets
    if found is not None:
        return found.before / max(found.at, found.after, 1e-6)
    found = None if "instance" in scene.pair.arrays else scene.pair.color_offsets
    return None if found is None else found.after / max(found.at, found.before, 1e-6)


def ids_late(scene: Scene) -> float | None:
    """How many times stronger both color's and depth's edges are one frame ahead of the ids'."""
    color, depth = scene.pair.color_offsets, scene.pair.depth_offsets
    if color is None or depth is None:
        return None
    ahead = (found.after / max(found.at, found.before, 1e-6) for found in (color, depth))
    return min(ahead)


def bgra_by_albedo(scene: Scene) -> float | None:
    """Minus the correlation of red-over-blue between color and albedo."""
    color, albedo = scene.pair.now.color, scene.pair.now.albedo
    if color is None or albedo is None:
        return None
    color, albedo = color[::2, ::2], albedo[::2, ::2]
    usable = (albedo[..., :3].min(-1) >= 8) & (color[..., :3].min(-1) >= 10)
    usable &= color[..., :3].max(-1) <= 250
    if usable.sum() < MIN_PIXELS:
        return None
    seen, given = _red_over_blue(color[usable], 2.2), _red_over_blue(albedo[usable], 1.0)
    if given.std() < 0.1 or seen.std() < 0.02:
        return None
    return -float(np.corrcoef(seen, given)[0, 1])


def bgra_by_green(scene: Scene) -> float | None:
    """How much bluer than red the greens are (log ratio), where the sky is no contradiction.

    A prior for engines without albedo, not a proof: leaves and grass are yellow-green, and a clear
    sky is bluer than red. Greens are the class foliage, or else what is greener than red and blue.
    Views with neither abstain; turquoise paint under a red sunset would be named wrongly.
    """
    pair = scene.pair
    if pair.now.color is None or pair.now.albedo is not None:
        return None
    color = pair.now.color[..., :3].astype(np.float32)
    bright = color.min(-1) >= 4
    if pair.now.semantic is not None and pair.green_classes:
        green = np.isin(pair.now.semantic, list(pair.green_classes))
    else:
        green = color[..., 1] > 1.1 * np.maximum(color[..., 0], color[..., 2])
    green &= bright
    if green.sum() < max(MIN_PIXELS // 3, 0.005 * green.size):
        return None
    bluer = -float(np.median(_red_over_blue(color[green], 2.2)))
    sky = bright & np.isposinf(pair.now.depth if pair.now.depth is not None else 0.0)
    if sky.sum() >= MIN_PIXELS // 3 and np.median(_red_over_blue(color[sky], 2.2)) < 0:
        return 0.0
    return bluer


def _red_over_blue(rgb: NDArray[np.generic], gamma: float) -> F32:
    """Log of red over blue, (n,), of 8-bit pixels."""
    values = (rgb[..., :3].astype(np.float32) + 1) / 256
    return np.asarray(gamma * np.log(values[..., 0] / values[..., 2]), np.float32)


def hud_in_color(scene: Scene) -> float | None:
    """Share of pixels with contrast that stood still while the world moved behind them."""
    if scene.pair.now.header.flags & FrameFlags.HUD_IN_COLOR:
        return None  # declared: no surprise
    return scene.static_edges.share


# --- any buffer --------------------------------------------------------------------------------


def padded_pitch(scene: Scene, *, buffer: str) -> float | None:
    """Columns by which each row is displaced against the row above."""
    array = scene.pair.arrays.get(buffer)
    if array is None:
        return None
    if buffer == "color" and scene.pair.now.luma is not None:
        array = scene.pair.now.luma
    return float(abs(row_shift_px(array, is_depth=buffer == "depth")))


def duplicated(scene: Scene, *, buffer: str) -> float | None:
    """1 if the buffer is bit for bit that of the frame before although the world moved; else 0."""
    pair = scene.pair
    if pair.before is None or not _moves(pair):
        return None
    if buffer == "color":
        return float(pair.same_color)
    before, now = pair.before.depth, pair.now.depth
    if before is None or now is None or pair.now.depth_range is None:
        return None
    low, _, high = pair.now.depth_range
    varied = high > (1 + FLAT_SPREAD) * low
    return float(varied and np.array_equal(before, now, equal_nan=True))


def non_finite(scene: Scene, *, buffer: str) -> float | None:
    """Share of values that the table does not allow (see BUFFERS' column `invalid`)."""
    array = scene.pair.arrays.get(buffer)
    if array is None:
        return None
    step = scene.pair.now.stride
    values = array[::step, ::step].astype(np.float32)
    if buffer == "depth":
        return float((values < 0).mean())  # -inf too; NaN and +inf have their meaning
    if buffer == "motion":
        return float(np.isinf(values).mean())
    return float((~np.isfinite(values)).mean())
