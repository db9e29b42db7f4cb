"""Families of video models for the diffusion tier, and the table of presets. See presets.py."""

import logging

# diffusers imports torchao wherever it is installed, which tells of kernels that nobody asked for,
# and picture processors, which tell that they do without torchvision.
for _name in (
    "torchao",
    "torch.utils._pytree",
    "diffusers.quantizers.torchao.torchao_quantizer",
    "transformers.utils.import_utils",
):
    logging.getLogger(_name).setLevel(logging.ERROR)
