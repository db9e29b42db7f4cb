"""`make bench-gpu`: full-size transformers with random weights on a CUDA GPU, as a Markdown table.

Ours (references in context, modulation per segment) beside diffusers' stock forward with a timestep
per token on the same tokens, then ours with each lever. Random weights take as long as real ones.
Says so and ends where there is no GPU.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import WanTransformer3DModel

from realmaster.families.architectures import TRANSFORMERS
from realmaster.families.presets import PRESETS
from realmaster.in_context import InContextTransformer, Segment

#: Pixels of one latent pixel, per preset; a latent frame is four frames.
SPATIAL = {"wan2.2-5b": 16}


@dataclass(frozen=True)
class Row:
    """One measurement: milliseconds of a step, tokens a second, peak GiB beyond the weights."""

    model: str
    way: str
    tokens: int
    step_ms: float
    peak_gib: float

    def markdown(self) -> str:
        """A line of the table."""
        rate = self.tokens / self.step_ms
        return (
            f"| {self.model} | {self.way} | {self.tokens} | {self.step_ms:.0f} | {rate:.1f} "
            f"| {self.peak_gib:.2f} |"
        )


HEADER = """| model | way | tokens | ms a step | thousand tokens/s | GiB beyond weights |
|---|---|--:|--:|--:|--:|"""


def measure(name: str, frames: int, device: str, *, layers: int | None = None) -> Iterator[Row]:
    """Rows of one model at its preset's size; `layers` builds fewer blocks (for trials)."""
    config = dict(TRANSFORMERS[name])
    if layers is not None:
        config["num_layers"] = layers
    width, height = (side // SPATIAL.get(name, 8) for side in PRESETS[name].size)
    shape = (1, config.get("in_channels", 16), (frames - 1) // 4 + 1, height, width)
    dtype = torch.bfloat16 if device.startswith("cuda") else torch.float32
    latents = torch.randn(shape, device=device, dtype=dtype)
    text = torch.randn(1, 512, config["text_dim"], device=device, dtype=dtype)
    half = latents[..., : shape[3] // 4 * 2, : shape[4] // 4 * 2].contiguous()
    tokens = latents[0, 0].numel() // 4
    time_ = torch.full((1,), 500.0, device=device)
    clean = torch.zeros(1, device=device)
    target = Segment(latents, time_, predicted=True)

    with _built(WanTransformer3DModel, config, device, dtype) as stock:
        per_token = torch.cat([time_.expand(1, tokens), clean.expand(1, tokens)], 1)
        both = torch.cat([latents, latents], 2)
        yield _row(
            name, "stock, per token", 2 * tokens, device, lambda: stock(both, per_token, text)
        )
    with _built(InContextTransformer, config, device, dtype) as ours:
        whole = [target, Segment(latents, clean)]
        smaller = [target, Segment(half, clean, stride=2)]
        yield _row(name, "ours", 2 * tokens, device, lambda: ours(whole, None, text))
        small_tokens = tokens + half[0, 0].numel() // 4
        yield _row(
            name, "ours, half reference", small_tokens, device, lambda: ours(smaller, None, text)
        )
        if device.startswith("cuda"):
            ours.compile_repeated_blocks()
            yield _row(name, "ours, compiled", 2 * tokens, device, lambda: ours(whole, None, text))
    if device.startswith("cuda"):
        with _built(InContextTransformer, config, device, dtype) as ours:
            ours.enable_layerwise_casting(
                storage_dtype=torch.float8_e4m3fn, compute_dtype=torch.bfloat16
            )
            yield _row(
                name, "ours, fp8 weights", 2 * tokens, device, lambda: ours(whole, None, text)
            )


@contextmanager
def _built(
    component: type, config: dict[str, object], device: str, dtype: torch.dtype
) -> Iterator[torch.nn.Module]:
    """A model with random weights, gone from the device afterwards."""
    with torch.device(device):
        before = torch.get_default_dtype()
        torch.set_default_dtype(dtype)
        try:
            model = component(**config).eval()
        finally:
            torch.set_default_dtype(before)
    try:
        yield model
    finally:
        model.to("meta")
        if device.startswith("cuda"):
            torch.cuda.empty_cache()


def _row(name: str, way: str, tokens: int, device: str, run: Callable[[], object]) -> Row:
    cuda = device.startswith("cuda")
    times: list[float] = []
    peak = 0.0
    with torch.no_grad():
        for index in range(5):
            if cuda:
                torch.cuda.synchronize()
                torch.cuda.reset_peak_memory_stats()
                base = torch.cuda.memory_allocated()
            started = time.perf_counter()
            run()
            if cuda:
                torch.cuda.synchronize()
                peak = (torch.cuda.max_memory_allocated() - base) / (1 << 30)
            if index > 1:  # the first ones warm up
                times.append(time.perf_counter() - started)
    return Row(name, way, tokens, 1e3 * statistics.median(times), peak)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="*", default=["wan2.2-5b", "wan2.1-1.3b"])
    parser.add_argument("--frames", type=int, default=121)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    if not torch.cuda.is_available():
        print("bench-gpu: PyTorch finds no CUDA GPU here; nothing was measured")
        return
    device = torch.cuda.get_device_name()
    lines = [f"{device}, PyTorch {torch.__version__}, {options.frames} frames, bf16:", "", HEADER]
    print("\n".join(lines), flush=True)
    for name in options.models:
        for row in measure(name, options.frames, "cuda"):
            lines.append(row.markdown())
            print(lines[-1], flush=True)
    if options.output:
        options.output.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
