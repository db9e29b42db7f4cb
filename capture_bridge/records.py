"""Each record of a message as a map of plain values, and back: its `write` beside its `read`.

A record that comes from a peer or a file is read through `Fields`, which checks every value; what
is wrong is a ProtocolError that names the field. How maps become bytes is wire.py's business.
"""

from collections.abc import Sequence
from typing import Any

from capture_bridge.buffers import BUFFERS
from capture_bridge.codecs import CODECS, DTYPES
from capture_bridge.errors import LimitError, ProtocolError
from capture_bridge.fields import Fields
from capture_bridge.messages import (
    BufferDescriptor,
    Camera,
    Credit,
    Enhanced,
    Frame,
    FrameFlags,
    FrameHeader,
    FreedSlot,
    Hello,
    RingInfo,
    SharedSlot,
    StreamInfo,
    Welcome,
)

Part = bytes | memoryview
FieldMap = dict[str, Any]


def _write_stream(stream: StreamInfo) -> FieldMap:
    return {
        "name": stream.name,
        "width": stream.width,
        "height": stream.height,
        "dtype": stream.dtype,
        "components": stream.components,
        "params": dict(stream.params),
    }


def _read_stream(fields: Fields) -> StreamInfo:
    name, dtype, components = _read_layout(fields)
    return StreamInfo(
        name=name,
        width=fields.side("width"),
        height=fields.side("height"),
        dtype=dtype,
        components=components,
        params=fields.texts("params"),
    )


def write_hello(hello: Hello) -> FieldMap:
    """The fields of a hello as a map of plain values."""
    fields: FieldMap = {
        "session_uuid": hello.session_uuid,
        "engine": hello.engine,
        "engine_version": hello.engine_version,
        "plugin": hello.plugin,
        "plugin_version": hello.plugin_version,
        "game": hello.game,
        "streams": [_write_stream(stream) for stream in hello.streams],
        "lockstep": hello.lockstep,
        "dt_sim_ns": hello.dt_sim_ns,
        "same_frame": hello.same_frame,
        "token": hello.token,
        "params": dict(hello.params),
    }
    if hello.shared_slots:
        fields["shared_slots"] = hello.shared_slots
        fields["shared_slot_bytes"] = hello.shared_slot_bytes
    return fields


def read_hello(fields: Fields) -> Hello:
    """The hello in an untrusted map; ProtocolError names what is wrong."""
    uuid = fields.text("session_uuid")
    if len(uuid) != 32 or not set(uuid) <= set("0123456789abcdef"):
        raise ProtocolError(f"{fields.where}.session_uuid must be 32 lower-case hex digits")
    streams = tuple(map(_read_stream, fields.maps("streams", fields.limits.buffers)))
    _refuse_duplicates([stream.name for stream in streams], fields.where)
    return Hello(
        session_uuid=uuid,
        engine=fields.text("engine"),
        engine_version=fields.text("engine_version"),
        plugin=fields.text("plugin"),
        plugin_version=fields.text("plugin_version"),
        game=fields.text("game"),
        streams=streams,
        lockstep=fields.boolean("lockstep", False),
        dt_sim_ns=fields.integer("dt_sim_ns", default=0),
        same_frame=fields.boolean("same_frame", True),
        token=fields.text("token", ""),
        params=fields.texts("params"),
        shared_slots=fields.integer("shared_slots", default=0, high=fields.limits.shared_slots),
        shared_slot_bytes=fields.integer("shared_slot_bytes", default=0),
    )


def write_welcome(welcome: Welcome) -> FieldMap:
    """The fields of a welcome as a map of plain values."""
    fields: FieldMap = {
        "epoch": welcome.epoch,
        "max_frame_bytes": welcome.max_frame_bytes,
        "heartbeat_ns": welcome.heartbeat_ns,
    }
    if welcome.shared is not None:
        ring = welcome.shared
        fields["shared"] = {"name": ring.name, "slots": ring.slots, "slot_bytes": ring.slot_bytes}
    return fields


def read_welcome(fields: Fields) -> Welcome:
    """The welcome in an untrusted map."""
    ring = fields.optional("shared")
    return Welcome(
        epoch=fields.integer("epoch"),
        max_frame_bytes=fields.integer("max_frame_bytes"),
        heartbeat_ns=fields.integer("heartbeat_ns"),
        shared=None
        if ring is None
        else RingInfo(
            name=ring.text("name"),
            slots=ring.integer("slots", low=1, high=fields.limits.shared_slots),
            slot_bytes=ring.integer("slot_bytes", low=1, high=2**32),
        ),
    )


