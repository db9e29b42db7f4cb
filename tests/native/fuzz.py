"""`make fuzz`: libFuzzer on all that a native plugin reads from its peer.

Builds the target with clang, ASan and UBSan, seeds it with the golden vectors, runs it for a given
time, and exits with 1 where it found something (the input then lies in the corpus' parent folder).
"""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.conformance.make_vectors import VECTORS

ROOT: Final = Path(__file__).parents[2]
_CLANGS: Final = ("clang++", *(f"clang++-{version}" for version in range(21, 12, -1)))
_HEADER_ALONE, _AFTER_GREETING = 0, 1  # what the target's first byte asks for


def write_seeds(corpus: Path) -> None:
    """One header and one ZMTP stream per golden vector."""
    corpus.mkdir(parents=True, exist_ok=True)
    for name, (parts, _) in VECTORS.items():
        head = bytes((_HEADER_ALONE, 7)) + bytes(parts[0])
        (corpus / f"{name}.head").write_bytes(head)
        stream = b"".join(_zmtp_frame(bytes(part), part is not parts[-1]) for part in parts)
        (corpus / f"{name}.stream").write_bytes(bytes((_AFTER_GREETING, 7)) + stream)
    ping = b"\x04\x09\x04PING\x00\x0aab"
    (corpus / "ping.stream").write_bytes(bytes((_AFTER_GREETING, 1)) + ping)


def _zmtp_frame(body: bytes, more: bool) -> bytes:
    if len(body) < 256:
        return bytes((more, len(body))) + body
    return bytes((more | 2,)) + len(body).to_bytes(8, "big") + body


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "fuzz")
    options = parser.parse_args()
    clang = next(filter(None, map(shutil.which, _CLANGS)), None)
    if clang is None:
        print("fuzz: clang with libFuzzer is missing; Debian: clang libclang-rt-14-dev")
        return 2
    tree = options.folder / "tree"
    configure = [
        "cmake", "-S", str(ROOT / "engine_plugins"), "-B", str(tree),
        f"-DCMAKE_CXX_COMPILER={clang}", "-DCMAKE_BUILD_TYPE=RelWithDebInfo",
        "-DREALMASTER_FUZZ=ON", "-DREALMASTER_SANITIZE=address,undefined",
    ]  # fmt: skip
    subprocess.run(configure, check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["cmake", "--build", str(tree), "--target", "fuzz_incoming"], check=True)
    corpus = options.folder / "corpus"
    write_seeds(corpus)
    program = next(path for path in tree.rglob("fuzz_incoming") if path.is_file())
    command = [
        str(program), str(corpus), f"-max_total_time={options.seconds}", "-max_len=8192",
        "-timeout=120", "-rss_limit_mb=2048", "-print_final_stats=1",
        f"-artifact_prefix={options.folder}/",
    ]  # fmt: skip
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
