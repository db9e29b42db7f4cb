"""LoRA adapters for the diffusion tier: any of the usual files in, one form out.

Read are the names of ComfyUI and the original Wan code (`diffusion_model.blocks.0.self_attn.q`),
of diffusers (`transformer.blocks.0.attn1.to_q`) and of peft (`base_model.model.…`), pairs named
lora_A/lora_B or lora_down/lora_up, with or without `.alpha`. Alpha and strength are folded into B,
and several adapters stacked into one, so that a model carries a single plain LoRA. safetensors
only. This file knows tensors and files; it knows no pipeline.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from capture_bridge.errors import SetupError

#: An adapter's file may be this large; the largest public ones have about 1.3 GB.
MAX_BYTES = 8 << 30

#: Of a base with two experts, which one an adapter's name or metadata speaks of.
_EXPERT = re.compile(r"(high|low)[ _-]?noise", re.IGNORECASE)
_PREFIXES = ("base_model.model.", "diffusion_model.", "transformer.", "model.")
_FACTOR = re.compile(
    r"(.+?)\.(?:(lora_A|lora_down|lora\.down)|(lora_B|lora_up|lora\.up))(?:\.default)?\.weight"
)
#: From the original Wan code's module names to diffusers'. LTX's are the same in both.
_WAN_NAMES = (
    (".self_attn.q", ".attn1.to_q"),
    (".self_attn.k", ".attn1.to_k"),
    (".self_attn.v", ".attn1.to_v"),
    (".self_attn.o", ".attn1.to_out.0"),
    (".cross_attn.q", ".attn2.to_q"),
    (".cross_attn.k", ".attn2.to_k"),
    (".cross_attn.v", ".attn2.to_v"),
    (".cross_attn.o", ".attn2.to_out.0"),
    (".ffn.0", ".ffn.net.0.proj"),
    (".ffn.2", ".ffn.net.2"),
)
_WAN_ROOTS = {
    "text_embedding.0": "condition_embedder.text_embedder.linear_1",
    "text_embedding.2": "condition_embedder.text_embedder.linear_2",
    "time_embedding.0": "condition_embedder.time_embedder.linear_1",
    "time_embedding.2": "condition_embedder.time_embedder.linear_2",
    "time_projection.1": "condition_embedder.time_proj",
    "head.head": "proj_out",
}


@dataclass(frozen=True, slots=True, eq=False)
class Factors:
    """One module's change B @ A. a: (r, in), b: (out, r)."""

    a: Tensor
    b: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Adapter:
    """One file's content. modules: by diffusers' names, alpha folded in; metadata: as written."""

    name: str
    modules: Mapping[str, Factors]
    metadata: Mapping[str, str]

    @property
    def reference_stride(self) -> int:
        """How many times smaller than the target its reference is in width and height."""
        text = self.metadata.get("reference_downscale_factor", "1")
        if text not in ("1", "2", "4", "1.0", "2.0", "4.0"):
            raise SetupError(
                f"{self.name} asks for a reference_downscale_factor of {text!r}; 1, 2 and 4 work"
            )
        return int(float(text))

    @property
    def frames(self) -> int | None:
        """How many frames the clips that it was trained on had; None where the file is silent."""
        text = self.metadata.get("frames", "")
        return int(text) if re.fullmatch(r"[1-9]\d{0,3}", text) else None

    @property
    def resolution(self) -> tuple[int, int] | None:
        """(width, height) of those clips; None where the file does not say."""
        found = re.fullmatch(r"([1-9]\d{1,4})x([1-9]\d{1,4})", self.metadata.get("resolution", ""))
        return (int(found[1]), int(found[2])) if found else None

    @property
    def expert(self) -> str:
        """Of a base with two experts "high" or "low", by how noisy its share is; "" is for both."""
        found = _EXPERT.search(self.metadata.get("expert", "") or self.name)
        return found[1].lower() if found else ""

    @property
    def trigger(self) -> str:
        """The word that its prompts began with, or ""."""
        return self.metadata.get("trigger", self.metadata.get("trigger_word", ""))[:200]

    @property
    def base_model(self) -> str:
        """The model that it was trained on, or "" where the file does not say."""
        return self.metadata.get("base_model", self.metadata.get("ss_base_model_version", ""))[:200]


def read_adapter(path: Path) -> Adapter:
    """The adapter of one .safetensors file; SetupError, in one line, where it is none."""
    if path.suffix != ".safetensors":
        raise SetupError(f"{path}: adapters are read from .safetensors files alone")
    try:
        if path.stat().st_size > MAX_BYTES:
            raise SetupError(f"{path}: larger than an adapter may be ({MAX_BYTES >> 30} GiB)")
        with safe_open(path, framework="pt") as file:
            metadata = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except OSError as error:
        raise SetupError(f"cannot read {path}: {error.strerror or error}") from error
    except SafetensorError as error:
        raise SetupError(f"{path} is damaged or no safetensors file: {error}") from error
    return Adapter(path.name, _factors(tensors, path.name), metadata)


