"""Options that several subcommands share, and how their text becomes a value."""

import re
from pathlib import Path
from typing import Annotated

import tyro

from capture_bridge.errors import RealMasterError

SessionPath = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="SESSION.mcap")]
VideoPath = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="VIDEO.mp4")]
OutputPath = Annotated[Path, tyro.conf.arg(aliases=["-o"], metavar="PATH")]

MAX_SIDE_PX = 16384


def parse_size(text: str) -> tuple[int, int]:
    """(width, height) of a text such as "640x360"; both even, at most 16384."""
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text)
    if not match:
        raise RealMasterError(f"--size {text}: not a size; write it as 640x360")
    width, height = int(match[1]), int(match[2])
    if not (16 <= width <= MAX_SIDE_PX and 16 <= height <= MAX_SIDE_PX):
        raise RealMasterError(f"--size {text}: each side must be 16 to {MAX_SIDE_PX} pixels")
    if width % 2 or height % 2:
        raise RealMasterError(
            f"--size {text}: H.264 needs even sides; try {width + width % 2}x{height + height % 2}"
        )
    return width, height
