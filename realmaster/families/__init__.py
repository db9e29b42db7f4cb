"""Families of video models for the diffusion tier, and the table of presets. See presets.py."""

import logging

# diffusers imports torchao wherever it is installed, which tells of kernels that nobody asked for.
for _name in ("torchao", "torch.utils._pytree", "diffusers.quantizers.torchao.torchao_quantizer"):
    logging.getLogger(_name).setLevel(logging.ERROR)
