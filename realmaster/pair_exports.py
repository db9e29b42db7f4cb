"""What trainers read of a folder of pairs, each unchanged: one row per accepted pair.

    metadata.jsonl   ltx-trainer (caption, video, reference_video), musubi-tuner (caption,
                     video_path, control_path), our own trainer
    metadata.csv     DiffSynth-Studio (prompt, video, in_context_videos, frame_rate)
    musubi.toml      musubi-tuner's configuration, which names metadata.jsonl

All paths are relative to the folder. The trainers' conventions are those of ltx-trainer @400fd31,
DiffSynth-Studio 2.1.12 and musubi-tuner @30c658c. This file knows records, not pixels.
"""

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

from realmaster.pair_folder import PairFolder, write_whole
from realmaster.pair_record import PairRecord

JSONL, CSV, TOML = "metadata.jsonl", "metadata.csv", "musubi.toml"
_CSV_COLUMNS = (
    "video",
    "prompt",
    "in_context_videos",
    "in_context_downsample_factor",
    "frame_rate",
)


def write_exports(folder: PairFolder) -> int:
    """Write all three of what the manifest holds now; how many pairs they list."""
    with folder.exporting():
        accepted = [record for record in folder.records().values() if record.accepted]
        rows = [metadata_row(folder, record) for record in accepted]
        write_whole(folder.path / JSONL, _jsonl(rows))
        write_whole(folder.path / CSV, _csv(rows))
        write_whole(folder.path / TOML, _musubi_toml(accepted).encode())
    return len(rows)


def metadata_row(folder: PairFolder, record: PairRecord) -> dict[str, Any]:
    """One pair under the names that the trainers look for; they skip those of each other."""
    video = folder.target(record).relative_to(folder.path).as_posix()
    reference = folder.reference(record).relative_to(folder.path).as_posix()
    return {
        "caption": record.caption,
        "prompt": record.caption,
        "video": video,
        "reference_video": reference,
        "video_path": video,
        "control_path": reference,
        "in_context_videos": reference,
        "in_context_downsample_factor": 1,
        "frame_rate": record.fps,
    }


def _jsonl(rows: Sequence[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)


def _csv(rows: Sequence[dict[str, Any]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, _CSV_COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def _musubi_toml(accepted: Sequence[PairRecord]) -> str:
    """musubi-tuner takes paths as from the working directory, and 4k+1 frames of each clip."""
    width, height = min((record.size for record in accepted), default=(0, 0))
    shortest = min((len(record.seqs) for record in accepted), default=1)
    return (
        "# musubi-tuner's scripts find the videos when they are started in this folder.\n"
        "[general]\n"
        f"resolution = [{width}, {height}]\n"
        "batch_size = 1\n"
        "enable_bucket = true\n"
        "bucket_no_upscale = true\n"
        "\n"
        "[[datasets]]\n"
        f'video_jsonl_file = "{JSONL}"\n'
        'cache_directory = "musubi_cache"\n'
        f"target_frames = [{(shortest - 1) // 4 * 4 + 1}]\n"
        'frame_extraction = "head"\n'
    )
