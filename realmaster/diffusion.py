"""The diffusion tier behind the seam of enhancer.py: preset, adapters, windows over a session.

The model is built when the first frame shows the size. This file joins what families, adapters and
windows know; it holds no mathematics.
"""

import functools
import hashlib
import json
import logging
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from capture_bridge.errors import SetupError
from capture_bridge.images import read_png, write_png
from realmaster.adapters import Adapter, check_base, read_adapter
from realmaster.drawing import fit_width, write_label
from realmaster.families.attention import check_attention
from realmaster.families.clips import U8, Clips, resized, working_size
from realmaster.families.fit import (
    Fit,
    choose,
    device_for,
    free_gib,
    next_fit,
    when_quantized,
)
from realmaster.families.opening import Opening, open_video
from realmaster.families.presets import PRESETS, Preset, bundled_adapters
from realmaster.families.preview import LatentPreview, latent_preview
from realmaster.families.quantized import check_gguf, check_quantize, quantized_gib
from realmaster.families.weights import found_file, source_of
from realmaster.flow_matching import schedule
from realmaster.tiers import End, ModelOptions
from realmaster.windows import Windows, enhance_in_windows, missed_end, seams

if TYPE_CHECKING:
    from capture_bridge.session import SessionFrame
    from realmaster.enhancer import State

log = logging.getLogger(__name__)

#: How far a first or last frame's shape may be off, as a share.
_ASPECT_SLACK = 0.02
#: Options that change no picture, or that the fingerprint holds by their files' content.
_TOLD_OTHERWISE = ("adapter", "fit", "first_frame", "last_frame", "gguf", "preview")
#: Width of the picture that shows a run at work.
_PREVIEW_PX = 1536


