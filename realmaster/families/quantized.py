"""Transformers with quantized weights: GGUF files, or quantized by torchao while they are loaded.

Both through diffusers' own loaders. The packages belong to the extra `quantized`, and are asked for
only when they are needed.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from capture_bridge.errors import SetupError
from realmaster.factories import require
from realmaster.families.weights import damaged_or_absent

Quantize = Literal["none", "int8", "float8"]

#: Small layers that everything passes through; they keep their precision.
_KEPT = ("condition_embedder", "time_embed", "prompt_adaln", "caption_projection", "proj_in")
#: Names of LTX-2.3 that diffusers' converter does not know.
_LATER_LTX_NAMES = (("prompt_adaln_single.", "prompt_adaln."),)
_MAGIC = b"GGUF"
#: NVIDIA's compute capability from which on matrix products take 8-bit floats.
_FLOAT8_SINCE = (8, 9)


def torchao_options(kind: Quantize) -> dict[str, Any]:
    """What `from_pretrained` needs besides, to quantize the weights in that way. SetupError."""
    if kind == "none":
        return {}
    check_quantize(kind)
    from diffusers import TorchAoConfig
    from torchao import quantization

    name = {"int8": "Int8WeightOnlyConfig", "float8": "Float8DynamicActivationFloat8WeightConfig"}
    config = getattr(quantization, name[kind])()
    return {"quantization_config": TorchAoConfig(config, [*_KEPT, "proj_out"])}


def check_quantize(kind: Quantize) -> None:
    """SetupError where torchao is missing, or the GPU cannot do what is asked."""
    if kind == "none":
        return
    require(f"--quantize {kind}", ["torchao"], "quantized")
    if kind == "float8" and not (
        torch.cuda.is_available() and torch.cuda.get_device_capability() >= _FLOAT8_SINCE
    ):
        raise SetupError(
            "--quantize float8 needs a GPU that computes with it (RTX 40, H100 or later): int8 "
            "works on every device"
        )


def load_gguf(component: Any, path: Path, source: str, subfolder: str, dtype: torch.dtype) -> Any:
    """The transformer of a GGUF file, as `component`; `source` has its configuration. SetupError.

    dtype: what is computed in. Names may be those of the original code or of diffusers.
    """
    check_gguf(path)
    from diffusers import GGUFQuantizationConfig
    from diffusers.models.model_loading_utils import load_gguf_checkpoint

    with damaged_or_absent(str(path), source):
        checkpoint: dict[str, Tensor] = load_gguf_checkpoint(str(path))
        try:
            made = component.from_single_file(
                {_renamed(name): _usable(name, part) for name, part in checkpoint.items()},
                config=source,
                subfolder=subfolder,
                quantization_config=GGUFQuantizationConfig(compute_dtype=dtype),
                torch_dtype=dtype,
            )
        except NotImplementedError as error:  # a weight that was never loaded cannot be moved
            raise ValueError("it lacks some of the weights") from error
    return made.eval()


def check_gguf(path: Path) -> None:
    """SetupError where the path is no GGUF file, or there is nothing to read it with."""
    require(str(path), ["gguf"], "quantized")
    try:
        with path.open("rb") as file:
            if file.read(4) != _MAGIC:
                raise SetupError(f"{path} is no GGUF file")
    except OSError as error:
        raise SetupError(f"cannot read {path}: {error.strerror}") from error


def quantized_gib(files: Sequence[Path], kind: Quantize, weights_gib: float) -> float:
    """What transformers of `weights_gib` in 16 bits take when they are quantized."""
    if files:
        return sum(path.stat().st_size for path in files) / (1 << 30)
    return weights_gib if kind == "none" else weights_gib * 0.52  # scales beside 8 bits


def _usable(name: str, tensor: Tensor) -> Tensor:
    """The tensor, in full where no linear layer will read it: tables, norms, convolutions."""
    from diffusers.quantizers.gguf.utils import GGUFParameter, dequantize_gguf_tensor

    if not isinstance(tensor, GGUFParameter) or (name.endswith(".weight") and tensor.ndim == 2):
        return tensor
    full: Tensor = dequantize_gguf_tensor(tensor)
    return full


def _renamed(name: str) -> str:
    for theirs, ours in _LATER_LTX_NAMES:
        name = name.replace(theirs, ours)
    return name
