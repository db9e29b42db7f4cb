"""Trains the fast tier on street samples and exports it: `python -m training.fast`.

Some batches are single frames, some are runs of frames with history. Samples that appear in the
folder while it runs join in. A checkpoint holds all of the loop's state; with `steps` as the budget
a resumed run equals an uninterrupted one.
"""

import json
import logging
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import tyro
from torch import Tensor

from capture_bridge.errors import SetupError
from training.fast_checkpoint import load_checkpoint, load_weights, save_checkpoint
from training.fast_data import (
    Batch,
    Sample,
    SampleStore,
    Window,
    cut_batch,
    draw_windows,
    history_valid,
)
from training.fast_loss import edge_distance, flicker, lab, lab_distance, similarity
from training.fast_model import FastConfig, FastNet, warp, warp_hidden
from training.muon import muon_and_adamw

log = logging.getLogger(__name__)

#: So many batches may be left out for a gradient that is not finite before the run gives up.
MAX_SKIPPED = 100


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """One run. Either `minutes` or `steps` is the budget; `steps` wins."""

    data: Path
    """Folder of samples."""
    out: Path
    """Folder of the checkpoint, the log and the exported model."""
    minutes: float = 70.0
    steps: int | None = None
    resume: bool = False
    start_from: Path | None = None
    """Weights (.safetensors) to begin with, such as training/models/street_fast.safetensors: for
    another game, or to go on with more samples. A network with more blocks may go on, too."""
    stop_after: int | None = None
    """Stop at this step as if interrupted, with a checkpoint: the budget stays what it is."""
    seed: int = 0
    batch: int = 4
    crop: tuple[int, int] = (192, 320)
    learning_rate: float = 1.5e-3
    weight_decay: float = 1e-3
    warmup_steps: int = 300
    decay_from: float = 0.6
    """Share of the budget after which the learning rate falls."""
    history_from: float = 0.0
    """Share of the budget after which some batches are runs of frames, with history."""
    history_early: float = 0.3
    history_late: float = 0.3
    """Share of such batches before and after `decay_from`."""
    freeze_from: float = 0.6
    """Share of the budget after which normalizations keep their statistics, as in inference."""
    dropout: float = 0.0
    """Share of the deepest levels' channels left out at random, in every step."""
    edge_weight: float = 0.4
    """Of steps between neighbours at the geometry's edges; `detail_weight`: of all others."""
    detail_weight: float = 0.1
    contrast_weight: float = 0.0
    """Of steps weaker than the truth's at the geometry's edges, or stronger elsewhere."""
    similarity_weight: float = 0.02
    flicker_weight: float = 0.05
    clip_norm: float = 1.0
    ema_decay: float = 0.999
    rescan_steps: int = 200
    validate_minutes: float = 4.0
    checkpoint_minutes: float = 3.0
    log_seconds: float = 30.0
    threads: int = 2
    bfloat16: bool = True
    train_limit: int | None = None
    validate_limit: int = 24
    net: FastConfig = field(default_factory=FastConfig)


@dataclass(slots=True)
class Loop:
    """Everything that changes while training; a checkpoint is exactly this."""

    net: FastNet
    ema: FastNet
    optimizers: tuple[torch.optim.Optimizer, ...]
    rng: np.random.Generator
    step: int = 0
    elapsed_s: float = 0.0
    skipped: int = 0


def train(config: TrainConfig) -> Path:
    """Runs or resumes the training; returns the folder of the finished checkpoint."""
    torch.set_num_threads(config.threads)
    config.out.mkdir(parents=True, exist_ok=True)
    loop = new_loop(config)
    train_store = SampleStore(config.data, "train", config.train_limit)
    validate_store = SampleStore(config.data, "validate", config.validate_limit)
    path = config.out / "checkpoint.npz"
    if config.resume:
        names = load_checkpoint(path, loop)
        train_store.rescan(names)
        validate_store.rescan()
    report = _Report(config, loop)
    started = time.perf_counter() - loop.elapsed_s
    while progress(config, loop) < 1 and loop.step != config.stop_after:
        if loop.step % config.rescan_steps == 0 or not train_store.samples:
            _rescan(train_store, validate_store, config.crop)
        loss = train_step(config, loop, train_store.samples)
        loop.elapsed_s = time.perf_counter() - started
        report.after_step(loss, train_store, validate_store)
        if report.checkpoint_due():
            save_checkpoint(path, loop, train_store.names)
    save_checkpoint(path, loop, train_store.names)
    report.validate(validate_store)
    return config.out


def new_loop(config: TrainConfig) -> Loop:
    """Weights from `config.seed`, or those of `config.start_from`, and fresh optimizers."""
    torch.manual_seed(config.seed)
    net, ema = FastNet(config.net), FastNet(config.net)
    for module in (net, ema):
        module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if config.start_from is not None:
        load_weights(config.start_from, net)
    ema.load_state_dict(net.state_dict())
    net.dropout = config.dropout
    ema.requires_grad_(False).eval()
    rate, decay = config.learning_rate, config.weight_decay
    optimizers = muon_and_adamw(
        net,
        lr=rate,
        weight_decay=decay,
        outside=lambda name: name.startswith(("head.", "context.")),
    )
    return Loop(net, ema, optimizers, np.random.default_rng(config.seed))


