"""A 5 x 7 pixel alphabet for shop signs and the game's display. Pure numpy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_ROWS: dict[str, str] = {
    "A": "01110 10001 10001 11111 10001 10001 10001",
    "B": "11110 10001 10001 11110 10001 10001 11110",
    "C": "01111 10000 10000 10000 10000 10000 01111",
    "D": "11110 10001 10001 10001 10001 10001 11110",
    "E": "11111 10000 10000 11110 10000 10000 11111",
    "F": "11111 10000 10000 11110 10000 10000 10000",
    "G": "01111 10000 10000 10011 10001 10001 01111",
    "H": "10001 10001 10001 11111 10001 10001 10001",
    "I": "01110 00100 00100 00100 00100 00100 01110",
    "K": "10001 10010 10100 11000 10100 10010 10001",
    "L": "10000 10000 10000 10000 10000 10000 11111",
    "M": "10001 11011 10101 10101 10001 10001 10001",
    "N": "10001 11001 10101 10011 10001 10001 10001",
    "O": "01110 10001 10001 10001 10001 10001 01110",
    "P": "11110 10001 10001 11110 10000 10000 10000",
    "R": "11110 10001 10001 11110 10100 10010 10001",
    "S": "01111 10000 10000 01110 00001 00001 11110",
    "T": "11111 00100 00100 00100 00100 00100 00100",
    "U": "10001 10001 10001 10001 10001 10001 01110",
    "W": "10001 10001 10001 10101 10101 11011 10001",
    "X": "10001 01010 00100 00100 00100 01010 10001",
    "Y": "10001 01010 00100 00100 00100 00100 00100",
    " ": "00000 00000 00000 00000 00000 00000 00000",
}


def draw_word(word: str, height: int, width: int, *, scale: int) -> NDArray[np.bool_]:
    """A (height, width) mask with the word centred, each font pixel `scale` pixels wide and high.

    Raises KeyError for a letter the alphabet lacks, ValueError where the word does not fit.
    """
    glyphs = [np.array([[c == "1" for c in row] for row in _ROWS[ch].split()]) for ch in word]
    gap = np.zeros((7, 2), dtype=bool)
    line = np.concatenate([part for g in glyphs for part in (g, gap)][:-1], axis=1)
    ink = np.repeat(np.repeat(line, scale, 0), scale, 1)
    if ink.shape[0] > height or ink.shape[1] > width:
        raise ValueError(f"the word {word!r} at scale {scale} does not fit {width}x{height}")
    mask = np.zeros((height, width), dtype=bool)
    y, x = (height - ink.shape[0]) // 2, (width - ink.shape[1]) // 2
    mask[y : y + ink.shape[0], x : x + ink.shape[1]] = ink
    return mask
