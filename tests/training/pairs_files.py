"""A small folder of pairs in the layout that `realmaster pairs` writes."""

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from capture_bridge.media import VideoWriter

SIZE = (48, 32)
CAPTION = "a street, filmed with a real camera"


def pictures(seed: int, count: int, size: tuple[int, int] = SIZE) -> NDArray[np.uint8]:
    """A smooth picture that drifts, (T, H, W, 3)."""
    rng = np.random.default_rng(seed)
    width, height = size
    y, x = np.mgrid[0:height, 0:width]
    phases, speed = rng.uniform(0, 6, 3), rng.uniform(0.1, 0.4)
    return np.stack(
        [
            np.stack([127 + 100 * np.sin(x / 9 + y / 7 + p + speed * t) for p in phases], -1)
            for t in range(count)
        ]
    ).astype(np.uint8)


def write_video(path: Path, frames: NDArray[np.uint8], fps: float = 24.0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = frames.shape[1:3]
    with VideoWriter(path, width, height, crf=4, chroma="444") as writer:
        for index, frame in enumerate(frames):
            writer.write(frame, round(index * 1e9 / fps))


def write_pairs(folder: Path, *, clips: int = 3, frames: int = 5) -> Path:
    """The target is the reference with its colors turned round."""
    rows = []
    for index in range(clips):
        name = f"clip{index}"
        reference = pictures(index, frames)
        write_video(folder / "reference" / f"{name}.mp4", reference)
        write_video(folder / "target" / f"{name}.mp4", 255 - reference[..., ::-1])
        rows.append(
            {
                "video": f"target/{name}.mp4",
                "reference_video": f"reference/{name}.mp4",
                "caption": CAPTION,
                "prompt": CAPTION,
            }
        )
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "metadata.jsonl").write_text(text, encoding="utf-8")
    return folder
