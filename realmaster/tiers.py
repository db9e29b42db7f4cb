"""The table of models that `--model` takes; each is imported only when it is asked for."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Literal

import tyro

from capture_bridge.errors import SetupError
from realmaster.enhancer import Model
from realmaster.factories import factory, imported
from realmaster.families.presets import PRESETS

End = Literal["first", "last"]


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """What a user may set of a diffusion model; None is the preset's own."""

    adapter: tuple[str, ...] = ()
    """IC-LoRA adapters: .safetensors files, Hub ids (owner/name or owner/name/FILE), or `street`,
    which comes with the package for tiny."""
    strength: float = 1.0
    """How much of the adapters."""
    prompt: str = "a photorealistic video, filmed with a real camera"
    """What the video shows; adapters' trigger words come before it by themselves."""
    negative: str = "video game, 3D render, cartoon, blurry, low quality, distorted"
    """What guidance leads away from."""
    first_frame: Annotated[Path | None, tyro.conf.arg(metavar="PICTURE.png")] = None
    """A photoreal version of the session's first frame, which the look of all others follows."""
    last_frame: Annotated[Path | None, tyro.conf.arg(metavar="PICTURE.png")] = None
    """A photoreal version of the session's last frame, which the last window leads to."""
    steps: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None
    """Denoising steps."""
    guidance: Annotated[float | None, tyro.conf.arg(metavar="FLOAT")] = None
    """How strongly the prompt is followed; 1 makes each step twice as quick."""
    seed: int = 0
    """Of the noise; the same seed gives the same video."""
    size: Annotated[tuple[int, int] | None, tyro.conf.Suppress] = None
    """(width, height) whose number of pixels it works at."""
    weights: Annotated[str | None, tyro.conf.arg(metavar="FOLDER")] = None
    """A folder in diffusers' layout or a Hub id in the place of the preset's weights."""
    gguf: Annotated[tuple[str, ...], tyro.conf.arg(metavar="[FILE.gguf [FILE.gguf ...]]")] = ()
    """A quantized transformer in the place of the preset's: a file, or owner/name/FILE.gguf on the
    Hub. wan2.2-a14b takes two, that for much noise first."""
    quantize: Literal["none", "int8", "float8"] = "none"
    """Quantize the transformer while it is loaded: int8 halves it on every GPU, float8 is quicker
    as well on RTX 40, H100 and later."""
    attention: Annotated[str, tyro.conf.arg(metavar="BACKEND")] = ""
    """Which of diffusers' attention backends computes, such as sage or _flash_3_hub; PyTorch's own
    by default. A wrong name lists those at hand."""
    compile: bool = False
    """Compile the transformer's blocks: the first steps wait for it, all others are quicker."""
    fit: Literal["auto", "none", "offload", "fp8"] = "auto"
    """How video memory is saved; auto picks by what is free and says so."""
    preview: Annotated[Path | None, tyro.conf.Suppress] = None
    """A picture (.png) that shows what is being made while it is made."""

    @property
    def photos(self) -> "dict[End, Path]":
        """The given pictures of the session's ends."""
        given: dict[End, Path | None] = {"first": self.first_frame, "last": self.last_frame}
        return {end: path for end, path in given.items() if path is not None}


@dataclass(frozen=True, slots=True)
class Tier:
    """One row. factory: "module:callable"; it gets name and options where it `takes_options`."""

    factory: str
    what: str
    takes_options: bool = False


MODELS: Mapping[str, Tier] = MappingProxyType(
    {
        "fast": Tier("realmaster.fast:FastModel", "recurrent G-buffer U-Net, runs on a CPU"),
        "copy": Tier("realmaster.passthrough:CopyModel", "the render itself, to try the pipeline"),
    }
    | {
        name: Tier("realmaster.diffusion:DiffusionModel", preset.what, takes_options=True)
        for name, preset in PRESETS.items()
    }
)


def load_model(name: str, options: ModelOptions | None = None) -> Model:
    """The model of that name; SetupError when there is none or it does not take the options."""
    if name not in MODELS:
        raise SetupError(f"there is no model '{name}'; there are {', '.join(MODELS)}")
    tier = MODELS[name]
    if not tier.takes_options:
        if options not in (None, ModelOptions()):
            raise SetupError(
                f"'{name}' has no adapter, prompt, steps or weights to set: those belong to "
                f"{', '.join(PRESETS)}"
            )
        model: Model = imported(tier.factory)()
        return model
    make = factory(name, tier.factory, ("torch", "diffusers", "peft"), "diffusion")
    made: Model = make(name, options or ModelOptions())
    return made
