"""Writes what was trained as an adapter: ComfyUI's key names, which diffusers reads as well.

Wan's are the original code's (`diffusion_model.blocks.0.self_attn.q.lora_A.weight`) with `.alpha`.
LTX-2's modules have the same names in both, and its loader in diffusers knows no alpha, so that
alpha / rank is folded into B there. All metadata are texts.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from realmaster import __version__
from realmaster.adapters import wan_name
from realmaster.families.presets import PRESETS
from training.config import TrainConfig
from training.latents import write_shard

ADAPTER = "adapter.safetensors"


def write_adapter(
    path: Path,
    factors: Mapping[str, Tensor],
    config: TrainConfig,
    *,
    step: int,
    size: tuple[int, int],
) -> None:
    """Write it whole or not at all. factors: peft's names `MODULE.lora_A.weight` and `lora_B`.

    size: (width, height) of the samples. OutputError.
    """
    assert config.lora is not None
    family = PRESETS[config.base].family
    scale = config.lora.alpha / config.lora.rank
    tensors: dict[str, Tensor] = {}
    for name, value in factors.items():
        module, _, factor = name.rpartition(".lora_")
        value = value.detach().float().cpu()
        if family == "wan":
            key = f"diffusion_model.{wan_name(module)}"
            tensors[f"{key}.alpha"] = torch.tensor(float(config.lora.alpha))
        else:
            key = f"diffusion_model.{module}"
            value = value * scale if factor.startswith("B") else value
        tensors[f"{key}.lora_{factor}"] = value.contiguous()
    write_shard(path, tensors, metadata(config, step, size))


def metadata(config: TrainConfig, step: int, size: tuple[int, int]) -> dict[str, str]:
    """What the file says of itself."""
    preset = PRESETS[config.base]
    assert config.lora is not None
    boundary = preset.boundary
    expert = "" if boundary is None else f"{'high' if config.noise.least else 'low'}_noise"
    return {
        "format": "pt",
        "base_model": preset.source or config.base,
        "reference_downscale_factor": str(config.clip.reference_stride),
        "resolution": f"{size[0]}x{size[1]}",
        "frames": str(config.clip.frames),
        "trigger": config.trigger,
        **({"expert": expert} if expert else {}),
        "rank": str(config.lora.rank),
        "alpha": str(config.lora.alpha),
        "steps": str(step),
        "seed": str(config.seed),
        "ic_layout": "shared_rope_t0",
        "software": f"realmaster {__version__}",
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.architecture": f"{config.base}/lora",
        "modelspec.title": "render to photoreal, in context",
    }
