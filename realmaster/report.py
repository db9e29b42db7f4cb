"""`realmaster evaluate`: a session, its enhanced video and the truth in, a report folder out.

Opens the files and writes metrics.json, metrics.md, contact_sheet.png and index.html; what they say
is measured by evaluation.py and drawn by contact_sheet.py and page.py.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

import cv2

from capture_bridge.errors import OutputError
from capture_bridge.media import VideoReader
from capture_bridge.session import SessionInfo, SessionReader
from realmaster.baselines import Baselines, load_baselines
from realmaster.contact_sheet import draw_contact_sheet
from realmaster.evaluation import Evaluation, class_names_of, measure
from realmaster.measure_table import MEASURES, to_markdown
from realmaster.page import PageText, build_page
from realmaster.picture_track import PictureTrack, match_tolerance_ns

FILES = ("metrics.json", "metrics.md", "contact_sheet.png", "index.html")
Progress = Callable[[int, int], None]
Item = TypeVar("Item")


def evaluate(
    session_path: Path,
    video_path: Path,
    truth_path: Path | None,
    out_dir: Path,
    *,
    overwrite: bool = False,
    before_after: Path | None = None,
    baselines: Baselines | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Measure a session's enhanced video and write the report; returns what metrics.json holds.

    video_path: a picture for every frame of the session. truth_path: path-traced pictures of some
    or all frames, on the session's time line; without it structure and temporal figures alone are
    taken. before_after: an mp4 to embed in the page. baselines: the bundled ones by default.
    progress: called with (frames done, frames in all). Raises OutputError where a file of the
    report exists (unless `overwrite`) or cannot be written, RealMasterError where videos and
    session do not fit together.
    """
    _prepare(out_dir, overwrite)
    with ExitStack() as stack:
        reader = stack.enter_context(SessionReader(session_path))
        reader.require(["color"], "evaluate")
        times_ns = reader.timeline().since_start_ns

        def track(path: Path) -> PictureTrack:
            video = stack.enter_context(VideoReader(path))
            size = reader.headers[0].output_size
            return PictureTrack(video, path.name, size, match_tolerance_ns(times_ns))

        evaluation = measure(
            _counted(reader.frames(), len(reader), progress),
            times_ns,
            track(video_path),
            None if truth_path is None else track(truth_path),
            baselines or load_baselines(),
            class_names_of(reader.info.hello),
        )
        about = _about(reader.info, session_path, video_path, truth_path)
    metrics = to_json(evaluation, about)
    _write(out_dir, evaluation, metrics, before_after)
    return metrics


def to_json(evaluation: Evaluation, about: Mapping[str, str]) -> dict[str, Any]:
    """What metrics.json holds: the figures of every source, and what they mean."""
    return {
        "output": evaluation.output,
        "render": evaluation.render,
        "baselines": dict(evaluation.baselines),
        "truth": evaluation.truth,
        "frames": evaluation.num_frames,
        "frames_with_truth": evaluation.num_truth_frames,
        "about": dict(about),
        "definitions": {name: measure.hint for name, measure in MEASURES.items()},
    }


def _about(info: SessionInfo, session: Path, video: Path, truth: Path | None) -> Mapping[str, str]:
    about = {"session": session.name, "session_uuid": info.session_uuid, "video": video.name}
    if truth is not None:
        about["truth"] = truth.name
    if info.hello.game:
        about["game"] = info.hello.game
    return about


def _write(
    out_dir: Path, evaluation: Evaluation, metrics: Mapping[str, Any], before_after: Path | None
) -> None:
    about = metrics["about"]
    title = f"{about['video']} of {about['session']}"
    words = PageText(
        about=f"{title}, {evaluation.num_frames} frames" + _against(about),
        footer=f"Session {about['session_uuid']}. Made by realmaster evaluate.",
    )
    sheet = cv2.cvtColor(draw_contact_sheet(evaluation, title), cv2.COLOR_RGB2BGR)
    _, png = cv2.imencode(".png", sheet)
    try:
        video = None if before_after is None else before_after.read_bytes()
        contents: dict[str, bytes] = {
            "metrics.json": (json.dumps(metrics, indent=2, allow_nan=False) + "\n").encode(),
            "metrics.md": to_markdown(evaluation, title).encode(),
            "contact_sheet.png": png.tobytes(),
            "index.html": build_page(evaluation, words, video).encode(),
        }
        for name, content in contents.items():
            (out_dir / name).write_bytes(content)
    except OSError as error:
        where = error.filename or out_dir
        raise OutputError(f"{where}: cannot be read or written ({error.strerror})") from error


def _against(about: Mapping[str, str]) -> str:
    return f", against {about['truth']}" if "truth" in about else ", without a truth"


def _prepare(out_dir: Path, overwrite: bool) -> None:
    present = [name for name in FILES if (out_dir / name).exists()]
    if present and not overwrite:
        raise OutputError(f"{out_dir / present[0]} exists; --overwrite replaces the report")
    try:
        out_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{out_dir}: cannot make this folder ({error.strerror})") from error


def _counted(items: Iterable[Item], total: int, progress: Progress | None) -> Iterator[Item]:
    for done, item in enumerate(items):
        if progress is not None:
            progress(done, total)
        yield item
    if progress is not None:
        progress(total, total)
