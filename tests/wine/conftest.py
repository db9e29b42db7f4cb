"""Builds the plugins and test games for Windows once, and gives them a display and a Wine prefix.

Needs Debian's wine64, g++-mingw-w64-x86-64-posix, xvfb and mesa-vulkan-drivers; without them the
tests are skipped and say what is missing (`.ci/system-packages wine` installs it). The prefix lies
in the user's cache, since making it takes longer than any test.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.wine.wine_games import ROOT, WINE, WINESERVER, Lab

BUILD = ROOT / "build" / "wine"
_ICD = Path("/usr/share/vulkan/icd.d/lvp_icd.x86_64.json")


def _missing() -> list[str]:
    needed = {
        "wine64": WINE.exists(),
        "g++-mingw-w64-x86-64-posix": shutil.which("x86_64-w64-mingw32-g++-posix") is not None,
        "cmake": shutil.which("cmake") is not None,
        "xvfb": shutil.which("Xvfb") is not None,
        "mesa-vulkan-drivers": _ICD.exists(),
    }
    return [name for name, there in needed.items() if not there]


def _run(*command: str | Path, **options: object) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]
    assert done.returncode == 0, f"{command[0]}:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    if missing := _missing():
        pytest.skip(f"Windows plugins need {', '.join(missing)}: .ci/system-packages wine")
    toolchain = ROOT / "engine_plugins" / "mingw.cmake"
    _run("cmake", "-S", ROOT / "tests" / "wine", "-B", BUILD, "-DCMAKE_BUILD_TYPE=Release",
         f"-DCMAKE_TOOLCHAIN_FILE={toolchain}")  # fmt: skip
    _run("cmake", "--build", BUILD, "-j2")
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    prefix = cache / "realmaster" / "wineprefix"
    prefix.parent.mkdir(parents=True, exist_ok=True)
    read, write = os.pipe()
    xvfb = subprocess.Popen(
        ["Xvfb", "-displayfd", str(write), "-screen", "0", "1400x800x24", "-nolisten", "tcp"],
        pass_fds=[write], stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(write)
    with os.fdopen(read) as told:
        display = told.readline().strip()
    environment = {
        **os.environ,
        "DISPLAY": f":{display}",
        "WINEPREFIX": str(prefix),
        "WINEARCH": "win64",
        "WINEDEBUG": "-all",
        "WINEDLLOVERRIDES": "dinput8=n,b;mscoree=;mshtml=",
        "VK_ICD_FILENAMES": str(_ICD),
    }
    try:
        if not (prefix / "system.reg").exists():
            _run(WINE, "wineboot", "-i", env=environment)
            _run(WINESERVER, "-w", env=environment)
        scene = tmp_path_factory.mktemp("scene") / "scene.json"
        _run(WINE, BUILD / "describe.exe", scene.name, "1000", cwd=scene.parent, env=environment)
        yield Lab(BUILD, environment, scene)
    finally:
        subprocess.run([WINESERVER, "-k"], env=environment, check=False)
        xvfb.terminate()
        xvfb.wait(10)
