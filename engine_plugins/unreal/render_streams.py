"""What a session says of an imported render: its streams, its hello, and each frame's message.

Knows our messages and what a render's plan says; no files.
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Final

import numpy as np
from numpy.typing import NDArray

from capture_bridge.buffers import BUFFERS, FrameArrays
from capture_bridge.messages import (
    BufferDescriptor,
    Camera,
    Frame,
    FrameFlags,
    FrameHeader,
    Hello,
    StreamInfo,
)
from engine_plugins.unreal.camera import METRES_PER_CM, Sidecar
from engine_plugins.unreal.layers import HALF_MAX
from engine_plugins.unreal.render_frames import Plan

PLUGIN_NAME: Final = "movie-render-queue"
PLUGIN_VERSION: Final = "1"
#: So many names of objects go into the session; a text map holds at most 256 entries.
MAX_NAMES: Final = 200
MAX_TEXT_CHARS: Final = 200


def streams_of(plan: Plan, first: FrameArrays) -> tuple[StreamInfo, ...]:
    """The streams of a shot whose first frame has these arrays."""
    width, height = plan.size
    return tuple(
        StreamInfo(
            name,
            width,
            height,
            BUFFERS[name].dtype,
            BUFFERS[name].components,
            _params(name, plan, first[name]),
        )
        for name in BUFFERS
        if name in first
    )


def make_hello(
    session_uuid: str,
    folder: str,
    streams: Sequence[StreamInfo],
    texts: Mapping[str, str],
    sidecar: Sidecar | None,
    rate: Fraction,
) -> Hello:
    """The hello of an import. texts: the first file's attributes. rate: frames per second.

    It is a lockstep one: offline, game time advances one step a frame.
    """
    told = (sidecar.engine_version, sidecar.project, sidecar.sequence) if sidecar else ("", "", "")
    step = sidecar.frame_step if sidecar else 1
    return Hello(
        session_uuid=session_uuid,
        engine="Unreal Engine",
        engine_version=(told[0] or texts.get("unreal/engineVersion") or "unknown")[:MAX_TEXT_CHARS],
        plugin=PLUGIN_NAME,
        plugin_version=PLUGIN_VERSION,
        game=(told[1] or texts.get("unreal/jobName") or folder)[:MAX_TEXT_CHARS],
        streams=tuple(streams),
        lockstep=True,
        dt_sim_ns=round(step * 10**9 / rate),
        params={
            "frame_rate": f"{rate.numerator}/{rate.denominator}",
            "sequence": told[2][:MAX_TEXT_CHARS],
            "host_clock": "of the import; the render's own is not known",
        },
    )


def make_message(
    arrays: FrameArrays,
    camera: Camera | None,
    *,
    seq: int,
    number: int,
    t_sim_ns: int,
    t_host_ns: int,
    flags: FrameFlags,
    drops: Mapping[str, int],
) -> Frame:
    """The protocol's frame of one rendered frame with this number."""
    height, width = arrays["color"].shape[:2]
    names = [name for name in BUFFERS if name in arrays]
    descriptors = tuple(
        BufferDescriptor(
            name,
            width,
            height,
            BUFFERS[name].dtype,
            BUFFERS[name].components,
            width * BUFFERS[name].pixel_bytes,
        )
        for name in names
    )
    header = FrameHeader(
        seq=seq,
        frame_id=max(number, 0),  # numbers before 0 are told by t_sim_ns alone
        t_sim_ns=t_sim_ns,
        t_render_ns=t_host_ns,
        t_send_ns=t_host_ns,
        render_size=(width, height),
        output_size=(width, height),
        camera=camera,
        buffers=descriptors,
        flags=flags,
        drops=dict(drops),
    )
    return Frame(header, tuple(np.ascontiguousarray(arrays[name]).tobytes() for name in names))


def _params(name: str, plan: Plan, array: NDArray[np.generic]) -> dict[str, str]:
    """What a stream says of itself."""
    reading = plan.reading
    stored = {"stored_as": "half"} if name in plan.half else {}
    if name in ("color", "color_hdr"):
        curve = "unreal" if reading.tone_curve else "none"
        if name == "color" and not reading.tone_curve:
            curve = f"aces, {reading.exposure_stops:+g} stops"
        return {"tone_curve": curve}
    if name == "depth":
        sky_m = min(reading.sky_m, HALF_MAX * METRES_PER_CM) if stored else reading.sky_m
        return {**stored, "sky_from_m": f"{sky_m:g}"}
    if name == "normal":
        encoding = "packed" if reading.packed_normal else "signed"
        return {**stored, "source": "gbuffer", "encoding": encoding}
    if name == "motion":
        return {**stored, "encoding": reading.motion}
    if name == "instance":
        return {"ids": "cryptomatte", "objects": str(len(plan.names)), **_names(plan, array)}
    return stored


def _names(plan: Plan, ids: NDArray[np.generic]) -> dict[str, str]:
    """Names of objects by their id in hex, those in the first frame before the others."""
    seen = set(np.unique(ids).tolist())
    ordered = sorted(plan.names, key=lambda i: i not in seen)
    kept = [i for i in ordered if i not in plan.reading.no_object][:MAX_NAMES]
    return {f"name.{i:08x}": plan.names[i][:MAX_TEXT_CHARS] for i in kept}
