"""The loop: draw, predict, step, save, validate; over one process or many.

Accelerate spreads it (DDP, FSDP2). What a step does is a function of the config and its number, so
that the same seed gives the same losses, and a resumed run those of an uninterrupted one. A loss
that is no number, a full disk or Ctrl-C leave the last checkpoint whole.
"""

import logging
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType
from peft import LoraConfig
from torch import Tensor, nn

from capture_bridge.errors import RealMasterError, SetupError
from training import checkpoint
from training.bases import Base
from training.config import Lora, Optimizer, TrainConfig
from training.dataset import LatentClips, order
from training.latents import make_folder
from training.muon import muon_and_adamw
from training.objective import draw, flow_loss, held_lengths, sees_reference
from training.validation import Score, Shown, render, score, write_comparison

log = logging.getLogger(__name__)

#: (steps done, steps in all, the last loss)
Progress = Callable[[int, int, float], None]
#: Writes what was trained, by the parameters' names, after so many steps.
Publish = Callable[[Mapping[str, Tensor], int], None]


@dataclass(frozen=True, slots=True, eq=False)
class Watch:
    """How a run is seen and stopped. stop: asked every step; scalars: TensorBoard's writer."""

    progress: Progress
    publish: Publish
    stop: Callable[[], bool] = lambda: False
    scalars: Any = None


@dataclass(slots=True)
class Result:
    """losses: of the steps of this run, mean over its whole batches; scores: by step."""

    losses: list[float] = field(default_factory=list)
    scores: dict[int, Score] = field(default_factory=dict)
    step: int = 0


class Trainer:
    """One run in `output`. shown: the clips that are rendered and scored."""

    def __init__(
        self,
        accelerator: Accelerator,
        base: Base,
        config: TrainConfig,
        clips: LatentClips,
        shown: Sequence[Shown],
        output: Path,
        watch: Watch,
    ) -> None:
        self._accelerator = accelerator
        self._base = base
        self._config = config
        self._clips = clips
        self._shown = shown
        self._output = output
        self._watch = watch
        split = accelerator.distributed_type == DistributedType.FSDP
        if split and config.optimizer.name == "muon":
            raise SetupError("--optimizer muon needs whole weights, not FSDP's: take adamw")
        torch.manual_seed(config.seed)
        attach(base.transformer, config.lora)
        if config.gradient_checkpointing:
            base.transformer.enable_gradient_checkpointing()
        optimizers = make_optimizers(base.transformer, config.optimizer)
        self._model, *self._optimizers = accelerator.prepare(base.transformer, *optimizers)
        base.transformer = accelerator.unwrap_model(self._model)
        self._parameters = list(checkpoint.trained(base.transformer).values())
        self.start = 0

    @property
    def _folder(self) -> Path:
        return self._output / "checkpoints"

    def restore(self) -> None:
        """Go on from the newest checkpoint. SetupError where there is none that fits."""
        self.start = checkpoint.restore(
            self._folder, self._config, self._base.transformer, *self._bare_optimizers()
        )

    def run(self) -> Result:
        """Train to the config's last step. KeyboardInterrupt, once saved, where `stop` says so."""
        config, watch, result = self._config, self._watch, Result(step=self.start)
        watch.progress(self.start, config.steps, float("nan"))
        for step in range(self.start, config.steps):
            began_s = time.monotonic()
            loss, stop = self._step(step)
            result.losses.append(loss)
            result.step = done = step + 1
            self._tell("train/loss", loss, done)
            self._tell("train/lr", rate(config, step), done)
            self._tell("train/step_s", time.monotonic() - began_s, done)
            watch.progress(done, config.steps, loss)
            if done % config.checkpoint_every == 0 or done == config.steps or stop:
                self._save(done)
            if stop:
                raise KeyboardInterrupt
            every = config.validate_every
            if self._shown and (done == config.steps or (every and done % every == 0)):
                result.scores[done] = self._validate(done)
        return result

    def _bare_optimizers(self) -> list[torch.optim.Optimizer]:
        return [optimizer.optimizer for optimizer in self._optimizers]

    def _step(self, step: int) -> tuple[float, bool]:
        """One step of the optimizer: (mean loss over all processes, whether one was stopped)."""
        config, accelerator = self._config, self._accelerator
        self._model.train()
        for group in (group for each in self._optimizers for group in each.param_groups):
            group["lr"] = rate(config, step)
        total = torch.zeros((), device=accelerator.device)
        for passage in range(config.accumulation):
            last = passage == config.accumulation - 1
            with nullcontext() if last else accelerator.no_sync(self._model):
                loss = self._loss(step, passage) / config.accumulation
                accelerator.backward(loss)
            total += loss.detach()
        norm = accelerator.clip_grad_norm_(self._parameters, config.optimizer.max_grad_norm)
        stop = torch.tensor(float(self._watch.stop()), device=accelerator.device)
        told = accelerator.reduce(torch.stack([total, whole_norm(norm), stop]), "mean").tolist()
        if not all(map(_is_finite, told[:2])):
            raise self._no_number(step, told[0])
        for optimizer in self._optimizers:
            optimizer.step()
            optimizer.zero_grad()
        return told[0], told[2] > 0

    def _loss(self, step: int, passage: int) -> Tensor:
        config, base, accelerator = self._config, self._base, self._accelerator
        slots = self._slots(passage)
        indices = self._indices(step, slots)
        shape = self._clips.samples[indices[0]].shape
        lengths = held_lengths(config.held, shape[1], base.temporal_factor)
        seen = sees_reference(config.reference_share, config.seed, step)
        batch = self._clips.batch(indices, lengths, accelerator.device, with_reference=seen)
        drawn = draw(
            shape, slots, step, config.seed, config.noise, config.held, base.temporal_factor
        ).to(accelerator.device)
        with self._precision():
            predicted = base.predict(self._model, batch, drawn)
        return flow_loss(predicted, batch.target, drawn)

    @contextmanager
    def _precision(self) -> Iterator[None]:
        """Where the transformer runs: its products in bf16, if the config says so."""
        short = self._config.precision == "bfloat16"
        device = self._accelerator.device.type
        with warnings.catch_warnings(), torch.autocast(device, torch.bfloat16, enabled=short):
            # a norm whose weights stay in float32 has no fused form: slower, and as it should be
            warnings.filterwarnings("ignore", "Mismatch dtype between input and weight")
            yield

    def _slots(self, passage: int) -> range:
        """This process's places in the step's whole batch."""
        accelerator, size = self._accelerator, self._config.batch
        first = (passage * accelerator.num_processes + accelerator.process_index) * size
        return range(first, first + size)

    def _indices(self, step: int, slots: Sequence[int]) -> list[int]:
        config = self._config
        whole = config.batch * config.accumulation * self._accelerator.num_processes
        return [order(step * whole + slot, len(self._clips), config.seed) for slot in slots]

    def _no_number(self, step: int, loss: float) -> RealMasterError:
        indices = [
            index
            for passage in range(self._config.accumulation)
            for index in self._indices(step, self._slots(passage))
        ]
        names = ", ".join(sorted({self._clips.samples[index].shard.name for index in indices}))
        kept = checkpoint.checkpoints(self._folder)
        last = f"the last good checkpoint is {kept[-1]}" if kept else "there is no checkpoint yet"
        return RealMasterError(
            f"the loss or its gradient is no number at step {step + 1} (loss {loss:g}, on {names}):"
            f" stopped; {last}; look at those clips, or start anew with a lower --lr"
        )

    def _save(self, step: int) -> None:
        state = checkpoint.state_of(self._base.transformer, *self._bare_optimizers())
        if self._accelerator.is_main_process:
            make_folder(self._folder)
            checkpoint.save(self._folder, state, self._config, step, self._config.keep)
            weights = {
                name.removeprefix("weight/"): tensor
                for name, tensor in state.items()
                if name.startswith("weight/")
            }
            self._watch.publish(weights, step)
        self._accelerator.wait_for_everyone()

    def _validate(self, step: int) -> Score:
        self._model.eval()
        device = self._accelerator.device
        with self._precision():
            made = [render(clip, self._base, self._config, device) for clip in self._shown]
        scored = score(made, self._shown)
        if self._accelerator.is_main_process:
            folder = self._output / "validation" / f"step-{step:08d}"
            make_folder(folder)
            for index, (pictures, clip) in enumerate(zip(made, self._shown, strict=True)):
                write_comparison(folder / f"clip-{index:02d}.mp4", pictures, clip.cut)
        self._tell("validation/psnr_db", scored.psnr_db, step)
        self._tell("validation/render_psnr_db", scored.render_psnr_db, step)
        log.info(
            "step %d: %.2f dB to the target, the render %.2f",
            step,
            scored.psnr_db,
            scored.render_psnr_db,
        )
        return scored

    def _tell(self, name: str, value: float, step: int) -> None:
        if self._watch.scalars is not None:
            self._watch.scalars.add_scalar(name, value, step)


