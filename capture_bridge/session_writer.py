"""Writes a session file while it is recorded; see session_format.py for how it is laid out.

After a crash everything up to the last whole group of chunks can be read again: a group is closed
after one second or 32 MiB. This file knows buffers, codecs and the container, nothing of links.
"""

import dataclasses
import json
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from capture_bridge import foxglove
from capture_bridge.codecs import decode_payload, encode_payload
from capture_bridge.container import Bytes, Chunk, ContainerWriter
from capture_bridge.crc import crc32
from capture_bridge.errors import LimitError, OutputError, ProtocolError
from capture_bridge.messages import BufferDescriptor, Camera, Frame, FrameHeader, Hello, Mark
from capture_bridge.session_format import (
    BUFFER_TOPIC,
    CAMERA_TOPIC,
    CHUNK_COMPRESSION,
    DROPS_TOPIC,
    EPOCH_METADATA,
    FRAME_TOPIC,
    GROUP_BYTES,
    GROUP_NS,
    HEALTH_TOPIC,
    MARKS_TOPIC,
    PROFILE,
    SCHEMA_VERSION,
    SESSION_METADATA,
    SUMMARY_METADATA,
    TRANSFORM_TOPIC,
    Drop,
    FrameRecord,
    SessionCodec,
    SessionMark,
    hello_to_metadata,
    json_schema,
    pack_frame_record,
    to_json,
)

_MAX_BUFFER_TOPICS = 64
_NUM_WORKERS = 4
_THREADS_FROM_BYTES = 1 << 18


