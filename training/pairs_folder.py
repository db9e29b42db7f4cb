"""Reads a folder of training pairs by its metadata.jsonl; knows files, no pictures.

One JSON object a line with `video`, `reference_video` and `caption` (or `prompt`); the paths are
relative and stay inside the folder. Other keys belong to other trainers and are passed over.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from capture_bridge.errors import SessionError
from realmaster.pair_folder import unfinished

METADATA = "metadata.jsonl"
MAX_BYTES = 256 << 20
MAX_CAPTION = 10_000


@dataclass(frozen=True, slots=True)
class Pair:
    """One clip: what it is to look like (`target`), what the engine drew (`reference`)."""

    name: str
    target: Path
    reference: Path
    caption: str


def read_pairs(folder: Path) -> list[Pair]:
    """All pairs of the folder, in the file's order. SessionError where they are not all there."""
    path = folder / METADATA
    if not folder.is_dir():
        raise SessionError(f"there is no folder of pairs {folder}; make one: realmaster pairs")
    if not path.is_file():
        raise SessionError(
            f"{folder} has no {METADATA}: `realmaster pairs` has not finished there; run it again "
            "to go on"
        )
    if path.stat().st_size > MAX_BYTES:
        raise SessionError(f"{path} is larger than {MAX_BYTES >> 20} MiB")
    if signs := unfinished(folder):
        raise SessionError(
            f"{folder} is half written: `realmaster pairs` works on it or was cut off; run it "
            f"again to the end, or remove {signs[0].relative_to(folder)} to train on what there is"
        )
    root = folder.resolve()
    pairs = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if line.strip():
            pairs.append(_pair(root, line, f"{path}, line {number}"))
    if not pairs:
        raise SessionError(f"{path} lists no pairs: every clip was refused, see manifest.jsonl")
    return pairs


def _pair(root: Path, line: str, where: str) -> Pair:
    try:
        row: Any = json.loads(line)
    except ValueError as error:
        raise SessionError(f"{where} is cut off or no JSON: {error}") from error
    if not isinstance(row, dict):
        raise SessionError(f"{where} is no JSON object")
    caption = row.get("caption", row.get("prompt"))
    if not isinstance(caption, str) or len(caption) > MAX_CAPTION:
        raise SessionError(f"{where} has no caption of at most {MAX_CAPTION} characters")
    target, reference = (_file(root, row, key, where) for key in ("video", "reference_video"))
    return Pair(target.stem, target, reference, caption)


def _file(root: Path, row: dict[str, Any], key: str, where: str) -> Path:
    value = row.get(key)
    if not isinstance(value, str) or not value:
        raise SessionError(f"{where} has no {key}")
    path = (root / value).resolve()
    if not path.is_relative_to(root):
        raise SessionError(f"{where}: {key} {value!r} leads out of the folder")
    if not path.is_file():
        raise SessionError(
            f"{where}: {value} is not there: `realmaster pairs` has not finished; run it again"
        )
    return path
