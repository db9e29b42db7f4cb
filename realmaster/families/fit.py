"""What is done so that a model fits the card: nothing, offloading by blocks, or fp8 as well.

The choice is a table (presets.py) against the free memory; it is said, and never silent.
"""

from dataclasses import replace
from typing import Any, Literal, get_args

import torch

from capture_bridge.errors import SetupError
from realmaster.families.presets import Preset

Fit = Literal["none", "offload", "fp8"]
FITS: tuple[Fit, ...] = get_args(Fit)


def device_for(name: str, preset: Preset) -> str:
    """ "cuda" where there is a GPU, "cpu" for a preset that a CPU can run. SetupError otherwise."""
    if torch.cuda.is_available():
        return "cuda"
    if max(preset.vram_gib.values()) < 1:
        return "cpu"
    least = min(preset.vram_gib.values())
    raise SetupError(
        f"{name} needs an NVIDIA GPU with {least:g} GiB or more, and PyTorch finds none here: "
        "--model fast runs on a CPU, `realmaster doctor` says what is missing"
    )


def free_gib(device: str) -> float:
    """Free memory of the device in GiB; +inf for a CPU."""
    if not device.startswith("cuda"):
        return float("inf")
    return torch.cuda.mem_get_info()[0] / (1 << 30)


def choose(name: str, preset: Preset, free: float) -> Fit:
    """The gentlest way to fit `free` GiB. SetupError naming what would be needed."""
    for fit in FITS:
        if preset.vram_gib.get(fit, float("inf")) <= free:
            return fit
    least = min(preset.vram_gib.values())
    raise SetupError(
        f"{name} needs {least:g} GiB of free video memory at the least, there are {free:.1f}: "
        "close other programs, or take a smaller model (`realmaster doctor` lists them)"
    )


def when_quantized(preset: Preset, gib: float) -> Preset:
    """The preset whose transformers take `gib`; their weights are in 8 bits or less already."""
    table = {fit: gib_of for fit, gib_of in preset.vram_gib.items() if fit != "fp8"}
    table["none"] -= preset.weights_gib - gib
    return replace(preset, vram_gib=table)


def next_fit(fit: Fit, preset: Preset) -> Fit | None:
    """What comes after `fit` did not suffice; None where nothing does."""
    later = [other for other in FITS[FITS.index(fit) + 1 :] if other in preset.vram_gib]
    return later[0] if later else None


def place(transformer: Any, fit: Fit, device: str) -> None:
    """Bring a transformer to the device in the way that `fit` says."""
    if fit == "fp8":
        transformer.enable_layerwise_casting(
            storage_dtype=torch.float8_e4m3fn, compute_dtype=torch.bfloat16
        )
    if fit == "none":
        transformer.to(device)
    else:
        transformer.enable_group_offload(
            onload_device=torch.device(device),
            offload_device=torch.device("cpu"),
            offload_type="block_level",
            num_blocks_per_group=1,
            use_stream=device.startswith("cuda"),
        )
