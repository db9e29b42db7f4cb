"""Reads MCAP files by position: finished ones by their summary, others by a scan of the records.

Nothing in a file is believed: every length is held against the file's and against a limit before
anything is allocated, and CRCs are checked. The only exception for a bad file is SessionError. The
mcap package parses the small records. This file knows MCAP and nothing of sessions.
"""

import io
import os
import struct
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import lz4.frame
import zstandard
from mcap import records
from mcap.data_stream import ReadDataStream
from mcap.exceptions import McapError
from mcap.opcode import Opcode

from capture_bridge.container import MAGIC, MESSAGE_HEAD_BYTES
from capture_bridge.crc import crc32
from capture_bridge.errors import SessionError

MAX_CHUNK_BYTES = 1 << 30  # as stored and uncompressed
MAX_RECORD_BYTES = 16 << 20  # of any record that is parsed whole
MAX_SUMMARY_BYTES = 256 << 20
MAX_CHANNELS = 1024
MAX_SMALL_CHUNK_BYTES = 64 << 20  # uncompressed, of a chunk that is read message by message
_CACHE_BYTES = 192 << 20

_RECORD_HEAD = struct.Struct("<BQ")
_MESSAGE_HEAD = struct.Struct("<BQHIQQ")
_CHUNK_HEAD = struct.Struct("<BQQQQII")  # opcode, length, start, end, size, CRC, name's length
_CHUNK_INDEX = struct.Struct("<QQQQI")  # start, end, offset, length, bytes of the index offsets
_FOOTER = struct.Struct("<BQQQI8s")
_COMPRESSIONS = ("", "lz4", "zstd")


