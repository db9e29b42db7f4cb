"""`make bench-gpu`: full-size transformers with random weights on a CUDA GPU, as a Markdown table.

Ours (references in context, modulation per segment) beside diffusers' stock forward with a timestep
per token on the same tokens, then ours with each lever. Random weights take as long as real ones.
The share of the peak is against a large bf16 matrix product on the same card. Says so and ends
where there is no GPU.
"""

import argparse
import gc
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.passes import Passes, default_dtype, passes
from realmaster.families.attention import attention_backends, choose_attention

Size = tuple[int, int]


@dataclass(frozen=True)
class Row:
    """One measurement: milliseconds of a step, its operations, peak GiB beyond the weights."""

    model: str
    way: str
    tokens: int
    step_ms: float
    tflop: float
    peak_gib: float

    def markdown(self, peak_tflops: float) -> str:
        """A line of the table."""
        rate = self.tflop / self.step_ms * 1e3
        return (
            f"| {self.model} | {self.way} | {self.tokens} | {self.step_ms:.0f} "
            f"| {self.tokens / self.step_ms:.1f} | {rate:.0f} | {100 * rate / peak_tflops:.0f} % "
            f"| {self.peak_gib:.2f} |"
        )


HEADER = """| model | way | tokens | ms/step | tokens/ms | TFLOP/s | of peak | GiB beyond weights |
|---|---|--:|--:|--:|--:|--:|--:|"""


def _compiled(model: Any) -> None:
    model.compile_repeated_blocks()


def _fp8(model: Any) -> None:
    model.enable_layerwise_casting(
        storage_dtype=torch.float8_e4m3fn, compute_dtype=torch.get_default_dtype()
    )


#: What is done to a model of its own before it is measured.
LEVERS: Mapping[str, Callable[[Any], None]] = {"fp8 weights": _fp8, "compiled": _compiled}


def measure(
    name: str,
    frames: int,
    device: str,
    *,
    size: Size | None = None,
    layers: int | None = None,
    levers: Mapping[str, Callable[[Any], None]] = LEVERS,
) -> Iterator[Row]:
    """Rows of one model; `layers` builds fewer blocks and `size` is smaller (for trials)."""
    with torch.device("meta"):
        counted = passes(name, frames, size=size, layers=layers)
        whole_tflop, half_tflop = (_tflop(run) for run in (counted.ours, counted.half))

    def row(way: str, run: Callable[[], object], made: Passes) -> Row:
        half = run is made.half
        tokens = made.half_tokens if half else 2 * made.tokens
        milliseconds, peak_gib = _timed(run, device)
        return Row(name, way, tokens, milliseconds, half_tflop if half else whole_tflop, peak_gib)

    def built() -> Passes:
        gc.collect()
        if device.startswith("cuda"):
            torch.cuda.empty_cache()
        with torch.device(device):
            return passes(name, frames, size=size, layers=layers)

    made = built()
    yield row("stock, per token", made.stock, made)
    yield row("ours", made.ours, made)
    yield row("ours, half reference", made.half, made)
    for backend in attention_backends(device):
        if backend not in ("native", "_native_math"):
            choose_attention(made.model, backend, device)
            yield row(f"ours, attention {backend}", made.ours, made)
    for lever, pull in levers.items():
        del made
        made = built()
        pull(made.model)
        yield row(f"ours, {lever}", made.ours, made)
    if levers:
        yield row(f"ours, {lever}, half reference", made.half, made)


def _timed(run: Callable[[], object], device: str) -> tuple[float, float]:
    """(median milliseconds, peak GiB beyond what was there) of three runs after two to warm up."""
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
            if index > 1:
                times.append(time.perf_counter() - started)
    return 1e3 * statistics.median(times), peak


def _tflop(run: Callable[[], object]) -> float:
    """Operations of a pass, counted on the meta device, in 1e12."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops() / 1e12


def peak_tflops(device: str, side: int) -> float:
    """What a product of two square matrices reaches, in 1e12 operations a second."""
    a, b = (torch.randn(side, side, device=device) for _ in range(2))
    return 2 * side**3 / 1e12 / (_timed(lambda: a @ b, device)[0] / 1e3)


def _parse(text: str) -> Size | None:
    if not text:
        return None
    width, height = text.split("x")
    return int(width), int(height)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="*", default=["wan2.2-5b", "ltx-2.3"])
    parser.add_argument("--frames", type=int, default=121)
    parser.add_argument("--size", type=_parse, help="WIDTHxHEIGHT; by default the preset's")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    if not torch.cuda.is_available():
        print("bench-gpu: PyTorch finds no CUDA GPU here; nothing was measured")
        return
    device = torch.cuda.get_device_name()
    with default_dtype(torch.bfloat16):
        peak = peak_tflops("cuda", 8192)
        told = f"{device}, PyTorch {torch.__version__}, {options.frames} frames, bf16"
        lines = [f"{told}; a matrix product reaches {peak:.0f} TFLOP/s:", "", HEADER]
        print("\n".join(lines), flush=True)
        for name in options.models:
            for row in measure(name, options.frames, "cuda", size=options.size):
                lines.append(row.markdown(peak))
                print(lines[-1], flush=True)
    if options.output:
        options.output.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