class DiffusionModel:
    """One preset with the user's options. SetupError where it cannot run here."""

    requires = frozenset[str]()

    def __init__(self, name: str, options: ModelOptions) -> None:
        self.name = name
        self._options = options
        self._preset = _preset(name, options)
        self._device = device_for(name, self._preset)
        if options.attention:
            check_attention(options.attention, self._device)
        check_quantize(options.quantize)
        self._gguf = _gguf_files(name, self._preset, options)
        if self._gguf or options.quantize != "none":
            gib = quantized_gib(self._gguf, options.quantize, self._preset.weights_gib)
            self._preset = when_quantized(self._preset, gib)
        self._fit = _fit(name, self._preset, options, self._device)
        self._adapters = [
            (read_adapter(_adapter_file(source)), options.strength) for source in options.adapter
        ]
        for adapter, _ in self._adapters:
            check_base(adapter, name, (self._preset.source, *self._preset.also_known_as, name))
        if not self._adapters:
            log.warning(
                "%s without --adapter has not learned to follow a render: give an IC-LoRA, such "
                "as `realmaster train` makes (--adapter street comes with the package, for tiny)",
                name,
            )
        self._stride = _reference_stride([adapter for adapter, _ in self._adapters])
        for adapter, _ in self._adapters:
            self._preset = as_trained(self._preset, adapter, options.size is not None)
        self.fingerprint = self._fingerprint()
        self._clips: Clips | None = None

    def enhance(self, frames: "Iterable[SessionFrame]", state: "State") -> Iterator[U8]:
        """One (H, W, 3) sRGB picture per frame; see enhancer.Model."""
        frames = iter(frames)
        first = next(frames, None)
        if first is None:
            return
        height, width = first.array("color").shape[:2]
        if self._clips is None:
            self._clips = self._open((width, height))
        windows = Windows(self._preset.fresh, self._preset.overlap)
        photos = {
            end: _photo(path, end, (width, height)) for end, path in self._options.photos.items()
        }
        yield from enhance_in_windows(
            self, windows, chain([first], frames), state, self._options.seed, **photos
        )

    def generate(self, render: U8, anchors: U8 | None, seed: int, last: U8 | None = None) -> U8:
        """One window's clip; where memory runs out, once more with the next way to fit."""
        assert self._clips is not None
        try:
            return self._clips.generate(render, anchors, seed, last)
        except torch.OutOfMemoryError as error:
            fit = next_fit(self._fit, self._preset)
            height, width = render.shape[1:3]
            if fit is None:
                raise SetupError(
                    f"{self.name} runs out of video memory at {width}x{height} even with "
                    f"--fit {self._fit}: give a smaller --size or take a smaller model"
                ) from error
            log.warning("out of video memory with --fit %s: going on with %s", self._fit, fit)
            self._clips = None
            torch.cuda.empty_cache()
            self._fit = fit
            self._clips = self._open((width, height))
            return self._clips.generate(render, anchors, seed, last)

    def summary(self, state: "State") -> dict[str, str]:
        """What the layer says about the run: settings, and the score of every seam."""
        joins = [{"frame": at, "difference": round(score, 3)} for at, score in seams(state)]
        told = {
            "preset": self.name,
            "source": self._options.weights or PRESETS[self.name].source or "bundled",
            "fit": self._fit,
            "seams": json.dumps(joins),
        }
        quantized = ", ".join(path.name for path in self._gguf) or self._options.quantize
        if quantized != "none":
            told["quantized"] = quantized
        missed = missed_end(state)
        return told if missed is None else {**told, "last_frame_difference": f"{missed:.3f}"}

    def _open(self, size: tuple[int, int]) -> Clips:
        """The preset at work for pictures of (width, height) `size`."""
        preset = self._preset
        guided = preset.guidance != 1 or preset.guidance_low not in (None, 1)
        prompts = (self._prompt(), self._options.negative) if guided else (self._prompt(),)
        opening = Opening(
            preset,
            prompts,
            self._adapters,
            self._fit,
            self._device,
            preset.fps,
            quantize=self._options.quantize,
            gguf=self._gguf,
            attention=self._options.attention,
            compiled=self._options.compile,
        )
        video = open_video(opening)
        at = working_size(size, preset.size, video.spatial_multiple * self._stride)
        log.info("%s at %dx%d on %s, fit: %s", self.name, *at, self._device, self._fit)
        sigmas = preset.sigmas or schedule(preset.steps, preset.shift).tolist()
        watch = None
        if self._options.preview is not None:
            preview = latent_preview(video, preset.source, self._device)
            watch = functools.partial(_show, preview, self._options.preview)
        return Clips(
            video, sigmas, at, reference_stride=self._stride, device=self._device, watch=watch
        )

    def _prompt(self) -> str:
        triggers = dict.fromkeys(adapter.trigger for adapter, _ in self._adapters)
        return " ".join([*filter(None, triggers), self._options.prompt])

    def _fingerprint(self) -> str:
        photos = self._options.photos
        for end, path in photos.items():
            if not path.is_file():
                raise SetupError(f"--{end}-frame {path}: there is no such file")
        told = {
            "preset": asdict(replace(self._preset, vram_gib={})),
            "options": {
                **asdict(self._options),
                **dict.fromkeys(_TOLD_OTHERWISE, ""),
            },
            "gguf": [(path.name, path.stat().st_size) for path in self._gguf],
            "photos": {
                end: hashlib.sha256(path.read_bytes()).hexdigest() for end, path in photos.items()
            },
            "adapters": [_adapter_digest(adapter) for adapter, _ in self._adapters],
        }
        text = json.dumps(told, sort_keys=True, default=str)
        return f"{self.name}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def _preset(name: str, options: ModelOptions) -> Preset:
    """The row, with what the user set in its place."""
    preset = PRESETS[name]
    source = source_of(name, preset, options.weights)
    if source.endswith(".gguf"):
        raise SetupError(f"--weights {source}: give it as --gguf, it holds the transformer alone")
    if options.steps is not None and not 1 <= options.steps <= 1000:
        raise SetupError(f"--steps {options.steps}: from 1 to 1000 are possible")
    return replace(
        preset,
        source=source,
        sigmas=preset.sigmas if options.steps is None else (),
        steps=options.steps or preset.steps,
        guidance=preset.guidance if options.guidance is None else options.guidance,
        guidance_low=preset.guidance_low if options.guidance is None else options.guidance,
        size=options.size or preset.size,
    )


