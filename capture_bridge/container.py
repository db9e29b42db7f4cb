"""Writes MCAP files (mcap.dev/spec) whose chunks hold one topic each and never copy their pixels.

The mcap package's own writer copies a message five times; at 37 MB a frame that is the recorder's
whole budget. Here a chunk is a list of the messages' buffers, written one after the other, and its
CRC is combined from the payloads' CRCs. Small records are the mcap package's. This file knows MCAP
and nothing of sessions; container_reader.py is its other half.
"""

import os
import struct
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Protocol

import lz4.frame
import zstandard
from mcap import records
from mcap.data_stream import RecordBuilder
from mcap.opcode import Opcode

from capture_bridge.crc import crc32, crc32_combine

MAGIC = b"\x89MCAP0\r\n"
Bytes = bytes | bytearray | memoryview

_MESSAGE_HEAD = struct.Struct("<BQHIQQ")  # opcode, length, channel, sequence, log, publish time
MESSAGE_HEAD_BYTES = _MESSAGE_HEAD.size
_SMALL_BYTES = 1 << 16  # parts below this are joined before they are written
_COMBINE_FROM_BYTES = 1 << 15  # below, reading the bytes is quicker than the arithmetic
_UINT64_MAX = 2**64 - 1


class _Compressor(Protocol):
    def compress(self, data: Bytes) -> bytes: ...
    def flush(self) -> bytes: ...


class _Lz4:
    def __init__(self) -> None:
        self._frame = lz4.frame.LZ4FrameCompressor()
        self._begin: bytes = self._frame.begin()

    def compress(self, data: Bytes) -> bytes:
        begin, self._begin = self._begin, b""
        packed: bytes = begin + self._frame.compress(data)
        return packed

    def flush(self) -> bytes:
        packed: bytes = self._begin + self._frame.flush()
        return packed


def _compressor(name: str) -> _Compressor | None:
    if name == "":
        return None
    return _Lz4() if name == "lz4" else zstandard.ZstdCompressor(level=1).compressobj()


class Chunk:
    """A chunk under construction; compression: "", "lz4" or "zstd".

    Uncompressed, it keeps references to the payloads until it is written.
    """

    def __init__(self, compression: str = "") -> None:
        self.compression = compression
        self.num_bytes = 0  # uncompressed
        self._crc = 0
        self._parts: list[Bytes] = []
        self._compressor = _compressor(compression)
        self._index: dict[int, list[tuple[int, int]]] = defaultdict(list)
        self._first_ns, self._last_ns = _UINT64_MAX, 0

    def add(
        self,
        channel_id: int,
        sequence: int,
        log_time_ns: int,
        publish_time_ns: int,
        head: bytes,
        payload: Bytes = b"",
        payload_crc: int | None = None,
    ) -> int:
        """Append the message head + payload; gives the offset of its record in the chunk.

        payload_crc: crc32(payload) where it is known, which saves a pass over the bytes.
        """
        offset = self.num_bytes
        length = MESSAGE_HEAD_BYTES - 9 + len(head) + len(payload)
        log_time_ns, publish_time_ns = _uint64(log_time_ns), _uint64(publish_time_ns)
        record = _MESSAGE_HEAD.pack(
            Opcode.MESSAGE,
            length,
            channel_id,
            sequence & 0xFFFFFFFF,
            log_time_ns,
            publish_time_ns,
        )
        self._append(record + head, None)
        if len(payload):
            self._append(payload, payload_crc)
        self._index[channel_id].append((log_time_ns, offset))
        self._first_ns = min(self._first_ns, log_time_ns)
        self._last_ns = max(self._last_ns, log_time_ns)
        return offset

    def _append(self, data: Bytes, crc: int | None) -> None:
        if crc is None or len(data) < _COMBINE_FROM_BYTES:
            self._crc = crc32(data, self._crc)
        else:
            self._crc = crc32_combine(self._crc, crc, len(data))
        self.num_bytes += len(data)
        self._parts.append(data if self._compressor is None else self._compressor.compress(data))

    def to_parts(self) -> tuple[records.ChunkIndex, list[Bytes]]:
        """The chunk's record and its message indexes as parts to write, and its index record.

        The index holds offsets relative to the chunk's start.
        """
        if self._compressor is not None:
            self._parts.append(self._compressor.flush())
        compressed = sum(map(len, self._parts))
        name = self.compression.encode()
        head = struct.pack(
            f"<BQQQQII{len(name)}sQ",
            Opcode.CHUNK,
            8 + 8 + 8 + 4 + 4 + len(name) + 8 + compressed,
            self._first_ns,
            self._last_ns,
            self.num_bytes,
            self._crc,
            len(name),
            name,
            compressed,
        )
        chunk_length = len(head) + compressed
        builder, offsets = RecordBuilder(), {}
        for channel_id, entries in self._index.items():
            offsets[channel_id] = chunk_length + builder.count
            records.MessageIndex(channel_id, entries).write(builder)
        indexes = _end(builder)
        index = records.ChunkIndex(
            chunk_length=chunk_length,
            chunk_start_offset=0,
            compression=self.compression,
            compressed_size=compressed,
            message_end_time=self._last_ns,
            message_index_length=len(indexes),
            message_index_offsets=offsets,
            message_start_time=self._first_ns,
            uncompressed_size=self.num_bytes,
        )
        return index, [head, *self._parts, indexes]

    def message_counts(self) -> dict[int, int]:
        """Messages per channel id."""
        return {channel_id: len(entries) for channel_id, entries in self._index.items()}


