"""A run's checkpoints: one .safetensors each with all of the loop's state, replaced as a whole.

Randomness and the order of samples are functions of the step, so that the state is: the trained
weights, what the optimizer remembers of them, the step, and the config. Works on plain parameters
and on those that FSDP2 has split over processes. No pickle.
"""

import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim import Optimizer

from capture_bridge.errors import SetupError
from training.config import TrainConfig, difference, to_json
from training.latents import write_shard

FORMAT = "1"
_NAME = re.compile(r"step-(\d{8})\.safetensors")

log = logging.getLogger(__name__)


def trained(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that the optimizer moves, by name."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor, on the CPU; where processes hold parts of it, each must call this."""
    full = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
    return full.detach().cpu().contiguous()


def state_of(model: nn.Module, *optimizers: Optimizer) -> dict[str, Tensor]:
    """All that a checkpoint holds; every process must call this."""
    state, owners = {}, _owners(optimizers)
    for name, parameter in trained(model).items():
        state[f"weight/{name}"] = whole(parameter)
        for key, value in owners[parameter].state.get(parameter, {}).items():
            if isinstance(value, Tensor):
                state[f"optimizer/{key}/{name}"] = whole(value)
    return state


def save(
    folder: Path, state: Mapping[str, Tensor], config: TrainConfig, step: int, keep: int
) -> Path:
    """Write one, and remove those before the last `keep`. OutputError; the others stay whole."""
    path = folder / f"step-{step:08d}.safetensors"
    told = {"format": FORMAT, "step": str(step), "config": to_json(config)}
    write_shard(path, dict(state), told)
    for old in checkpoints(folder)[:-keep]:
        old.unlink(missing_ok=True)
    return path


def checkpoints(folder: Path) -> list[Path]:
    """Those in the folder, oldest first."""
    return sorted(path for path in folder.glob("step-*.safetensors") if _NAME.fullmatch(path.name))


def restore(folder: Path, config: TrainConfig, model: nn.Module, *optimizers: Optimizer) -> int:
    """Fill model and optimizers from the newest checkpoint; the number of steps that it has seen.

    SetupError where there is none, it is damaged, or it is of a run with other settings.
    """
    found = checkpoints(folder)
    if not found:
        raise SetupError(f"there is no checkpoint in {folder}: start without --resume")
    path = found[-1]
    try:
        with safe_open(path, framework="pt") as file:
            told = dict(file.metadata() or {})
            if told.get("format") != FORMAT:
                raise SetupError(
                    f"{path} has format {told.get('format')}, this version reads {FORMAT}"
                )
            changed = difference(config, told["config"])
            if changed:
                raise SetupError(
                    f"{path} is of a run with other settings: {changed}; give the same ones, or "
                    "another output"
                )
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            step = int(told["step"])
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise SetupError(
            f"{path} is damaged ({error}): remove it to go on from the one before"
        ) from error
    _fill(path, tensors, model, optimizers)
    return step


def _fill(
    path: Path, tensors: dict[str, Tensor], model: nn.Module, optimizers: Sequence[Optimizer]
) -> None:
    parameters = trained(model)
    names = {key.partition("/")[2] for key in tensors if key.startswith("weight/")}
    if names != parameters.keys():
        raise SetupError(f"{path} belongs to another base: its layers have other names")
    memories: dict[str, dict[str, Any]] = {}
    with torch.no_grad():
        for key, value in tensors.items():
            kind, _, rest = key.partition("/")
            if kind == "weight":
                parameter = parameters[rest]
                if parameter.shape != value.shape:
                    raise SetupError(
                        f"{path} belongs to another base: {rest} is {tuple(value.shape)} there, "
                        f"{tuple(parameter.shape)} here"
                    )
                parameter.copy_(_like(value, parameter))
            elif kind == "optimizer":
                memory, _, name = rest.partition("/")
                memories.setdefault(name, {})[memory] = value
    owners = _owners(optimizers)
    for name, memory_of in memories.items():
        parameter = parameters[name]
        owners[parameter].state[parameter] = {
            key: _like(value, parameter) if value.shape == parameter.shape else value
            for key, value in memory_of.items()
        }


def _owners(optimizers: Sequence[Optimizer]) -> dict[Tensor, Optimizer]:
    """Which optimizer moves each parameter."""
    return {
        parameter: optimizer
        for optimizer in optimizers
        for group in optimizer.param_groups
        for parameter in group["params"]
    }


def _like(value: Tensor, parameter: Tensor) -> Tensor:
    """On the parameter's device, split as it is."""
    if isinstance(parameter, DTensor):
        return distribute_tensor(
            value.to(parameter.device), parameter.device_mesh, parameter.placements
        )
    return value.to(parameter.device)