def attach(transformer: Any, lora: Lora | None) -> None:
    """Make what is trained trainable: an adapter in float32, or all of the transformer."""
    if lora is None:
        transformer.requires_grad_(True)
        return
    transformer.requires_grad_(False)
    transformer.add_adapter(
        LoraConfig(r=lora.rank, lora_alpha=lora.alpha, target_modules=list(lora.targets))
    )
    for parameter in checkpoint.trained(transformer).values():
        parameter.data = parameter.data.float()


def make_optimizers(model: nn.Module, config: Optimizer) -> tuple[torch.optim.Optimizer, ...]:
    """Over what is trained. SetupError where 8 bits are asked for and cannot be had."""
    if config.name == "muon":
        return muon_and_adamw(
            model,
            lr=config.lr,
            weight_decay=config.weight_decay,
            outside=lambda name: "blocks." not in name,
        )
    parameters = list(checkpoint.trained(model).values())
    options: dict[str, Any] = {
        "lr": config.lr,
        "betas": config.betas,
        "weight_decay": config.weight_decay,
    }
    if config.name == "adamw":
        return (torch.optim.AdamW(parameters, **options),)
    try:
        from bitsandbytes.optim import AdamW8bit
    except ImportError as error:
        raise SetupError(
            "--optimizer adamw8bit needs bitsandbytes: pip install bitsandbytes, or take "
            "--optimizer adamw"
        ) from error
    return (AdamW8bit(parameters, **options),)


def rate(config: TrainConfig, step: int) -> float:
    """The learning rate of a step: up in a line, then down in a line to `final` of its peak."""
    optimizer = config.optimizer
    warmup = min(1.0, (step + 1) / max(1, optimizer.warmup_steps))
    left = 1 - step / config.steps
    return optimizer.lr * warmup * (optimizer.final + (1 - optimizer.final) * left)


def whole_norm(norm: Tensor | float) -> Tensor:
    """A gradient's norm as a plain scalar, whether or not it is split over processes."""
    tensor = torch.as_tensor(norm)
    full = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
    return full.detach().float().reshape(())


def _is_finite(value: float) -> bool:
    return value == value and abs(value) != float("inf")
