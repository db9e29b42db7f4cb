"""A folder of pairs: its layout, its manifest, and who works on which clip.

    settings.json            how all pairs of this folder are made
    target/NAME.mp4, .txt    the photoreal clip and its caption
    reference/NAME.mp4       the render, frame for frame
    rejected/…               the same of clips that the gates refused
    manifest.jsonl           a line per clip; manifest.I-of-N.jsonl where shards worked
    .work/                   what is being made, locks, and *.unfinished of runs with clips to make

Files come first and whole, the line of the manifest last: what has no line is made anew. A clip is
claimed by a lock that its process's death releases, so that any number of processes may share a
folder. This file knows no clip and no pixel.
"""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from capture_bridge.errors import OutputError, ProtocolError
from realmaster.pair_record import MAX_LINE_BYTES, PairRecord, check_name, read_record

FORMAT = 1
SETTINGS = "settings.json"
_WORK, _UNFINISHED = ".work", ".unfinished"
#: How long another process may hold the manifest: appending a line takes milliseconds.
_LOCK_LIMIT_S = 60.0
_MAX_SETTINGS_BYTES = 1 << 20
_MAX_MANIFEST_BYTES = 1 << 30
_KEPT = "what was finished is kept, and the same command goes on from there"


class PairFolder:
    """The door to one folder of pairs. part: the manifest file that this process appends to."""

    def __init__(self, path: Path, part: str = "manifest.jsonl") -> None:
        self.path = path
        self._part = path / part
        self._work = path / _WORK
        self._records: dict[str, PairRecord] = {}
        self._read_bytes: dict[Path, int] = {}

    def begin(self, settings: Mapping[str, Any]) -> None:
        """Make the folder, or go on with one that was begun with the same settings.

        Raises OutputError where the folder holds something else or was made with others.
        """
        self.check_settings(settings)
        with _writing(self.path):
            self._work.mkdir(parents=True, exist_ok=True)
            with self._lock("settings"):
                path = self.path / SETTINGS
                if not path.is_file():
                    write_whole(path, json.dumps(_told(settings), indent=2).encode() + b"\n")
        self.check_settings(settings)

    def check_settings(self, settings: Mapping[str, Any]) -> None:
        """OutputError where `begin` would raise it; makes nothing."""
        self._check_foreign()
        if (self.path / SETTINGS).is_file():
            self._compare(_told(settings), self._read_settings())

    def check(self) -> None:
        """OutputError where this is no folder of pairs."""
        if not (self.path / SETTINGS).is_file():
            raise OutputError(
                f"{self.path} is no folder of pairs (it has no {SETTINGS}); make one with "
                f"`realmaster pairs SESSION.mcap -o {self.path}`"
            )
        self._read_settings()

    def records(self) -> dict[str, PairRecord]:
        """All finished clips by name, in order of the names: every shard's lines merged.

        A line that was cut off by a crash counts as not written. OutputError for a damaged one.
        Manifests only grow, so that each line is read once.
        """
        for part in sorted(self.path.glob("manifest*.jsonl")):
            done = self._read_bytes.get(part, 0)
            with part.open("rb") as file:
                if file.seek(0, os.SEEK_END) - done > _MAX_MANIFEST_BYTES:
                    raise OutputError(f"{part} is no manifest: it is larger than 1 GiB")
                file.seek(done)
                whole, newline, _unfinished = file.read().rpartition(b"\n")
            for line in whole.split(b"\n") if newline else ():
                record = self._read_line(part, line)
                self._records[record.name] = record
            self._read_bytes[part] = done + len(whole) + len(newline)
        return dict(sorted(self._records.items()))

    @contextmanager
    def claim(self, name: str) -> Iterator[Path | None]:
        """An empty folder in which to make the clip; None where it is done or another makes it."""
        room = self._work / check_name(name)
        with _writing(self.path):
            self._work.mkdir(parents=True, exist_ok=True)
            lock = self._lock(name)
            claimed = True
            try:
                lock.acquire(timeout=0)
            except Timeout:
                claimed = False
            try:
                if claimed and name not in self.records():
                    shutil.rmtree(room, ignore_errors=True)
                    room.mkdir()
                    yield room
                else:
                    yield None
            finally:
                if claimed:
                    self._release(name, lock, room)

    def _release(self, name: str, lock: FileLock, room: Path) -> None:
        """Give a claim up. Whoever gets a lock that was removed finds the clip done."""
        shutil.rmtree(room, ignore_errors=True)
        if name in self._records:
            with suppress(OSError):  # Windows removes no file that is open
                Path(lock.lock_file).unlink()
        lock.release()

    def commit(self, record: PairRecord, room: Path) -> None:
        """Move the files out of a claimed room to their places, then write the clip's line."""
        with _writing(self.path):
            for source in sorted(path for path in room.rglob("*") if path.is_file()):
                place = self.top(record) / source.relative_to(room)
                place.parent.mkdir(parents=True, exist_ok=True)
                source.replace(place)
            with self._lock("manifest"):
                _append(self._part, record.to_line())
        self.records()

    def mark(self, clips: Iterable[str]) -> None:
        """Say in the folder whether a run over these clips, by name, has any left to make."""
        names = sorted(clips)
        digest = hashlib.blake2b("\n".join(names).encode(), digest_size=8).hexdigest()
        sign = self._work / f".{digest}{_UNFINISHED}"
        with self.exporting():
            if self.records().keys() >= set(names):
                sign.unlink(missing_ok=True)
            else:
                sign.touch()

    def top(self, record: PairRecord) -> Path:
        """The folder in which target/ and reference/ of this clip lie."""
        return self.path if record.accepted else self.path / "rejected"

    def target(self, record: PairRecord) -> Path:
        """The photoreal video."""
        return self.top(record) / "target" / f"{record.name}.mp4"

    def reference(self, record: PairRecord) -> Path:
        """The render."""
        return self.top(record) / "reference" / f"{record.name}.mp4"

    @contextmanager
    def exporting(self) -> Iterator[None]:
        """Held while the files that are made of all records are written."""
        with _writing(self.path):
            self._work.mkdir(parents=True, exist_ok=True)
            with self._lock("exports"):
                yield

    def _read_line(self, part: Path, line: bytes) -> PairRecord:
        try:
            return read_record(line)
        except ProtocolError as error:
            raise OutputError(
                f"{part}: the line that begins with {line[:60].decode(errors='replace')!r} is "
                f"damaged: {error}; remove it, and the same command makes that clip anew"
            ) from error

    def _lock(self, name: str) -> FileLock:
        # A leading dot: no clip is called so.
        own = name if name not in ("settings", "manifest", "exports") else f".{name}"
        return FileLock(self._work / f"{own}.lock", timeout=_LOCK_LIMIT_S)

    def _check_foreign(self) -> None:
        if not self.path.exists() or (self.path / SETTINGS).exists():
            return
        if not self.path.is_dir():
            raise OutputError(f"{self.path} is a file; -o takes a folder")
        other = [p.name for p in self.path.iterdir() if not p.name.startswith((".", SETTINGS))]
        if other:
            raise OutputError(
                f"{self.path} holds {other[0]} and is no folder of pairs; choose an empty one"
            )

    def _read_settings(self) -> dict[str, Any]:
        path = self.path / SETTINGS
        try:
            if path.stat().st_size > _MAX_SETTINGS_BYTES:
                raise ValueError(f"it is larger than {_MAX_SETTINGS_BYTES} bytes")
            settings = json.loads(path.read_bytes())
            if not isinstance(settings, dict):
                raise TypeError("it is no JSON object")
        except (ValueError, TypeError, RecursionError) as error:
            raise OutputError(
                f"{path} cannot be read ({error}); put it back from a copy, or choose "
                "another folder"
            ) from error
        if settings.get("format") != FORMAT:
            raise OutputError(
                f"{self.path} has format {settings.get('format')!r} of pairs, this RealMaster "
                f"writes {FORMAT}; choose another folder"
            )
        return settings

    def _compare(self, now: Mapping[str, Any], then: Mapping[str, Any]) -> None:
        flat_now, flat_then = _flat(now), _flat(then)
        names = [n for n in {**flat_then, **flat_now} if flat_now.get(n) != flat_then.get(n)]
        if names:
            words = ", ".join(
                f"{name} was {flat_then.get(name)!r} and is {flat_now.get(name)!r}"
                for name in names
            )
            raise OutputError(
                f"{self.path} was begun with other settings: {words[:500]}; choose another folder, "
                "or give the same"
            )


