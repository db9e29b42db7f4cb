"""Image editors on diffusers' pipelines: Qwen-Image-Edit and FLUX Kontext.

An editor works at sizes of its own; the frame is fitted into one, never stretched, and what comes
back is cut out and scaled to the frame's size, so that everything stays where it was.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch
from diffusers import DiffusionPipeline
from diffusers.pipelines.flux import pipeline_flux_kontext
from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit_plus
from numpy.typing import NDArray
from PIL import Image

from capture_bridge.errors import RealMasterError, SetupError
from realmaster.editors import EDITORS, EditorOptions, EditorRow
from realmaster.families.fit import free_gib
from realmaster.families.picture_and_text import PictureAndText
from realmaster.families.weights import damaged_or_absent

if TYPE_CHECKING:
    from capture_bridge.session import SessionFrame

U8 = NDArray[np.uint8]
Size = tuple[int, int]

#: Weights up to this size run on a CPU.
CPU_GIB = 1.0
_FITS = ("none", "offload", "sequential")


@dataclass(frozen=True, slots=True)
class Family:
    """How a family of pipelines is used.

    pipelines: their classes in diffusers. working_size: the size at which one sees a picture of a
    size, both (width, height). components: what stands in for the pipeline's own, by name, of its
    source. arguments: of a call, besides picture, prompt, size, steps and noise.
    """

    pipelines: tuple[str, ...]
    working_size: Callable[[Size], Size]
    components: Callable[[str], Mapping[str, Any]]
    arguments: Callable[[Size, float], Mapping[str, Any]]


def qwen_size(size: Size) -> Size:
    """About a megapixel, sides multiples of 32: what the pipeline scales its reference to.

    A result of any other size comes out enlarged or moved against the reference, so the size is
    sought that the pipeline's own arithmetic leaves as it is.
    """
    width, height = size
    for _ in range(8):
        found = pipeline_qwenimage_edit_plus.calculate_dimensions(
            pipeline_qwenimage_edit_plus.VAE_IMAGE_SIZE, width / height
        )
        if found == (width, height):
            break
        width, height = found
    return width, height


def kontext_size(size: Size) -> Size:
    """The one of the sizes Kontext was trained at whose shape is nearest."""
    ratio = size[0] / size[1]
    sizes: list[Size] = pipeline_flux_kontext.PREFERRED_KONTEXT_RESOLUTIONS
    return min(sizes, key=lambda one: abs(ratio - one[0] / one[1]))


FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        "qwen-image-edit": Family(
            ("QwenImageEditPlusPipeline", "QwenImageEditPipeline"),
            qwen_size,
            components=lambda source: {"processor": PictureAndText.load(source)},
            # the model card's own: guidance away from an empty wish
            arguments=lambda _, guidance: {"true_cfg_scale": guidance, "negative_prompt": " "},
        ),
        "flux-kontext": Family(
            ("FluxKontextPipeline",),
            kontext_size,
            components=lambda _: {},
            arguments=lambda size, guidance: {
                "guidance_scale": guidance,
                "max_area": size[0] * size[1],
            },
        ),
    }
)


class DiffusionEditor:
    """An ImageEditor (anchors.py) on a pipeline."""

    heeds_seed = True

    def __init__(
        self, name: str, pipeline: Any, family: Family, *, steps: int, guidance: float
    ) -> None:
        self.name = name
        self._pipeline, self._family = pipeline, family
        self._steps, self._guidance = steps, guidance
        pipeline.set_progress_bar_config(disable=True)

    def edit(self, frame: "SessionFrame", prompt: str, seed: int) -> U8:
        """The frame made photoreal, (H, W, 3). RealMasterError where memory does not suffice."""
        color = np.ascontiguousarray(frame.array("color")[..., :3].astype(np.uint8, copy=False))
        whole = (color.shape[1], color.shape[0])
        size = self._family.working_size(whole)
        try:
            made = self._pipeline(
                image=Image.fromarray(fitted(color, size)),
                prompt=prompt,
                width=size[0],
                height=size[1],
                num_inference_steps=self._steps,
                generator=torch.Generator("cpu").manual_seed(seed),
                **self._family.arguments(size, self._guidance),
            )
        except torch.cuda.OutOfMemoryError as error:
            raise RealMasterError(
                f"'{self.name}' ran out of video memory at {size[0]}x{size[1]}: close other "
                "programs, or give --editor-fit sequential"
            ) from error
        return taken_back(np.asarray(made.images[0].convert("RGB"), np.uint8), whole)


def open_editor(name: str, options: EditorOptions) -> DiffusionEditor:
    """The editor with its weights loaded. SetupError where they are missing or do not fit."""
    row, family = EDITORS[name], FAMILIES[name]
    source = options.editor_weights or row.source
    fit, device = _fit(name, row, source, options)
    pipeline = load_pipeline(source, family, torch.bfloat16 if device == "cuda" else torch.float32)
    if fit == "sequential":
        pipeline.enable_sequential_cpu_offload()
    elif fit == "offload":
        pipeline.enable_model_cpu_offload()
    else:
        pipeline.to(device)
    return DiffusionEditor(
        name,
        pipeline,
        family,
        steps=options.editor_steps or row.steps,
        guidance=row.guidance if options.editor_guidance is None else options.editor_guidance,
    )


def load_pipeline(source: str, family: Family, dtype: torch.dtype) -> Any:
    """A pipeline of the family, of a folder in diffusers' layout or the Hub; safetensors alone."""
    local = Path(source)
    if local.exists() and not (local / "model_index.json").is_file():
        raise SetupError(f"{source} has no model_index.json: it must be in diffusers' layout")
    with damaged_or_absent(source, source):
        config = DiffusionPipeline.load_config(source)
        kind = config.get("_class_name")
        if kind not in family.pipelines:
            raise SetupError(f"{source} holds a {kind}, not {' or '.join(family.pipelines)}")
        ours = family.components(source)
        pipeline = DiffusionPipeline.from_pretrained(
            source, dtype=dtype, use_safetensors=True, **dict.fromkeys(ours)
        )
        for name, component in ours.items():
            setattr(pipeline, name, component)
        return pipeline