def write_credit(credit: Credit) -> FieldMap:
    """The fields of a credit as a map of plain values."""
    fields: FieldMap = {"frames": credit.frames, "nbytes": credit.nbytes}
    if credit.freed:
        fields["freed"] = [
            {"slot": freed.slot, "generation": freed.generation} for freed in credit.freed
        ]
    return fields


def read_credit(fields: Fields) -> Credit:
    """The credit in an untrusted map."""
    high = fields.limits.shared_slots - 1
    freed = fields.maps("freed", high + 1) if fields.has("freed") else []
    return Credit(
        frames=fields.integer("frames", high=2**31 - 1),
        nbytes=fields.integer("nbytes"),
        freed=tuple(
            FreedSlot(item.integer("slot", high=high), item.integer("generation")) for item in freed
        ),
    )


def _write_camera(camera: Camera) -> FieldMap:
    return {
        "K": camera.K.ravel().tolist(),
        "world_from_camera": camera.world_from_camera.ravel().tolist(),
        "world_from_camera_prev": camera.world_from_camera_prev.ravel().tolist(),
        "near_m": float(camera.near_m),
        "far_m": float(camera.far_m),
        "reversed_z": bool(camera.reversed_z),
    }


def _read_camera(fields: Fields) -> Camera:
    near_m = fields.number("near_m")
    far_m = fields.number("far_m", may_be_infinite=True)
    if not 0 < near_m < far_m:
        raise ProtocolError(f"{fields.where}: near_m {near_m} must lie in 0..far_m {far_m}")
    return Camera(
        K=fields.matrix("K", 3),
        world_from_camera=fields.matrix("world_from_camera", 4),
        world_from_camera_prev=fields.matrix("world_from_camera_prev", 4),
        near_m=near_m,
        far_m=far_m,
        reversed_z=fields.boolean("reversed_z", False),
    )


def _write_descriptor(descriptor: BufferDescriptor) -> FieldMap:
    fields: FieldMap = {
        "name": descriptor.name,
        "width": descriptor.width,
        "height": descriptor.height,
        "dtype": descriptor.dtype,
        "components": descriptor.components,
        "row_pitch": descriptor.row_pitch,
        "codec": descriptor.codec,
    }
    if descriptor.checksum is not None:
        fields["checksum"] = descriptor.checksum
    if descriptor.shared is not None:
        shared = descriptor.shared
        fields["shared"] = {
            "name": shared.name,
            "slot": shared.slot,
            "generation": shared.generation,
            "offset": shared.offset,
            "nbytes": shared.nbytes,
        }
    return fields


def _read_descriptor(fields: Fields) -> BufferDescriptor:
    name, dtype, components = _read_layout(fields)
    width, height = fields.side("width"), fields.side("height")
    row_bytes = width * components * DTYPES[dtype].itemsize
    row_pitch = fields.integer("row_pitch", low=row_bytes, high=fields.limits.frame_bytes)
    if row_pitch % DTYPES[dtype].itemsize:
        raise ProtocolError(
            f"{fields.where}.row_pitch is {row_pitch}; it must be a multiple of the size of {dtype}"
        )
    codec = fields.text("codec", "raw")
    if codec not in CODECS:
        raise ProtocolError(f"{fields.where}.codec is {codec!r}; known are {', '.join(CODECS)}")
    return BufferDescriptor(
        name=name,
        width=width,
        height=height,
        dtype=dtype,
        components=components,
        row_pitch=row_pitch,
        codec=codec,
        checksum=fields.integer("checksum", high=2**32 - 1) if fields.has("checksum") else None,
        shared=_read_shared(fields),
    )


def _read_shared(fields: Fields) -> SharedSlot | None:
    shared = fields.optional("shared")
    if shared is None:
        return None
    if not fields.limits.shared_memory:
        raise ProtocolError(
            f"{fields.where} lies in shared memory, which was not announced to this plugin; "
            "send the payload in the message"
        )
    return SharedSlot(
        name=shared.text("name"),
        slot=shared.integer("slot", high=fields.limits.shared_slots - 1),
        generation=shared.integer("generation"),
        offset=shared.integer("offset", high=2**32),
        nbytes=shared.integer("nbytes", low=1, high=fields.limits.frame_bytes),
    )


def write_frame_header(header: FrameHeader) -> FieldMap:
    """The fields of a frame's header as a map of plain values (the session file's too)."""
    return {
        "seq": header.seq,
        "frame_id": header.frame_id,
        "t_sim_ns": header.t_sim_ns,
        "t_render_ns": header.t_render_ns,
        "t_send_ns": header.t_send_ns,
        "render_size": list(header.render_size),
        "output_size": list(header.output_size),
        "camera": None if header.camera is None else _write_camera(header.camera),
        "buffers": [_write_descriptor(descriptor) for descriptor in header.buffers],
        "flags": int(header.flags),
        "drops": {str(cause): count for cause, count in header.drops.items()},
        "jitter_px": [float(value) for value in header.jitter_px],
    }


