"""Makes the Unreal plugin's folder: RealMasterCapture with the C++ core in it, ready to be copied.

    python -m engine_plugins.unreal.package_plugin <project>/Plugins

Unreal compiles what lies in a module's folder, and files in a folder named after a platform for
that platform alone; so the core's sources go to Private/Core, those of one system below Windows or
Unix. Knows the layout of both, nothing of their contents.
"""

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from capture_bridge.errors import OutputError, RealMasterError

HERE = Path(__file__).parent
PLUGIN = "RealMasterCapture"
CORE = HERE.parent / "core"
_SYSTEMS = {"_windows": "Windows", "_posix": "Unix"}


def package(output: Path, *, overwrite: bool = False) -> Path:
    """The plugin's new folder in `output`; OutputError where it exists (unless overwrite)."""
    target = output / PLUGIN
    if target.exists() and not overwrite:
        raise OutputError(f"{target} exists already; pass --overwrite to replace it")
    try:
        shutil.rmtree(target, ignore_errors=True)
        for name, source in packaged_files().items():
            place = output / name
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, place)
    except OSError as error:
        raise OutputError(f"cannot write {target}: {error.strerror}") from error
    return target


def packaged_files() -> dict[str, Path]:
    """Where every file of the plugin lies, by its name in the package: `RealMasterCapture/…`."""
    module = f"{PLUGIN}/Source/{PLUGIN}/Private/Core"
    plugin = {f"{PLUGIN}/{_name(path, HERE / PLUGIN)}": path for path in _files(HERE / PLUGIN)}
    headers = {
        f"{module}/include/{_name(p, CORE / 'include')}": p for p in _files(CORE / "include")
    }
    sources = {f"{module}/src/{_system(p)}{p.name}": p for p in _files(CORE / "src")}
    return plugin | headers | sources


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _name(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()


def _system(source: Path) -> str:
    """The folder of the system that one of the core's sources is for; none for the others."""
    endings = (f"{folder}/" for ending, folder in _SYSTEMS.items() if source.stem.endswith(ending))
    return next(endings, "") if source.suffix != ".h" else ""


def main(arguments: Sequence[str]) -> int:
    """Make the folder and say where it is; the exit status."""
    parser = argparse.ArgumentParser(prog="package_plugin", description=__doc__)
    parser.add_argument("output", type=Path, help="the project's Plugins folder")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier one")
    given = parser.parse_args(arguments)
    try:
        target = package(given.output, overwrite=given.overwrite)
    except RealMasterError as error:
        sys.stderr.write(f"package_plugin: {error}\n")
        return 1
    sys.stdout.write(f"{target}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