def progress(config: TrainConfig, loop: Loop) -> float:
    """Share of the budget that is spent, 1 at the end."""
    if config.steps is not None:
        return loop.step / config.steps
    return loop.elapsed_s / (60 * config.minutes)


def learning_rate(config: TrainConfig, loop: Loop) -> float:
    """Warm up, stay, decay (WSD): the decay is a half cosine to a hundredth."""
    warm = min(1.0, (loop.step + 1) / config.warmup_steps)
    late = max(0.0, progress(config, loop) - config.decay_from) / (1 - config.decay_from)
    decay = 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, late)))
    return config.learning_rate * warm * decay


def draw_history(config: TrainConfig, loop: Loop) -> tuple[int, int]:
    """How many frames the next batch has, and how many of the last ones get a gradient."""
    spent = progress(config, loop)
    share = config.history_late if spent >= config.decay_from else config.history_early
    if spent < config.history_from or loop.rng.random() >= share:
        return 1, 1
    return int(loop.rng.choice([2, 3], p=[0.6, 0.4])), int(loop.rng.choice([1, 1, 2]))


def train_step(config: TrainConfig, loop: Loop, samples: list[Sample]) -> float:
    """One optimizer step on one random batch; returns its loss (NaN when it was skipped)."""
    num_frames, with_gradient = draw_history(config, loop)
    windows = draw_windows(samples, config.batch, config.crop, loop.rng)
    batch = cut_batch(samples, windows, config.crop, num_frames)
    for optimizer in loop.optimizers:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(config, loop)
    loop.net.train(progress(config, loop) < config.freeze_from)
    torch.manual_seed(int(loop.rng.integers(2**31)))  # what is left out; known to a resumed run
    statistics = [buffer.clone() for buffer in loop.net.buffers()]
    with torch.autocast("cpu", torch.bfloat16, enabled=config.bfloat16):
        steps = list(run_frames(loop.net, batch, with_gradient=with_gradient))
    loss = batch_loss(config, batch, steps)
    loop.net.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    norm = torch.nn.utils.clip_grad_norm_(loop.net.parameters(), config.clip_norm)
    loop.step += 1
    if not math.isfinite(norm.item()):
        loop.skipped += 1
        for buffer, value in zip(loop.net.buffers(), statistics, strict=True):
            buffer.copy_(value)
        if loop.skipped > MAX_SKIPPED:
            raise SetupError(f"{loop.skipped} batches gave no finite gradient; lower the rate")
        return math.nan
    for optimizer in loop.optimizers:
        optimizer.step()
    decay = min(config.ema_decay, (1 + loop.step) / (10 + loop.step))
    average(loop.ema, loop.net, decay)
    return loss.item()


@torch.no_grad()
def average(ema: FastNet, net: FastNet, decay: float) -> None:
    """Bring the averaged weights and running statistics nearer to the present ones."""
    torch._foreach_lerp_(list(ema.parameters()), list(net.parameters()), 1 - decay)
    for mine, present in zip(ema.buffers(), net.buffers(), strict=True):
        if mine.is_floating_point():
            mine.lerp_(present, 1 - decay)
        else:
            mine.copy_(present)


@dataclass(frozen=True, slots=True, eq=False)
class FrameResult:
    """What came out at one instant, with the warped images before it. float32."""

    output: Tensor
    output_before: Tensor
    valid: Tensor


def run_frames(net: FastNet, batch: Batch, *, with_gradient: int) -> Iterator[FrameResult]:
    """The network along a batch's instants, causal; gradients reach the last `with_gradient`."""
    output = hidden = depth = None
    for index, frame in enumerate(batch.frames):
        inputs = frame.inputs
        if output is not None and hidden is not None and depth is not None:
            motion = torch.nan_to_num(frame.motion)
            valid = history_valid(frame, depth)
            prev = warp(output.clamp(0, 1), motion, mode="bicubic").clamp(0, 1) * valid
            hidden = warp_hidden(hidden, motion)
            inputs = inputs._replace(prev=prev, hidden=hidden, valid=valid)
        with torch.set_grad_enabled(
            torch.is_grad_enabled() and index >= len(batch.frames) - with_gradient
        ):
            output, hidden = net(*inputs)
        output, hidden, depth = output.float(), hidden.float(), inputs.depth
        yield FrameResult(output, inputs.prev, inputs.valid)


def batch_loss(config: TrainConfig, batch: Batch, steps: list[FrameResult]) -> Tensor:
    """The weighted sum on the last instant, plus flicker between the last two."""
    last = steps[-1]
    output, truth = lab(last.output), lab(batch.truth)
    loss = lab_distance(output, truth)
    inputs = batch.frames[-1].inputs
    edges = edge_distance(output, truth, inputs.depth, inputs.normal)
    loss = loss + config.edge_weight * edges.at_edges + config.detail_weight * edges.elsewhere
    loss = loss + config.contrast_weight * edges.contrast
    loss = loss + config.similarity_weight * (1 - similarity(output, truth))
    outside = (last.output - last.output.clamp(0, 1)).abs().mean()
    loss = loss + 0.1 * outside
    if len(steps) > 1:
        motion = torch.nan_to_num(batch.frames[-1].motion)
        before = warp(batch.frames[-2].inputs.color, motion)
        render = batch.frames[-1].inputs.color
        change = flicker(last.output, last.output_before, render, before, last.valid)
        loss = loss + config.flicker_weight * change
    return loss


