"""CRC-32 (zlib's) of joined byte runs from the CRCs of their parts, without reading them again.

A frame arrives with a checked CRC per payload, and a chunk needs the CRC of everything in it: at
the speed of a page cache a second pass over the bytes would halve the recorder's rate. The
arithmetic is that of polynomials over GF(2) modulo CRC-32's, bits reflected. This file imports
nothing of the project.
"""

from functools import lru_cache

_POLYNOMIAL = 0xEDB88320
_ONE = 1 << 31  # the polynomial 1, reflected


def crc32_combine(first: int, second: int, second_length: int) -> int:
    """CRC-32 of a + b from first = crc32(a), second = crc32(b) and the length of b in bytes."""
    return _multiply(_shift(second_length), first) ^ second


@lru_cache(maxsize=1024)
def _shift(num_bytes: int) -> int:
    """x to the power of 8 * num_bytes, modulo the CRC's polynomial."""
    result, square, exponent = _ONE, _ONE >> 1, 8 * num_bytes
    while exponent:
        if exponent & 1:
            result = _multiply(square, result)
        square = _multiply(square, square)
        exponent >>= 1
    return result


def _multiply(a: int, b: int) -> int:
    """The product of two reflected polynomials, modulo the CRC's polynomial."""
    product, bit = 0, _ONE
    while bit:
        if a & bit:
            product ^= b
        b = (b >> 1) ^ _POLYNOMIAL if b & 1 else b >> 1
        bit >>= 1
    return product
