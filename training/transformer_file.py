"""Writes a transformer that was trained whole, in diffusers' layout, as the stock class."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffusers import WanTransformer3DModel
from safetensors import SafetensorError
from torch import Tensor

from capture_bridge.errors import OutputError


def write_transformer(folder: Path, like: Any, weights: Mapping[str, Tensor]) -> None:
    """Write FOLDER/transformer whole or not at all, configured as `like`. OutputError."""
    made = WanTransformer3DModel.from_config(like.config)
    made.load_state_dict(weights)
    part = folder / "transformer.part"
    try:
        shutil.rmtree(part, ignore_errors=True)
        made.save_pretrained(part)
        shutil.rmtree(folder / "transformer", ignore_errors=True)
        part.replace(folder / "transformer")
    except (OSError, SafetensorError) as error:
        shutil.rmtree(part, ignore_errors=True)
        raise OutputError(f"cannot write {folder / 'transformer'}: {error}") from error
