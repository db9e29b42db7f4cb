"""Renders clips of the street game, every frame beside its path-traced truth, as a pairs folder.

    python -m training.street_clips --seeds 0:800 --out data/street_clips

The layout is that of `realmaster pairs`: `reference/NAME.mp4` is the game, `target/NAME.mp4` the
truth. It is what trains the tiny base (from the targets alone), and the best that pairs of the
street can be. A clip depends on (seed, path, k) alone. Finished clips are kept, so an interrupted
run goes on; metadata.jsonl is written at the end.
"""

import itertools
import json
import logging
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import tyro
from numpy.typing import NDArray
from tqdm import tqdm

from capture_bridge.errors import OutputError, RealMasterError
from capture_bridge.media import VideoWriter
from engine_plugins.street.scene import Street, build_street
from engine_plugins.street.truth import TruthRenderer, View
from training.street_pairs import (
    FRAME_RATE_HZ,
    Sample,
    TileRenderer,
    choose_tile,
    parse_pair,
    parse_seeds,
    plan,
    tile_intrinsics,
)

U8 = NDArray[np.uint8]

CAPTION = "a street, filmed with a real camera"
CRF = 8
_STREETS_PER_PROCESS = 16  # graphics drivers give back little memory


@dataclass(frozen=True, slots=True)
class Options:
    """Which clips to render, where, and how well.

    seeds: ranges first:end, comma between them. size: WIDTHxHEIGHT pixels. frames: of a clip, 24 a
    second. spp: paths per pixel of the truth. num: clips per seed and path. shard: i/n renders
    every n-th street from the i-th on. clips: at most so many in all; 0 is no limit.
    """

    seeds: str = "0:800"
    out: Path = Path("data/street_clips")
    size: str = "128x80"
    frames: int = 9
    spp: int = 16
    num: int = 1
    shard: str = "0/1"
    clips: int = 0


def render_clips(
    street: Street, samples: list[Sample], size: tuple[int, int], frames: int, spp: int
) -> Iterator[tuple[U8, U8]]:
    """(game, truth) of each sample of one street, each (T, H, W, 3) sRGB."""
    tiles = [choose_tile(sample, size) for sample in samples]
    truth = TruthRenderer(street, *size, spp=spp, t_s=tiles[0].t_s)
    with closing(TileRenderer(street, *size)) as raster:
        for tile in tiles:
            raster.tile = tile
            times = [tile.t_s - (frames - 1 - k) / FRAME_RATE_HZ for k in range(frames)]
            drawn = [raster.render(t, prev_t=t - 1 / FRAME_RATE_HZ)["color"] for t in times]
            traced = []
            for t in times:
                pose = street.camera(t)
                view = View(tile_intrinsics(pose, tile), pose.world_from_camera)
                traced.append(truth.color(t, view=view))
            yield np.stack(drawn)[..., :3].astype(np.uint8), np.stack(traced).astype(np.uint8)


def render_street(samples: list[Sample], options: Options) -> int:
    """Render and write the clips of one street; return how many. Runs in a worker process."""
    size = parse_pair("size", options.size, "x")
    street = build_street(samples[0].seed, samples[0].path)
    clips = render_clips(street, samples, size, options.frames, options.spp)
    for sample, (drawn, traced) in zip(samples, clips, strict=True):
        write_video(_file(options.out, "reference", sample), drawn)
        write_video(_file(options.out, "target", sample), traced)
    return len(samples)


def write_video(path: Path, pictures: U8) -> None:
    """Write a video of 24 frames a second that is there whole or not at all. OutputError."""
    part = path.with_name(f"{path.stem}.part.mp4")
    height, width = pictures.shape[1:3]
    with VideoWriter(part, width, height, overwrite=True, crf=CRF, chroma="444") as writer:
        for index, picture in enumerate(pictures):
            writer.write(picture, round(index * 1e9 / FRAME_RATE_HZ))
    part.replace(path)


def write_metadata(folder: Path) -> int:
    """List every finished clip in metadata.jsonl; how many there are. OutputError."""
    names = sorted(
        path.stem
        for path in (folder / "target").glob("*.mp4")
        if not path.stem.endswith(".part") and (folder / "reference" / path.name).is_file()
    )
    rows = [
        {
            "video": f"target/{name}.mp4",
            "reference_video": f"reference/{name}.mp4",
            "caption": CAPTION,
            "prompt": CAPTION,
        }
        for name in names
    ]
    part = folder / "metadata.part"
    try:
        part.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        part.replace(folder / "metadata.jsonl")
    except OSError as error:
        raise OutputError(f"cannot write into {folder}: {error.strerror}") from error
    return len(names)


def run(options: Options) -> int:
    """Render every clip that is missing and list them all; return how many there are."""
    index, count = parse_pair("shard", options.shard, "/")
    if not index < count:
        raise RealMasterError(f"--shard {options.shard}: the first number must be below the second")
    if min(*parse_pair("size", options.size, "x"), options.frames, options.num, options.spp) < 1:
        raise RealMasterError("--size, --frames, --num and --spp must be 1 or more")
    samples = plan(parse_seeds(options.seeds), options.num, (index, count))
    samples = samples[: options.clips or None]
    try:
        for name in ("target", "reference"):
            (options.out / name).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make {options.out}: {error.strerror}") from error
    missing = [sample for sample in samples if not _file(options.out, "target", sample).exists()]
    streets = [
        list(group)
        for _, group in itertools.groupby(missing, key=lambda sample: (sample.seed, sample.path))
    ]
    with tqdm(total=len(missing), desc="clips", unit="clip", file=sys.stderr) as bar:
        for first in range(0, len(streets), _STREETS_PER_PROCESS):
            turn = streets[first : first + _STREETS_PER_PROCESS]
            with ProcessPoolExecutor(1, get_context("spawn")) as pool:
                for done in pool.map(render_street, turn, itertools.repeat(options)):
                    bar.update(done)
            write_metadata(options.out)
    return write_metadata(options.out)


def _file(folder: Path, kind: str, sample: Sample) -> Path:
    return folder / kind / Path(sample.file_name).with_suffix(".mp4").name


def main() -> None:
    """Run the command line."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    try:
        run(tyro.cli(Options, description=__doc__))
    except RealMasterError as error:
        sys.exit(f"street_clips: {error}")


if __name__ == "__main__":
    main()