def _factors(tensors: Mapping[str, Tensor], name: str) -> dict[str, Factors]:
    """Pairs of all modules, alpha / rank folded into B."""
    downs: dict[str, Tensor] = {}
    ups: dict[str, Tensor] = {}
    alphas: dict[str, float] = {}
    for key, tensor in tensors.items():
        bare = _without_prefix(key)
        if bare.endswith(".alpha") and tensor.numel() == 1:
            alphas[_diffusers_name(bare.removesuffix(".alpha"))] = float(tensor)
            continue
        found = _FACTOR.fullmatch(bare)
        if found is None:
            raise SetupError(f"{name} holds {key!r}, which is no part of a LoRA")
        (downs if found[2] else ups)[_diffusers_name(found[1])] = tensor
    if not downs or downs.keys() != ups.keys():
        raise SetupError(f"{name} is no LoRA: its factors do not come in pairs")
    factors = {}
    for module, a in downs.items():
        b = ups[module]
        if a.ndim != 2 or b.ndim != 2 or a.shape[0] != b.shape[1]:
            raise SetupError(
                f"{name}: the factors of {module} have shapes {tuple(a.shape)} and "
                f"{tuple(b.shape)}, which do not fit each other"
            )
        scale = alphas.get(module, float(a.shape[0])) / a.shape[0]
        factors[module] = Factors(a, b * scale)
    return factors


def _without_prefix(key: str) -> str:
    changed = True
    while changed:
        changed = False
        for prefix in _PREFIXES:
            if key.startswith(prefix):
                key, changed = key.removeprefix(prefix), True
    return key


def _diffusers_name(module: str) -> str:
    if module in _WAN_ROOTS:
        return _WAN_ROOTS[module]
    for theirs, ours in _WAN_NAMES:
        if module.startswith("blocks.") and module.endswith(theirs):
            return module.removesuffix(theirs) + ours
    return module


def wan_name(module: str) -> str:
    """The original Wan code's and ComfyUI's name of the module that diffusers calls `module`."""
    for theirs, ours in _WAN_ROOTS.items():
        if module == ours:
            return theirs
    for theirs, ours in _WAN_NAMES:
        if module.startswith("blocks.") and module.endswith(ours):
            return module.removesuffix(ours) + theirs
    return module


def check_base(adapter: Adapter, model: str, known_as: Sequence[str]) -> None:
    """SetupError where the adapter names another base than `model`, known by these names."""
    base = adapter.base_model
    if base and not any(
        _plain(name) in _plain(base) or _plain(base) in _plain(name) for name in known_as
    ):
        raise SetupError(
            f"the adapter {adapter.name} was trained on {base}, not on {model}: choose the model "
            "that it belongs to"
        )


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def stacked(adapters: Sequence[tuple[Adapter, float]]) -> dict[str, Factors]:
    """All adapters, each times its strength, as one: their ranks add up."""
    modules: dict[str, list[Factors]] = {}
    for adapter, strength in adapters:
        for module, factors in adapter.modules.items():
            modules.setdefault(module, []).append(Factors(factors.a, factors.b * strength))
    return {
        module: Factors(torch.cat([p.a for p in parts]), torch.cat([p.b for p in parts], 1))
        for module, parts in modules.items()
    }


def for_expert(
    adapters: Sequence[tuple[Adapter, float]], expert: str
) -> list[tuple[Adapter, float]]:
    """Those that change the expert "high" or "low" of a base that has two."""
    return [(adapter, s) for adapter, s in adapters if adapter.expert in ("", expert)]


def attach(transformer: Any, adapters: Sequence[tuple[Adapter, float]]) -> None:
    """Put the adapters, each at its strength, into a diffusers transformer.

    SetupError naming the first module that the transformer lacks or has in another size.
    """
    factors = stacked(adapters)
    layers: dict[str, nn.Module] = dict(transformer.named_modules())
    names = ", ".join(adapter.name for adapter, _ in adapters)
    for module, pair in factors.items():
        layer = layers.get(module)
        if not isinstance(layer, nn.Linear):
            raise SetupError(
                f"{names} changes {module}, which this model does not have: it belongs to another"
            )
        if (layer.out_features, layer.in_features) != (pair.b.shape[0], pair.a.shape[1]):
            raise SetupError(
                f"{names} is made for a {module} of {pair.b.shape[0]}x{pair.a.shape[1]}; this "
                f"model's has {layer.out_features}x{layer.in_features}: it belongs to another"
            )
    state = {}
    for module, pair in factors.items():
        state[f"{module}.lora_A.weight"] = pair.a
        state[f"{module}.lora_B.weight"] = pair.b
    transformer.load_lora_adapter(state, prefix=None, adapter_name="adapters")
