"""Finds out how Mitsuba can run on this machine, without letting it take the process down.

Mitsuba 3.9 compiles its kernels with the machine's LLVM, and some versions (15 and 16 as Debian
builds them) abort the whole process on the first kernel. So every candidate library renders a tiny
scene in a process of its own first. This file knows Mitsuba's loading alone, not the street.
"""

import functools
import importlib
import importlib.util
import logging
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from capture_bridge.errors import SetupError

FAST_VARIANT = "llvm_ad_rgb"
SLOW_VARIANT = "scalar_rgb"  # needs no LLVM; about four times slower

_LLVM_VARIABLE = "DRJIT_LIBLLVM_PATH"
_LIBRARY_FOLDERS = (
    "/usr/lib/*-linux-gnu",
    "/usr/lib64",
    "/usr/lib/llvm-*/lib",
    "/usr/local/lib",
    "/opt/homebrew/opt/llvm*/lib",
)
_MAX_CANDIDATES = 6
_PROBE_LIMIT_S = 60
_PROBE = """
import sys
import mitsuba as mi
mi.set_variant(sys.argv[1])
scene = mi.load_dict(mi.cornell_box())
sensor = mi.load_dict({"type": "perspective", "film": {"type": "hdrfilm", "width": 4, "height": 4}})
assert mi.util.convert_to_bitmap(mi.render(scene, sensor=sensor, spp=1)) is not None
"""

_log = logging.getLogger(__name__)


def llvm_candidates() -> list[str]:
    """Return paths of LLVM libraries to try, best first; "" leaves the choice to Mitsuba.

    A path that the user set in DRJIT_LIBLLVM_PATH is the only candidate.
    """
    chosen = os.environ.get(_LLVM_VARIABLE)
    if chosen:
        return [chosen]
    found: dict[Path, int] = {}
    for pattern in _LIBRARY_FOLDERS:
        for folder in Path("/").glob(pattern.lstrip("/")):
            for library in folder.glob("libLLVM*"):
                version = re.search(r"LLVM(?:-|\.so\.|\.)(\d+)", library.name)
                if version and re.search(r"\.(so|dylib)", library.name):
                    found.setdefault(library.resolve(), int(version[1]))
    newest_first = sorted(found, key=lambda path: (-found[path], str(path)))
    return [*(str(path) for path in newest_first[: _MAX_CANDIDATES - 1]), ""]


def variant_works(variant: str, llvm_path: str = "") -> bool:
    """Return whether a process of its own can render a tiny scene with this variant and library."""
    with tempfile.TemporaryDirectory() as empty_home:
        # An empty home: a kernel cached there by a good LLVM would hide that this one fails.
        environment = {**os.environ, "HOME": empty_home}
        if llvm_path:
            environment[_LLVM_VARIABLE] = llvm_path
        command = [sys.executable, "-c", _PROBE, variant]
        try:
            done = subprocess.run(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_PROBE_LIMIT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return False
    return done.returncode == 0


@functools.cache
def load_mitsuba() -> Any:
    """Return the module `mitsuba` with a working variant set: LLVM's, or else the scalar one.

    Raises SetupError that says what to install when neither works. Once per process.
    """
    if importlib.util.find_spec("mitsuba") is None:
        raise SetupError(
            "the path-traced truth needs Mitsuba: pip install 'realmaster[truth]' "
            "(on Debian or Ubuntu also: apt-get install libllvm19 libatomic1)"
        )
    for llvm_path in llvm_candidates():
        if variant_works(FAST_VARIANT, llvm_path):
            if llvm_path:
                os.environ[_LLVM_VARIABLE] = llvm_path
            return _set_variant(FAST_VARIANT)
    if not variant_works(SLOW_VARIANT):
        raise SetupError(
            "Mitsuba is installed but cannot start: apt-get install libllvm19 libatomic1 "
            "and pip install 'realmaster[truth]'"
        )
    _log.warning(
        "no usable LLVM found (15 and 16 are known to crash Mitsuba): the truth renders about four "
        "times slower; apt-get install libllvm19 cures it"
    )
    return _set_variant(SLOW_VARIANT)


def _set_variant(variant: str) -> Any:
    mitsuba = importlib.import_module("mitsuba")
    mitsuba.set_variant(variant)
    return mitsuba
