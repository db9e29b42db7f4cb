"""The table of faults: which function measures each, its limit with the reason, and its cure.

`CHECKS` look at pixels, `CLOCK_CHECKS` at headers alone. Causes stand above consequences: a row may
hide what follows from it. How a fault is measured, faults.py and header_faults.py know; when a
figure becomes a finding, health.py.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from capture_bridge import faults, header_faults
from capture_bridge.faults import Scene
from capture_bridge.header_faults import Moment

#: Frames in a row (or half of all) that a lasting fault must show.
LASTING = 4

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Check(Generic[T]):
    """One row of the table.

    needs: buffers without which the check abstains. text: may use {figure} and {limit}. frames: how
    many in a row make a finding. hides: faults that follow from this one, not named beside it.
    """

    fault: str
    buffer: str
    needs: tuple[str, ...]
    measure: Callable[[T], float | None]
    limit: float
    text: str
    cure: str
    frames: int = LASTING
    hides: tuple[str, ...] = ()


_GEOMETRY_OF_DEPTH = (
    "depth_flat",
    "depth_reversed",
    "depth_in_centimetres",
    "depth_in_millimetres",
    "depth_radial",
    "depth_late",
    "depth_duplicated",
    "normal_flipped",
    "normal_world_space",
    "normal_opengl_axes",
    "normal_disagrees",
    "motion_disagrees",
    "camera_disagrees",
)
_FOLLOW_FROM_MOTION = (
    "motion_disagrees",
    "camera_disagrees",
    "color_late",
    "ids_late",
    "hud_in_color",
)
_OF_COLOR = ("color_late", "color_bgra", "hud_in_color", "ids_late", "depth_late")

_OF_GEOMETRY = (*_GEOMETRY_OF_DEPTH, "color_late", "color_bgra")

_SCALES = {"depth_in_centimetres": (0.01, "centimetres"), "depth_in_millimetres": (0.001, "mm")}

CHECKS: tuple[Check[Scene], ...] = (
    # --- layout: everything else follows from it ---
    *(
        Check(
            f"{buffer}_padded_pitch",
            buffer,
            (buffer,),
            partial(faults.padded_pitch, buffer=buffer),
            3.5,  # slanted edges shift a view by 1 or 2; rows aligned to 256 bytes, by far more
            "each row lies {figure:.0f} columns beside the one above",
            "read rows at the texture's row pitch (RowPitch), not at width times pixel size",
            hides=_OF_COLOR
            if buffer == "color"
            else (*_GEOMETRY_OF_DEPTH, "color_late", "color_bgra"),
        )
        for buffer in ("color", "depth", "normal", "motion", "instance")
    ),
    *(
        Check(
            f"{buffer}_non_finite",
            buffer,
            (buffer,),
            partial(faults.non_finite, buffer=buffer),
            1e-3,  # single fireflies and the far tail of f16 are normal
            "{figure:.1%} of its values are NaN, infinite or negative where that has no meaning",
            "write the table's invalid value where nothing is known",
            frames=1,
        )
        for buffer in ("color_hdr", "depth", "normal", "motion")
    ),
    # --- depth ---
    Check(
        "depth_absent",
        "depth",
        ("depth",),
        faults.depth_absent,
        0.9,
        "{figure:.0%} of the pixels are unknown (NaN)",
        "select the depth target that the scene is drawn to; see `realmaster inspect`",
        hides=_GEOMETRY_OF_DEPTH,
    ),
    Check(
        "depth_flips",
        "depth",
        ("depth",),
        faults.depth_flips,
        0.5,  # fast driving changes a few per cent by a factor of two, never half
        "{figure:.0%} of the pixels double or halve from one frame to the next, color does not",
        "pin the depth target: the plugin's choice flips between two",
        frames=1,
        hides=_GEOMETRY_OF_DEPTH,
    ),
    Check(
        "depth_reversed",
        "depth",
        ("depth",),
        faults.depth_reversed,
        0.5,
        "near and far are swapped (strength {figure:.2f}, limit {limit})",
        "set reversed_z as the engine draws it, and linearise with the same near and far",
        hides=_GEOMETRY_OF_DEPTH,
    ),
    Check(
        "depth_flat",
        "depth",
        ("depth",),
        faults.depth_flat,
        0.98,
        "{figure:.0%} of the pixels hold one and the same value",
        "the target is cleared or a wrong one: read depth before the engine clears it",
        hides=_GEOMETRY_OF_DEPTH,
    ),
    *(
        Check(
            fault,
            "depth",
            ("depth", "motion"),
            partial(faults.depth_scaled, factor=factor),
            faults.RESIDUAL_PX,
            "depth is in " + unit + ": as metres it misses motion by {figure:.1f} px",
            f"multiply depth by {factor} in the plugin",
            hides=("motion_disagrees", "camera_disagrees"),
        )
        for fault, (factor, unit) in _SCALES.items()
    ),
    Check(
        "depth_radial",
        "depth",
        ("depth", "normal"),
        faults.depth_radial,
        2.0,
        "normals fit {figure:.1f} times better if depth is the distance along the ray",
        "send planar z: divide by the length of the pixel's ray (z = 1)",
        hides=("motion_disagrees", "camera_disagrees"),
    ),
    # --- normals ---
    *(
        Check(
            fault,
            "normal",
            ("normal", "depth"),
            partial(faults.normal_read_as, hypothesis=hypothesis),
            faults.NORMAL_DEG,
            what + ": {figure:.0f} degrees from the depth map's",
            cure,
        )
        for fault, hypothesis, what, cure in (
            ("normal_flipped", "flipped", "normals point away", "negate them: z < 0 faces us"),
            (
                "normal_world_space",
                "world_space",
                "normals are in world space",
                "rotate them by the transpose of world_from_camera",
            ),
            (
                "normal_opengl_axes",
                "opengl_axes",
                "normals have OpenGL's axes",
                "negate y and z: +y is down, +z forward",
            ),
            ("normal_packed", "packed_01", "normals are packed to 0..1", "send 2 n - 1"),
        )
    ),
    Check(
        "normal_disagrees",
        "normal",
        ("normal", "depth"),
        faults.normal_disagrees,
        faults.NORMAL_DEG,
        "normals lie {figure:.0f} degrees from the depth map's (median)",
        "take normals and depth of one frame and one view; check axes and encoding",
    ),
    # --- motion and camera ---
    Check(
        "motion_absent",
        "motion",
        ("motion", "depth"),
        faults.motion_absent,
        0.5,
        "{figure:.0%} of the pixels have no motion (NaN)",
        "read the velocity target after every pass that writes it",
    ),
    Check(
        "motion_zero",
        "motion",
        ("motion",),
        faults.motion_zero,
        0.002,  # a walking person 100 m off covers about this share
        "motion is zero throughout while {figure:.1%} of the pixels move",
        "switch the engine's motion vectors on, for the camera and for objects",
        hides=_FOLLOW_FROM_MOTION,
    ),
    *(
        Check(
            fault,
            "motion",
            ("motion",),
            partial(faults.motion_read_as, hypothesis=hypothesis),
            faults.RESIDUAL_PX,
            what + ": it misses the poses' flow by {figure:.1f} px",
            cure,
            hides=_FOLLOW_FROM_MOTION,
        )
        for fault, hypothesis, what, cure in (
            (
                "motion_sign_flipped",
                "sign_flipped",
                "motion points forward in time",
                "negate it: p_prev = p_cur + motion",
            ),
            ("motion_y_flipped", "y_flipped", "motion's y points up", "negate y: rows run down"),
            ("motion_in_uv", "uv_units", "motion is in texture units", "multiply by the size"),
            (
                "motion_in_ndc",
                "ndc_units",
                "motion is in clip-space units",
                "multiply by (width / 2, -height / 2)",
            ),
        )
    ),
    Check(
        "motion_disagrees",
        "motion",
        ("motion", "depth", "color"),
        faults.motion_disagrees,
        faults.RESIDUAL_PX,
        "motion misses the poses' flow by {figure:.1f} px, and color agrees with the poses",
        "check what the engine's velocity target holds, its size, and its jitter",
        hides=("camera_disagrees", "hud_in_color"),
    ),
    Check(
        "camera_disagrees",
        "camera",
        ("motion", "depth"),
        faults.camera_disagrees,
        faults.RESIDUAL_PX,
        "poses and depth miss motion by {figure:.1f} px, and color agrees with motion",
        "send world_from_camera with OpenCV axes, in metres, of the frame that was drawn",
    ),
    # --- time between buffers ---
    *(
        Check(
            f"{buffer}_duplicated",
            buffer,
            (buffer,),
            partial(faults.duplicated, buffer=buffer),
            0.5,
            "the same image again while the camera moves",
            "send a frame only when a new one was rendered; a gap in seq is a drop, not a copy",
            frames=1,
            hides=("color_late", "depth_late", "ids_late", "camera_disagrees", "motion_disagrees")
            + (("depth_duplicated",) if buffer == "color" else ()),
        )
        for buffer in ("color", "depth")
    ),
    Check(
        "ids_late",
        "instance",
        ("instance", "depth", "motion", "color"),
        faults.ids_late,
        faults.LATE_RATIO,
        "color's and depth's edges lie where ids will stand one frame later ({figure:.2f} times)",
        "copy ids in the frame that draws color and depth",
        hides=("color_late", "depth_late"),
    ),
    Check(
        "color_late",
        "color",
        ("color", "depth", "motion"),
        faults.color_late,
        faults.LATE_RATIO,
        "color's edges are {figure:.2f} times stronger where objects stood one frame before",
        "copy color and the G-buffer in the same frame, and read both back together",
    ),
    Check(
        "depth_late",
        "depth",
        ("depth", "motion"),
        faults.depth_late,
        faults.LATE_RATIO,
        "depth's edges lie where objects stood one frame before ({figure:.2f} times stronger)",
        "copy depth in the frame that draws color and ids",
    ),
    # --- color ---
    Check(
        "color_bgra",
        "color",
        ("color", "albedo"),
        faults.bgra_by_albedo,
        0.2,
        "red and blue are swapped (correlation with albedo {figure:.2f} when swapped back)",
        "send R, G, B, A: swizzle DXGI B8G8R8A8 before sending",
    ),
    Check(
        "color_bgra",
        "color",
        ("color", "depth"),
        faults.bgra_by_green,
        0.15,
        "greens are bluer than red (log ratio {figure:.2f}): red and blue look swapped",
        "send R, G, B, A: swizzle DXGI B8G8R8A8 before sending; ignore this under colored light",
    ),
    Check(
        "hud_in_color",
        "color",
        ("color",),
        faults.hud_in_color,
        5e-4,  # at 640x360: text of about 100 pixels
        "{figure:.2%} of the pixels stand still with contrast while the world moves",
        "copy color before the HUD is drawn, or send the flag hud_in_color",
    ),
)

CLOCK_CHECKS: tuple[Check[Moment], ...] = (
    Check(
        "clock_backwards",
        "t_sim_ns",
        (),
        header_faults.sim_backwards,
        -1e-6,
        "game time does not advance (by {figure:.1f} ms back)",
        "stamp each frame with its own game time; flag pauses",
        frames=1,
    ),
    Check(
        "clock_backwards",
        "t_render_ns",
        (),
        header_faults.render_backwards,
        0.0,
        "host time goes back by {figure:.1f} ms",
        "use a monotonic clock",
        frames=1,
    ),
    Check(
        "clock_jump",
        "t_sim_ns",
        (),
        header_faults.sim_jump,
        0.0,
        "game time jumps by {figure:.2f} s against its step",
        "stamp each frame with its own game time; flag cuts and loading",
        frames=1,
    ),
    Check(
        "clock_jump",
        "t_send_ns",
        (),
        header_faults.host_jump,
        2.0,  # a queue's wait is far below: credits bound it to a few frames
        "the plugin's clock jumps by {figure:.1f} s against the client's",
        "use a monotonic clock",
        frames=1,
    ),
    Check(
        "camera_previous_pose",
        "camera",
        (),
        header_faults.previous_pose_gap,
        0.02,  # metres plus radians: far beyond rounding, below a walking step
        "world_from_camera_prev is {figure:.2f} (m + rad) off the pose of the frame before",
        "send the pose with which the frame before was drawn",
        hides=("camera_disagrees", "motion_disagrees"),
    ),
    Check(
        "camera_non_finite",
        "camera",
        (),
        header_faults.pose_non_finite,
        0.0,
        "{figure:.0f} numbers of the camera are NaN or infinite",
        "send no camera where there is none",
        frames=1,
        hides=("camera_disagrees", "motion_disagrees", "camera_previous_pose"),
    ),
)
