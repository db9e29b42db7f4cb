"""The table of presets: which weights, from whom, under which licence, and how they are run.

Settings are the vendors' own where they publish them. Pure data: this file never imports torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

FamilyName = Literal["wan", "ltx2"]


@dataclass(frozen=True, slots=True)
class Preset:
    """One row.

    source: a Hub id in diffusers' layout, "" for a model of our own (see `bundled`). size: (width,
    height) it was made for; other shapes keep the number of pixels. fresh, overlap: frames of a
    window (windows.py). steps, shift, guidance: of the flow (guidance 1 runs the model once a
    step). boundary: the noise level below which the second expert takes over, with `guidance_low`.
    sigmas: noise levels of a distilled model, which rule over steps and shift. vram_gib: {what is
    done to fit: memory that suffices at `size`, estimated from the weights' bytes and the
    activations}. weights_gib: of the transformers in 16 bits, as they come to the card.
    """

    family: FamilyName
    source: str
    licence: str
    what: str
    size: tuple[int, int]
    fps: float
    steps: int
    shift: float
    guidance: float
    vram_gib: Mapping[str, float]
    weights_gib: float
    fresh: int = 48
    overlap: int = 9
    boundary: float | None = None
    guidance_low: float | None = None
    sigmas: tuple[float, ...] = ()
    also_known_as: tuple[str, ...] = ()


#: Where models of our own lie that come with the package.
BUNDLED_MODELS = Path(__file__).parent.parent / "models"


def bundled(name: str) -> Path | None:
    """The folder, in diffusers' layout, of a preset that comes with the package, where one does."""
    folder = BUNDLED_MODELS / name
    return folder if all((folder / part).is_dir() for part in ("transformer", "vae")) else None


def bundled_adapters() -> dict[str, Path]:
    """{name: file} of the adapters that come with the package."""
    return {path.stem: path for path in sorted((BUNDLED_MODELS / "adapters").glob("*.safetensors"))}


_APACHE = "Apache-2.0"

PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "tiny": Preset(
            family="wan",
            source="",
            licence=_APACHE,
            what="the same code on a CPU: a small checkpoint of the Wan classes",
            size=(128, 80),
            fps=24,
            steps=1,
            shift=20.0,
            guidance=1.0,
            fresh=24,
            overlap=5,
            vram_gib={"none": 0.5},
            weights_gib=0.0,
        ),
        "wan2.2-5b": Preset(
            family="wan",
            source="Wan-AI/Wan2.2-TI2V-5B-Diffusers",
            licence=_APACHE,
            what="5 billion parameters, 16x smaller latents: the quickest at 720p",
            size=(1280, 704),
            fps=24,
            steps=50,
            shift=5.0,
            guidance=5.0,
            vram_gib={"none": 24, "offload": 16, "fp8": 12},
            weights_gib=9.3,
            also_known_as=("Wan2.2-TI2V-5B",),
        ),
        "wan2.1-1.3b": Preset(
            family="wan",
            source="Wan-AI/Wan2.1-T2V-1.3B-Diffusers",
            licence=_APACHE,
            what="1.3 billion parameters, for small cards",
            size=(832, 480),
            fps=16,
            steps=50,
            shift=3.0,
            guidance=5.0,
            vram_gib={"none": 12, "offload": 8, "fp8": 6},
            weights_gib=2.6,
            also_known_as=("Wan2.1-T2V-1.3B",),
        ),
        "wan2.1-14b": Preset(
            family="wan",
            source="Wan-AI/Wan2.1-T2V-14B-Diffusers",
            licence=_APACHE,
            what="14 billion parameters",
            size=(832, 480),
            fps=16,
            steps=50,
            shift=5.0,
            guidance=5.0,
            vram_gib={"none": 48, "offload": 32, "fp8": 24},
            weights_gib=26.6,
            also_known_as=("Wan2.1-T2V-14B",),
        ),
        "wan2.2-a14b": Preset(
            family="wan",
            source="Wan-AI/Wan2.2-T2V-A14B-Diffusers",
            licence=_APACHE,
            what="two experts of 14 billion parameters, one for much noise and one for little",
            size=(832, 480),
            fps=16,
            steps=40,
            shift=12.0,
            guidance=4.0,
            guidance_low=3.0,
            boundary=0.875,
            vram_gib={"none": 80, "offload": 40, "fp8": 24},
            weights_gib=53.3,
            also_known_as=("Wan2.2-T2V-A14B",),
        ),
        "ltx-2.3": Preset(
            family="ltx2",
            source="diffusers/LTX-2.3-Distilled-Diffusers",
            licence="LTX-2 Community License",
            what="22 billion parameters, distilled to 8 steps; its sound is not made",
            size=(768, 512),
            fps=24,
            steps=8,
            shift=1.0,
            guidance=1.0,
            sigmas=(1.0, 0.99375, 0.9875, 0.98125, 0.975, 0.909375, 0.725, 0.421875, 0.0),
            vram_gib={"none": 52, "offload": 32, "fp8": 24},
            weights_gib=24.4,
            also_known_as=("LTX-2.3", "ltx-2.3-22b-dev", "ltx-2.3-22b-distilled"),
        ),
    }
)
