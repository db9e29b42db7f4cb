"""A training run from its options to its files: opens the base, encodes the pairs, trains.

    OUTPUT/adapter.safetensors     what `realmaster enhance --adapter OUTPUT` takes
    OUTPUT/config.json             the whole config
    OUTPUT/checkpoints/            for --resume
    OUTPUT/latents/                the encoded clips: kept, so that a second run need not encode
    OUTPUT/validation/             render, result and target, side by side
    OUTPUT/logs/                   for TensorBoard

Started by torchrun (or accelerate launch), every process runs this and they share the work.
"""

import hashlib
import logging
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from capture_bridge.errors import OutputError, SetupError
from capture_bridge.media import VideoReader
from realmaster.families.fit import device_for
from realmaster.families.presets import PRESETS
from realmaster.families.prompts import Embedding, prompt_embeddings
from realmaster.families.weights import source_of
from training import checkpoint
from training.adapter_file import ADAPTER, write_adapter
from training.bases import Base, open_base
from training.clip_reader import sample_size
from training.config import TrainConfig, to_json
from training.dataset import LatentClips
from training.latents import Progress as Encoding
from training.latents import encode_pairs, make_folder, read_captions, write_captions
from training.pairs_folder import Pair, read_pairs
from training.trainer import Progress, Publish, Result, Trainer, Watch
from training.transformer_file import write_transformer
from training.validation import first_cuts

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Run:
    """What a run reads and writes. validation: pairs to score, None for the first of `pairs`."""

    config: TrainConfig
    pairs: Path
    output: Path
    weights: str = ""
    validation: Path | None = None
    resume: bool = False
    overwrite: bool = False


def train(run: Run, *, encoding: Encoding, training: Progress) -> Result:
    """Train an adapter. The callbacks draw bars. RealMasterError in one line for what fails."""
    config = run.config
    pairs = _captioned(read_pairs(run.pairs), config.trigger)
    shown_pairs = pairs
    if run.validation is not None:
        shown_pairs = _captioned(read_pairs(run.validation), config.trigger)
    shown_pairs = shown_pairs[: config.num_validation]
    accelerator, device = _accelerator(config)
    source = source_of(config.base, PRESETS[config.base], run.weights)
    if accelerator.is_main_process:
        prepare_output(run)
    accelerator.wait_for_everyone()
    family, precision = PRESETS[config.base].family, _dtype(config)
    base = open_base(family, source, config.component, precision, str(device))
    clips, embeddings = _encoded(
        run, [*pairs, *shown_pairs], len(pairs), base, source, accelerator, encoding
    )
    shown = first_cuts(shown_pairs, embeddings, config, base)
    with _stop_at_signals() as stopped, _scalars(run.output, accelerator) as scalars:
        watch = Watch(training, _publisher(run, pairs[0], base), stopped, scalars)
        trainer = Trainer(accelerator, base, config, clips, shown, run.output, watch)
        if run.resume:
            trainer.restore()
        result = trainer.run()
    accelerator.end_training()
    return result


def prepare_output(run: Run) -> None:
    """Make the folder and write its config; OutputError where another run's results are there."""
    kept = checkpoint.checkpoints(run.output / "checkpoints")
    if kept and run.overwrite and not run.resume:
        for name in ("checkpoints", "validation", "logs"):
            shutil.rmtree(run.output / name, ignore_errors=True)
    elif kept and not run.resume:
        raise OutputError(
            f"{run.output} holds a run already ({kept[-1].name}): give --resume to go on, "
            "--overwrite to start anew, or another output"
        )
    make_folder(run.output)
    part = run.output / "config.part"
    try:
        part.write_text(to_json(run.config) + "\n", encoding="utf-8")
        part.replace(run.output / "config.json")
    except OSError as error:
        raise OutputError(f"cannot write into {run.output}: {error.strerror}") from error


def _accelerator(config: TrainConfig) -> tuple[Accelerator, torch.device]:
    """Who shares the work, as torchrun or accelerate launch say; precision is the trainer's own."""
    on_cpu = device_for(config.base, PRESETS[config.base]) == "cpu"
    accelerator = Accelerator(cpu=on_cpu, mixed_precision="no")
    return accelerator, accelerator.device


def _dtype(config: TrainConfig) -> torch.dtype:
    """Of the frozen weights; what is trained stays in float32."""
    halved = config.precision == "bfloat16" and config.lora is not None
    return torch.bfloat16 if halved else torch.float32


def _captioned(pairs: Sequence[Pair], trigger: str) -> list[Pair]:
    """The pairs, the trigger word before each caption, as enhancing puts it there."""
    return [replace(pair, caption=" ".join([*trigger.split(), pair.caption])) for pair in pairs]


def _encoded(
    run: Run,
    pairs: Sequence[Pair],
    num_training: int,
    base: Base,
    source: str,
    accelerator: Accelerator,
    progress: Encoding,
) -> tuple[LatentClips, dict[str, Embedding]]:
    """The first `num_training` pairs as samples, and what the model hears of all captions."""
    folder = run.output / "latents"
    make_folder(folder)
    training = pairs[:num_training]
    encode_pairs(
        training,
        folder,
        base,
        _identity(source),
        run.config.clip,
        accelerator.device,
        part=(accelerator.process_index, accelerator.num_processes),
        progress=progress,
    )
    captions = sorted({pair.caption for pair in pairs})
    if accelerator.is_main_process and read_captions(folder, source).keys() != set(captions):
        family = PRESETS[run.config.base].family
        told = prompt_embeddings(family, source, captions, str(accelerator.device))
        write_captions(folder, source, captions, told)
    accelerator.wait_for_everyone()
    embeddings = read_captions(folder, source)
    clips = LatentClips(
        folder, [pair.caption for pair in training], embeddings, run.config.clip.reference_stride
    )
    clips.check_shapes(run.config.batch)
    return clips, embeddings


def _identity(source: str) -> str:
    """What the latents depend on: a Hub id, or the bytes of a folder's autoencoder."""
    files = sorted((Path(source) / "vae").glob("*.safetensors"))
    if not files:
        return source
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _publisher(run: Run, pair: Pair, base: Base) -> Publish:
    """Writes the adapter, or where all weights are trained the transformer."""
    config = run.config
    if config.lora is None:
        return lambda weights, _: write_transformer(run.output, base.transformer, weights)
    with closing(VideoReader(pair.target)) as video:
        size = sample_size((video.width, video.height), config.clip, base.spatial_multiple)

    def publish(weights: Mapping[str, Tensor], step: int) -> None:
        factors = {name.replace(".default.", "."): value for name, value in weights.items()}
        write_adapter(run.output / ADAPTER, factors, config, step=step, size=size)

    return publish


@contextmanager
def _stop_at_signals() -> Iterator[Callable[[], bool]]:
    """Asks whether Ctrl-C or a scheduler's SIGTERM came; a second one ends the run at once."""
    came: list[int] = []
    before = {kind: signal.getsignal(kind) for kind in (signal.SIGINT, signal.SIGTERM)}

    def note(kind: int, _: FrameType | None) -> None:
        came.append(kind)
        for known, handler in before.items():
            signal.signal(known, handler)

    for kind in before:
        signal.signal(kind, note)
    try:
        yield lambda: bool(came)
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)


@contextmanager
def _scalars(output: Path, accelerator: Accelerator) -> Iterator[Any]:
    """TensorBoard's writer in the main process, None in the others."""
    if not accelerator.is_main_process:
        yield None
        return
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise SetupError("training needs tensorboard: pip install 'realmaster[train]'") from error
    with SummaryWriter(str(output / "logs")) as writer:
        yield writer