def fitted(picture: U8, size: Size) -> U8:
    """The picture in the middle of one of `size` (width, height), its borders mirrored outwards."""
    left, top, width, height = _place((picture.shape[1], picture.shape[0]), size)
    inner = _resized(picture, (width, height))
    right, bottom = size[0] - width - left, size[1] - height - top
    canvas = cv2.copyMakeBorder(inner, top, bottom, left, right, cv2.BORDER_REFLECT)
    return np.asarray(canvas, np.uint8)


def taken_back(made: U8, size: Size) -> U8:
    """What `fitted` put into a picture, (H, W, 3), at the size (width, height) that it had."""
    left, top, width, height = _place(size, (made.shape[1], made.shape[0]))
    return _resized(made[top : top + height, left : left + width], size)


def _place(size: Size, into: Size) -> tuple[int, int, int, int]:
    """(left, top, width, height) of a picture of `size` in the middle of one of size `into`."""
    scale = min(into[0] / size[0], into[1] / size[1])
    width, height = (max(1, min(b, round(a * scale))) for a, b in zip(size, into, strict=True))
    return (into[0] - width) // 2, (into[1] - height) // 2, width, height


def _resized(picture: U8, size: Size) -> U8:
    if size == (picture.shape[1], picture.shape[0]):
        return np.ascontiguousarray(picture)
    shrinks = size[0] < picture.shape[1]
    mode = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(picture, size, interpolation=mode), np.uint8)


def _fit(name: str, row: EditorRow, source: str, options: EditorOptions) -> tuple[str, str]:
    """(how it is made to fit, device). SetupError where nothing suffices."""
    if not torch.cuda.is_available():
        if 0 < _gib(Path(source)) <= CPU_GIB:
            return "none", "cpu"
        least = min(row.vram_gib.values())
        raise SetupError(
            f"'{name}' needs an NVIDIA GPU with {least:g} GiB or more, and PyTorch finds none "
            "here: --editor truth runs on a CPU, for sessions of the street game"
        )
    if options.editor_fit != "auto":
        return options.editor_fit, "cuda"
    free = free_gib("cuda")
    for fit in _FITS:
        if row.vram_gib[fit] <= free:
            return fit, "cuda"
    raise SetupError(
        f"'{name}' needs {min(row.vram_gib.values()):g} GiB of free video memory at the least, "
        f"there are {free:.1f}: close other programs"
    )


def _gib(folder: Path) -> float:
    """Of a local folder's weights; 0 for what is none."""
    return sum(path.stat().st_size for path in folder.glob("*/*.safetensors")) / (1 << 30)