def read_frame_header(fields: Fields) -> FrameHeader:
    """The frame header in an untrusted map; ProtocolError names what is wrong."""
    camera = fields.optional("camera")
    descriptors = tuple(map(_read_descriptor, fields.maps("buffers", fields.limits.buffers)))
    _refuse_duplicates([descriptor.name for descriptor in descriptors], fields.where)
    jitter_x, jitter_y = fields.numbers("jitter_px", 2, (0.0, 0.0))
    return FrameHeader(
        seq=fields.integer("seq"),
        frame_id=fields.integer("frame_id"),
        t_sim_ns=fields.time_ns("t_sim_ns"),
        t_render_ns=fields.time_ns("t_render_ns"),
        t_send_ns=fields.time_ns("t_send_ns"),
        render_size=fields.size("render_size"),
        output_size=fields.size("output_size"),
        camera=None if camera is None else _read_camera(camera),
        buffers=descriptors,
        flags=FrameFlags(fields.integer("flags", high=2**32 - 1, default=0)),
        drops=fields.counts("drops"),
        jitter_px=(jitter_x, jitter_y),
    )


def read_frame(fields: Fields, payloads: Sequence[Part]) -> Frame:
    """The frame of a header and its payloads, whose number and sizes must be as described."""
    header = read_frame_header(fields)
    if len(payloads) != len(header.buffers):
        raise ProtocolError(
            f"frame {header.seq} describes {len(header.buffers)} buffers "
            f"and carries {len(payloads)} payloads"
        )
    limit = fields.limits.frame_bytes
    shared = [buffer.shared.nbytes for buffer in header.buffers if buffer.shared is not None]
    for what, total in (
        ("unpacked", sum(buffer.row_pitch * buffer.height for buffer in header.buffers)),
        ("as sent", sum(map(len, payloads)) + sum(shared)),
    ):
        if total > limit:
            raise LimitError(f"frame {header.seq} is {total} bytes {what}; the limit is {limit}")
    for descriptor, payload in zip(header.buffers, payloads, strict=True):
        _check_payload_size(descriptor, len(payload), header.seq)
    return Frame(header, tuple(payloads))


def _check_payload_size(descriptor: BufferDescriptor, num_bytes: int, seq: int) -> None:
    where = f"frame {seq}: buffer {descriptor.name}"
    if descriptor.shared is not None:
        if num_bytes:
            raise ProtocolError(f"{where} lies in shared memory, so its payload must be empty")
        num_bytes = descriptor.shared.nbytes
    unpacked = descriptor.row_pitch * descriptor.height
    if descriptor.codec == "raw" and num_bytes != unpacked:
        raise ProtocolError(
            f"{where} carries {num_bytes} bytes; row_pitch {descriptor.row_pitch} × height "
            f"{descriptor.height} is {unpacked}"
        )
    if num_bytes == 0:
        raise ProtocolError(f"{where} carries no bytes")


def read_enhanced(fields: Fields, payloads: Sequence[Part]) -> Enhanced:
    """The enhanced frame of a header and its one payload."""
    width, height = fields.side("width"), fields.side("height")
    if len(payloads) != 1 or len(payloads[0]) != width * height * 4:
        raise ProtocolError(
            f"enhanced must carry one payload of {width}×{height}×4 bytes, "
            f"not {[len(payload) for payload in payloads]}"
        )
    return Enhanced(fields.integer("seq"), width, height, payloads[0])


def _read_layout(fields: Fields) -> tuple[str, str, int]:
    """Name, dtype, components; those of a name in BUFFERS must be the table's."""
    name, dtype = fields.text("name"), fields.text("dtype")
    components = fields.integer("components", low=1, high=4)
    if dtype not in DTYPES:
        raise ProtocolError(f"{fields.where}.dtype is {dtype!r}; known are {', '.join(DTYPES)}")
    known = BUFFERS.get(name)
    if known is not None and (dtype, components) != (known.dtype, known.components):
        raise ProtocolError(
            f"{fields.where}: {name} is {dtype} × {components}; "
            f"it must be {known.dtype} × {known.components}"
        )
    return name, dtype, components


def _refuse_duplicates(names: Sequence[str], where: str) -> None:
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ProtocolError(f"{where} names a buffer twice: {', '.join(sorted(twice))}")
