import json
from pathlib import Path

import pytest

from capture_bridge import errors, wire
from tests.conformance import make_vectors

FOLDER = Path(__file__).parent
NAMES = sorted(path.stem for path in FOLDER.glob("*.bin"))


def _load(name: str) -> tuple[list[bytes], dict[str, object]]:
    parts = make_vectors.split((FOLDER / f"{name}.bin").read_bytes())
    expected: dict[str, object] = json.loads((FOLDER / f"{name}.json").read_text("utf-8"))
    return parts, expected


@pytest.mark.parametrize("name", NAMES)
def test_vector_decodes_to_what_its_json_says(name: str) -> None:
    parts, expected = _load(name)
    if "error" in expected:
        with pytest.raises(errors.ProtocolError, match=str(expected["names"])) as caught:
            wire.decode(parts, make_vectors.limits_of(name))
        assert type(caught.value).__name__ == expected["error"]
        return
    message = wire.decode(parts, make_vectors.limits_of(name))
    if isinstance(message, wire.Unknown):
        assert message.kind == expected["skipped"]
    else:
        assert make_vectors.message_to_plain(message) == expected["message"]


@pytest.mark.parametrize("name", sorted(make_vectors.MESSAGES))
def test_our_encoding_of_a_message_stays_what_it_was(name: str) -> None:
    limits = make_vectors.limits_of(name)
    parts = wire.encode(make_vectors.MESSAGES[name], limits)
    assert make_vectors.join(parts) == (FOLDER / f"{name}.bin").read_bytes()


def test_no_vector_is_stale_or_missing() -> None:
    """Else: python -m tests.conformance.make_vectors."""
    written = {
        path.name: path.read_bytes()
        for path in FOLDER.iterdir()
        if path.suffix in (".bin", ".json")
    }
    assert written == make_vectors.files()


def test_every_kind_has_a_vector() -> None:
    kinds = {type(message).__name__.lower() for message in make_vectors.MESSAGES.values()}
    assert kinds == set(wire.KINDS)
