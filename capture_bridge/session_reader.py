"""Reads a session file: frame by frame, in order of (epoch, seq), in bounded memory.

See session_format.py for how the file is laid out. Only the headers' places are kept in memory;
headers and pixels are read when asked for. Whatever is in the file, the only error is SessionError.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar, overload

import msgpack
import numpy as np
from numpy.typing import NDArray

from capture_bridge.buffers import FrameArrays
from capture_bridge.codecs import decode_payload
from capture_bridge.container_reader import ChunkPlace, Container, Message
from capture_bridge.crc import crc32
from capture_bridge.errors import MissingBufferError, ProtocolError, SessionError
from capture_bridge.fields import DEFAULT_LIMITS, Fields
from capture_bridge.foxglove import IMAGE_ENCODINGS
from capture_bridge.messages import BufferDescriptor, FrameHeader, Hello
from capture_bridge.session_format import (
    BUFFER_TOPIC,
    DROPS_TOPIC,
    EPOCH_METADATA,
    FRAME_TOPIC,
    HEALTH_TOPIC,
    MARKS_TOPIC,
    PROFILE,
    SESSION_METADATA,
    SUMMARY_METADATA,
    Drop,
    FrameRecord,
    SessionInfo,
    SessionMark,
    check_version,
    metadata_to_hello,
    read_drop,
    read_frame_record,
    read_mark,
)
from capture_bridge.timeline import Timeline, video_timeline

_INDEX_DTYPE = np.dtype(
    [("epoch", "<i8"), ("seq", "<i8"), ("group", "<i8"), ("offset", "<i8"), ("t_recv_ns", "<i8")]
)
_INT64_MAX = 2**63 - 1
_MAX_FRAMES = 1 << 23  # a day and a half at 60 frames/s

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Group:
    """A chunk of small messages, and by channel the chunks of pixels that it refers to."""

    small: ChunkPlace
    pixels: Mapping[int, ChunkPlace]


class SessionFrame:
    """One frame of a session; pixels are read and decoded when they are asked for."""

    __slots__ = ("_arrays", "_record", "_session", "index", "t_recv_ns")

    def __init__(
        self, session: "SessionReader", index: int, t_recv_ns: int, record: FrameRecord
    ) -> None:
        self._session = session
        self._record = record
        self._arrays: FrameArrays = {}
        self.index = index
        self.t_recv_ns = t_recv_ns

    @property
    def session(self) -> "SessionReader":
        """The session that it is a frame of."""
        return self._session

    @property
    def header(self) -> FrameHeader:
        """The header as recorded; its descriptors say how the buffers are stored."""
        return self._record.header

    @property
    def epoch(self) -> int:
        """One up on every reconnection; (epoch, seq) names a frame."""
        return self._record.epoch

    @property
    def names(self) -> tuple[str, ...]:
        """The buffers of this frame."""
        return tuple(buffer.name for buffer in self.header.buffers)

    @property
    def is_last(self) -> bool:
        """Whether the session ends with it."""
        return self.index == len(self._session) - 1

    def has(self, name: str) -> bool:
        """Whether this frame has that buffer."""
        return name in self.names

    def array(self, name: str) -> NDArray[np.generic]:
        """A buffer in BUFFERS' shape and dtype, tight; may be read-only. MissingBufferError."""
        if name not in self._arrays:
            self._arrays[name] = self._session.read_buffer(self.index, name)
        return self._arrays[name]

    def arrays(self, names: Iterable[str]) -> FrameArrays:
        """Several buffers by name."""
        return {name: self.array(name) for name in names}


class _Headers(Sequence[FrameHeader]):
    """The headers of a session in order, read when they are asked for."""

    def __init__(self, session: "SessionReader") -> None:
        self._session = session

    def __len__(self) -> int:
        return len(self._session)

    @overload
    def __getitem__(self, index: int) -> FrameHeader: ...
    @overload
    def __getitem__(self, index: slice) -> list[FrameHeader]: ...
    def __getitem__(self, index: int | slice) -> FrameHeader | list[FrameHeader]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        return self._session.frame(index).header


