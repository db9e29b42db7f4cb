"""The street experiment: pairs of our own making train an adapter, which is held to the truth.

    python -m training.street_experiment --out out/street_experiment        (make street-experiment)

Records sessions of training streets, makes pairs of them (path-traced anchors, carried by `warp`),
trains the tiny adapter with several seeds, and compares on sessions of test streets, which nothing
was trained on: the render, the warp, the tiny base without and with its adapter, and the fast tier;
PSNR to the path-traced truth. Every step is a `realmaster` command that keeps what is there: a run
that was cut off goes on. Raises RealMasterError where a command fails.
"""

import json
import logging
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from numpy.typing import NDArray

from capture_bridge.errors import RealMasterError
from capture_bridge.images import write_png
from capture_bridge.media import VideoReader
from capture_bridge.session import SessionReader
from realmaster.contact_sheet import draw_rows
from realmaster.metrics import mean_squared_error, psnr_db
from realmaster.pair_folder import PairFolder, unfinished
from training.pairs_folder import METADATA
from training.street_pairs import parse_seeds

U8 = NDArray[np.uint8]
Mask = NDArray[np.bool_]

log = logging.getLogger(__name__)

_ADAPTED = "tiny adapter "

CLIP_FRAMES = 33
SHOWN_STREETS = 3

Rows = dict[str, list[tuple[float, float]]]
"""{what: a test session's (PSNR, PSNR of what the first frame does not show), dB}."""


@dataclass(frozen=True, slots=True)
class Options:
    """How much is done. base: the tiny base's folder; "" takes the one of the package.

    train, test: seeds of streets. size: of the sessions; working_size: of the model. steps: of each
    adapter; adapters: how many are trained, with seeds from 0. every: of a test session's frames,
    every so many are path-traced, with `spp` samples per pixel.
    """

    out: Path = Path("out/street_experiment")
    base: str = ""
    train: str = "0:48"
    test: str = "900:908"
    size: str = "256x160"
    working_size: str = "128x80"
    seconds: float = 3.0
    steps: int = 500
    adapters: int = 3
    every: int = 4
    spp: int = 64


def run(options: Options) -> str:
    """Do it all, or what is left of it; the table, which OUT/table.md holds as well.

    OUT/pictures.png shows the first test streets.
    """
    train, test = parse_seeds(options.train), parse_seeds(options.test)
    if max(train) >= 800 or min(test) < 900:
        raise RealMasterError("--train takes seeds 0-799, --test seeds 900-999")
    options.out.mkdir(parents=True, exist_ok=True)
    weights = ["--weights", options.base] if options.base else []
    sessions = [_session(options, "train", seed) for seed in train]
    pairs = options.out / "pairs"
    _make_pairs(sessions, pairs)
    adapters = [_adapter(options, pairs, seed, weights) for seed in range(options.adapters)]
    rows: Rows = {}
    for seed in test:
        session = _session(options, "test", seed)
        for name, value in _scores(options, session, seed, adapters, weights).items():
            rows.setdefault(name, []).append(value)
    text = table(rows, len(train), options)
    (options.out / "table.md").write_text(text, encoding="utf-8")
    (options.out / "scores.json").write_text(json.dumps(rows, indent=1), encoding="utf-8")
    _draw(options, test[:SHOWN_STREETS])
    return text


def table(rows: Rows, num_train: int, options: Options) -> str:
    """Markdown: mean PSNR over the test sessions, and over the adapters' seeds their spread."""
    render, render_new = np.nanmean(rows["render"], axis=0)
    lines = [
        f"{num_train} training streets, {options.steps} steps, test seeds {options.test}.",
        "",
        "| | PSNR to truth, dB | above the render | of objects that come in, dB | above |",
        "|---|--:|--:|--:|--:|",
    ]
    trained = []
    for name, values in rows.items():
        if name.startswith(_ADAPTED):
            trained.append(np.nanmean(values, axis=0))
        else:
            mean, new = np.nanmean(values, axis=0)
            above = f"{mean - render:+.2f} | {new:.2f} | {new - render_new:+.2f}"
            lines.append(f"| {name} | {mean:.2f} | {above} |")
    if trained:
        (mean, new), (spread, spread_new) = np.mean(trained, axis=0), np.ptp(trained, axis=0)
        lines.append(
            f"| tiny with its adapter, {len(trained)} seeds | {mean:.2f} (spread {spread:.2f}) "
            f"| {mean - render:+.2f} | {new:.2f} (spread {spread_new:.2f}) "
            f"| {new - render_new:+.2f} |"
        )
    return "\n".join(lines) + "\n"


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """A picture (H, W, 3) u8 for some frames, and where it has what the first frame has not."""

    pictures: dict[int, U8]
    new: dict[int, Mask]


def psnr_to(pictures: Iterator[tuple[int, U8]], truth: Truth) -> tuple[float, float]:
    """PSNR of the mean squared error over the frames that have a truth, dB: of all, of the new.

    NaN where there is nothing to measure. pictures: (index, (H, W, 3) u8).
    """
    squared: list[float] = []
    squared_new, num_new = 0.0, 0
    for index, picture in pictures:
        if index not in truth.pictures:
            continue
        made, wanted, new = picture, truth.pictures[index], truth.new[index]
        squared.append(mean_squared_error(np.ascontiguousarray(made), wanted))
        if new.any():
            squared_new += mean_squared_error(made[new], wanted[new]) * int(new.sum())
            num_new += int(new.sum())
    whole = psnr_db(float(np.mean(squared))) if squared else float("nan")
    return whole, psnr_db(squared_new / num_new) if num_new else float("nan")