class SessionWriter:
    """A new session file. A context manager; `close` makes it whole.

    codec: how buffers are stored, always lossless. first_epoch: the one that `hello` opened.
    Payload checksums in the frames' descriptors are taken as checked (wire.verify_checksums).
    Raises OutputError where the file exists (unless `overwrite`) or cannot be written; the file
    then stays readable up to the last whole group.
    """

    def __init__(
        self,
        path: str | Path,
        hello: Hello,
        *,
        codec: SessionCodec = "shuffle+zstd",
        overwrite: bool = False,
        first_epoch: int = 1,
    ) -> None:
        self.path = Path(path)
        self._codec: SessionCodec = codec
        self._num_frames = self._num_frames_in_file = 0
        self._failed = self._closed = False
        self._pixels: dict[str, Chunk] = {}
        self._small = Chunk(CHUNK_COMPRESSION[codec])
        self._group_start_ns: int | None = None
        self._buffer_channels: dict[str, int] = {}
        try:
            self._file = ContainerWriter(
                self.path, PROFILE, "realmaster session 1", overwrite=overwrite
            )
        except FileExistsError as error:
            raise OutputError(
                f"{self.path} exists already; choose another name or pass --overwrite"
            ) from error
        except OSError as error:
            raise OutputError(f"cannot write {self.path}: {error.strerror}") from error
        self._workers = ThreadPoolExecutor(_NUM_WORKERS, thread_name_prefix="session-codec")
        try:
            self._declare(hello, first_epoch)
        except BaseException:
            self._workers.shutdown()
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.close()

    @property
    def num_frames(self) -> int:
        """Frames taken so far."""
        return self._num_frames

    @property
    def num_frames_in_file(self) -> int:
        """Frames that can be read whatever happens now."""
        return self._num_frames_in_file

    @property
    def failed(self) -> bool:
        """Whether the disk has refused: nothing more can be written but the index."""
        return self._failed

    @property
    def num_bytes(self) -> int:
        """Bytes in the file so far."""
        return self._file.num_bytes

    def write_frame(self, frame: Frame, t_recv_ns: int, epoch: int) -> None:
        """Append a frame with all its payloads in the message, none in shared memory.

        t_recv_ns: host monotonic time of receipt. Raises ProtocolError (nothing is written of this
        frame) where a payload is damaged, OutputError where the disk refuses.
        """
        self._check_open()
        header = frame.header
        if len(frame.payloads) != len(header.buffers):
            raise ProtocolError(f"frame {header.seq} lacks payloads: {len(frame.payloads)}")
        self._register(header)
        # Threads pay for themselves where bytes are compressed, and only above some hundred kB.
        is_work = self._codec != "raw" and sum(map(len, frame.payloads)) >= _THREADS_FROM_BYTES
        run = self._workers.map if is_work else map
        stored = list(run(self._encode, header.buffers, frame.payloads))
        chunks = [self._chunk_of(descriptor.name) for descriptor, _ in stored]

        def add(chunk: Chunk, item: tuple[BufferDescriptor, Bytes]) -> int:
            descriptor, payload = item
            return chunk.add(
                self._buffer_channels[descriptor.name],
                self._num_frames,
                t_recv_ns,
                header.t_render_ns,
                _image_head(descriptor, t_recv_ns, len(payload)),
                payload,
                descriptor.checksum,
            )

        offsets = list(run(add, chunks, stored))
        descriptors = tuple(descriptor for descriptor, _ in stored)
        at = {d.name: offset for d, offset in zip(descriptors, offsets, strict=True)}
        stored_header = dataclasses.replace(header, buffers=descriptors)
        self._write_camera(header, t_recv_ns)
        record = pack_frame_record(FrameRecord(stored_header, epoch, at))
        self._add_small(self._frame_channel, t_recv_ns, header.t_render_ns, record)
        self._num_frames += 1
        if self._group_bytes() >= GROUP_BYTES:
            self.flush()
        else:
            self.flush_due()

    def write_drop(self, drop: Drop) -> None:
        """Append a record of lost frames."""
        self._add_small(self._drop_channel, drop.t_recv_ns, drop.t_recv_ns, to_json(drop))
        self.flush_due()

    def write_mark(self, mark: Mark, t_recv_ns: int, epoch: int) -> None:
        """Append a named moment."""
        record = SessionMark(mark.label, mark.t_sim_ns, t_recv_ns, epoch)
        self._add_small(self._mark_channel, t_recv_ns, t_recv_ns, to_json(record))
        self.flush_due()

    def write_health(self, finding: Mapping[str, Any], t_recv_ns: int) -> None:
        """Append a finding of the health probe: a flat map of JSON values."""
        data = json.dumps(dict(finding)).encode()
        self._add_small(self._health_channel, t_recv_ns, t_recv_ns, data)
        self.flush_due()

    def write_epoch(self, hello: Hello, epoch: int) -> None:
        """Note the hello of a later epoch (the plugin has come back), before its first frame."""
        self.flush()
        self._try(self._file.add_metadata, EPOCH_METADATA, hello_to_metadata(hello, epoch))

    def flush_due(self) -> None:
        """Close the group of chunks if it is a second old."""
        if self._group_start_ns is not None and (
            time.monotonic_ns() - self._group_start_ns >= GROUP_NS
        ):
            self.flush()

    def flush(self) -> None:
        """Close the group of chunks now: what was written so far survives a kill."""
        self._check_open()
        chunks = [*self._pixels.values(), self._small]
        if not self._small.num_bytes:
            return
        self._pixels, self._small = {}, Chunk(CHUNK_COMPRESSION[self._codec])
        self._group_start_ns = None
        self._try(self._file.add_chunks, chunks)
        self._num_frames_in_file = self._num_frames

    def close(self, summary: Mapping[str, str] | None = None) -> None:
        """Write what is left, the recorder's `summary` and the index. Again does nothing."""
        if self._closed:
            return
        try:
            if not self._failed:
                self.flush()
            self._closed = True
            if summary:
                self._file.add_metadata(SUMMARY_METADATA, dict(summary))
            self._file.finish()
        except OSError as error:
            if not self._failed:
                raise self._disk_error(error) from error
        finally:
            self._closed = True
            self._workers.shutdown()
            self._file.close()

    # --- the parts of a frame -----------------------------------------------------------------

    def _encode(
        self, descriptor: BufferDescriptor, payload: Bytes
    ) -> tuple[BufferDescriptor, Bytes]:
        """The buffer as it is stored, with its CRC: tight, and images raw."""
        if descriptor.shared is not None:
            raise ProtocolError(f"buffer {descriptor.name} still lies in shared memory")
        is_image = descriptor.name in foxglove.IMAGE_ENCODINGS
        codec: str = "raw" if is_image else self._codec
        row_bytes = descriptor.width * descriptor.components * np.dtype(descriptor.dtype).itemsize
        tight = descriptor.row_pitch == row_bytes
        if tight and descriptor.codec == codec == "raw":
            if len(payload) != row_bytes * descriptor.height:
                raise ProtocolError(
                    f"buffer {descriptor.name} has {len(payload)} bytes; its size says "
                    f"{row_bytes * descriptor.height}"
                )
            checksum = descriptor.checksum
        else:
            array = decode_payload(descriptor, _readable(payload))
            # What the plugin has compressed already is kept as it is.
            if not tight or is_image or descriptor.codec == "raw":
                payload = encode_payload(array, codec)
                checksum = None
            else:
                codec, checksum = descriptor.codec, descriptor.checksum
        checksum = crc32(payload) if checksum is None else checksum
        return (
            dataclasses.replace(descriptor, row_pitch=row_bytes, codec=codec, checksum=checksum),
            payload,
        )

    def _write_camera(self, header: FrameHeader, t_ns: int) -> None:
        camera = header.camera
        if camera is None or not _is_finite(camera):
            return
        publish_ns = header.t_render_ns
        calibration = foxglove.camera_calibration(t_ns, camera, header.render_size)
        self._add_small(self._camera_channel, t_ns, publish_ns, calibration)
        transform = foxglove.frame_transform(t_ns, camera.world_from_camera)
        self._add_small(self._transform_channel, t_ns, publish_ns, transform)

    def _add_small(self, channel_id: int, t_recv_ns: int, publish_ns: int, data: bytes) -> None:
        self._check_open()
        if self._group_start_ns is None:
            self._group_start_ns = time.monotonic_ns()
        self._small.add(channel_id, self._num_frames, t_recv_ns, publish_ns, data)

    def _group_bytes(self) -> int:
        return sum(chunk.num_bytes for chunk in self._pixels.values())

    # --- topics -------------------------------------------------------------------------------

    def _declare(self, hello: Hello, epoch: int) -> None:
        """Write the session's metadata and the topics that every session has."""
        about = {
            "schema_version": ".".join(map(str, SCHEMA_VERSION)),
            "created_unix_ns": str(time.time_ns()),
            "created_monotonic_ns": str(time.monotonic_ns()),
            "codec": self._codec,
        }
        self._try(
            self._file.add_metadata, SESSION_METADATA, about | hello_to_metadata(hello, epoch)
        )
        self._frame_channel = self._add_channel(FRAME_TOPIC, "msgpack", None)
        self._camera_channel = self._add_foxglove(CAMERA_TOPIC, "foxglove.CameraCalibration")
        self._transform_channel = self._add_foxglove(TRANSFORM_TOPIC, "foxglove.FrameTransform")
        self._drop_channel = self._add_json(DROPS_TOPIC, "realmaster.Drop", json_schema(Drop))
        self._mark_channel = self._add_json(
            MARKS_TOPIC, "realmaster.Mark", json_schema(SessionMark)
        )
        self._health_channel = self._add_json(
            HEALTH_TOPIC, "realmaster.Finding", b'{"type": "object"}'
        )

    def _register(self, header: FrameHeader) -> None:
        """Declare the topics of buffers not seen before."""
        for buffer in header.buffers:
            if buffer.name in self._buffer_channels:
                continue
            if len(self._buffer_channels) >= _MAX_BUFFER_TOPICS:
                raise LimitError(
                    f"frame {header.seq} brings one more buffer, {buffer.name}; a session holds "
                    f"at most {_MAX_BUFFER_TOPICS}"
                )
            if buffer.name in foxglove.IMAGE_ENCODINGS:
                channel = self._add_foxglove(f"/{buffer.name}", "foxglove.RawImage")
            else:
                channel = self._add_channel(BUFFER_TOPIC + buffer.name, "realmaster-buffer", None)
            self._buffer_channels[buffer.name] = channel

    def _chunk_of(self, name: str) -> Chunk:
        chunk = self._pixels.get(name)
        if chunk is None:
            is_image = name in foxglove.IMAGE_ENCODINGS
            chunk = Chunk(CHUNK_COMPRESSION[self._codec] if is_image else "")
            self._pixels[name] = chunk
        return chunk

    def _add_foxglove(self, topic: str, schema: str) -> int:
        descriptors = foxglove.descriptor_set(schema)
        return self._add_channel(topic, "protobuf", (schema, "protobuf", descriptors))

    def _add_json(self, topic: str, name: str, schema: bytes) -> int:
        return self._add_channel(topic, "json", (name, "jsonschema", schema))

    def _add_channel(self, topic: str, encoding: str, schema: tuple[str, str, bytes] | None) -> int:
        channel_id: int = self._try(self._file.add_channel, topic, encoding, schema)
        return channel_id

    # --- errors -------------------------------------------------------------------------------

    def _try(self, function: Any, *args: Any) -> Any:
        try:
            return function(*args)
        except OSError as error:
            self._failed = True
            raise self._disk_error(error) from error

    def _disk_error(self, error: OSError) -> OutputError:
        return OutputError(
            f"writing {self.path} failed after {self._file.num_bytes} bytes: {error.strerror}; "
            "what was written before can be read; free some space or record to another disk"
        )

    def _check_open(self) -> None:
        if self._closed or self._failed:
            raise OutputError(f"{self.path} takes no more data: it was closed or its disk failed")


def _image_head(descriptor: BufferDescriptor, t_ns: int, num_bytes: int) -> bytes:
    """What precedes the payload in its message: a RawImage's fields, or nothing."""
    encoding = foxglove.IMAGE_ENCODINGS.get(descriptor.name)
    if encoding is None:
        return b""
    return foxglove.raw_image_head(
        t_ns, descriptor.width, descriptor.height, encoding, descriptor.row_pitch, num_bytes
    )


def _readable(payload: Bytes) -> bytes | memoryview:
    return memoryview(payload) if isinstance(payload, bytearray) else payload


def _is_finite(camera: Camera) -> bool:
    return bool(np.isfinite(camera.K).all() and np.isfinite(camera.world_from_camera).all())
