"""The table of models that `--model` takes; each is imported only when it is asked for."""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from capture_bridge.errors import SetupError
from realmaster.enhancer import Model


@dataclass(frozen=True, slots=True)
class Tier:
    """One row. factory: "module:callable" that makes the model without arguments."""

    factory: str
    what: str


MODELS: Mapping[str, Tier] = MappingProxyType(
    {
        "fast": Tier("realmaster.fast:FastModel", "recurrent G-buffer U-Net, runs on a CPU"),
        "copy": Tier("realmaster.passthrough:CopyModel", "the render itself, to try the pipeline"),
    }
)


def load_model(name: str) -> Model:
    """The model of that name; SetupError when there is none."""
    if name not in MODELS:
        raise SetupError(f"there is no model '{name}'; there are {', '.join(MODELS)}")
    module, _, attribute = MODELS[name].factory.partition(":")
    factory: Callable[[], Model] = getattr(importlib.import_module(module), attribute)
    return factory()
