"""The protocol's messages as frozen dataclasses, one per kind (PROTOCOL.md).

This file knows what a message says, not how it becomes bytes (wire.py) nor how bytes travel
(link.py). Matrices are row-major float64; times are int64 nanoseconds.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]

PROTOCOL_VERSION: tuple[int, int] = (1, 1)


class FrameFlags(enum.IntFlag):
    """What is special about a frame; bits as they stand on the wire."""

    NONE = 0
    CUT = 1  # the view jumped: motion vectors do not connect to the frame before
    TELEPORT = 2  # the player jumped within the world
    PAUSED = 4
    LOADING = 8
    MENU = 16
    HUD_IN_COLOR = 32  # color could not be taken before the HUD was drawn
    GENERATED = 64  # made by frame generation, not rendered: has no G-buffer


class DropCause(enum.StrEnum):
    """Why a plugin dropped a frame; counted cumulatively in every frame's header."""

    NO_CREDIT = "no_credit"  # the client was not ready for another frame
    READBACK_LATE = "readback_late"  # the GPU copy was not finished in time
    ENCODE = "encode"  # a codec failed or was too slow
    OVERSIZE = "oversize"  # the frame is larger than the client's byte limit
    DISCONNECTED = "disconnected"  # no client


@dataclass(frozen=True, slots=True, eq=False)
class Camera:
    """The pinhole camera of a frame and of the frame before.

    K: (3, 3) pixels. world_from_camera, world_from_camera_prev: (4, 4) metres, camera axes
    OpenCV's, world right-handed with +z up. near_m, far_m: metres (far_m may be inf). reversed_z:
    whether device depth is 1 at the near plane.
    """

    K: Matrix
    world_from_camera: Matrix
    world_from_camera_prev: Matrix
    near_m: float
    far_m: float
    reversed_z: bool = False


@dataclass(frozen=True, slots=True)
class SharedSlot:
    """Where a payload lies in the shared-memory ring instead of in the message (since 1.1).

    offset, nbytes: from the slot's first byte.
    """

    name: str
    slot: int
    generation: int
    offset: int
    nbytes: int


@dataclass(frozen=True, slots=True)
class BufferDescriptor:
    """How one buffer's payload is laid out.

    row_pitch: bytes from row to row, at least width * pixel size. The unpacked payload is exactly
    row_pitch * height bytes.
    """

    name: str
    width: int
    height: int
    dtype: str
    components: int
    row_pitch: int
    codec: str = "raw"  # "raw", "lz4", "zstd", "shuffle+lz4", "shuffle+zstd"
    checksum: int | None = None  # CRC-32 (zlib's) of the payload as sent
    shared: SharedSlot | None = None


@dataclass(frozen=True, slots=True)
class FrameHeader:
    """Everything about a frame but its pixels.

    seq: the plugin's counter, one up per rendered frame, so a gap is a drop. frame_id: the
    engine's. t_sim_ns: game time. t_render_ns: host monotonic time at submission. t_send_ns: host
    monotonic time at sending. drops: cumulative count by cause. jitter_px: (x, y) sub-pixel offset
    of this frame's projection. render_size, output_size: (width, height).
    """

    seq: int
    frame_id: int
    t_sim_ns: int
    t_render_ns: int
    t_send_ns: int
    render_size: tuple[int, int]
    output_size: tuple[int, int]
    camera: Camera | None
    buffers: tuple[BufferDescriptor, ...]
    flags: FrameFlags = FrameFlags.NONE
    drops: Mapping[str, int] = field(default_factory=dict)
    jitter_px: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """One buffer that the plugin will send. params: strings, e.g. {"classes": "none,sky,…"}."""

    name: str
    width: int
    height: int
    dtype: str
    components: int
    params: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Hello:
    """The plugin's first message. session_uuid: 32 hex digits, one per engine run."""

    session_uuid: str
    engine: str
    engine_version: str
    plugin: str
    plugin_version: str
    game: str
    streams: tuple[StreamInfo, ...]
    lockstep: bool = False  # the plugin waits for credit; the game advances dt_sim_ns a frame
    dt_sim_ns: int = 0
    same_frame: bool = True  # all buffers of a seq come from one rendered frame
    token: str = ""
    params: Mapping[str, str] = field(default_factory=dict)  # e.g. {"seed": "907"}
    shared_slots: int = 0  # how many slots of shared memory the plugin would use; 0: none
    shared_slot_bytes: int = 0


@dataclass(frozen=True, slots=True)
class RingInfo:
    """Shared memory that a client offers: `slots` times `slot_bytes`; a slot starts with 64 bytes.

    The first eight hold the generation of what is in the slot.
    """

    name: str
    slots: int
    slot_bytes: int


@dataclass(frozen=True, slots=True)
class Welcome:
    """The client's answer to Hello. epoch: one up on every (re)connection of this recording."""

    epoch: int
    max_frame_bytes: int
    heartbeat_ns: int
    shared: RingInfo | None = None


@dataclass(frozen=True, slots=True)
class FreedSlot:
    """A slot of shared memory that the plugin may fill again, as it was when it was read."""

    slot: int
    generation: int


@dataclass(frozen=True, slots=True)
class Credit:
    """The client is ready for `frames` more frames, together at most `nbytes` more bytes.

    freed: slots of shared memory that it has read.
    """

    frames: int
    nbytes: int
    freed: tuple[FreedSlot, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One rendered frame: its header, and one payload per descriptor in the same order.

    A payload whose descriptor names a shared slot is empty.
    """

    header: FrameHeader
    payloads: tuple[bytes | memoryview, ...]


@dataclass(frozen=True, slots=True)
class Mark:
    """A named moment: a player's bookmark, a level's start."""

    t_sim_ns: int
    label: str


@dataclass(frozen=True, slots=True)
class Command:
    """The client asks the plugin for something: "start", "stop", "pause", …"""

    request_id: int
    name: str
    args: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Result:
    """The plugin's answer to a Command."""

    request_id: int
    ok: bool
    text: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Enhanced:
    """An enhanced frame on its way back into the engine (`color`'s layout, raw)."""

    seq: int
    width: int
    height: int
    payload: bytes | memoryview


class ErrorCode(enum.StrEnum):
    """What an Error is about; all but BAD_MESSAGE mean that the sender takes nothing more."""

    BUSY = "busy"  # another plugin is connected
    TOKEN = "token"  # the token is missing or wrong
    VERSION = "version"  # another major version
    BAD_MESSAGE = "bad_message"  # one message was refused and skipped


@dataclass(frozen=True, slots=True)
class Error:
    """Something went wrong: an ErrorCode or a code of the sender's own, and one line for people."""

    code: str
    text: str


@dataclass(frozen=True, slots=True)
class Bye:
    """The sender ends in good order. last_seq: the last seq that a plugin counted (-1: none)."""

    reason: str
    last_seq: int = -1
    drops: Mapping[str, int] = field(default_factory=dict)


Message = Hello | Welcome | Credit | Frame | Mark | Command | Result | Enhanced | Error | Bye
