"""Which files of a Movie Render Queue folder belong together: shots, frame numbers, layers.

Names are the user's (`{sequence_name}.{shot_name}.{render_pass}.{frame_number}.exr` and folders
besides), so nothing is expected of them but a frame number at the end. The names of render passes
are taken out; what is left names the shot. This file reads names, no file.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from capture_bridge.errors import LimitError, SessionError

MAX_FILES: Final = 1_000_000

_NUMBER = re.compile(r"^(?P<name>.*?)(?P<sign>(?:(?<=[._])|^)-)?(?P<digits>\d{1,9})$")
_LAYER = r"(?:WorldDepth|SceneDepth|MotionVectors?|MV1|WorldNormal|BaseColor|Roughness|Metallic)"
#: Render passes as they stand in names: FinalImage, FinalImageMovieRenderQueue_WorldDepth, …
_PASS = re.compile(
    rf"(?<![A-Za-z0-9])(?:FinalImage(?:MovieRenderQueue_|PW)?{_LAYER}?"
    r"|(?:MovieRenderQueue_)?(?:WorldDepth|SceneDepth|MotionVectors|WorldNormal)"
    r"|ActorHitProxyMask\d*)(?![A-Za-z0-9])",
    re.IGNORECASE,
)
_SEPARATORS = re.compile(r"[._\s-]*/[._\s-]*|[._\s-]{2,}")


@dataclass(frozen=True, slots=True)
class RenderFile:
    """One file. layer: the render pass that its name tells, "" where it tells none."""

    path: Path
    layer: str


@dataclass(frozen=True, slots=True)
class Shot:
    """The frames of one shot and camera by their number; label: what their names have in common."""

    label: str
    frames: Mapping[int, tuple[RenderFile, ...]]

    @property
    def numbers(self) -> tuple[int, ...]:
        """In ascending order."""
        return tuple(sorted(self.frames))


def find_shots(folder: Path) -> tuple[tuple[Shot, ...], int]:
    """The shots in a folder and below it, by their first frame; and how many files bear no number.

    Raises SessionError where there is no EXR with a frame number, or two of one frame and layer.
    """
    if not folder.is_dir():
        raise SessionError(f"{folder} is no folder; give the one that Movie Render Queue wrote to")
    shots: dict[str, dict[int, tuple[RenderFile, ...]]] = {}
    num_files = num_unnumbered = 0
    for path in sorted(p for p in folder.rglob("*") if p.suffix.lower() == ".exr" and p.is_file()):
        num_files += 1
        if num_files > MAX_FILES:
            raise LimitError(f"{folder} holds more than {MAX_FILES} EXR files; import its parts")
        found = _NUMBER.match(path.stem)
        if found is None:
            num_unnumbered += 1
            continue
        number = int((found["sign"] or "") + found["digits"])
        where = (path.relative_to(folder).parent / found["name"]).as_posix()
        layer = _PASS.search(where)
        file = RenderFile(path, layer[0] if layer else "")
        frames = shots.setdefault(_label(where), {})
        others = frames.get(number, ())
        twin = next((f for f in others if f.layer.lower() == file.layer.lower()), None)
        if twin is not None:
            raise SessionError(
                f"{twin.path} and {path} are both frame {number} of one shot; put each shot or "
                "camera into a folder of its own"
            )
        frames[number] = (*others, file)
    if not shots:
        what = "EXR file" if not num_unnumbered else "EXR file with a frame number in its name"
        raise SessionError(
            f"{folder} holds no {what}: set the output to EXR and its name to end with "
            "{frame_number}"
        )
    found_shots = (Shot(label, frames) for label, frames in shots.items())
    return tuple(sorted(found_shots, key=lambda s: (s.numbers[0], s.label))), num_unnumbered


def _label(where: str) -> str:
    """The path without its passes and without the separators that they leave."""
    bare = _PASS.sub("", where)
    bare = _SEPARATORS.sub(lambda m: "/" if "/" in m[0] else m[0][0], bare)
    return bare.strip("._-/ ") or "shot"
