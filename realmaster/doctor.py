"""What this machine can do: packages, GPU and driver, weights on disk, which presets fit.

Nothing is downloaded. Gathering and judging are apart: `diagnose` looks, `report` only writes.
"""

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from realmaster.families.presets import PRESETS, Preset, bundled

_PACKAGES = {
    "fast tier": ("onnxruntime", "cv2"),
    "street game": ("panda3d",),
    "path-traced truth": ("mitsuba",),
    "diffusion tier": ("torch", "diffusers", "transformers", "peft", "accelerate"),
    "training of adapters": ("torch", "peft", "accelerate", "tensorboard"),
    "quantized weights": ("gguf", "torchao"),
}
_EXTRAS = {
    "street game": "street",
    "path-traced truth": "truth",
    "diffusion tier": "diffusion",
    "training of adapters": "diffusion,train",
    "quantized weights": "quantized",
}


_LEGEND = (
    "offload and fp8 are chosen by themselves (--fit auto). A smaller --size, --gguf or",
    "--quantize int8 need less. To fetch weights beforehand: hf download ID",
    "To begin: realmaster demo; then realmaster enhance SESSION.mcap -o lifted.mp4",
)


@dataclass(frozen=True, slots=True)
class Gpu:
    """One NVIDIA GPU; memory in GiB."""

    name: str
    driver: str
    total_gib: float
    free_gib: float


@dataclass(frozen=True, slots=True)
class Machine:
    """What was found. missing: extra -> packages that are not installed.

    torch_sees_gpu: None without PyTorch. cached: Hub ids on disk -> whether they are there whole.
    weights_folder: where they lie, with free_disk_gib to spare.
    """

    python: str
    system: str
    cores: int
    gpus: tuple[Gpu, ...]
    missing: dict[str, tuple[str, ...]]
    torch_version: str
    torch_sees_gpu: bool | None
    cached: Mapping[str, bool]
    weights_folder: Path
    free_disk_gib: float


def diagnose() -> Machine:
    """Look at this machine; takes a few seconds where PyTorch is installed."""
    missing = {
        part: tuple(name for name in names if importlib.util.find_spec(name) is None)
        for part, names in _PACKAGES.items()
    }
    torch_version, sees_gpu = _torch()
    folder = _weights_folder()
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
        weights_folder=folder,
        free_disk_gib=_free_disk(folder) / (1 << 30),
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
        lines.append("GPU         no NVIDIA GPU found: fast and tiny run on the CPU, nothing else")
    if machine.torch_sees_gpu is not None:
        lines.append(f"PyTorch     {machine.torch_version}")
        if machine.gpus and not machine.torch_sees_gpu:
            lines.append(
                "            does not see the GPU: this build is for CPUs; install the CUDA build "
                "(https://pytorch.org/get-started/locally)"
            )
    for part, names in machine.missing.items():
        lines.append(f"missing     {', '.join(names)}, for the {part}: {_cure(part)}")
    lines.append(
        f"weights     {machine.weights_folder}, {machine.free_disk_gib:.0f} GiB free on that disk "
        "(HF_HOME moves it)"
    )
    return [*lines, "", *_table(machine), "", *_LEGEND]


def verdict(preset: Preset, free_gib: float) -> str:
    """How a preset fits a GPU with so much free memory."""
    for fit, gib in preset.vram_gib.items():
        if gib <= free_gib:
            return "fits" if fit == "none" else f"fits with {fit}"
    return f"needs a GPU with {min(preset.vram_gib.values()):g} GiB free"


def _table(machine: Machine) -> list[str]:
    free = max((gpu.free_gib for gpu in machine.gpus), default=0.0)
    rows = [("--model", "here", "made for", "licence", "weights")]
    rows.append(("fast", "runs", "any size", "Apache-2.0", "bundled"))
    for name, preset in PRESETS.items():
        needs_gpu = max(preset.vram_gib.values()) >= 1
        here = verdict(preset, free) if needs_gpu else "runs"
        if not preset.source:
            weights = "bundled" if bundled(name) else "not here: give --weights FOLDER"
        else:
            whole = machine.cached.get(preset.source)
            state = {True: "on disk", False: "partly on disk", None: "fetched at first use"}[whole]
            weights = f"{preset.source} ({state})"
        rows.append((name, here, "{}x{}".format(*preset.size), preset.licence, weights))
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    return [_row(row, widths) for row in rows]


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    pairs = zip(cells, widths, strict=True)
    return "  ".join(cell.ljust(width) for cell, width in pairs).rstrip()


def _cure(part: str) -> str:
    if part in _EXTRAS:
        return f"pip install 'realmaster[{_EXTRAS[part]}]'"
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


def _weights_folder() -> Path:
    """Where the Hub's files are kept on this machine."""
    home = os.environ.get("HF_HOME", Path.home() / ".cache" / "huggingface")
    return Path(os.environ.get("HF_HUB_CACHE", Path(home) / "hub")).expanduser()


def _free_disk(folder: Path) -> int:
    """Bytes that are free where the folder is, or is going to be."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free


def _cached() -> dict[str, bool]:
    """Hub ids in the Hub's cache on this machine, and whether weights of all parts are there."""
    if importlib.util.find_spec("huggingface_hub") is None:
        return {}
    from huggingface_hub import CacheNotFound, scan_cache_dir

    try:
        repos = scan_cache_dir(_weights_folder()).repos
    except CacheNotFound:
        return {}
    return {
        repo.repo_id: any(
            {"transformer", "vae"}
            <= {
                file.file_path.parent.name
                for file in revision.files
                if file.file_name.endswith(".safetensors")
            }
            for revision in repo.revisions
        )
        for repo in repos
    }
