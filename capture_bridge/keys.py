"""Key files for links that leave this host: a CURVE key pair and a token, made once and copied.

`client.keys` (public key, secret key, token) stays with the client; `plugin.keys` (public key,
token) goes to the machine of the game. Both are JSON that only their owner can read.
"""

import json
import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from capture_bridge.errors import LinkError, OutputError

CLIENT_FILE = "client.keys"
PLUGIN_FILE = "plugin.keys"
_FORMAT = "realmaster-keys-1"
_MAX_FILE_BYTES = 4096
_KEY_CHARS = 40  # Z85 of 32 bytes


@dataclass(frozen=True, slots=True)
class CurveKeys:
    """The client's public key in Z85, and in the client's own file the secret one."""

    public: str
    secret: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a key file holds."""

    curve: CurveKeys
    token: str = field(repr=False)


def write_key_files(
    folder: Path, make_pair: Callable[[], tuple[str, str]], *, overwrite: bool = False
) -> tuple[Path, Path]:
    """Make a new key pair and token; the paths of (client.keys, plugin.keys) in `folder`.

    make_pair: sockets.curve_keypair. Raises OutputError where a file exists or cannot be written.
    """
    client, plugin = folder / CLIENT_FILE, folder / PLUGIN_FILE
    taken = [path for path in (client, plugin) if path.exists()]
    if taken and not overwrite:
        raise OutputError(f"{taken[0]} exists; pass --overwrite to replace both key files")
    public, secret = make_pair()
    shared = {"format": _FORMAT, "curve_public": public, "token": secrets.token_urlsafe(32)}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write_private(client, {**shared, "curve_secret": secret})
        _write_private(plugin, shared)
    except OSError as error:
        raise OutputError(f"cannot write key files in {folder}: {error.strerror}") from error
    return client, plugin


def read_key_file(path: Path) -> Credentials:
    """The keys and token of one of the two files; LinkError where it is none."""
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        raise LinkError(f"cannot read the key file {path}: {error.strerror}") from error
    bad = LinkError(f"{path} is no key file; make one with: realmaster keys")
    if len(text) > _MAX_FILE_BYTES:
        raise bad
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise bad from error
    if not isinstance(values, dict) or values.get("format") != _FORMAT:
        raise bad
    public, secret = values.get("curve_public"), values.get("curve_secret")
    token = values.get("token")
    if not isinstance(public, str) or not isinstance(token, str) or not token:
        raise bad
    if not isinstance(secret, str | None) or any(
        len(key) != _KEY_CHARS or not key.isascii() for key in (public, secret) if key is not None
    ):
        raise bad
    return Credentials(CurveKeys(public, secret), token)


def _write_private(path: Path, values: dict[str, str]) -> None:
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        json.dump(values, file, indent=2)
        file.write("\n")
    draft.replace(path)
