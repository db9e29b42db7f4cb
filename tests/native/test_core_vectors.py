"""The C++ core beside the golden vectors: what it writes byte for byte, what it reads by value."""

import json
import os
import subprocess
import zlib
from pathlib import Path
from typing import Any

import pytest

from capture_bridge.buffers import BUFFERS
from tests.conformance import make_vectors
from tests.native.conftest import NativeBuild
from tests.native.feeding import ENVIRONMENT, find_wine

pytestmark = pytest.mark.native

WRITTEN = (
    "hello", "hello_shared", "frame", "frame_padded", "frame_shared", "mark", "result", "error",
    "bye",
)  # fmt: skip
READ = (
    "welcome", "welcome_shared", "credit", "credit_freed", "command", "enhanced", "error", "bye",
)  # fmt: skip
#: Kinds that only a plugin sends: the core refuses them, whatever they hold.
OF_PLUGINS = ("hello", "frame", "mark", "result")


@pytest.fixture(scope="module")
def program(native_build: NativeBuild) -> Path:
    return native_build.target("core_vectors", "asan")


def run(program: Path, *arguments: str, stdin: bytes = b"") -> bytes:
    result = subprocess.run([program, *arguments], input=stdin, capture_output=True, check=False)
    assert result.returncode == 0, result.stderr.decode()
    return result.stdout


def read(program: Path, name: str) -> dict[str, Any]:
    output: dict[str, Any] = json.loads(
        run(program, "read", str(make_vectors.FOLDER / f"{name}.bin"))
    )
    return output


@pytest.mark.parametrize("name", WRITTEN)
def test_the_core_writes_the_vector_byte_for_byte(program: Path, name: str) -> None:
    parts = make_vectors.split((make_vectors.FOLDER / f"{name}.bin").read_bytes())
    assert run(program, "write", name) == parts[0]


@pytest.mark.parametrize("name", READ)
def test_the_core_reads_what_the_vector_says(program: Path, name: str) -> None:
    text = (make_vectors.FOLDER / f"{name}.json").read_text("utf-8")
    expected = json.loads(text)["message"]
    said = read(program, name)
    assert said == {key: expected[key] for key in said}
    assert said["kind"] == expected["kind"]


def test_a_later_minor_is_understood_and_another_major_refused(program: Path) -> None:
    assert read(program, "later_field")["frames"] == 4
    assert read(program, "later_kind") == {"skipped": True}
    assert read(program, "later_major_error")["kind"] == "error"
    assert read(program, "bad_major") == {"version": [2, 0]}


@pytest.mark.parametrize(
    "name",
    sorted(name for name in make_vectors.VECTORS if name.startswith(("bad_", *OF_PLUGINS))),
)
def test_the_core_refuses_what_a_client_must_not_send(program: Path, name: str) -> None:
    if name != "bad_major":
        assert "malformed" in read(program, name)


def test_the_tables_of_buffers_are_the_same(program: Path) -> None:
    expected = {row.name: [row.dtype, row.components] for row in BUFFERS.values()}
    assert json.loads(run(program, "table")) == expected


@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 1000])
def test_checksums_are_zlibs(program: Path, size: int) -> None:
    data = bytes(index * 37 % 256 for index in range(size))
    assert int(run(program, "crc", stdin=data)) == zlib.crc32(data)


@pytest.mark.parametrize("variant", ["plain", "asan", "tsan"])
def test_the_cores_parts(native_build: NativeBuild, variant: str) -> None:
    unit = native_build.target("core_unit", variant)
    result = subprocess.run([unit], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.wine
def test_the_cores_parts_on_windows(native_build: NativeBuild) -> None:
    wine = find_wine()
    if wine is None:
        pytest.skip("wine64 is not installed (.ci/system-packages wine)")
    unit = native_build.target("core_unit", "windows")
    result = subprocess.run(
        [wine, unit],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **ENVIRONMENT},
    )
    assert result.returncode == 0, result.stdout + result.stderr
