"""The encoded clips as samples, and in which order they come.

The order is a function of seed and position alone: a resumed run goes on where it stopped without
any state, and it does not depend on how many processes share a batch.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from capture_bridge.errors import SessionError, SetupError
from realmaster.families.prompts import Embedding
from training.bases import Batch
from training.latents import shard_file
from training.objective import generator_of


@dataclass(frozen=True, slots=True)
class Sample:
    """Where a sample is kept. cut: which of the clip."""

    shard: Path
    cut: int
    caption: str
    fps: float
    shape: tuple[int, ...]


class LatentClips:
    """The samples of all clips. captions: of each clip, embeddings: of each caption.

    stride: how many times smaller references are. SetupError where no sample is left, SessionError
    where a shard is damaged.
    """

    def __init__(
        self,
        folder: Path,
        captions: Sequence[str],
        embeddings: Mapping[str, Embedding],
        stride: int,
    ) -> None:
        self._embeddings = embeddings
        self._stride = stride
        self.samples = [
            sample
            for index, caption in enumerate(captions)
            for sample in _samples(shard_file(folder, index), caption)
        ]
        if not self.samples:
            raise SetupError("every clip is shorter than a sample: give fewer --frames")

    def __len__(self) -> int:
        return len(self.samples)

    def batch(
        self,
        indices: Sequence[int],
        lengths: Sequence[int],
        device: torch.device,
        *,
        with_reference: bool = True,
    ) -> Batch:
        """These samples, on the device. lengths: see Batch."""
        samples = [self.samples[index] for index in indices]
        names = ("target", "reference") if with_reference else ("target",)
        loaded = [_load(sample, names) for sample in samples]
        latents = [torch.stack(parts).to(device) for parts in zip(*loaded, strict=True)]
        told = [self._embeddings[sample.caption] for sample in samples]
        return Batch(
            target=latents[0],
            reference=latents[1] if with_reference else None,
            text={name: torch.cat([one[name] for one in told]).to(latents[0]) for name in told[0]},
            stride=self._stride,
            lengths=lengths,
            fps=samples[0].fps,
        )

    def check_shapes(self, batch: int) -> None:
        """SetupError where samples of different shapes would meet in a batch."""
        shapes = {sample.shape for sample in self.samples}
        if batch > 1 and len(shapes) > 1:
            raise SetupError(
                f"the clips have {len(shapes)} different shapes, which cannot share a batch: give "
                "--batch 1"
            )


def order(position: int, num_samples: int, seed: int) -> int:
    """Which sample comes at that position: every epoch is a new permutation of all."""
    epoch, place = divmod(position, num_samples)
    permutation = torch.randperm(num_samples, generator=generator_of(seed, "epoch", epoch))
    return int(permutation[place])


def _samples(path: Path, caption: str) -> list[Sample]:
    try:
        with safe_open(path, framework="pt") as file:
            fps = json.loads((file.metadata() or {})["fps"])
            return [
                Sample(path, cut, caption, rate, tuple(file.get_slice(f"target.{cut}").get_shape()))
                for cut, rate in enumerate(fps)
            ]
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise SessionError(f"{path} is damaged ({error}): remove it and run it again") from error


def _load(sample: Sample, names: Sequence[str]) -> list[Tensor]:
    with safe_open(sample.shard, framework="pt") as file:
        return [file.get_tensor(f"{name}.{sample.cut}") for name in names]
