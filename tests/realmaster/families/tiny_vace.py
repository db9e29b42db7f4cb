"""A VACE checkpoint of the real classes, so small that a CPU runs it; its weights are random."""

from pathlib import Path

import torch
from diffusers import AutoencoderKLWan, WanVACETransformer3DModel
from safetensors.torch import save_file

from tests.realmaster.families.tiny_checkpoint import TRANSFORMER, VAE

#: Two latents (kept and led), and a mask of 8 x 8 pixels in each channel's place.
VACE = {**TRANSFORMER, "vace_layers": [0], "vace_in_channels": 2 * 4 + 64}


def write_tiny_vace(folder: Path, *, seed: int = 0, experts: int = 1) -> Path:
    """Saves it in diffusers' layout, with the prompt's embeddings beside it."""
    torch.manual_seed(seed)
    for name in ("transformer", "transformer_2")[:experts]:
        expert = WanVACETransformer3DModel(**VACE)
        # As built, what it is led by is hardly heard.
        torch.nn.init.normal_(expert.vace_patch_embedding.weight, std=100)
        torch.nn.init.normal_(expert.proj_out.weight, std=0.5)
        for block in expert.vace_blocks:
            torch.nn.init.normal_(block.proj_out.weight, std=0.5)
        expert.save_pretrained(folder / name)
    AutoencoderKLWan(**VAE).save_pretrained(folder / "vae")
    save_file({"prompt": torch.randn(1, 3, 16)}, folder / "prompt_embeds.safetensors")
    return folder
