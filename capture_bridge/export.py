"""A session as files that other programs read: mp4, PNG, multi-layer EXR.

A video keeps the session's measured timestamps. Pictures are named by epoch and seq, so that a gap
shows, and `frames.jsonl` beside them says when each was shown and from where: time, camera, ids of
session and frame. This file knows sessions and media.
"""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np

from capture_bridge.buffers import BUFFERS, FrameArrays
from capture_bridge.errors import OutputError
from capture_bridge.images import write_exr, write_png
from capture_bridge.media import VideoWriter
from capture_bridge.messages import Camera, FrameHeader
from capture_bridge.session import SessionFrame, SessionReader

Format = Literal["mp4", "png", "exr"]
Progress = Callable[[int, int], None]

INDEX_NAME = "frames.jsonl"


def export(
    session: str | Path,
    output: str | Path,
    format: Format,
    *,
    buffer: str = "color",
    overwrite: bool = False,
    progress: Progress | None = None,
) -> list[Path]:
    """Write the session's frames; the files that were written, in order of the frames.

    mp4: one video of `buffer` (color or color_ui) at `output`, or in it where it is a folder. png:
    one picture a frame of `buffer`, any of 8 bits, in the folder `output`. exr: one file a frame
    there with all buffers of the render size, and one for those of each other size. Raises
    OutputError (nothing is written where a file exists, unless `overwrite`), MissingBufferError.
    """
    source, target = Path(session), Path(output)
    with SessionReader(source) as reader:
        step = f"export --format {format}"
        reader.require([buffer] if format != "exr" else [], step)
        if format != "exr":
            _check_picture(buffer, step)
        if format == "mp4":
            is_folder = target.is_dir() or not target.suffix
            path = target / f"{source.stem}.mp4" if is_folder else target
            _write_video(reader, path, buffer, overwrite, progress)
            return [path]
        return _write_pictures(reader, target, format, buffer, overwrite, progress)


def _check_picture(buffer: str, step: str) -> None:
    row = BUFFERS.get(buffer)
    if row is None or row.dtype != "u1":
        raise OutputError(f"{step} holds 8 bits per channel, not {buffer}: use --format exr")


def _write_video(
    reader: SessionReader, path: Path, buffer: str, overwrite: bool, progress: Progress | None
) -> None:
    """Write under another name, which becomes `path` when all went well."""
    _make_folder(path.parent)
    _check_free([path], overwrite)
    times_ns = reader.timeline().times_ns
    height, width = reader.frame(0).array(buffer).shape[:2]
    part = path.with_name(f"{path.stem}.unfinished{path.suffix}")
    tags = {"session_uuid": reader.info.session_uuid, "buffer": buffer}
    try:
        with VideoWriter(part, width, height, overwrite=True, tags=tags) as writer:
            for frame in reader.frames():
                picture = np.asarray(frame.array(buffer), np.uint8)
                writer.write(_as_rgb(picture), times_ns[frame.index])
                if progress:
                    progress(frame.index + 1, len(reader))
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _as_rgb(picture: np.ndarray[Any, np.dtype[np.uint8]]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """(H, W, 3) of (H, W), (H, W, 3) or (H, W, 4)."""
    return np.repeat(picture[..., None], 3, -1) if picture.ndim == 2 else picture[..., :3]


def _write_pictures(
    reader: SessionReader,
    folder: Path,
    format: Literal["png", "exr"],
    buffer: str,
    overwrite: bool,
    progress: Progress | None,
) -> list[Path]:
    _make_folder(folder)
    places = zip(reader.epochs.tolist(), reader.seqs.tolist(), strict=True)
    paths = [folder / f"{epoch:02d}_{seq:08d}.{format}" for epoch, seq in places]
    index = folder / INDEX_NAME
    _check_free([*paths, index], overwrite)
    times_ns = reader.timeline().times_ns
    about = {"session_uuid": reader.info.session_uuid, "format": format, "frames": len(reader)}
    written: list[Path] = []
    lines: list[dict[str, Any]] = [about]
    for frame, path in zip(reader.frames(), paths, strict=True):
        if format == "png":
            write_png(path, np.asarray(frame.array(buffer), np.uint8))
            files = [path]
        else:
            files = _write_layers(reader, frame, path)
        written += files
        lines += [_index_line(file.name, frame, times_ns[frame.index]) for file in files]
        if progress:
            progress(frame.index + 1, len(reader))
    _write_text(index, "".join(json.dumps(line) + "\n" for line in lines))
    return written


def _write_layers(reader: SessionReader, frame: SessionFrame, path: Path) -> list[Path]:
    """One EXR of all buffers of one size; others stand beside it, named by their size."""
    by_size: dict[tuple[int, int], FrameArrays] = {}
    for name in frame.names:
        if name in BUFFERS:
            array = frame.array(name)
            by_size.setdefault((array.shape[1], array.shape[0]), {})[name] = array
    attributes = _attributes(reader.info.session_uuid, frame)
    files = []
    for (width, height), arrays in by_size.items():
        main = (width, height) == frame.header.render_size or len(by_size) == 1
        file = path if main else path.with_name(f"{path.stem}.{width}x{height}.exr")
        write_exr(file, arrays, attributes)
        files.append(file)
    return files


def _attributes(session_uuid: str, frame: SessionFrame) -> dict[str, str]:
    """What an EXR's header says of its frame; matrices row by row."""
    header = frame.header
    texts = {
        "session_uuid": session_uuid,
        "seq": str(header.seq),
        "epoch": str(frame.epoch),
        "frame_id": str(header.frame_id),
        "t_sim_ns": str(header.t_sim_ns),
    }
    if header.camera is not None:
        texts["K"] = " ".join(map(repr, header.camera.K.ravel().tolist()))
        pose = header.camera.world_from_camera.ravel().tolist()
        texts["world_from_camera"] = " ".join(map(repr, pose))
    return texts


def _index_line(name: str, frame: SessionFrame, t_ns: int) -> dict[str, Any]:
    header: FrameHeader = frame.header
    return {
        "file": name,
        "epoch": frame.epoch,
        "seq": header.seq,
        "frame_id": header.frame_id,
        "t_ns": t_ns,
        "t_sim_ns": header.t_sim_ns,
        "flags": int(header.flags),
        "camera": None if header.camera is None else _camera(header.camera),
    }


def _camera(camera: Camera) -> dict[str, Any]:
    """JSON has no infinity: a far plane there is null."""
    return {
        "K": camera.K.tolist(),
        "world_from_camera": camera.world_from_camera.tolist(),
        "near_m": camera.near_m,
        "far_m": camera.far_m if math.isfinite(camera.far_m) else None,
    }


def _check_free(paths: list[Path], overwrite: bool) -> None:
    taken = next((path for path in paths if path.exists()), None)
    if taken is not None and not overwrite:
        raise OutputError(f"{taken} exists already; choose another name or pass --overwrite")


def _write_text(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}") from error


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the folder {path}: {error.strerror}") from error