def _scores(
    options: Options, session: Path, seed: int, adapters: Sequence[Path], weights: list[str]
) -> dict[str, tuple[float, float]]:
    """{what: psnr_to} of one test session."""
    traced = session.with_suffix(".truth.mp4")
    if not traced.exists():
        _command("truth", session, "-o", traced, "--spp", options.spp, "--every", options.every)
    with SessionReader(session) as reader:
        colors = [reader.frame(k).array("color")[..., :3] for k in range(len(reader))]
        drawn = [np.asarray(color, np.uint8) for color in colors]
        seqs = {header.seq: k for k, header in enumerate(reader.headers)}
        first = np.unique(reader.frame(0).array("instance"))
        with VideoReader(traced) as video:
            shown = {k * options.every: picture for k, (picture, _) in enumerate(video)}
        ids = {k: reader.frame(k).array("instance") for k in shown}
    truth = Truth(shown, {k: ~np.isin(found, first) for k, found in ids.items()})
    scores = {"render": psnr_to(enumerate(drawn), truth)}
    pairs = options.out / "pairs_test" / session.stem
    _make_pairs([session], pairs)
    scores["warp of path-traced anchors"] = psnr_to(_carried(pairs, seqs), truth)
    models: dict[str, list[object]] = {"fast": ["--model", "fast"]}
    tiny: list[object] = ["--model", "tiny", "--size", options.working_size, *weights]
    models["tiny without adapter"] = tiny
    for k, adapter in enumerate(adapters):
        models[f"{_ADAPTED}{k}"] = [*tiny, "--adapter", adapter]
    for name, chosen in models.items():
        video_path = _video(session, name)
        if not video_path.exists():
            _command("enhance", session, "-o", video_path, *chosen)
        with VideoReader(video_path) as video:
            made = ((k, picture) for k, (picture, _) in enumerate(video))
            scores[name] = psnr_to(made, truth)
    log.info(
        "seed %d: %s", seed, {name: np.round(each, 2).tolist() for name, each in scores.items()}
    )
    return scores


def _draw(options: Options, seeds: Sequence[int]) -> None:
    """The last path-traced frame of each street: render, first adapter, fast tier, truth."""
    rows = []
    for seed in seeds:
        session = _session(options, "test", seed)
        truth = _pictures(session.with_suffix(".truth.mp4"))
        index = (len(truth) - 1) * options.every
        with SessionReader(session) as reader:
            render = np.asarray(reader.frame(index).array("color")[..., :3], np.uint8)
        adapted = [f"{_ADAPTED}0"] if options.adapters else []
        made = {name: _pictures(_video(session, name))[index] for name in (*adapted, "fast")}
        pictures = {"render": render, **made, "path-traced truth": truth[-1]}
        rows.append((f"seed {seed}", pictures))
    sheet = draw_rows(rows, "the street experiment", "test streets, never trained on")
    write_png(options.out / "pictures.png", sheet)


def _video(session: Path, name: str) -> Path:
    """Where a model's video of a test session lies."""
    return session.with_name(f"{session.stem}.{name.replace(' ', '_')}.mp4")


def _pictures(path: Path) -> list[U8]:
    with VideoReader(path) as video:
        return [picture for picture, _ in video]


def _carried(pairs: Path, seqs: dict[int, int]) -> Iterator[tuple[int, U8]]:
    """(index in the session, picture) of all that lies between anchors, accepted or not."""
    folder = PairFolder(pairs)
    for record in folder.records().values():
        if record.has_videos:
            with VideoReader(folder.target(record)) as video:
                for k, (picture, _) in enumerate(video):
                    if k not in record.anchors:
                        yield seqs[record.seqs[k]], picture


def _session(options: Options, kind: str, seed: int) -> Path:
    path = options.out / kind / f"{seed:04d}.mcap"
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        part = path.with_name(f"{seed:04d}.part.mcap")
        way = ("drive", "walk")[seed % 2]
        _command(
            "record",
            "--source",
            "street",
            "-o",
            part,
            "--overwrite",
            "--seed",
            seed,
            "--path",
            way,
            "--size",
            options.size,
            "--seconds",
            options.seconds,
        )
        part.replace(path)
    return path


def _make_pairs(sessions: Sequence[Path], folder: Path) -> None:
    if not (folder / METADATA).exists() or unfinished(folder):
        _command(
            "pairs",
            *sessions,
            "-o",
            folder,
            "--editor",
            "truth",
            "--propagate",
            "warp",
            "--length",
            CLIP_FRAMES,
        )


def _adapter(options: Options, pairs: Path, seed: int, weights: list[str]) -> Path:
    folder = options.out / f"adapter-{seed}"
    resume = ["--resume"] if (folder / "checkpoints").exists() else []
    _command(
        "train",
        "tiny",
        "--pairs",
        pairs,
        "-o",
        folder,
        "--seed",
        seed,
        "--steps",
        options.steps,
        "--size",
        options.working_size,
        *weights,
        *resume,
    )
    return folder


def _command(*words: object) -> None:
    """Run `realmaster WORDS`, its output on ours."""
    text = [str(word) for word in words]
    log.info("realmaster %s", " ".join(text))
    if subprocess.run([sys.executable, "-m", "realmaster.cli", *text], check=False).returncode:
        raise RealMasterError(f"`realmaster {' '.join(text)}` failed, as it says above")


def main() -> None:
    """Run the command line."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    try:
        log.info("\n%s", run(tyro.cli(Options, description=__doc__)))
    except RealMasterError as error:
        sys.exit(f"street_experiment: {error}")


if __name__ == "__main__":
    main()