@dataclass
class _Summary:
    """What the end of the file repeats, so that readers need not scan it."""

    schemas: list[records.Schema] = field(default_factory=list)
    channels: list[records.Channel] = field(default_factory=list)
    chunks: list[records.ChunkIndex] = field(default_factory=list)
    metadata: list[records.MetadataIndex] = field(default_factory=list)
    counts: dict[int, int] = field(default_factory=dict)

    def statistics(self) -> records.Statistics:
        return records.Statistics(
            attachment_count=0,
            channel_count=len(self.channels),
            channel_message_counts=self.counts,
            chunk_count=len(self.chunks),
            message_count=sum(self.counts.values()),
            message_end_time=max((c.message_end_time for c in self.chunks), default=0),
            message_start_time=min((c.message_start_time for c in self.chunks), default=0),
            metadata_count=len(self.metadata),
            schema_count=len(self.schemas),
        )


class ContainerWriter:
    """Appends records to a new file. Every method raises OSError where the disk refuses.

    After an OSError the file is cut back to its last whole group of chunks, and `finish` may still
    succeed: what was written before stays readable.
    """

    def __init__(self, path: Path, profile: str, library: str, *, overwrite: bool) -> None:
        # "xb" refuses an existing file in one step with making it.
        self._file: BinaryIO = path.open("wb" if overwrite else "xb", buffering=0)
        self._summary = _Summary()
        self.num_bytes = 0
        builder = RecordBuilder()
        records.Header(profile, library).write(builder)
        self._write([MAGIC, _end(builder)])

    def add_channel(
        self, topic: str, encoding: str, schema: tuple[str, str, bytes] | None = None
    ) -> int:
        """Declare a topic and give its id; schema: (name, encoding, data)."""
        builder, schema_id = RecordBuilder(), 0
        known = {s.name: s.id for s in self._summary.schemas}
        new_schemas = []
        if schema is not None:
            schema_id = known.get(schema[0], len(known) + 1)
            if schema[0] not in known:
                new_schemas.append(
                    records.Schema(id=schema_id, name=schema[0], encoding=schema[1], data=schema[2])
                )
                new_schemas[0].write(builder)
        channel = records.Channel(
            id=len(self._summary.channels) + 1,
            topic=topic,
            message_encoding=encoding,
            schema_id=schema_id,
            metadata={},
        )
        channel.write(builder)
        self._write([_end(builder)])
        self._summary.schemas += new_schemas
        self._summary.channels.append(channel)
        return channel.id

    def add_metadata(self, name: str, values: dict[str, str]) -> None:
        """Write a named map of texts."""
        builder, offset = RecordBuilder(), self.num_bytes
        records.Metadata(name=name, metadata=values).write(builder)
        data = _end(builder)
        self._write([data])
        self._summary.metadata.append(
            records.MetadataIndex(offset=offset, length=len(data), name=name)
        )

    def add_chunks(self, chunks: list[Chunk]) -> None:
        """Write a group of chunks: all of it, or, on OSError, nothing."""
        parts, indexes, offset = [], [], self.num_bytes
        for chunk in chunks:
            index, chunk_parts = chunk.to_parts()
            index.chunk_start_offset = offset
            index.message_index_offsets = {
                channel_id: offset + relative
                for channel_id, relative in index.message_index_offsets.items()
            }
            offset += index.chunk_length + index.message_index_length
            parts += chunk_parts
            indexes.append(index)
        self._write(parts)
        self._summary.chunks += indexes
        for chunk in chunks:
            for channel_id, count in chunk.message_counts().items():
                counts = self._summary.counts
                counts[channel_id] = counts.get(channel_id, 0) + count

    def finish(self) -> None:
        """Write the summary and the footer, and bring everything to the disk."""
        builder = RecordBuilder()
        records.DataEnd(0).write(builder)
        start = self.num_bytes + builder.count
        groups: list[records.SummaryOffset] = []
        for opcode, group in (
            (Opcode.SCHEMA, self._summary.schemas),
            (Opcode.CHANNEL, self._summary.channels),
            (Opcode.STATISTICS, [self._summary.statistics()]),
            (Opcode.CHUNK_INDEX, self._summary.chunks),
            (Opcode.METADATA_INDEX, self._summary.metadata),
        ):
            before = builder.count
            for record in group:
                record.write(builder)
            if builder.count > before:
                groups.append(
                    records.SummaryOffset(opcode, self.num_bytes + before, builder.count - before)
                )
        offsets_start = self.num_bytes + builder.count
        for offset in groups:
            offset.write(builder)
        data = _end(builder)
        footer = struct.pack("<BQQQ", Opcode.FOOTER, 20, start, offsets_start)
        crc = crc32(footer, crc32(data[start - self.num_bytes :]))
        self._write([data, footer, struct.pack("<I", crc), MAGIC])
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file; without `finish` it stays readable up to its last group of chunks."""
        self._file.close()

    def _write(self, parts: list[Bytes]) -> None:
        try:
            for part in _joined(parts):
                rest = memoryview(part).cast("B")
                while rest.nbytes:
                    rest = rest[self._file.write(rest) :]
        except BaseException:  # also an interrupt: never leave half a record behind
            self._file.truncate(self.num_bytes)
            self._file.seek(self.num_bytes)
            raise
        self.num_bytes = self._file.tell()


def _joined(parts: list[Bytes]) -> list[Bytes]:
    """The same bytes in fewer parts: small neighbours become one."""
    out: list[Bytes] = []
    for part in parts:
        if out and len(part) < _SMALL_BYTES and isinstance(last := out[-1], bytearray):
            last += part
        elif len(part) < _SMALL_BYTES:
            out.append(bytearray(part))
        else:
            out.append(part)
    return out


def _end(builder: RecordBuilder) -> bytes:
    data: bytes = builder.end()  # type: ignore[no-untyped-call]
    return data


def _uint64(time_ns: int) -> int:
    """MCAP's clock does not run before 0."""
    return min(max(time_ns, 0), _UINT64_MAX)
