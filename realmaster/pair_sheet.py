"""A folder of pairs at a glance: render, target and what differs, a row per clip.

Knows records, videos and the contact sheet.
"""

from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from capture_bridge.images import write_png
from capture_bridge.media import VideoReader
from realmaster.color import srgb_u8_to_lab
from realmaster.contact_sheet import HEAT_TOP, draw_rows
from realmaster.drawing import heat_map
from realmaster.metrics import lab_distance_map
from realmaster.pair_folder import PairFolder, going_on
from realmaster.pair_record import PairRecord

U8 = NDArray[np.uint8]

SHEET = "contact_sheet.png"
MAX_ROWS = 8
_CAPTION_CHARACTERS = 150


def write_sheet(folder: PairFolder) -> Path | None:
    """The middle frames of up to MAX_ROWS clips, evenly chosen; None where no clip has videos."""
    records = list(folder.records().values())
    seen = [record for record in records if record.has_videos]
    if not seen:
        return None
    places = np.unique(np.linspace(0, len(seen) - 1, min(len(seen), MAX_ROWS)).round().astype(int))
    rows = [(_caption(seen[place]), _pictures(folder, seen[place])) for place in places]
    accepted = sum(record.accepted for record in records)
    summary = f"{accepted} accepted, {len(records) - accepted} rejected"
    sheet = draw_rows(rows, f"pairs {folder.path.resolve().name}", summary)
    with folder.exporting(), going_on():
        write_png(folder.path / SHEET, sheet)
    return folder.path / SHEET


def _pictures(folder: PairFolder, record: PairRecord) -> dict[str, U8]:
    middle = len(record.seqs) // 2
    render = _picture(folder.reference(record), middle)
    target = _picture(folder.target(record), middle)
    apart = lab_distance_map(srgb_u8_to_lab(target), srgb_u8_to_lab(render))
    return {"render": render, "target": target, "difference": heat_map(apart, HEAT_TOP)}


def _picture(video: Path, index: int) -> U8:
    with VideoReader(video) as reader:
        return next(islice(reader, index, None))[0]


def _caption(record: PairRecord) -> str:
    verdict = "accepted" if record.accepted else "rejected: " + "; ".join(record.reasons)
    words = f"{record.name}   {verdict}".encode("ascii", "replace").decode()
    return words[:_CAPTION_CHARACTERS]