class SessionReader:
    """An open session. A context manager.

    unfinished_ok: read a file that was not closed (a crash, a cut, a recording that still runs) up
    to its last whole group; `info.note` then says so. Else that is a SessionError, as are a
    missing, empty, foreign, newer or damaged file. use_index: False scans all, for `recover`.
    """

    def __init__(
        self, path: str | Path, *, unfinished_ok: bool = False, use_index: bool = True
    ) -> None:
        self.path = Path(path)
        self._file = Container(self.path, use_summary=use_index)
        try:
            self.info = self._read_info(unfinished_ok)
            self._topics = {topic: c for c, topic in self._file.contents.topics.items()}
            self._groups = self._find_groups()
            self._index, self.num_duplicates, self.num_damaged_groups = self._read_index(use_index)
        except BaseException:
            self._file.close()
            raise
        self._read_record = lru_cache(maxsize=256)(self._read_record_uncached)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self._index)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @property
    def headers(self) -> Sequence[FrameHeader]:
        """All headers in order of (epoch, seq)."""
        return _Headers(self)

    @property
    def good_bytes(self) -> int:
        """Up to this byte the file consists of whole records."""
        return self._file.contents.good_bytes

    @property
    def num_bytes(self) -> int:
        """The file's length."""
        return self._file.num_bytes

    @property
    def epochs(self) -> NDArray[np.int64]:
        """The epoch of each frame."""
        return np.array(self._index["epoch"], np.int64)

    @property
    def seqs(self) -> NDArray[np.int64]:
        """The seq of each frame: increasing within an epoch; a gap is a lost frame."""
        return np.array(self._index["seq"], np.int64)

    @property
    def t_recv_ns(self) -> NDArray[np.int64]:
        """When each frame was received, host monotonic time."""
        return np.array(self._index["t_recv_ns"], np.int64)

    def frame(self, index: int) -> SessionFrame:
        """Frame `index` of 0..len-1 (negative from the end); IndexError beyond."""
        place = range(len(self))[index]
        _, record = self._read_record(place)
        return SessionFrame(self, place, int(self._index["t_recv_ns"][place]), record)

    def frames(self, start: int = 0, names: Iterable[str] | None = None) -> Iterator[SessionFrame]:
        """Frames from `start` on. names: buffers to read at once; MissingBufferError if absent."""
        wanted = tuple(names or ())
        for index in range(start, len(self)):
            frame = self.frame(index)
            frame.arrays(wanted)
            yield frame

    def timeline(self) -> Timeline:
        """When each frame is shown in a video of this session; see timeline.py for the clock."""
        times_ns = np.array([(h.t_sim_ns, h.t_render_ns) for h in self.headers], np.int64)
        t_sim_ns, t_render_ns = times_ns.reshape(-1, 2).T.tolist()
        return video_timeline(t_sim_ns, t_render_ns, self.t_recv_ns.tolist())

    def require(self, names: Iterable[str], step: str) -> None:
        """Raise MissingBufferError where the first frame lacks a buffer that `step` needs."""
        if not len(self):
            raise SessionError(f"{self.path} holds no frames: there is nothing to {step}")
        frame = self.frame(0)
        missing = [name for name in names if not frame.has(name)]
        if missing:
            raise MissingBufferError(
                f"{self.path} has no {', '.join(missing)}, which {step} needs; it has "
                f"{', '.join(frame.names)}: record it with a plugin that sends what is missing"
            )

    def read_buffer(self, index: int, name: str) -> NDArray[np.generic]:
        """Buffer `name` of frame `index`, decoded and CRC checked. Raises MissingBufferError."""
        descriptor, payload = self._stored(index, name)
        try:
            return decode_payload(descriptor, payload)
        except ProtocolError as error:
            raise self._file.damaged(f"frame {index}, {name}: {error}") from error

    def stored_payload(self, index: int, name: str) -> memoryview:
        """Buffer `name` of frame `index` as it is stored, CRC checked."""
        return self._stored(index, name)[1]

    def drops(self) -> Iterator[Drop]:
        """Records of lost frames, as they were written."""
        return self._records(DROPS_TOPIC, lambda value: read_drop(_fields(value, DROPS_TOPIC)))

    def marks(self) -> Iterator[SessionMark]:
        """Named moments."""
        return self._records(MARKS_TOPIC, lambda value: read_mark(_fields(value, MARKS_TOPIC)))

    def findings(self) -> Iterator[Mapping[str, Any]]:
        """Findings of the health probe while it was recorded."""
        return self._records(HEALTH_TOPIC, dict)

    # --- opening ------------------------------------------------------------------------------

    def _read_info(self, unfinished_ok: bool) -> SessionInfo:
        contents = self._file.contents
        if contents.profile != PROFILE:
            raise SessionError(
                f"{self.path} is an MCAP file of another program (profile "
                f"{contents.profile[:40]!r}); sessions are made by `realmaster record`"
            )
        session: Mapping[str, str] | None = None
        hellos: dict[int, Hello] = {}
        summary: Mapping[str, str] = {}
        try:
            for name, values in contents.metadata:
                if name == SESSION_METADATA and session is None:
                    session = values
                    check_version(self.path, values.get("schema_version", ""))
                if name in (SESSION_METADATA, EPOCH_METADATA):
                    epoch, hello = metadata_to_hello(values)
                    hellos.setdefault(epoch, hello)
                elif name == SUMMARY_METADATA:
                    summary = values
        except ProtocolError as error:
            raise self._file.damaged(str(error)) from error
        if session is None:
            raise SessionError(
                f"{self.path} is cut off after {self._file.num_bytes} bytes, before the session "
                "began: there is nothing to recover"
            )
        note = (
            ""
            if contents.finished
            else (
                f"{self.path} was not closed (a crash or a cut): {contents.good_bytes} of "
                f"{self._file.num_bytes} bytes can be read"
            )
        )
        if note and not unfinished_ok:
            raise SessionError(f"{note}; `realmaster recover {self.path} -o FIXED.mcap` mends it")
        first = min(hellos)
        return SessionInfo(
            path=self.path,
            session_uuid=hellos[first].session_uuid,
            hello=hellos[first],
            hellos=hellos,
            created_unix_ns=_decimal(session.get("created_unix_ns")),
            created_monotonic_ns=_decimal(session.get("created_monotonic_ns")),
            finished=contents.finished,
            note=note,
            summary=summary,
        )

    def _find_groups(self) -> list[_Group]:
        """Chunks up to and including each chunk of small messages."""
        topics, groups = self._file.contents.topics, []
        pixels: dict[int, ChunkPlace] = {}
        for chunk in self._file.contents.chunks:
            names = [topics.get(channel, "") for channel in chunk.channels]
            if names and all(map(_is_pixel_topic, names)):
                pixels |= dict.fromkeys(chunk.channels, chunk)
            elif names:
                groups.append(_Group(chunk, pixels))
                pixels = {}
        return groups

    def _read_index(self, strict: bool) -> tuple[NDArray[np.void], int, int]:
        """The place of every frame's header, sorted by (epoch, seq); duplicates; damaged groups."""
        channel = self._topics.get(FRAME_TOPIC)
        parts = [np.empty(0, _INDEX_DTYPE)]
        num_frames = num_damaged = 0
        for number, group in enumerate(self._groups):
            if channel not in group.small.channels:
                continue
            rows = []
            try:
                for offset, message in self._file.messages(group.small):
                    if message.channel_id == channel:
                        epoch, seq = self._peek(message)
                        t_recv_ns = min(message.log_time_ns, _INT64_MAX)
                        rows.append((epoch, seq, number, offset, t_recv_ns))
            except SessionError:
                if strict:
                    raise
                num_damaged += 1
            parts.append(np.array(rows, _INDEX_DTYPE))
            num_frames += len(rows)
            if num_frames > _MAX_FRAMES:
                raise self._file.damaged(f"it has more than {_MAX_FRAMES} frames")
        index = np.concatenate(parts)
        index = index[np.argsort(index, order=("epoch", "seq"), kind="stable")]
        first = np.ones(len(index), bool)
        first[1:] = (np.diff(index["epoch"]) != 0) | (np.diff(index["seq"]) != 0)
        return index[first], int(len(index) - first.sum()), num_damaged

    def _peek(self, message: Message) -> tuple[int, int]:
        """(epoch, seq) of a `/frame` message; all else is checked when the frame is read."""
        try:
            if len(message.data) > DEFAULT_LIMITS.header_bytes:
                raise ValueError(f"{len(message.data)} bytes")
            fields = Fields(msgpack.unpackb(message.data), "frame", DEFAULT_LIMITS)
            return fields.integer("epoch"), fields.integer("seq")
        except (ProtocolError, ValueError, RecursionError) as error:
            raise self._file.damaged(f"the header of a frame cannot be read ({error})") from error

    # --- messages -----------------------------------------------------------------------------

    def _read_record_uncached(self, index: int) -> tuple[int, FrameRecord]:
        """(the writer's count, the header) of frame `index`."""
        row = self._index[index]
        place = self._groups[int(row["group"])].small
        message = self._file.message_at(place, int(row["offset"]), whole_chunk=True)
        try:
            return message.sequence, read_frame_record(message.data)
        except ProtocolError as error:
            raise self._file.damaged(f"the header of frame {index}: {error}") from error

    def _stored(self, index: int, name: str) -> tuple[BufferDescriptor, memoryview]:
        """The descriptor and the payload as stored, CRC checked."""
        sequence, record = self._read_record(index)
        header, where = record.header, f"frame {index} (seq {record.header.seq})"
        descriptor = next((b for b in header.buffers if b.name == name), None)
        if descriptor is None:
            have = ", ".join(b.name for b in header.buffers)
            raise MissingBufferError(f"{self.path}: {where} has no {name}; it has {have}")
        where = f"{where}, {name}"
        topic = f"/{name}" if name in IMAGE_ENCODINGS else BUFFER_TOPIC + name
        channel = self._topics.get(topic, -1)
        place = self._groups[int(self._index[index]["group"])].pixels.get(channel)
        if place is None:
            raise self._file.damaged(f"{where}: its chunk is not there")
        message = self._file.message_at(place, record.offsets[name], whole_chunk=False)
        if message.channel_id != channel or message.sequence != sequence:
            raise self._file.damaged(f"{where}: another message lies in its place")
        payload = message.data
        if name in IMAGE_ENCODINGS:
            num_bytes = descriptor.row_pitch * descriptor.height
            if num_bytes > len(payload) or descriptor.codec != "raw":
                raise self._file.damaged(f"{where}: {len(payload)} bytes are too few")
            payload = payload[len(payload) - num_bytes :]
        if descriptor.checksum is not None and crc32(payload) != descriptor.checksum:
            raise self._file.damaged(f"{where}: its CRC differs")
        return descriptor, payload

    def _records(self, topic: str, read: Callable[[dict[str, Any]], T]) -> Iterator[T]:
        """All messages of a JSON topic."""
        channel = self._topics.get(topic, -1)
        for group in self._groups:
            if channel not in group.small.channels:
                continue
            for _, message in self._file.messages(group.small):
                if message.channel_id == channel:
                    try:
                        yield read(_json_map(message.data, topic))
                    except ProtocolError as error:
                        raise self._file.damaged(str(error)) from error


def _json_map(data: memoryview, where: str) -> dict[str, Any]:
    if len(data) > DEFAULT_LIMITS.header_bytes:
        raise ProtocolError(f"a record of {where} has {len(data)} bytes")
    try:
        value = json.loads(bytes(data))
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"a record of {where} is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise ProtocolError(f"a record of {where} is no JSON object")
    return value


def _fields(value: object, topic: str) -> Fields:
    return Fields(value, f"a record of {topic}", DEFAULT_LIMITS)


def _is_pixel_topic(topic: str) -> bool:
    return topic.startswith(BUFFER_TOPIC) or topic[1:] in IMAGE_ENCODINGS


def _decimal(text: str | None) -> int:
    """A non-negative int64, 0 where there is none."""
    return int(text) if text and text.isdecimal() and len(text) < 19 else 0
