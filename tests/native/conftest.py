"""What native tests share: programs built by cmake, once per session, in trees that stay.

The trees lie under build/ (or REALMASTER_NATIVE_BUILD), so a second run compiles only what changed.
"""

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
SOURCE: Final = ROOT / "engine_plugins"

#: Configure options by variant. "windows" needs mingw-w64 and runs under Wine.
VARIANTS: Final[Mapping[str, tuple[str, ...]]] = {
    "plain": ("-DCMAKE_BUILD_TYPE=Release",),
    "asan": ("-DCMAKE_BUILD_TYPE=Debug", "-DREALMASTER_SANITIZE=address,undefined"),
    "tsan": ("-DCMAKE_BUILD_TYPE=Debug", "-DREALMASTER_SANITIZE=thread"),
    "windows": (
        "-DCMAKE_BUILD_TYPE=Release",
        f"-DCMAKE_TOOLCHAIN_FILE={SOURCE / 'mingw.cmake'}",
    ),
}
_TOOLS: Final[Mapping[str, tuple[str, ...]]] = {"windows": ("x86_64-w64-mingw32-g++",)}


@dataclass
class NativeBuild:
    """Builds targets of engine_plugins/CMakeLists.txt on demand."""

    folder: Path
    _built: dict[tuple[str, str], Path] = field(default_factory=dict)
    _configured: set[str] = field(default_factory=set)

    def target(self, name: str, variant: str = "plain") -> Path:
        """The file that the target builds: a program, or the plugin `name` as a shared library."""
        key = (name, variant)
        if key not in self._built:
            self._built[key] = self._build(name, variant)
        return self._built[key]

    def tree(self, variant: str = "plain") -> Path:
        """The variant's build tree, configured."""
        tree = self.folder / variant
        options = [*VARIANTS[variant], "-DREALMASTER_TESTS=ON"]
        if variant not in self._configured:
            with _locked(tree.with_suffix(".lock")):
                _run("cmake", "-S", str(SOURCE), "-B", str(tree), *options)
            self._configured.add(variant)
        return tree

    def _build(self, name: str, variant: str) -> Path:
        for tool in ("cmake", *_TOOLS.get(variant, ("g++",))):
            if shutil.which(tool) is None:
                pytest.skip(f"{tool} is not installed (.ci/system-packages native)")
        tree = self.tree(variant)
        with _locked(tree.with_suffix(".lock")):
            _run("cmake", "--build", str(tree), "--target", name, "-j", "2")
        files = (f"{name}", f"{name}.exe", f"lib{name}.so", f"{name}.so", f"{name}.dll")
        for path in tree.rglob("*"):
            if path.name in files and path.is_file():
                return path
        raise AssertionError(f"the target {name} built none of {files} in {tree}")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One session at a time works in a tree."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _run(*command: str) -> None:
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        pytest.fail(f"{' '.join(command)}\n{result.stdout[-4000:]}\n{result.stderr[-4000:]}")


@pytest.fixture(scope="session")
def native_build() -> NativeBuild:
    """Builds native programs and plugins: native_build.target("feeder", "asan")."""
    given = os.environ.get("REALMASTER_NATIVE_BUILD")
    return NativeBuild(Path(given) if given else ROOT / "build" / "native")
