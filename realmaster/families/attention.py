"""Which attention computes: diffusers' backends by name, tried on the device before their use."""

import warnings
from typing import Any

import torch
from diffusers.models.attention_dispatch import (
    AttentionBackendName,
    attention_backend,
    dispatch_attention_fn,
)

from capture_bridge.errors import SetupError

#: What backends raise where a package, a kernel or the device is not theirs.
_REFUSALS = (RuntimeError, ValueError, TypeError, ImportError, LookupError, AttributeError)


def attention_backends(device: str) -> list[str]:
    """Names of the backends that compute on this device as it is."""
    return [
        name
        for backend in AttentionBackendName
        if not _is_made_when_chosen(name := str(backend.value)) and _refusal(name, device) == ""
    ]


def check_attention(name: str, device: str) -> None:
    """SetupError, naming those at hand, where the device cannot take the backend `name`."""
    known = {str(backend.value) for backend in AttentionBackendName}
    if name not in known:
        problem = "there is no such backend"
    elif _is_made_when_chosen(name):
        return  # tried then
    else:
        problem = _refusal(name, device)
    if problem:
        raise SetupError(_told(name, problem, device))


def choose_attention(transformer: Any, name: str, device: str) -> None:
    """Let the transformer compute its attention by the backend `name`. SetupError."""
    try:
        with attention_backend():  # diffusers makes it every other model's, too: not here
            transformer.set_attention_backend(name)
        problem = _refusal(name, device)
    except (OSError, *_REFUSALS) as error:
        problem = str(error).split("\n", 1)[0]
    if problem:
        raise SetupError(_told(name, problem, device))


def _is_made_when_chosen(name: str) -> bool:
    """Whether the kernels are only then fetched from the Hub, or compiled."""
    return name.endswith("_hub") or name == "flex"


def _refusal(name: str, device: str) -> str:
    """Why a backend does not compute on the device, or ""."""
    dtype = torch.bfloat16 if device.startswith("cuda") else torch.float32
    queries = torch.zeros(1, 128, 2, 128, dtype=dtype, device=device)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            dispatch_attention_fn(queries, queries, queries, backend=AttentionBackendName(name))
    except _REFUSALS as error:
        return (str(error).strip().split("\n", 1)[0] or type(error).__name__)[:200]
    return ""


def _told(name: str, problem: str, device: str) -> str:
    at_hand = ", ".join(attention_backends(device))
    return f"--attention {name}: {problem.rstrip('.')}; at hand on {device} are {at_hand}"