def as_trained(preset: Preset, adapter: Adapter, keep_size: bool) -> Preset:
    """The preset at the size of the adapter's clips, in windows that are no longer than those."""
    size, frames = adapter.resolution, adapter.frames
    if size is not None and not keep_size:
        preset = replace(preset, size=size)
    if frames is not None and 1 < frames < preset.fresh + preset.overlap:
        overlap = min(preset.overlap, max(1, frames // 3 // 4 * 4 + 1), frames // 2)
        preset = replace(preset, fresh=frames - overlap, overlap=overlap)
    return preset


def _adapter_file(source: str) -> Path:
    """What the user named, or the adapter of that name that comes with the package. SetupError."""
    ours = bundled_adapters()
    is_name = not Path(source).exists() and re.fullmatch(r"[\w-]+", source)
    if is_name and source in ours:
        return ours[source]
    if is_name:
        raise SetupError(
            f"--adapter {source}: there is no such file or folder; with the package come: "
            f"{', '.join(ours) or 'none'}; one of the Hub is OWNER/NAME"
        )
    return found_file(source, ".safetensors", "adapter")


def _photo(path: Path, end: End, size: tuple[int, int]) -> U8:
    """The picture of --first-frame or --last-frame at (width, height) `size`. SetupError."""
    picture = read_png(path)
    if picture.dtype != np.uint8 or picture.ndim != 3:
        raise SetupError(f"--{end}-frame {path}: an RGB picture with 8 bits a channel is needed")
    height, width = picture.shape[:2]
    if abs(width / height / (size[0] / size[1]) - 1) > _ASPECT_SLACK:
        raise SetupError(
            f"--{end}-frame {path} is {width}x{height}, the session {size[0]}x{size[1]}: it must "
            f"show the {end} frame, so its shape must be the same"
        )
    made: U8 = resized(np.ascontiguousarray(picture[None, ..., :3], np.uint8), size)[0]
    return made


def _show(preview: LatentPreview, path: Path, latents: torch.Tensor, step: int, of: int) -> None:
    """Write the clip's first, middle and last moment side by side."""
    pictures = preview.pictures(latents[:, :, [0, latents.shape[2] // 2, -1]])
    strip = fit_width(np.concatenate(list(pictures), 1), _PREVIEW_PX)
    write_label(strip, f"step {step} of {of}", height_px=16)
    write_png(path, strip)


def _fit(name: str, preset: Preset, options: ModelOptions, device: str) -> Fit:
    quantized = options.gguf or options.quantize != "none"
    if options.fit == "fp8" and quantized:
        raise SetupError("--fit fp8: the weights are quantized already; offload is possible")
    if options.fit != "auto":
        return options.fit
    return choose(name, preset, free_gib(device))


def _gguf_files(name: str, preset: Preset, options: ModelOptions) -> tuple[Path, ...]:
    """The files of --gguf, one for each of the preset's transformers. SetupError."""
    files = tuple(found_file(source, ".gguf", "transformer") for source in options.gguf)
    wanted = 1 if preset.boundary is None else 2
    if files and options.quantize != "none":
        raise SetupError("--gguf with --quantize: a GGUF file is quantized already, give one")
    if files and len(files) != wanted:
        raise SetupError(f"--gguf: {name} takes {wanted}, not {len(files)}")
    for path in files:
        check_gguf(path)
    return files


def _reference_stride(adapters: list[Adapter]) -> int:
    strides = {adapter.reference_stride for adapter in adapters}
    if len(strides) > 1:
        raise SetupError(
            "the adapters want references of different sizes (reference_downscale_factor "
            f"{', '.join(map(str, sorted(strides)))}): they cannot work together"
        )
    return strides.pop() if strides else 1


def _adapter_digest(adapter: Adapter) -> str:
    digest = hashlib.sha256(adapter.name.encode())
    for module in sorted(adapter.modules):
        factors = adapter.modules[module]
        for factor in (factors.a, factors.b):
            digest.update(module.encode() + factor.float().numpy().tobytes())
    return digest.hexdigest()
