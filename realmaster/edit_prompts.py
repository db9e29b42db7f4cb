"""What image editors are asked for and how clips are described, by game: data in prompts.toml."""

import tomllib
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from capture_bridge.errors import RealMasterError

BUNDLED = Path(__file__).with_name("prompts.toml")
_MAX_BYTES = 1 << 20
_MAX_LETTERS = 4000


@dataclass(frozen=True, slots=True)
class GamePrompts:
    """edit: what an image editor is asked for. caption: what trainers are told of a clip."""

    edit: str
    caption: str


def game_prompts(game: str, path: Path | None = None) -> GamePrompts:
    """The prompts for a game by the name that its plugin gave. path: a file of the user's own.

    RealMasterError where the file cannot be read or does not say them.
    """
    source = path or BUNDLED
    tables = _read(source)
    rows = tables.get("game", [])
    if not isinstance(rows, list):
        raise RealMasterError(f"{source}: games are written as [[game]] tables")
    for row in rows:
        where = f"{source}, [[game]] {rows.index(row) + 1}"
        if fnmatchcase(game.lower(), _text(row, "match", where).lower()):
            return _prompts(row, game, where)
    return _prompts(tables.get("default"), game, f"{source}, [default]")


def _read(source: Path) -> dict[str, Any]:
    try:
        with source.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise RealMasterError(f"cannot read {source}: {error.strerror}") from error
    if len(content) > _MAX_BYTES:
        raise RealMasterError(f"{source} is larger than {_MAX_BYTES} bytes: it holds no prompts")
    try:
        return tomllib.loads(content.decode())
    except ValueError as error:
        raise RealMasterError(f"{source} is no TOML: {str(error).splitlines()[0]}") from error


def _prompts(table: Any, game: str, where: str) -> GamePrompts:
    edit, caption = (_text(table, name, where) for name in ("edit", "caption"))
    return GamePrompts(edit.replace("{game}", game), caption.replace("{game}", game))


def _text(table: Any, name: str, where: str) -> str:
    value = table.get(name) if isinstance(table, dict) else None
    if not isinstance(value, str) or not 0 < len(value) <= _MAX_LETTERS:
        raise RealMasterError(
            f"{where}: '{name}' must be a text of 1 to {_MAX_LETTERS} letters, as in {BUNDLED.name}"
        )
    return value
