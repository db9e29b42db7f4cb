"""Packs the plugins into zips with hashes: what `make plugins` built, one zip per system, Unreal's
in source, which the engine compiles, and the core for authors.

    python -m engine_plugins.release --output dist

The same files give the same zips byte for byte. SHA256SUMS is checked with `sha256sum -c`.
"""

import argparse
import hashlib
import re
import sys
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from engine_plugins.unreal.package_plugin import PLUGIN, packaged_files

FOLDER: Final = Path(__file__).parent
ROOT: Final = FOLDER.parent
BUILT: Final = ROOT / "build" / "plugins"
#: What a game loads; test programs and static libraries are not among them.
PLUGIN_SUFFIXES: Final = (".so", ".dll", ".asi")
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)


def plugin_files(tree: Path) -> dict[str, Path]:
    """The plugins in a build tree, and the papers that go with each, by their names in the zip."""
    files: dict[str, Path] = {}
    for path in sorted(tree.rglob("*")):
        if path.suffix in PLUGIN_SUFFIXES and path.is_file() and "native_tests" not in path.parts:
            part = path.relative_to(tree).parts[0]
            files[f"{part}/{path.name}"] = path
            for paper in (*(FOLDER / part).glob("README.md"), *(FOLDER / part).glob("*.ini")):
                files[f"{part}/{paper.name}"] = paper
    return files


def core_files(trees: Iterable[Path]) -> dict[str, Path]:
    """The core for authors of plugins: headers, guide, example, one library per system."""
    core = FOLDER / "core"
    papers = [*core.glob("include/**/*.h"), *core.glob("example/*"), FOLDER / "buffers.json"]
    files = {str(path.relative_to(FOLDER)): path for path in papers if path.is_file()}
    files["plugin_guide.md"] = ROOT / "docs" / "plugin_guide.md"
    for tree in trees:
        files[f"core/lib/{tree.name}/librealmaster_core.a"] = tree / "core/librealmaster_core.a"
    return files


def unreal_files() -> dict[str, Path]:
    """The Unreal plugin with the core in it, to be unpacked into a project's Plugins folder."""
    return {**packaged_files(), f"{PLUGIN}/README.md": FOLDER / "unreal" / "README.md"}


def write_zip(path: Path, files: dict[str, Path]) -> str:
    """Write the zip; its SHA-256 in hex."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, source in sorted({**files, "LICENSE": ROOT / "LICENSE"}.items()):
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, source.read_bytes())
    return hashlib.sha256(path.read_bytes()).hexdigest()


def main() -> int:
    """Write the zips and SHA256SUMS; 1 where nothing has been built."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=ROOT / "dist")
    options = parser.parse_args()
    trees = [tree for tree in sorted(BUILT.glob("*")) if (tree / "core").is_dir()]
    if not trees:
        sys.stderr.write(f"no plugins in {BUILT}; build them first: make plugins\n")
        return 1
    found = re.search(r"VERSION ([\d.]+) LANG", (FOLDER / "CMakeLists.txt").read_text("utf-8"))
    version = found[1] if found else "0"
    options.output.mkdir(parents=True, exist_ok=True)
    archives = {
        f"realmaster-core-{version}.zip": core_files(trees),
        f"realmaster-unreal-{version}.zip": unreal_files(),
    }
    for tree in trees:
        archives[f"realmaster-plugins-{version}-{tree.name}.zip"] = plugin_files(tree)
    sums = [
        f"{write_zip(options.output / name, files)}  {name}\n"
        for name, files in archives.items()
        if files
    ]
    (options.output / "SHA256SUMS").write_text("".join(sums), encoding="ascii")
    sys.stdout.write("".join(sums))
    return 0


if __name__ == "__main__":
    sys.exit(main())
