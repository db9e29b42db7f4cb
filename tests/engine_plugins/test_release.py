import hashlib
import zipfile
from pathlib import Path

import pytest

from engine_plugins import release
from engine_plugins.unreal.package_plugin import package


def make_tree(folder: Path) -> Path:
    for name in ("opengl/librealmaster_opengl.so", "core/librealmaster_core.a", "core/feeder"):
        path = folder / "linux-gcc" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    test_program = folder / "linux-gcc" / "core" / "native_tests" / "libtest.so"
    test_program.parent.mkdir()
    test_program.write_bytes(b"no plugin")
    return folder / "linux-gcc"


def test_a_zip_holds_the_plugins_and_nothing_else_that_was_built(tmp_path: Path) -> None:
    files = release.plugin_files(make_tree(tmp_path))
    built = {name for name, path in files.items() if path.is_relative_to(tmp_path)}
    assert built == {"opengl/librealmaster_opengl.so"}


def test_the_same_files_give_the_same_zip(tmp_path: Path) -> None:
    files = release.core_files([make_tree(tmp_path)])
    assert "core/include/realmaster/plugin.h" in files
    assert "core/lib/linux-gcc/librealmaster_core.a" in files
    sums = [release.write_zip(tmp_path / f"{name}.zip", files) for name in ("one", "two")]
    assert sums[0] == sums[1] == hashlib.sha256((tmp_path / "one.zip").read_bytes()).hexdigest()
    with zipfile.ZipFile(tmp_path / "one.zip") as archive:
        assert archive.testzip() is None
        assert set(archive.namelist()) == {*files, "LICENSE"}


def test_the_unreal_plugin_is_released_with_the_core_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(release, "BUILT", make_tree(tmp_path / "built").parent)
    monkeypatch.setattr("sys.argv", ["release", "--output", str(tmp_path / "dist")])
    assert release.main() == 0
    (path,) = (tmp_path / "dist").glob("realmaster-unreal-*.zip")
    made = package(tmp_path / "Plugins")
    folder = {str(p.relative_to(made.parent)) for p in made.rglob("*") if p.is_file()}
    with zipfile.ZipFile(path) as archive:
        assert set(archive.namelist()) == {*folder, "RealMasterCapture/README.md", "LICENSE"}
        for name in folder:
            assert archive.read(name) == (made.parent / name).read_bytes()
    sums = (tmp_path / "dist" / "SHA256SUMS").read_text("ascii").splitlines()
    assert {line.split("  ")[1] for line in sums} == {p.name for p in path.parent.glob("*.zip")}
    assert f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}" in sums
