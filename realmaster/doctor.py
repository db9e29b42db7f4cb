"""What this machine can do: packages, GPU and driver, weights on disk, which presets fit.

Nothing is downloaded. Gathering and judging are apart: `diagnose` looks, `report` only writes.
"""

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from realmaster.families.presets import PRESETS, Preset

_PACKAGES = {
    "fast tier": ("onnxruntime", "cv2"),
    "street game": ("panda3d",),
    "path-traced truth": ("mitsuba",),
    "diffusion tier": ("torch", "diffusers", "transformers", "peft", "accelerate"),
}


@dataclass(frozen=True, slots=True)
class Gpu:
    """One NVIDIA GPU; memory in GiB."""

    name: str
    driver: str
    total_gib: float
    free_gib: float


@dataclass(frozen=True, slots=True)
class Machine:
    """What was found. missing: extra -> packages that are not installed. cached: Hub ids on disk.

    torch_sees_gpu: None without PyTorch.
    """

    python: str
    system: str
    cores: int
    gpus: tuple[Gpu, ...]
    missing: dict[str, tuple[str, ...]]
    torch_version: str
    torch_sees_gpu: bool | None
    cached: frozenset[str]


def diagnose() -> Machine:
    """Look at this machine; takes a few seconds where PyTorch is installed."""
    missing = {
        part: tuple(name for name in names if importlib.util.find_spec(name) is None)
        for part, names in _PACKAGES.items()
    }
    torch_version, sees_gpu = _torch()
    return Machine(
        python=platform.python_version(),
        system=platform.platform(terse=True),
        cores=len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count() or 1,
        gpus=_gpus(),
        missing={part: names for part, names in missing.items() if names},
        torch_version=torch_version,
        torch_sees_gpu=sees_gpu,
        cached=_cached(),
    )


def report(machine: Machine) -> list[str]:
    """The findings, line by line; each problem is followed by its cure."""
    lines = [f"machine     Python {machine.python}, {machine.system}, {machine.cores} cores"]
    lines += [
        f"GPU         {gpu.name}, driver {gpu.driver}, {gpu.free_gib:.1f} of {gpu.total_gib:.1f} "
        "GiB free"
        for gpu in machine.gpus
    ]
    if not machine.gpus:
        lines.append("GPU         no NVIDIA GPU found: the fast tier runs on the CPU")
    if machine.torch_sees_gpu is not None:
        lines.append(f"PyTorch     {machine.torch_version}")
        if machine.gpus and not machine.torch_sees_gpu:
            lines.append(
                "            does not see the GPU: this build is for CPUs; install the CUDA build "
                "(https://pytorch.org/get-started/locally)"
            )
    for part, names in machine.missing.items():
        lines.append(f"missing     {', '.join(names)}, for the {part}: {_cure(part)}")
    lines += ["", *_table(machine)]
    return lines


def verdict(preset: Preset, free_gib: float) -> str:
    """How a preset fits a GPU with so much free memory."""
    for fit, gib in preset.vram_gib.items():
        if gib <= free_gib:
            return "fits" if fit == "none" else f"fits with --fit {fit}"
    return f"needs {min(preset.vram_gib.values()):g} GiB"


def _table(machine: Machine) -> list[str]:
    free = max((gpu.free_gib for gpu in machine.gpus), default=0.0)
    rows = [("model", "here", "weights", "size", "licence")]
    rows.append(("fast", "runs", "bundled", "any", "Apache-2.0"))
    for name, preset in PRESETS.items():
        needs_gpu = max(preset.vram_gib.values()) >= 1
        here = verdict(preset, free) if needs_gpu else "runs"
        if not preset.source:
            weights = "--weights FOLDER"
        else:
            weights = "on disk" if preset.source in machine.cached else f"get {preset.source}"
        rows.append((name, here, weights, "{}x{}".format(*preset.size), preset.licence))
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    return [_row(row, widths) for row in rows]


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    pairs = zip(cells, widths, strict=True)
    return "  ".join(cell.ljust(width) for cell, width in pairs).rstrip()


def _cure(part: str) -> str:
    extra = {"street game": "street", "path-traced truth": "truth", "diffusion tier": "diffusion"}
    if part in extra:
        return f"pip install 'realmaster[{extra[part]}]'"
    return "pip install --force-reinstall realmaster"


def _torch() -> tuple[str, bool | None]:
    if importlib.util.find_spec("torch") is None:
        return "", None
    import torch

    return torch.__version__, torch.cuda.is_available()


def _gpus() -> tuple[Gpu, ...]:
    """What nvidia-smi lists; nothing where it is absent or does not answer."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return ()
    fields = "name,driver_version,memory.total,memory.free"
    command = [tool, f"--query-gpu={fields}", "--format=csv,noheader,nounits"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return ()
    gpus = []
    for line in told.stdout.splitlines():
        cells = [cell.strip() for cell in line.split(",")]
        if len(cells) == 4 and cells[2].isdigit() and cells[3].isdigit():
            gpus.append(Gpu(cells[0], cells[1], int(cells[2]) / 1024, int(cells[3]) / 1024))
    return tuple(gpus)


def _cached() -> frozenset[str]:
    """Hub ids whose files lie in the Hub's cache on this machine."""
    if importlib.util.find_spec("huggingface_hub") is None:
        return frozenset()
    from huggingface_hub import CacheNotFound, scan_cache_dir

    try:
        return frozenset(repo.repo_id for repo in scan_cache_dir().repos)
    except CacheNotFound:
        return frozenset()
