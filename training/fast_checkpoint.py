"""The fast tier's checkpoint: one .npz of arrays and JSON, replaced as a whole; no pickle.

Holds weights, averaged weights, the optimizers' moments, the random state, the counters and the
order of the samples: all that a resumed run needs to equal an uninterrupted one. Weights alone, for
another run to start from, are a safetensors file.
"""

import io
import json
import os
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from capture_bridge.errors import OutputError, SetupError
from training.fast_model import FastNet

if TYPE_CHECKING:
    from training.fast import Loop

FORMAT = 2
#: What AdamW and Muon remember of a weight.
_MOMENTS = ("step", "exp_avg", "exp_avg_sq", "momentum")


def save_checkpoint(path: Path, loop: "Loop", sample_names: Sequence[str]) -> None:
    """Writes all of the loop's state; a crash leaves the former file whole."""
    arrays: dict[str, NDArray[np.generic]] = {}
    for prefix, net in (("net.", loop.net), ("ema.", loop.ema)):
        for name, value in net.state_dict().items():
            arrays[prefix + name] = value.numpy()
    for name, parameter in loop.net.named_parameters():
        for optimizer in loop.optimizers:
            for key, value in optimizer.state.get(parameter, {}).items():
                arrays[f"moment.{key}.{name}"] = value.numpy()
    meta = {
        "format": FORMAT,
        "step": loop.step,
        "elapsed_s": loop.elapsed_s,
        "skipped": loop.skipped,
        "rng": loop.rng.bit_generator.state,
        "samples": list(sample_names),
    }
    arrays["meta"] = np.frombuffer(json.dumps(meta).encode(), np.uint8)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        file.write(buffer.getbuffer())
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def load_checkpoint(path: Path, loop: "Loop") -> list[str]:
    """Fills `loop` from the file; returns the samples' names in their order.

    SetupError where there is no such file or it belongs to another network.
    """
    arrays, meta = _read(path)
    _fill(path, arrays, "net.", loop.net)
    _fill(path, arrays, "ema.", loop.ema)
    for name, parameter in loop.net.named_parameters():
        for optimizer in loop.optimizers:
            owned = any(parameter is mine for mine in optimizer.param_groups[0]["params"])
            for key in _MOMENTS if owned else ():
                value = arrays.get(f"moment.{key}.{name}")
                if value is not None:
                    tensor = torch.from_numpy(value)
                    if tensor.ndim == 4:
                        tensor = tensor.contiguous(memory_format=torch.channels_last)
                    optimizer.state[parameter][key] = tensor
    loop.step, loop.elapsed_s = int(meta["step"]), float(meta["elapsed_s"])
    loop.skipped = int(meta["skipped"])
    loop.rng.bit_generator.state = meta["rng"]
    return [str(name) for name in meta["samples"]]


def load_averaged(path: Path, net: nn.Module) -> None:
    """Fills `net` with the averaged weights of the file; errors as in `load_checkpoint`."""
    arrays, _ = _read(path)
    _fill(path, arrays, "ema.", net)


def save_weights(path: Path, net: nn.Module) -> None:
    """The net's weights and statistics, matrices in 16 bits. OutputError where it is there."""
    if path.exists():
        raise OutputError(f"{path} exists; choose another name or remove it")
    state = net.state_dict()
    short = {name: v.half() if v.ndim > 1 else v for name, v in state.items()}
    save_file({name: value.contiguous() for name, value in short.items()}, path)


def load_weights(path: Path, net: FastNet) -> None:
    """Fills `net` with what `save_weights` wrote. SetupError.

    Residual blocks that the file lacks stay new, which is next to the identity: a network goes on
    from the weights of a shallower one.
    """
    try:
        state = load_file(path)
    except (OSError, SafetensorError) as error:
        raise SetupError(f"{path} cannot be read as safetensors: {error}") from error
    for name, block in net.residual_blocks():
        own = {f"{name}.{key}": value for key, value in block.state_dict().items()}
        if not own.keys() & state.keys():
            state |= own
    try:
        net.load_state_dict(state)
    except RuntimeError as error:
        raise SetupError(f"{path} belongs to a network of another size: {error}") from error


def _read(path: Path) -> tuple[dict[str, NDArray[np.generic]], dict[str, Any]]:
    if not path.is_file():
        raise SetupError(f"there is no checkpoint {path}; train one first, without --resume")
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        meta: dict[str, Any] = json.loads(arrays.pop("meta").tobytes())
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise SetupError(f"{path} is no checkpoint of the fast tier: {error}") from error
    if meta.get("format") != FORMAT:
        raise SetupError(f"{path} has format {meta.get('format')}, this version reads {FORMAT}")
    return arrays, meta


def _fill(path: Path, arrays: dict[str, NDArray[np.generic]], prefix: str, net: nn.Module) -> None:
    try:
        net.load_state_dict(_tensors(arrays, prefix))
    except RuntimeError as error:
        raise SetupError(f"{path} belongs to a network of another size: {error}") from error


def _tensors(arrays: dict[str, NDArray[np.generic]], prefix: str) -> dict[str, torch.Tensor]:
    return {
        name.removeprefix(prefix): torch.from_numpy(value)
        for name, value in arrays.items()
        if name.startswith(prefix)
    }
