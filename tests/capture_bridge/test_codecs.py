import tracemalloc
from dataclasses import replace

import lz4.block
import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray

from capture_bridge.buffers import BUFFERS
from capture_bridge.codecs import CODECS, DTYPES, decode_payload, encode_payload, pack_buffer
from capture_bridge.errors import ProtocolError
from capture_bridge.messages import BufferDescriptor

images = st.sampled_from(sorted(DTYPES)).flatmap(
    lambda dtype: npst.arrays(
        np.dtype(dtype),
        st.tuples(st.integers(1, 9), st.integers(1, 9))
        | st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(2, 4)),
    )
)


def bits(array: NDArray[np.generic]) -> bytes:
    """Compares NaNs too."""
    return array.tobytes()


@given(images, st.sampled_from(sorted(CODECS)))
def test_unpacking_is_the_inverse_of_packing(array: NDArray[np.generic], codec: str) -> None:
    descriptor, payload = pack_buffer("x", array, codec)
    out = decode_payload(descriptor, payload)
    assert out.dtype == array.dtype
    assert out.shape == array.shape
    assert bits(out) == bits(array)


@pytest.mark.parametrize("codec", sorted(CODECS))
@pytest.mark.parametrize("name", sorted(BUFFERS))
def test_padding_of_rows_is_skipped(codec: str, name: str) -> None:
    row = BUFFERS[name]
    rng = np.random.default_rng(1)
    padded = rng.integers(0, 90, row.shape(9, 5)).astype(row.dtype)
    descriptor, payload = pack_buffer(name, padded, codec)
    out = decode_payload(replace(descriptor, width=7), payload)
    np.testing.assert_array_equal(out, padded[:, :7])


def test_views_and_big_endian_arrays_are_packed_by_value() -> None:
    array = np.arange(24, dtype=np.float32).reshape(4, 6)
    for odd in (array[::2, ::-1], array.astype(">f4"), np.asfortranarray(array)):
        descriptor, payload = pack_buffer("depth", odd)
        np.testing.assert_array_equal(decode_payload(descriptor, payload), odd)


def test_raw_payloads_are_views() -> None:
    array = np.zeros((4, 6, 4), np.uint8)
    _, payload = pack_buffer("color", array)
    assert np.shares_memory(np.frombuffer(payload, np.uint8), array)


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("depth", np.zeros((4, 4), np.float64)),
        ("depth", np.zeros((4, 4, 2), np.float32)),
        ("color", np.zeros((4, 4, 3), np.uint8)),
        ("x", np.zeros((4,), np.uint8)),
        ("x", np.zeros((4, 4), bool)),
    ],
)
def test_arrays_that_are_not_what_the_table_says_are_refused(
    name: str, array: NDArray[np.generic]
) -> None:
    with pytest.raises(ProtocolError, match=f"buffer {name} is .*; it must be"):
        pack_buffer(name, array)


def bomb(codec: str) -> bytes:
    data = bytes(64 << 20)
    if "lz4" in codec:
        packed: bytes = lz4.block.compress(data, store_size=False)
        return packed
    return zstandard.ZstdCompressor(write_content_size="untold" not in codec).compress(data)


@pytest.mark.parametrize("codec", ["lz4", "zstd", "shuffle+lz4", "shuffle+zstd", "zstd untold"])
def test_decompression_bombs_are_refused_without_taking_memory(codec: str) -> None:
    payload = bomb(codec)
    descriptor = BufferDescriptor("depth", 8, 8, "<f4", 1, 32, codec.split()[0])
    tracemalloc.start()
    try:
        with pytest.raises(ProtocolError):
            decode_payload(descriptor, payload)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@settings(max_examples=200)
@given(st.sampled_from(sorted(CODECS)), st.data())
def test_damaged_payloads_give_an_array_or_our_own_error(codec: str, data: st.DataObject) -> None:
    array = np.arange(64, dtype=np.float32).reshape(8, 8) // 3
    descriptor, packed = pack_buffer("depth", array, codec)
    payload = bytearray(packed)
    if data.draw(st.booleans()):
        payload[data.draw(st.integers(0, len(payload) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    else:
        del payload[data.draw(st.integers(0, len(payload) - 1)) :]
        payload += data.draw(st.binary(max_size=8))
    try:
        out = decode_payload(descriptor, bytes(payload))
    except ProtocolError:
        return
    assert out.shape == (8, 8)


def test_concatenated_zstd_frames_and_short_payloads_are_refused() -> None:
    array = np.zeros((8, 8), np.float32)
    descriptor, payload = pack_buffer("depth", array, "zstd")
    with pytest.raises(ProtocolError):
        decode_payload(descriptor, bytes(payload) * 2)
    with pytest.raises(ProtocolError, match="row_pitch"):
        decode_payload(replace(descriptor, codec="raw"), bytes(3))
    with pytest.raises(ProtocolError):
        decode_payload(replace(descriptor, height=9), payload)


def test_shuffling_makes_smooth_floats_smaller() -> None:
    smooth = np.linspace(1, 2, 10_000, dtype=np.float32).reshape(100, 100)
    assert len(encode_payload(smooth, "shuffle+zstd")) < 0.8 * len(encode_payload(smooth, "zstd"))