def unfinished(folder: Path) -> list[Path]:
    """The signs of runs that have clips left to make in a folder of pairs, or were cut off."""
    return sorted((folder / _WORK).glob(f".*{_UNFINISHED}"))


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings under names such as rules.length."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            found |= _flat(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = value
    return found


def _told(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings as they come back from JSON."""
    told: dict[str, Any] = json.loads(json.dumps({"format": FORMAT, **settings}))
    return told


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that it is there whole or not at all."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(data)
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _append(path: Path, line: bytes) -> None:
    """Append a whole line; what a crash cut off before goes, nothing is left of a failure."""
    with path.open("a+b", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        tail_at = file.seek(max(0, size - MAX_LINE_BYTES))
        whole = tail_at + file.read().rfind(b"\n") + 1
        file.truncate(whole)
        try:
            if file.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
            os.fsync(file.fileno())
        except OSError:
            file.truncate(whole)
            raise


@contextmanager
def going_on() -> Iterator[None]:
    """Let an OutputError say that nothing is lost."""
    try:
        yield
    except OutputError as error:
        raise OutputError(f"{error}; {_KEPT}") from error


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except Timeout as error:
        raise OutputError(
            f"{path}: another process has held its lock for {_LOCK_LIMIT_S:g} s; end it, or remove "
            f"{path / _WORK} where there is none"
        ) from error
    except OSError as error:
        raise OutputError(
            f"cannot write {error.filename or path}: {error.strerror or error}; {_KEPT}"
        ) from error
