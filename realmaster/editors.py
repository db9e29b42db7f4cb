"""The table of image editors that `--editor` takes; each is imported only when it is asked for."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Literal

import tyro

from capture_bridge.errors import RealMasterError, SetupError
from realmaster.anchors import ImageEditor
from realmaster.factories import factory

MAX_SEEDS, MAX_SAMPLES = 64, 4096


@dataclass(frozen=True, slots=True)
class EditorOptions:
    """What a user may set of an editor; None is the editor's own."""

    seeds: int = 3
    """How many seeds are tried for each anchor; the one nearest to the engine's edges is taken."""
    edit_prompt: str | None = None
    """What an editor is asked for; by default what prompts.toml says of the game."""
    prompts: Annotated[Path | None, tyro.conf.arg(metavar="FILE.toml")] = None
    """Prompts by game, in the place of the bundled prompts.toml."""
    editor_weights: Annotated[str | None, tyro.conf.arg(metavar="FOLDER")] = None
    """A folder in diffusers' layout or a Hub id in the place of the editor's weights."""
    editor_steps: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None
    """Denoising steps of an edit."""
    editor_guidance: Annotated[float | None, tyro.conf.arg(metavar="FLOAT")] = None
    """How strongly an edit follows its prompt."""
    editor_fit: Literal["auto", "none", "offload", "sequential"] = "auto"
    """How video memory is saved: offload moves whole models, sequential layers; auto picks."""
    truth: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    """Path-traced pictures of the session, to be used before any is rendered (editor truth): a
    video of `realmaster truth`, or a folder. By default those beside the session."""
    truth_spp: int = 64
    """Samples per pixel of what is still to be rendered (editor truth)."""

    def __post_init__(self) -> None:
        if not 1 <= self.seeds <= MAX_SEEDS:
            raise RealMasterError(f"--seeds {self.seeds}: must be 1 to {MAX_SEEDS}")
        if not 1 <= self.truth_spp <= MAX_SAMPLES:
            raise RealMasterError(f"--truth-spp {self.truth_spp}: must be 1 to {MAX_SAMPLES}")
        if self.editor_steps is not None and not 1 <= self.editor_steps <= 1000:
            raise RealMasterError(f"--editor-steps {self.editor_steps}: must be 1 to 1000")


@dataclass(frozen=True, slots=True)
class EditorRow:
    """One row. factory: "module:callable" of (name, options). packages: what it imports.

    source: a Hub id in diffusers' layout. steps, guidance: the vendor's own. vram_gib: {how it is
    made to fit: memory that suffices, estimated from the weights' bytes}.
    """

    factory: str
    what: str
    extra: str
    packages: tuple[str, ...] = ()
    source: str = ""
    licence: str = ""
    steps: int = 0
    guidance: float = 1.0
    vram_gib: Mapping[str, float] = field(default_factory=dict)


EDITORS: Mapping[str, EditorRow] = MappingProxyType(
    {
        "truth": EditorRow(
            "realmaster.truth_editor:TruthEditor",
            "the path-traced frame of a street game's session: no weights, runs on a CPU",
            extra="truth",
        ),
        "qwen-image-edit": EditorRow(
            "realmaster.families.image_editors:open_editor",
            "Qwen-Image-Edit, 20 billion parameters",
            extra="diffusion",
            packages=("torch", "diffusers", "transformers"),
            source="Qwen/Qwen-Image-Edit-2511",
            licence="Apache-2.0",
            steps=40,
            guidance=4.0,
            vram_gib={"none": 64, "offload": 46, "sequential": 12},
        ),
        "flux-kontext": EditorRow(
            "realmaster.families.image_editors:open_editor",
            "FLUX.1 Kontext, 12 billion parameters; its licence is for non-commercial use",
            extra="diffusion",
            packages=("torch", "diffusers", "transformers"),
            source="black-forest-labs/FLUX.1-Kontext-dev",
            licence="FLUX.1 [dev] Non-Commercial License",
            steps=28,
            guidance=2.5,
            vram_gib={"none": 40, "offload": 28, "sequential": 8},
        ),
    }
)


def load_editor(name: str, options: EditorOptions | None = None) -> ImageEditor:
    """The editor of that name; SetupError when there is none or its packages are missing."""
    if name not in EDITORS:
        raise SetupError(f"there is no editor '{name}'; there are {', '.join(EDITORS)}")
    row = EDITORS[name]
    make = factory(name, row.factory, row.packages, row.extra)
    made: ImageEditor = make(name, options or EditorOptions())
    return made
