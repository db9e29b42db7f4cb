"""How close `warp` comes to the truth on the street: `python -m benchmarks.warp_pairs`.

Takes the sessions and the truth of `python -m benchmarks.street_test`, path-traces the anchors (the
first and the last frame; kept, so that they are made once), carries them over each session, and
compares the frames in between that have a truth: the render, the linear cross-fade of the two
anchors, and the warp. PSNR and G over all seeds are those of the mean error.
"""

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.street_test import SPP, TRUTH_FRAMES
from capture_bridge.images import read_png, write_png
from capture_bridge.media import VideoReader
from capture_bridge.session import SessionReader
from engine_plugins.street.session_truth import render_session_truth
from realmaster import metrics
from realmaster.color import srgb_u8_to_lab
from realmaster.propagation import load_propagator

U8 = NDArray[np.uint8]


@dataclass
class Errors:
    """Sums over frames: squared error of sRGB codes, and distance in Lab."""

    squared: float = 0.0
    lab: float = 0.0
    frames: int = 0

    def add(self, picture: U8, truth: U8) -> None:
        """One frame more."""
        distance = metrics.lab_distance_map(srgb_u8_to_lab(picture), srgb_u8_to_lab(truth))
        self.squared += metrics.mean_squared_error(picture, truth)
        self.lab += float(distance.mean())
        self.frames += 1

    def psnr_db(self) -> float:
        """Of the mean squared error."""
        return metrics.psnr_db(self.squared / self.frames)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=Path, default=Path("out/street_test"))
    parser.add_argument("--truth", type=Path, default=Path("out/pairs_truth"), help="the anchors")
    parser.add_argument("--seeds", type=int, nargs="+", default=[900, 901, 902, 903])
    options = parser.parse_args()
    total = {name: Errors() for name in ("render", "cross-fade", "warp")}
    print("| seed | PSNR render | PSNR cross-fade | PSNR warp | G warp |\n|---|--:|--:|--:|--:|")
    for seed in options.seeds:
        own = {name: Errors() for name in total}
        for pictures, truth in compared(options.sessions / str(seed), options.truth, seed):
            for name, picture in pictures.items():
                own[name].add(picture, truth)
                total[name].add(picture, truth)
        print(row(str(seed), own), flush=True)
    print(row("all", total))


def compared(folder: Path, truth: Path, seed: int) -> Iterator[tuple[Mapping[str, U8], U8]]:
    """Per frame with a truth between the anchors: pictures by name, and the truth."""
    with SessionReader(folder / "materials.mcap") as reader:
        frames = list(reader.frames())
        anchors = anchors_of(reader, truth, seed)
        made = load_propagator("warp").propagate(frames, anchors).pictures
        first, last = anchors.values()
        with VideoReader(folder / "truth.mp4") as video:
            for index, (shown, _) in zip(TRUTH_FRAMES, video, strict=True):
                share = index / (len(frames) - 1)
                fade = np.rint(first * (1 - share) + last * share).astype(np.uint8)
                render = np.asarray(frames[index].array("color")[..., :3], np.uint8)
                yield {"render": render, "cross-fade": fade, "warp": made[index]}, shown


def anchors_of(reader: SessionReader, folder: Path, seed: int) -> dict[int, U8]:
    """The path-traced first and last picture of a session, by index."""
    folder.mkdir(parents=True, exist_ok=True)
    anchors = {}
    for index in (0, len(reader) - 1):
        path = folder / f"{seed}_{index:03d}.png"
        if not path.exists():
            hello = reader.info.hello
            ((_, picture),) = render_session_truth(hello, reader.headers, [index], spp=SPP)
            write_png(path, picture)
        anchors[index] = np.asarray(read_png(path)[..., :3], np.uint8)
    return anchors


def row(name: str, errors: Mapping[str, Errors]) -> str:
    closure = metrics.gap_closure(errors["warp"].lab, errors["render"].lab)
    figures = [f"{one.psnr_db():.2f}" for one in errors.values()]
    return f"| {name} | {' | '.join(figures)} | {closure:.3f} |"


if __name__ == "__main__":
    main()