@dataclass(frozen=True, slots=True)
class ChunkPlace:
    """Where a chunk lies. start, length: its whole record in the file; channels: ids it holds."""

    start: int
    length: int
    channels: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ChunkHead:
    """A chunk's own account of itself. offset: of its stored bytes in the file."""

    offset: int
    stored_bytes: int
    num_bytes: int  # uncompressed
    crc: int
    compression: str


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a chunk."""

    channel_id: int
    sequence: int
    log_time_ns: int
    publish_time_ns: int
    data: memoryview


@dataclass
class Contents:
    """What a file holds. good_bytes: up to there its data are whole records."""

    profile: str = ""
    topics: dict[int, str] = field(default_factory=dict)
    chunks: list[ChunkPlace] = field(default_factory=list)
    metadata: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    finished: bool = False
    good_bytes: int = 0


class Container:
    """An open MCAP file. Raises SessionError where it is missing, empty or not MCAP.

    use_summary: False scans all records even where the file has an index, for one that is damaged.
    """

    def __init__(self, path: Path, *, use_summary: bool = True) -> None:
        self.path = path
        try:
            self._file: BinaryIO = path.open("rb", buffering=0)
            self.num_bytes = os.fstat(self._file.fileno()).st_size
        except OSError as error:
            raise SessionError(f"cannot open {path}: {error.strerror}") from error
        self._cache: OrderedDict[int, bytes] = OrderedDict()
        self._lock = threading.Lock()  # of the file's position and the cache
        try:
            self._check_magic()
            self.contents = self._read_contents(use_summary)
        except BaseException:
            self._file.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._cache.clear()
        self._file.close()

    def damaged(self, what: str) -> SessionError:
        """The error for a file that is not what it claims."""
        return SessionError(
            f"{self.path} is damaged: {what}; `realmaster recover {self.path} -o FIXED.mcap` "
            "keeps all that is whole"
        )

    # --- messages -----------------------------------------------------------------------------

    def messages(self, place: ChunkPlace) -> Iterator[tuple[int, Message]]:
        """All messages of a chunk with their offsets in it, after its CRC has been checked."""
        num_bytes = self.chunk_head(place).num_bytes
        if num_bytes > MAX_SMALL_CHUNK_BYTES:
            raise self.damaged(
                f"the chunk at byte {place.start} has {num_bytes} bytes of small messages; the "
                f"limit is {MAX_SMALL_CHUNK_BYTES}"
            )
        data, offset = memoryview(self.chunk_data(place)), 0
        while offset < len(data):
            if len(data) - offset < _RECORD_HEAD.size:
                raise self.damaged(f"the chunk at byte {place.start} ends within a record")
            opcode, length = _RECORD_HEAD.unpack_from(data, offset)
            end = offset + _RECORD_HEAD.size + length
            if end > len(data) or (opcode == Opcode.MESSAGE and length < MESSAGE_HEAD_BYTES - 9):
                raise self.damaged(
                    f"a record in the chunk at byte {place.start} has a false length"
                )
            if opcode == Opcode.MESSAGE:
                _, _, *fields = _MESSAGE_HEAD.unpack_from(data, offset)
                yield offset, _message(fields, data[offset + MESSAGE_HEAD_BYTES : end])
            offset = end

    def message_at(self, place: ChunkPlace, offset: int, *, whole_chunk: bool) -> Message:
        """The message whose record starts at `offset` of the chunk's uncompressed bytes.

        A compressed chunk is unpacked, its CRC checked, and kept for the next call; so is an
        uncompressed one if `whole_chunk`. Else this message alone is read, and its CRC is the
        caller's to check.
        """
        head = self.chunk_head(place)
        if not 0 <= offset <= head.num_bytes - MESSAGE_HEAD_BYTES:
            raise self.damaged(f"a message lies outside its chunk at byte {place.start}")
        keep = whole_chunk or head.compression
        whole = memoryview(self.chunk_data(place)) if keep else None

        def read(start: int, count: int) -> memoryview:
            if whole is not None:
                return whole[start : start + count]
            return memoryview(self._read(head.offset + start, count))

        opcode, length, *fields = _MESSAGE_HEAD.unpack(read(offset, MESSAGE_HEAD_BYTES))
        size, start = length - (MESSAGE_HEAD_BYTES - 9), offset + MESSAGE_HEAD_BYTES
        if opcode != Opcode.MESSAGE or not 0 <= size <= head.num_bytes - start:
            raise self.damaged(f"the chunk at byte {place.start} lacks a message it should hold")
        return _message(fields, read(start, size))

    def chunk_data(self, place: ChunkPlace) -> bytes:
        """The uncompressed bytes of a chunk, CRC checked."""
        with self._lock:
            data = self._cache.get(place.start)
            if data is not None:
                self._cache.move_to_end(place.start)
                return data
        head = self.chunk_head(place)
        data = self._unpack(head, self._read(head.offset, head.stored_bytes))
        if len(data) != head.num_bytes:
            raise self.damaged(f"the chunk at byte {place.start} has a false size")
        if head.crc and crc32(data) != head.crc:
            raise self.damaged(f"the CRC of the chunk at byte {place.start} differs")
        with self._lock:
            self._cache[place.start] = data
            while len(self._cache) > 1 and sum(map(len, self._cache.values())) > _CACHE_BYTES:
                self._cache.popitem(last=False)
        return data

    def chunk_head(self, place: ChunkPlace) -> ChunkHead:
        """A chunk's own account of itself, each length held against the file."""
        where = f"the chunk at byte {place.start}"
        fixed = self._read(place.start, _CHUNK_HEAD.size)
        opcode, length, _, _, num_bytes, crc, name_bytes = _CHUNK_HEAD.unpack(fixed)
        if opcode != Opcode.CHUNK or length + _RECORD_HEAD.size != place.length or name_bytes > 16:
            raise self.damaged(f"{where} is not where the index says")
        tail = self._read(place.start + len(fixed), name_bytes + 8)
        compression = bytes(tail[:name_bytes]).decode("utf-8", "replace")
        (stored,) = struct.unpack_from("<Q", tail, name_bytes)
        offset = place.start + len(fixed) + len(tail)
        if compression not in _COMPRESSIONS:
            raise self.damaged(f"{where} is compressed with {compression!r}, not lz4 or zstd")
        if offset + stored > place.start + place.length or (
            not compression and stored != num_bytes
        ):
            raise self.damaged(f"{where} has a false size")
        if max(num_bytes, stored) > MAX_CHUNK_BYTES:
            raise self.damaged(f"{where} has {num_bytes} bytes; the limit is {MAX_CHUNK_BYTES}")
        return ChunkHead(offset, stored, num_bytes, crc, compression)

    def _unpack(self, head: ChunkHead, stored: bytes) -> bytes:
        if not head.compression:
            return stored
        try:
            if head.compression == "lz4":
                unpacked: bytes = lz4.frame.LZ4FrameDecompressor().decompress(
                    stored, max_length=head.num_bytes
                )
                return unpacked
            # The library allocates what the data's own header claims: look at that first.
            if zstandard.frame_content_size(stored) not in (-1, head.num_bytes):
                raise self.damaged(f"the chunk at byte {head.offset} has a false size")
            decompressor = zstandard.ZstdDecompressor(max_window_size=1 << 27)
            return decompressor.decompress(stored, max_output_size=max(head.num_bytes, 1))
        except (zstandard.ZstdError, RuntimeError, ValueError, EOFError) as error:
            raise self.damaged(f"the chunk at byte {head.offset} cannot be unpacked") from error

    # --- finding the records ------------------------------------------------------------------

    def _check_magic(self) -> None:
        if self.num_bytes == 0:
            raise SessionError(f"{self.path} is empty: nothing was recorded in it")
        start = self._read(0, min(len(MAGIC), self.num_bytes))
        if start != MAGIC[: len(start)]:
            raise SessionError(
                f"{self.path} is not an MCAP file: it starts with {start!r}; sessions are made by "
                "`realmaster record`"
            )
        if len(start) < len(MAGIC):
            raise SessionError(
                f"{self.path} is cut off after {self.num_bytes} bytes: it holds no whole chunk"
            )

    def _read_contents(self, use_summary: bool) -> Contents:
        contents = Contents()
        summary = self._summary_start() if use_summary else None
        if summary is None:
            contents.good_bytes = self._scan(contents, len(MAGIC), self.num_bytes)
            return contents
        contents.finished, contents.good_bytes = True, self.num_bytes
        self._scan(contents, len(MAGIC), len(MAGIC) + 1)  # the header alone
        self._scan(contents, summary, self.num_bytes - _FOOTER.size)
        return contents

    def _summary_start(self) -> int | None:
        """Where the summary starts; None where the file has no whole end."""
        if self.num_bytes < _FOOTER.size + len(MAGIC):
            return None
        end = self.num_bytes - _FOOTER.size
        tail = self._read(end, _FOOTER.size)
        opcode, length, start, _, crc, magic = _FOOTER.unpack(tail)
        if magic != MAGIC or opcode != Opcode.FOOTER or length != 20:
            return None
        if start == 0:  # a finished file without a summary
            return None
        if not len(MAGIC) <= start <= end or end - start > MAX_SUMMARY_BYTES:
            raise self.damaged(f"its footer points to byte {start} of {self.num_bytes}")
        if crc and crc32(tail[:25], crc32(self._read(start, end - start))) != crc:
            raise self.damaged("the CRC of its index differs")
        return int(start)

    def _scan(self, contents: Contents, start: int, end: int) -> int:
        """Note all whole records that begin in [start, end); gives where they end."""
        while start < end and self.num_bytes - start >= _RECORD_HEAD.size:
            opcode, length = _RECORD_HEAD.unpack(self._read(start, _RECORD_HEAD.size))
            if opcode == Opcode.DATA_END:
                return self.num_bytes  # what follows is the summary
            if length > self.num_bytes - start - _RECORD_HEAD.size:
                break
            self._note(contents, opcode, start, length)
            start += _RECORD_HEAD.size + length
        return start

    def _note(self, contents: Contents, opcode: int, start: int, length: int) -> None:
        if opcode == Opcode.CHUNK:
            contents.chunks.append(ChunkPlace(start, _RECORD_HEAD.size + length, ()))
        elif opcode == Opcode.MESSAGE_INDEX and length >= 2:
            if contents.chunks:
                last = contents.chunks[-1]
                if len(last.channels) == MAX_CHANNELS:
                    raise self.damaged(f"the chunk at byte {last.start} has too many topics")
                (channel,) = struct.unpack("<H", self._read(start + _RECORD_HEAD.size, 2))
                contents.chunks[-1] = ChunkPlace(last.start, last.length, (*last.channels, channel))
        elif opcode in _SMALL_RECORDS:
            if length > MAX_RECORD_BYTES:
                raise self.damaged(f"the record at byte {start} has {length} bytes")
            data = self._read(start + _RECORD_HEAD.size, length)
            try:
                self._note_small(contents, opcode, data)
            except (McapError, struct.error, ValueError) as error:
                raise self.damaged(f"the record at byte {start} cannot be read") from error

    def _note_small(self, contents: Contents, opcode: int, data: bytes) -> None:
        stream = ReadDataStream(io.BytesIO(data))
        if opcode == Opcode.HEADER:
            contents.profile = records.Header.read(stream).profile
        elif opcode == Opcode.CHANNEL:
            channel = records.Channel.read(stream)
            contents.topics[channel.id] = channel.topic
            if len(contents.topics) > MAX_CHANNELS:
                raise ValueError(f"more than {MAX_CHANNELS} topics")
        elif opcode == Opcode.METADATA:
            metadata = records.Metadata.read(stream)
            contents.metadata.append((metadata.name, metadata.metadata))
        elif opcode == Opcode.METADATA_INDEX:
            index = records.MetadataIndex.read(stream)
            if self._read(index.offset, 1)[0] == Opcode.METADATA:
                self._scan(contents, index.offset, index.offset + 1)
        elif opcode == Opcode.CHUNK_INDEX:
            contents.chunks.append(_read_chunk_index(data))

    def _read(self, offset: int, count: int) -> bytes:
        """Exactly `count` bytes at `offset`."""
        if offset < 0 or count < 0 or offset + count > self.num_bytes:
            raise self.damaged(f"{count} bytes at byte {offset} lie outside its {self.num_bytes}")
        with self._lock:
            self._file.seek(offset)
            data = self._file.read(count)
            while len(data) < count:  # one read gives at most 2 GiB
                more = self._file.read(count - len(data))
                if not more:
                    raise self.damaged(f"it ends within {count} bytes at byte {offset}")
                data += more
        return data


_SMALL_RECORDS = (
    Opcode.HEADER,
    Opcode.CHANNEL,
    Opcode.METADATA,
    Opcode.METADATA_INDEX,
    Opcode.CHUNK_INDEX,
)


def _message(fields: Sequence[int], data: memoryview) -> Message:
    channel_id, sequence, log_time_ns, publish_time_ns = fields
    return Message(channel_id, sequence, log_time_ns, publish_time_ns, data)


def _read_chunk_index(data: bytes) -> ChunkPlace:
    """A ChunkIndex record; not the mcap package's, which takes 15 µs for each of very many."""
    _, _, start, length, map_bytes = _CHUNK_INDEX.unpack_from(data)
    if map_bytes > 10 * MAX_CHANNELS:
        raise ValueError(f"a chunk with {map_bytes // 10} topics")
    offsets = data[_CHUNK_INDEX.size : _CHUNK_INDEX.size + map_bytes]
    return ChunkPlace(start, length, tuple(c for c, _ in struct.iter_unpack("<HQ", offsets)))
