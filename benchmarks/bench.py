"""`make bench`: run every benchmark and write the figures to one JSON file.

Each module of MODULES has `measure() -> dict[str, float]`, whose keys name the unit.
"""

import argparse
import importlib
import json
import os
import platform
from pathlib import Path

MODULES = ("benchmarks.link", "benchmarks.native", "benchmarks.recorder", "benchmarks.fast")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("out/bench.json"))
    parser.add_argument("--only", nargs="*", choices=[name.split(".")[1] for name in MODULES])
    options = parser.parse_args()

    figures: dict[str, float | str] = {
        "machine": f"{platform.machine()} {platform.system()}",
        "cpu_count": float(os.cpu_count() or 0),
    }
    for name in MODULES:
        if options.only and name.split(".")[1] not in options.only:
            continue
        print(f"{name} …", flush=True)
        for key, value in importlib.import_module(name).measure().items():
            figures[key] = round(float(value), 4)
            print(f"  {key:<40} {figures[key]}", flush=True)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    print(f"written: {options.output}")


if __name__ == "__main__":
    main()
