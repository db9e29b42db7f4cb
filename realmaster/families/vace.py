"""`vace`: anchors carried by a Wan VACE model, which the engine's geometry leads between them.

The model is given one video and one mask: anchors where the mask is 0, which are kept, and the
control where it is 1, which is obeyed (ali-vilab/VACE, composition of extension and control). With
control "warp" the pixels that warping is sure of are kept too, and the model makes the others. This
file knows diffusers' pipeline; the frames' size and number are made to fit before and undone after.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import torch
from diffusers import (
    AutoencoderKLWan,
    UniPCMultistepScheduler,
    WanVACEPipeline,
    WanVACETransformer3DModel,
)
from numpy.typing import NDArray
from PIL import Image

from capture_bridge.errors import RealMasterError, SetupError
from realmaster.color import srgb_u8_to_lab
from realmaster.conditions import STYLES, ConditionStyle, Kind, clip_conditions, drawable
from realmaster.families.clips import resized, working_size
from realmaster.families.fit import FITS, Fit, free_gib, place
from realmaster.families.prompts import prompt_embeddings
from realmaster.families.weights import load
from realmaster.metrics import lab_distance_map
from realmaster.propagation import Propagated, PropagationOptions, check_clip
from realmaster.warp_propagation import make_warp

if TYPE_CHECKING:
    from capture_bridge.session import SessionFrame

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]

#: Warped pixels of at least this confidence are kept as they are. Our choice.
_SURE = 0.6
#: Width and height are multiples of this: 8 of the autoencoder, 2 of the patches.
_MULTIPLE = 16


@dataclass(frozen=True, slots=True)
class VacePreset:
    """A row: weights in diffusers' layout, how they are run, and what controls they know.

    size: (width, height) it was made for. boundary: the noise level below which the second expert
    takes over. vram_gib: {what is done to fit: memory that suffices at `size` and 81 frames,
    estimated from the weights' bytes and the activations}.
    """

    source: str
    what: str
    style: ConditionStyle
    vram_gib: Mapping[Fit, float]
    shift: float = 3.0
    boundary: float | None = None
    steps: int = 50
    guidance: float = 5.0
    size: tuple[int, int] = (832, 480)


VACE_PRESETS: Mapping[str, VacePreset] = MappingProxyType(
    {
        "tiny": VacePreset(
            source="",
            what="the same code on a CPU: a small checkpoint of the classes (weights: a folder)",
            style=STYLES["wan2.1-vace"],
            vram_gib={"none": 0.5},
            steps=2,
        ),
        "wan2.1-vace-1.3b": VacePreset(
            source="Wan-AI/Wan2.1-VACE-1.3B-diffusers",
            what="1.3 billion parameters, for small cards",
            style=STYLES["wan2.1-vace"],
            vram_gib={"none": 14, "offload": 9, "fp8": 7},
        ),
        "wan2.1-vace-14b": VacePreset(
            source="Wan-AI/Wan2.1-VACE-14B-diffusers",
            what="14 billion parameters",
            style=STYLES["wan2.1-vace"],
            vram_gib={"none": 56, "offload": 36, "fp8": 24},
            shift=5.0,
        ),
        "wan2.2-vace-fun-14b": VacePreset(
            source="linoyts/Wan2.2-VACE-Fun-14B-diffusers",
            what="two experts of 14 billion parameters, one for much noise and one for little",
            style=STYLES["wan2.2-vace-fun"],
            vram_gib={"none": 96, "offload": 44, "fp8": 24},
            shift=5.0,
            boundary=0.875,
        ),
    }
)


def make_vace(options: PropagationOptions) -> "VacePropagator":
    """See propagation.load_propagator. SetupError without a GPU, memory or weights."""
    if options.preset not in VACE_PRESETS:
        raise SetupError(
            f"there is no VACE preset '{options.preset}'; there are {', '.join(VACE_PRESETS)}"
        )
    if options.anchor_hold < 1:
        raise RealMasterError(f"anchor_hold {options.anchor_hold}: an anchor is held for 1 or more")
    return VacePropagator(options)


class VacePropagator:
    """propagation.Propagator on diffusers' WanVACEPipeline; figures: `first_anchor_lab` and
    `last_anchor_lab`, how far the model left the outer anchors (mean Lab distance).
    """

    name = "vace"

    def __init__(self, options: PropagationOptions) -> None:
        self._options = options
        self._row = VACE_PRESETS[options.preset]
        self._control = options.control or self._row.style.kinds[0]
        self._warp = make_warp(options) if self._control == "warp" else None
        self._pipeline, self._text = _opened(self._row, options)

    @property
    def requires(self) -> frozenset[str]:
        """The buffers that it cannot do without: color, and what warping needs."""
        return frozenset({"color"}) if self._warp is None else self._warp.requires

    def propagate(self, frames: "Sequence[SessionFrame]", anchors: Mapping[int, U8]) -> Propagated:
        """See propagation.Propagator."""
        height, width = check_clip(frames, anchors, self.requires)
        size = working_size((width, height), self._row.size, _MULTIPLE)
        known, confidence = self._known(frames, anchors)
        control = clip_conditions(frames, self._kind(frames), style=self._row.style, size=size)
        video, mask = composed(control, resized(known, size), _masks(confidence, size))
        made = self._made(_padded(video), _padded(mask[..., None])[..., 0], size)
        pictures = resized(made[: len(frames)], (width, height))
        first, last = (
            float(lab_distance_map(srgb_u8_to_lab(pictures[a]), srgb_u8_to_lab(anchors[a])).mean())
            for a in (min(anchors), max(anchors))
        )
        figures = {"first_anchor_lab": first, "last_anchor_lab": last}
        return Propagated(pictures, confidence, figures)

    def _known(self, frames: "Sequence[SessionFrame]", anchors: Mapping[int, U8]) -> tuple[U8, F32]:
        """What is kept (T, H, W, 3), and how surely it is known (T, H, W): 0 or 1 of anchors."""
        if self._warp is not None:
            warped = self._warp.propagate(frames, anchors)
            known, confidence = warped.pictures.copy(), warped.confidence.copy()
        else:
            shape = (len(frames), *next(iter(anchors.values())).shape)
            known, confidence = np.zeros(shape, np.uint8), np.zeros(shape[:3], np.float32)
        for at, anchor in held(anchors, len(frames), self._options.anchor_hold).items():
            known[at], confidence[at] = anchor, 1
        return known, confidence

    def _kind(self, frames: "Sequence[SessionFrame]") -> Kind:
        """The control's kind that all frames can be drawn in."""
        wanted = next(
            (kind for kind in get_args(Kind) if kind == self._control), self._row.style.kinds[0]
        )
        kinds = {drawable(frame, wanted) for frame in frames}
        return wanted if kinds == {wanted} else "canny"

    def _made(self, video: U8, mask: U8, size: tuple[int, int]) -> U8:
        """The pipeline's pictures (T, h, w, 3) for a video and mask (T, h, w) of 0 and 255."""
        row, options = self._row, self._options
        made = self._pipeline(
            video=[Image.fromarray(frame) for frame in video],
            mask=[Image.fromarray(frame) for frame in mask],
            width=size[0],
            height=size[1],
            num_frames=len(video),
            num_inference_steps=options.steps or row.steps,
            guidance_scale=options.guidance or row.guidance,
            prompt_embeds=self._text[0],
            negative_prompt_embeds=self._text[-1],
            generator=torch.Generator().manual_seed(options.seed),
            output_type="np",
        ).frames[0]
        return np.asarray(np.rint(np.clip(made, 0, 1) * 255), np.uint8)


def held(anchors: Mapping[int, U8], count: int, hold: int) -> dict[int, U8]:
    """Anchors by the frames that show them: `hold` each, the last ones' before their own frame.

    An anchor never takes another's place.
    """
    shown: dict[int, U8] = {}
    for index, anchor in anchors.items():
        step = 1 if index + hold <= count else -1
        for at in range(index, index + step * hold, step):
            if 0 <= at < count and (at == index or at not in anchors):
                shown.setdefault(at, anchor)
    return shown | dict(anchors)


def composed(control: U8, known: U8, mask: U8) -> tuple[U8, U8]:
    """The model's video (T, h, w, 3) and mask (T, h, w), 0: kept as known, 255: led by control."""
    return np.where(mask[..., None] > 0, control, known), mask


def _masks(confidence: F32, size: tuple[int, int]) -> U8:
    """0 where the pixel is known surely enough, 255 elsewhere, at (width, height) `size`."""
    unsure = np.repeat((confidence < _SURE)[..., None], 3, -1).astype(np.uint8) * np.uint8(255)
    return np.where(resized(unsure, size)[..., 0] > 0, 255, 0).astype(np.uint8)


def _padded(video: U8) -> U8:
    """The video with its last frame repeated until there are 4 k + 1, as an anchor is held."""
    missing = -(len(video) - 1) % 4
    return np.concatenate([video, np.repeat(video[-1:], missing, 0)])


def _device_and_fit(options: PropagationOptions) -> tuple[str, Fit]:
    """Where it runs, and the gentlest way to fit there. SetupError."""
    vram_gib = VACE_PRESETS[options.preset].vram_gib
    needed = f"{options.preset} needs an NVIDIA GPU with {min(vram_gib.values()):g} GiB free"
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu" and max(vram_gib.values()) >= 1:
        raise SetupError(f"{needed}, and PyTorch finds none here: --propagate warp runs on a CPU")
    if options.fit != "auto":
        return device, options.fit
    free = free_gib(device)
    fitting = [fit for fit in FITS if vram_gib.get(fit, float("inf")) <= free]
    if not fitting:
        raise SetupError(
            f"{needed}, there are {free:.1f}: close other programs, or --propagate warp"
        )
    return device, fitting[0]


def _opened(row: VacePreset, options: PropagationOptions) -> tuple[Any, list[Any]]:
    """The pipeline, and the embeddings of the prompt and of what guidance leads away from."""
    source = options.weights or row.source
    if not source:
        raise SetupError("the preset 'tiny' has no weights of its own: name a folder with weights")
    device, fit = _device_and_fit(options)
    dtype = torch.bfloat16 if device.startswith("cuda") else torch.float32
    prompts = (options.prompt, options.negative)
    text = prompt_embeddings("wan", source, prompts, device)
    vae = load(AutoencoderKLWan, source, "vae", torch_dtype=torch.float32).to(device)
    if fit != "none":
        vae.enable_tiling()
    names = ("transformer",) if row.boundary is None else ("transformer", "transformer_2")
    experts = [load(WanVACETransformer3DModel, source, n, torch_dtype=dtype) for n in names]
    for expert in experts:
        place(expert, fit, device)
    pipeline = WanVACEPipeline(
        tokenizer=None,
        text_encoder=None,
        vae=vae,
        scheduler=UniPCMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=row.shift
        ),
        transformer=experts[0],
        transformer_2=experts[1] if len(experts) > 1 else None,
        boundary_ratio=row.boundary,
    )
    pipeline.set_progress_bar_config(desc="vace", leave=False, disable=None)
    return pipeline, [one["prompt"].to(device, dtype) for one in text]
