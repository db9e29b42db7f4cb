"""Encodes pairs once, before training: one .safetensors shard per clip, and one for the captions.

A shard holds `target.K` and `reference.K` (C, F, H, W) of the clip's K-th cut, and in its metadata
a fingerprint of all that it depends on: a run that is started again keeps the shards that still
hold, and encodes the others. Shards appear whole or not at all. Several processes share the work.
"""

import hashlib
import json
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from capture_bridge.errors import OutputError, SetupError
from realmaster.families.prompts import Embedding
from training.bases import Base
from training.clip_reader import U8, cuts
from training.config import Clip
from training.pairs_folder import Pair

log = logging.getLogger(__name__)

Progress = Callable[[int, int], None]


def shard_file(folder: Path, index: int) -> Path:
    """Where the clip of that index is kept."""
    return folder / f"clip-{index:06d}.safetensors"


def encode_pairs(
    pairs: Sequence[Pair],
    folder: Path,
    base: Base,
    identity: str,
    clip: Clip,
    device: torch.device,
    *,
    part: tuple[int, int] = (0, 1),
    progress: Progress,
) -> None:
    """Write the shards that are missing. identity: of the autoencoder; part: (which, of how many).

    SetupError where the clip's length does not suit the model; OutputError where a shard cannot be
    written.
    """
    if (clip.frames - 1) % base.temporal_factor:
        below = clip.frames - (clip.frames - 1) % base.temporal_factor
        raise SetupError(
            f"--frames {clip.frames}: this model takes {base.temporal_factor}k+1 frames, such as "
            f"{below}"
        )
    make_folder(folder)
    mine = range(part[0], len(pairs), part[1])
    for done, index in enumerate(mine):
        progress(done, len(mine))
        path = shard_file(folder, index)
        fingerprint = _fingerprint(pairs[index], identity, clip)
        if _kept(path) != fingerprint:
            _encode_pair(pairs[index], path, base, clip, fingerprint, device)
    progress(len(mine), len(mine))


def write_shard(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write a .safetensors file that is there whole or not at all. OutputError."""
    part = path.with_suffix(".part")
    try:
        part.touch()
        mode = (
            part.stat().st_mode
        )  # as the user's umask says; safetensors would hide it from others
        save_file(tensors, part, metadata)
        part.chmod(mode)
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        part.replace(path)
    except (OSError, SafetensorError) as error:
        part.unlink(missing_ok=True)
        why = getattr(error, "strerror", None) or error
        raise OutputError(f"cannot write {path}: {why}; free space and run it again") from error


def make_folder(folder: Path) -> None:
    """Make it, with its parents. OutputError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the folder {folder}: {error.strerror}") from error


def write_captions(
    folder: Path, source: str, captions: Sequence[str], embeddings: Sequence[Embedding]
) -> None:
    """Keep what the text encoder of `source` made of each caption, with the captions themselves."""
    tensors = {
        f"{index}.{name}": tensor.clone()
        for index, embedding in enumerate(embeddings)
        for name, tensor in embedding.items()
    }
    write_shard(folder / "captions.safetensors", tensors, _told(source, captions))


def read_captions(folder: Path, source: str) -> dict[str, Embedding]:
    """{caption: its embedding} of `write_captions`; empty where there is no such file yet."""
    path = folder / "captions.safetensors"
    metadata = _metadata(path)
    if metadata.get("source") != _digest(source):
        return {}
    captions: list[str] = json.loads(metadata["captions"])
    found: dict[str, Embedding] = {caption: {} for caption in captions}
    for key, tensor in load_file(path).items():
        index, _, name = key.partition(".")
        found[captions[int(index)]][name] = tensor
    return found


def to_video(pictures: U8, device: torch.device) -> Tensor:
    """(1, 3, T, H, W) in [-1, 1] of pictures (T, H, W, 3)."""
    video = torch.from_numpy(pictures).permute(3, 0, 1, 2)[None].float() / 127.5 - 1
    return video.to(device)


def _encode_pair(
    pair: Pair, path: Path, base: Base, clip: Clip, fingerprint: str, device: torch.device
) -> None:
    tensors: dict[str, Tensor] = {}
    fps: list[float] = []
    for index, cut in enumerate(cuts(pair, clip, base.spatial_multiple)):
        fps.append(cut.fps)
        videos = {"target": cut.target, "reference": cut.reference}
        for name, pictures in videos.items():
            latents = base.encode(to_video(pictures, device))[0].cpu().contiguous()
            tensors[f"{name}.{index}"] = latents
    if not fps:
        log.warning("%s is shorter than %d frames: left out", pair.name, clip.frames)
    metadata = {"fingerprint": fingerprint, "name": pair.name, "fps": json.dumps(fps)}
    write_shard(path, tensors or {"empty": torch.zeros(1)}, metadata)


def _told(source: str, captions: Sequence[str]) -> dict[str, str]:
    return {"source": _digest(source), "captions": json.dumps(captions)}


def _digest(text: str) -> str:
    """Stands for a source, which may be a folder of this machine."""
    return hashlib.sha256(text.encode()).hexdigest()


def _fingerprint(pair: Pair, identity: str, clip: Clip) -> str:
    digest = hashlib.sha256(f"{identity}\n{clip}\n".encode())
    for path in (pair.target, pair.reference):
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _kept(path: Path) -> str | None:
    return _metadata(path).get("fingerprint")


def _metadata(path: Path) -> dict[str, str]:
    """A shard's metadata; empty where there is none or it is damaged, so that it is made anew."""
    try:
        with safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    except (OSError, SafetensorError):
        return {}
