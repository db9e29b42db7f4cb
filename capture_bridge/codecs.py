"""Image arrays as payloads and back: raw, LZ4 or Zstandard, byte-shuffled or not.

The codecs of a `BufferDescriptor`, on the wire and in the session file. All are lossless. A payload
is never unpacked to more than its descriptor says. Byte-shuffling puts the first bytes of all
numbers together, then the second bytes, and so on, which makes floats compress; as in Blosc. This
file knows neither messages' bytes nor files.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import lz4.block
import numpy as np
import zstandard
from numpy.typing import NDArray

from capture_bridge.buffers import BUFFERS
from capture_bridge.crc import crc32
from capture_bridge.errors import ProtocolError
from capture_bridge.messages import BufferDescriptor

Bytes = bytes | memoryview

#: Numpy's names of what a component may be.
DTYPES: Final[Mapping[str, np.dtype[np.generic]]] = {
    name: np.dtype(name) for name in ("u1", "<u2", "<u4", "<i2", "<i4", "<f2", "<f4")
}


@dataclass(frozen=True, slots=True)
class Codec:
    """Compression and its inverse, which gets the exact unpacked size and must not exceed it."""

    shuffle: bool
    compress: Callable[[Bytes], bytes] | None
    decompress: Callable[[Bytes, int], bytes] | None


def _lz4_compress(data: Bytes) -> bytes:
    packed: bytes = lz4.block.compress(data, store_size=False)
    return packed


def _lz4_decompress(data: Bytes, size: int) -> bytes:
    try:
        unpacked: bytes = lz4.block.decompress(data, uncompressed_size=size)
    except (lz4.block.LZ4BlockError, ValueError, OverflowError) as error:
        raise ProtocolError(f"damaged lz4 payload: {error}") from error
    return unpacked


def _zstd_compress(data: Bytes) -> bytes:
    return zstandard.ZstdCompressor(level=1).compress(data)


def _zstd_decompress(data: Bytes, size: int) -> bytes:
    try:
        # The library allocates what the payload's own header claims: look at that first.
        claimed = zstandard.frame_content_size(data)
        if claimed not in (-1, size):
            raise ProtocolError(f"damaged zstd payload: it claims {claimed} bytes, not {size}")
        decompressor = zstandard.ZstdDecompressor(max_window_size=1 << 27)
        return decompressor.decompress(data, max_output_size=size, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise ProtocolError(f"damaged zstd payload: {error}") from error


CODECS: Final[Mapping[str, Codec]] = {
    "raw": Codec(False, None, None),
    "lz4": Codec(False, _lz4_compress, _lz4_decompress),
    "zstd": Codec(False, _zstd_compress, _zstd_decompress),
    "shuffle+lz4": Codec(True, _lz4_compress, _lz4_decompress),
    "shuffle+zstd": Codec(True, _zstd_compress, _zstd_decompress),
}


def pack_buffer(
    name: str, array: NDArray[np.generic], codec: str = "raw", *, checksum: bool = False
) -> tuple[BufferDescriptor, Bytes]:
    """Descriptor and payload of one buffer, tight; raw payloads are a view, not a copy.

    array: (height, width) or (height, width, components), in BUFFERS' dtype if the name is known.
    Raises ProtocolError where the array is not what the table says.
    """
    components = 1 if array.ndim == 2 else array.shape[-1]
    dtype = "u1" if array.dtype == np.uint8 else array.dtype.newbyteorder("<").str
    known = BUFFERS.get(name)
    if array.ndim not in (2, 3) or dtype not in DTYPES:
        raise ProtocolError(f"buffer {name} is {array.dtype} {array.shape}; it must be an image")
    if known is not None and (dtype, components) != (known.dtype, known.components):
        raise ProtocolError(
            f"buffer {name} is {array.dtype} {array.shape}; "
            f"it must be {known.dtype} {known.shape(array.shape[1], array.shape[0])}"
        )
    payload = encode_payload(array, codec)
    descriptor = BufferDescriptor(
        name=name,
        width=array.shape[1],
        height=array.shape[0],
        dtype=dtype,
        components=components,
        row_pitch=array.shape[1] * components * array.dtype.itemsize,
        codec=codec,
        checksum=crc32(payload) if checksum else None,
    )
    return descriptor, payload


def encode_payload(array: NDArray[np.generic], codec: str) -> Bytes:
    """The array's bytes, little-endian and tight, in that codec; raw is a view where it can be."""
    tight = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    flat = tight.reshape(-1).view(np.uint8)
    row = CODECS[codec]
    if row.shuffle:
        flat = _shuffle(flat, array.dtype.itemsize)
    return flat.data if row.compress is None else row.compress(flat.data)


def decode_payload(descriptor: BufferDescriptor, payload: Bytes) -> NDArray[np.generic]:
    """The array of a payload: (height, width) or (height, width, components); may be read-only.

    Raises ProtocolError where the payload is damaged or not of the size that its descriptor says.
    """
    size = descriptor.row_pitch * descriptor.height
    codec = CODECS.get(descriptor.codec)
    if codec is None:
        raise ProtocolError(f"buffer {descriptor.name}: unknown codec {descriptor.codec!r}")
    data = payload if codec.decompress is None else codec.decompress(payload, size)
    if len(data) != size:
        raise ProtocolError(
            f"buffer {descriptor.name}: {len(data)} bytes unpacked; row_pitch × height is {size}"
        )
    dtype = DTYPES[descriptor.dtype]
    flat = np.frombuffer(data, np.uint8)
    if codec.shuffle:
        flat = _unshuffle(flat, dtype.itemsize)
    row_items = descriptor.width * descriptor.components
    rows = flat.view(dtype).reshape(descriptor.height, -1)[:, :row_items]
    if descriptor.components == 1:
        return rows
    return rows.reshape(descriptor.height, descriptor.width, descriptor.components)


def _shuffle(flat: NDArray[np.uint8], itemsize: int) -> NDArray[np.uint8]:
    if itemsize == 1:
        return flat
    planes = np.empty((itemsize, flat.size // itemsize), np.uint8)
    for index, plane in enumerate(planes):
        plane[:] = flat[index::itemsize]
    return planes.reshape(-1)


def _unshuffle(flat: NDArray[np.uint8], itemsize: int) -> NDArray[np.uint8]:
    if itemsize == 1:
        return flat
    out = np.empty(flat.size, np.uint8)
    for index, plane in enumerate(flat.reshape(itemsize, -1)):
        out[index::itemsize] = plane
    return out
