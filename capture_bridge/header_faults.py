"""How each fault of clocks and cameras is measured, from headers alone; a figure or None.

None means that this frame cannot tell. Which figure is too much stands in checks.py.
"""

from dataclasses import dataclass

import numpy as np

from capture_bridge.evidence import UNCONNECTED
from capture_bridge.messages import FrameHeader, Hello


@dataclass(frozen=True, slots=True)
class Moment:
    """A frame's header beside that of the frame before it in the recording (None: the first)."""

    now: FrameHeader
    before: FrameHeader | None
    t_recv_ns: int | None
    t_recv_before_ns: int | None
    hello: Hello


def sim_backwards(moment: Moment) -> float | None:
    """Milliseconds by which game time went back; 0 is a clock that stands still unpaused."""
    if moment.before is None or (moment.now.flags | moment.before.flags) & UNCONNECTED:
        return None
    return (moment.before.t_sim_ns - moment.now.t_sim_ns) / 1e6


def render_backwards(moment: Moment) -> float | None:
    """Milliseconds by which host time went back."""
    if moment.before is None:
        return None
    return (moment.before.t_render_ns - moment.now.t_render_ns) / 1e6


def sim_jump(moment: Moment) -> float | None:
    """Seconds by which game time differs from what the fixed step, or the host's clock, say."""
    if moment.before is None or (moment.now.flags | moment.before.flags) & UNCONNECTED:
        return None
    passed_ns = moment.now.t_sim_ns - moment.before.t_sim_ns
    if passed_ns <= 0:
        return None
    if moment.hello.lockstep and moment.hello.dt_sim_ns > 0:
        frames = moment.now.seq - moment.before.seq
        off = abs(passed_ns - frames * moment.hello.dt_sim_ns)
        return off / 1e9 if off > 0.5 * moment.hello.dt_sim_ns else 0.0
    host_ns = moment.now.t_render_ns - moment.before.t_render_ns
    off = passed_ns - host_ns
    return off / 1e9 if off > 1_000_000_000 else 0.0


def host_jump(moment: Moment) -> float | None:
    """Seconds by which the plugin's clock jumped against the client's."""
    if moment.before is None or moment.t_recv_ns is None or moment.t_recv_before_ns is None:
        return None
    sent_ns = moment.now.t_send_ns - moment.before.t_send_ns
    return abs(moment.t_recv_ns - moment.t_recv_before_ns - sent_ns) / 1e9


def previous_pose_gap(moment: Moment) -> float | None:
    """Gap between world_from_camera_prev and the pose of the frame before, metres plus radians."""
    if moment.before is None or moment.before.seq + 1 != moment.now.seq:
        return None
    if moment.now.flags & UNCONNECTED or moment.now.camera is None:
        return None
    if moment.before.camera is None:
        return None
    said, was = moment.now.camera.world_from_camera_prev, moment.before.camera.world_from_camera
    gap = np.abs(said - was)
    moved = float(np.linalg.norm(moment.now.camera.world_from_camera[:3, 3] - was[:3, 3]))
    return float(gap[:3, :3].max() + max(0.0, np.linalg.norm(gap[:3, 3]) - 0.02 * moved))


def pose_non_finite(moment: Moment) -> float | None:
    """How many numbers of the camera are NaN or infinite."""
    camera = moment.now.camera
    if camera is None:
        return None
    parts = (camera.K, camera.world_from_camera, camera.world_from_camera_prev)
    return float(sum(int((~np.isfinite(part)).sum()) for part in parts))
