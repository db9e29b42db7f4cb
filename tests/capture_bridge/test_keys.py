import json
import stat
import sys
from pathlib import Path

import pytest

from capture_bridge.errors import LinkError, OutputError
from capture_bridge.keys import read_key_file, write_key_files
from capture_bridge.sockets import curve_keypair


def test_both_files_share_public_key_and_token_and_only_the_client_has_the_secret(
    tmp_path: Path,
) -> None:
    client_path, plugin_path = write_key_files(tmp_path / "keys", curve_keypair)
    client, plugin = read_key_file(client_path), read_key_file(plugin_path)
    assert client.token == plugin.token
    assert client.curve.public == plugin.curve.public
    assert client.curve.secret is not None
    assert plugin.curve.secret is None
    assert client.curve.secret not in plugin_path.read_text()
    assert client.curve.secret not in repr(client)
    assert client.token not in repr(client)
    if sys.platform != "win32":
        for path in (client_path, plugin_path):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert {path.name for path in client_path.parent.iterdir()} == {"client.keys", "plugin.keys"}


def test_keys_are_not_replaced_unless_asked(tmp_path: Path) -> None:
    client_path, _ = write_key_files(tmp_path, curve_keypair)
    before = client_path.read_bytes()
    with pytest.raises(OutputError, match="--overwrite"):
        write_key_files(tmp_path, curve_keypair)
    assert client_path.read_bytes() == before
    write_key_files(tmp_path, curve_keypair, overwrite=True)
    assert client_path.read_bytes() != before


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="file"):
        write_key_files(tmp_path / "file" / "keys", curve_keypair)


GOOD = {"format": "realmaster-keys-1", "curve_public": "x" * 40, "token": "t"}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"[" * 3000,
        b"[]",
        json.dumps({**GOOD, "format": "other"}).encode(),
        json.dumps({**GOOD, "curve_public": "short"}).encode(),
        json.dumps({**GOOD, "curve_secret": 7}).encode(),
        json.dumps({**GOOD, "token": ""}).encode(),
        json.dumps({**GOOD, "more": "x" * 5000}).encode(),
    ],
)
def test_files_that_are_no_key_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "some.keys"
    path.write_bytes(content)
    with pytest.raises(LinkError, match=r"some\.keys is no key file"):
        read_key_file(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(LinkError, match=r"none\.keys"):
        read_key_file(tmp_path / "none.keys")