@torch.no_grad()
def validate(net: FastNet, samples: list[Sample]) -> dict[str, float]:
    """Gap closure on whole samples, in sums over all of them, and the flicker ratio.

    net: in evaluation mode.

    g, g_plain: last frame without history, with and without albedo and roughness. g_run,
    g_run_plain, flicker, flicker_plain: after all frames of the sample.
    """
    figures: dict[str, float] = {}
    for suffix, material in (("", True), ("_plain", False)):
        error = error_run = base = moved = moved_base = 0.0
        for index, sample in enumerate(samples):
            window = [Window(index, 0, 0, False, material)]
            batch = cut_batch(samples, window, sample.size, sample.num_frames)
            truth = lab(batch.truth)
            alone = net(*batch.frames[-1].inputs)[0]
            steps = list(run_frames(net, batch, with_gradient=0))
            base += lab_distance(lab(batch.frames[-1].inputs.color), truth).item()
            error += lab_distance(lab(alone), truth).item()
            error_run += lab_distance(lab(steps[-1].output), truth).item()
            for k in range(1, len(steps)):
                motion = torch.nan_to_num(batch.frames[k].motion)
                render, before = (batch.frames[i].inputs.color for i in (k, k - 1))
                change = (steps[k].output.clamp(0, 1) - steps[k].output_before).abs()
                moved += (change * steps[k].valid).sum().item()
                change = (render - warp(before, motion)).abs()
                moved_base += (change * steps[k].valid).sum().item()
        figures[f"g{suffix}"] = 1 - error / base
        figures[f"g_run{suffix}"] = 1 - error_run / base
        figures[f"flicker{suffix}"] = moved / max(moved_base, 1e-9)
    return figures


class _Report:
    """Says how it goes: a line every `log_seconds`, validation every `validate_minutes`."""

    def __init__(self, config: TrainConfig, loop: Loop) -> None:
        self._config = config
        self._loop = loop
        self._losses: list[float] = []
        self._line_s = self._validated_s = self._saved_s = loop.elapsed_s
        self._line_step = loop.step

    def after_step(self, loss: float, train_store: SampleStore, val_store: SampleStore) -> None:
        loop, config = self._loop, self._config
        self._losses.append(loss)
        if loop.elapsed_s - self._line_s >= config.log_seconds:
            rate = (loop.elapsed_s - self._line_s) / (loop.step - self._line_step)
            log.info(
                "step %d  %.1f min  %.0f %%  loss %.4f  lr %.1e  %.0f ms/step  "
                "%d samples  %d skipped",
                loop.step,
                loop.elapsed_s / 60,
                100 * progress(config, loop),
                np.nanmean(self._losses),
                learning_rate(config, loop),
                1e3 * rate,
                len(train_store.samples),
                loop.skipped,
            )
            self._losses.clear()
            self._line_s, self._line_step = loop.elapsed_s, loop.step
        if loop.elapsed_s - self._validated_s >= 60 * config.validate_minutes:
            self._validated_s = loop.elapsed_s
            self.validate(val_store)

    def validate(self, store: SampleStore) -> None:
        """Measures the averaged weights and appends the figures to `validation.jsonl`."""
        if not store.samples:
            log.info("no validation samples yet")
            return
        figures = validate(self._loop.ema, store.samples)
        row = {"step": self._loop.step, "minutes": self._loop.elapsed_s / 60, **figures}
        log.info("validate %s", "  ".join(f"{k} {v:.3f}" for k, v in row.items()))
        with (self._config.out / "validation.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def checkpoint_due(self) -> bool:
        if self._loop.elapsed_s - self._saved_s < 60 * self._config.checkpoint_minutes:
            return False
        self._saved_s = self._loop.elapsed_s
        return True


def _rescan(train_store: SampleStore, validate_store: SampleStore, crop: tuple[int, int]) -> None:
    added = train_store.rescan()
    validate_store.rescan()
    if added:
        log.info("%d more samples, %d now", added, len(train_store.samples))
    if not train_store.samples:
        raise SetupError(
            f"there is no training sample (seeds 0-799, 1000 on) in {train_store.folder}; "
            "render some first"
        )
    for sample in train_store.samples[-added:] if added else ():
        if sample.size[0] < crop[0] or sample.size[1] < crop[1]:
            raise SetupError(
                f"{sample.path.name} is {sample.size[1]}x{sample.size[0]} pixels, less than a crop "
                f"of {crop[1]}x{crop[0]}: lower --crop, or render larger samples"
            )


def main() -> None:
    """The command line."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    train(tyro.cli(TrainConfig, description=__doc__))


if __name__ == "__main__":
    main()
