"""A checkpoint of the real Wan classes, so small that a CPU runs it; its weights are random."""

from pathlib import Path

import torch
from diffusers import AutoencoderKLWan, WanTransformer3DModel
from safetensors.torch import save_file

TRANSFORMER = {
    "patch_size": (1, 2, 2),
    "num_attention_heads": 2,
    "attention_head_dim": 24,
    "in_channels": 4,
    "out_channels": 4,
    "text_dim": 16,
    "freq_dim": 32,
    "ffn_dim": 64,
    "num_layers": 2,
}
VAE = {
    "base_dim": 3,
    "z_dim": 4,
    "dim_mult": [1, 1, 1, 1],
    "num_res_blocks": 1,
    "latents_mean": [0.0, 0.1, -0.1, 0.2],
    "latents_std": [1.0, 0.9, 1.1, 1.2],
}


def write_tiny(folder: Path, *, seed: int = 0, experts: int = 1) -> Path:
    """Saves it in diffusers' layout, with the prompt's embeddings beside it."""
    torch.manual_seed(seed)
    for name in ("transformer", "transformer_2")[:experts]:
        WanTransformer3DModel(**TRANSFORMER).save_pretrained(folder / name)
    AutoencoderKLWan(**VAE).save_pretrained(folder / "vae")
    save_file({"prompt": torch.randn(1, 3, 16)}, folder / "prompt_embeds.safetensors")
    return folder
