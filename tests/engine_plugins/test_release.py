import hashlib
import zipfile
from pathlib import Path

from engine_plugins import release


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
