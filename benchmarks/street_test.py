"""The fast tier on the street's test seeds: `python -m benchmarks.street_test`.

For each seed a short session is recorded through the protocol, some of its frames are path-traced,
and the session is enhanced and evaluated twice: with and without albedo and roughness. Finished
steps are kept, so that an interrupted run goes on. Writes figures.json and figures.md, the table of
docs/fast_tier.md, and pictures.png, its picture; a closure over all seeds is 1 - sum of distances /
sum of distances.
"""

import argparse
import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capture_bridge.images import write_png
from capture_bridge.media import VideoReader, VideoWriter
from capture_bridge.messages import Frame
from capture_bridge.recorder import RecordingOptions
from capture_bridge.session import SessionReader, SessionWriter
from engine_plugins.street.scene import PathName
from engine_plugins.street.session_truth import render_session_truth
from realmaster.contact_sheet import draw_rows
from realmaster.enhancer import enhance_session
from realmaster.report import evaluate
from realmaster.street_game import START_LIMIT_S, StreetSession, record_street
from realmaster.tiers import load_model

TEST_SEEDS = range(900, 1000)
MATERIALS = frozenset({"albedo", "roughness", "metallic"})
FRAMES, FPS, SPP = 24, 24.0, 64
TRUTH_FRAMES = (8, 20)
SHOWN_SEEDS = 5
CASES = ("geometry", "materials")
COLUMNS = {
    "G": "gap_closure_lab",
    "G over LUT": "gap_closure_over_lut",
    "G, MS-SSIM": "gap_closure_msssim",
    "PSNR, dB": "psnr_db",
    "SSIM": "ssim",
    "edges": "edge_agreement",
    "flicker": "flicker_ratio",
    "flicker per detail": "flicker_ratio_per_detail",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out/street_test"))
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--truth-only", action="store_true", help="render the truth and stop")
    parser.add_argument("--again", action="store_true", help="enhance anew (after training)")
    parser.add_argument(
        "--record-again", action="store_true", help="the game changed: record anew, keep the truth"
    )
    options = parser.parse_args()
    reports: dict[str, list[dict[str, Any]]] = {case: [] for case in CASES}
    for seed in TEST_SEEDS[: options.seeds]:
        folder = options.out / str(seed)
        folder.mkdir(parents=True, exist_ok=True)
        if options.record_again:
            for case in CASES:
                (folder / f"{case}.mcap").unlink(missing_ok=True)
        record(folder, seed)
        render(folder)
        if not options.truth_only:
            for case in CASES:
                reports[case].append(report(folder, case, options.again or options.record_again))
                print(seed, case, figures_of(reports[case][-1:]), flush=True)
    if not options.truth_only:
        write_table(options.out, reports)
        draw(options.out, TEST_SEEDS[: min(SHOWN_SEEDS, options.seeds)])


def record(folder: Path, seed: int) -> None:
    """The session with all buffers, and a copy without materials."""
    session, bare = folder / "materials.mcap", folder / "geometry.mcap"
    if not session.exists():
        part = folder / "part.mcap"
        path: PathName = "drive" if seed % 2 else "walk"
        record_street(
            StreetSession(seed, fps=FPS, seconds=FRAMES / FPS, path=path),
            part,
            options=RecordingOptions(overwrite=True, connect_s=START_LIMIT_S),
        )
        part.replace(session)
    if bare.exists():
        return
    part = folder / "part.mcap"
    with SessionReader(session) as reader:
        hello = reader.info.hello
        streams = tuple(s for s in hello.streams if s.name not in MATERIALS)
        with SessionWriter(
            part, dataclasses.replace(hello, streams=streams), overwrite=True
        ) as writer:
            for frame in reader.frames():
                kept = [b for b in frame.header.buffers if b.name not in MATERIALS]
                payloads = tuple(reader.stored_payload(frame.index, b.name) for b in kept)
                header = dataclasses.replace(frame.header, buffers=tuple(kept))
                writer.write_frame(Frame(header, payloads), frame.t_recv_ns, frame.epoch)
    part.replace(bare)


def render(folder: Path) -> None:
    """The truth of TRUTH_FRAMES."""
    truth = folder / "truth.mp4"
    if truth.exists():
        return
    part = folder / "part.mp4"
    with SessionReader(folder / "materials.mcap") as reader:
        times_ns = reader.timeline().times_ns
        width, height = reader.frame(0).header.render_size
        with VideoWriter(
            part, width, height, overwrite=True, crf=4, chroma="444", origin_ns=times_ns[0]
        ) as writer:
            for index, picture in render_session_truth(
                reader.info.hello, reader.headers, TRUTH_FRAMES, spp=SPP
            ):
                writer.write(picture, times_ns[index])
    part.replace(truth)


def report(folder: Path, case: str, again: bool) -> dict[str, Any]:
    """What metrics.json of one session and case holds."""
    session, video, out = folder / f"{case}.mcap", folder / f"{case}.enhanced.mp4", folder / case
    if again or not (out / "metrics.json").exists():
        shutil.rmtree(out, ignore_errors=True)
        enhance_session(session, video, load_model("fast"), overwrite=True)
        evaluate(session, video, folder / "truth.mp4", out, overwrite=True)
    found: dict[str, Any] = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    return found


def figures_of(found: list[dict[str, Any]]) -> dict[str, float]:
    """The figures over several sessions: closures from summed distances, else the mean."""

    def mean(part: str, key: str) -> float:
        values = [one[part][key] for one in found if one[part][key] is not None]
        return sum(values) / len(values) if values else float("nan")

    lut = [one["baselines"]["lut3d"]["lab_distance"] for one in found]
    output = mean("output", "lab_distance")
    figures = {name: mean("output", key) for name, key in COLUMNS.items()}
    figures["G"] = 1 - output / mean("render", "lab_distance")
    figures["G over LUT"] = 1 - output / (sum(lut) / len(lut))
    figures["edges, truth"] = mean("truth", "edge_agreement")
    figures["edges, render"] = mean("render", "edge_agreement")
    return {name: round(value, 3) for name, value in figures.items()}


def write_table(out: Path, reports: dict[str, list[dict[str, Any]]]) -> None:
    """figures.json and figures.md."""
    rows = {case: figures_of(found) for case, found in reports.items()}
    (out / "figures.json").write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    names = list(rows[CASES[0]])
    lines = [
        f"| | {' | '.join(CASES)} |",
        f"|---|{'--:|' * len(CASES)}",
        *(f"| {name} | {' | '.join(str(rows[case][name]) for case in CASES)} |" for name in names),
    ]
    (out / "figures.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


def draw(out: Path, seeds: range) -> None:
    """pictures.png: render, output and truth of each street's last path-traced frame."""
    rows = []
    for seed in seeds:
        folder = out / str(seed)
        with SessionReader(folder / "materials.mcap") as reader:
            render = np.asarray(reader.frame(TRUTH_FRAMES[-1]).array("color")[..., :3], np.uint8)
        pictures = {
            "render": render,
            "RealMaster": _picture(folder / "materials.enhanced.mp4", TRUTH_FRAMES[-1]),
            "path-traced truth": _picture(folder / "truth.mp4", len(TRUTH_FRAMES) - 1),
        }
        rows.append((f"seed {seed}", pictures))
    write_png(out / "pictures.png", draw_rows(rows, "test streets", "never trained on"))


def _picture(path: Path, index: int) -> NDArray[np.uint8]:
    with VideoReader(path) as video:
        return next(picture for k, (picture, _) in enumerate(video) if k == index)


if __name__ == "__main__":
    main()
