import json
from pathlib import Path

import numpy as np

from capture_bridge.buffers import BUFFERS, SEMANTIC_CLASSES, to_json

REPOSITORY = Path(__file__).parents[2]


def test_the_table_for_other_languages_is_not_stale() -> None:
    """Else: python -m tests.conformance.make_vectors."""
    text = (REPOSITORY / "engine_plugins" / "buffers.json").read_text("utf-8")
    assert text == to_json()
    assert set(json.loads(text)["buffers"]) == set(BUFFERS)


def test_every_row_is_an_array_layout() -> None:
    for name, row in BUFFERS.items():
        assert row.name == name
        array = np.zeros(row.shape(5, 3), row.numpy_dtype)
        assert array.nbytes == 15 * row.pixel_bytes
        assert array.dtype.byteorder in "<|=", "little-endian"


def test_class_ids_fit_below_the_invalid_value() -> None:
    assert len(set(SEMANTIC_CLASSES)) == len(SEMANTIC_CLASSES) < 255
