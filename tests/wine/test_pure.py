"""The Direct3D plugins' logic that needs no Windows, with gcc and its sanitizers."""

import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.native
ROOT = Path(__file__).parents[2]
PLUGINS = ROOT / "engine_plugins"
DXGI = [f"dxgi/{name}.cpp" for name in ("depth_chooser", "normals", "pixels", "settings")]
SOURCES = {
    "tracker_test": ["d3d12/tracker.cpp"],
    "pure_test": [*DXGI, "d3d11/frame_tracker.cpp", "gtav/online_guard.cpp"],
}


@pytest.mark.parametrize(
    ("program", "sanitizers"),
    [("pure_test", "address,undefined"), ("tracker_test", "address,undefined"),
     ("tracker_test", "thread")],
)  # fmt: skip
def test_logic(tmp_path: Path, program: str, sanitizers: str) -> None:
    if shutil.which("g++") is None:
        pytest.skip("native tests need g++")
    built = tmp_path / program
    compiled = subprocess.run(
        ["g++", "-std=c++17", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-Wconversion",
         "-Wshadow", "-pthread", f"-fsanitize={sanitizers}", "-fno-sanitize-recover=all",
         f"-I{PLUGINS}", f"-I{PLUGINS / 'dxgi'}",
         ROOT / "tests" / "wine" / "unit" / f"{program}.cpp",
         *(PLUGINS / source for source in SOURCES[program]), "-o", built],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert compiled.returncode == 0, compiled.stderr
    ran = subprocess.run([built], capture_output=True, text=True, check=False, timeout=120)
    assert ran.returncode == 0, f"{ran.stdout}\n{ran.stderr[-3000:]}"
