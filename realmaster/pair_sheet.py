"""A folder of pairs at a glance: render, target and what differs, a row per clip.

Knows drawing, records and videos.
"""

from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from capture_bridge.images import write_png
from capture_bridge.media import VideoReader
from realmaster.color import srgb_u8_to_lab
from realmaster.drawing import ACCENT, DIM, INK, PAPER, fit_width, heat_map, write_text
from realmaster.metrics import lab_distance_map
from realmaster.pair_folder import PairFolder
from realmaster.pair_record import PairRecord

U8 = NDArray[np.uint8]

SHEET = "contact_sheet.png"
MAX_ROWS = 8
CELL_WIDTH, GAP, MARGIN = 400, 8, 24
HEADER_HEIGHT, CAPTION_HEIGHT = 92, 26
#: Lab distance that the difference shows brightest.
HEAT_TOP = 30.0
COLUMNS = ("render", "target", "difference")


def write_sheet(folder: PairFolder) -> Path | None:
    """Draw up to MAX_ROWS clips, evenly chosen, into contact_sheet.png; None where none has one."""
    records = [record for record in folder.records().values() if record.has_videos]
    shown = [records[i] for i in _evenly(len(records), MAX_ROWS)]
    if not shown:
        return None
    rows = [_cells(folder, record) for record in shown]
    heights = [row[0].shape[0] + CAPTION_HEIGHT + GAP for row in rows]
    width = 2 * MARGIN + 3 * (CELL_WIDTH + GAP) - GAP
    sheet = np.empty((HEADER_HEIGHT + sum(heights) + MARGIN, width, 3), np.uint8)
    sheet[:] = PAPER
    accepted = sum(record.accepted for record in records)
    title = f"{folder.path.resolve().name}: {accepted} pairs, {len(records) - accepted} rejected"
    write_text(sheet, title, (MARGIN, 42), height_px=17)
    for column, name in enumerate(COLUMNS):
        left = MARGIN + column * (CELL_WIDTH + GAP)
        write_text(sheet, name, (left, HEADER_HEIGHT - 8), height_px=11, color=INK)
    top = HEADER_HEIGHT
    for record, row, height in zip(shown, rows, heights, strict=True):
        color = DIM if record.accepted else ACCENT
        write_text(sheet, _caption(record), (MARGIN, top + 18), height_px=10, color=color)
        for column, cell in enumerate(row):
            left = MARGIN + column * (CELL_WIDTH + GAP)
            at = top + CAPTION_HEIGHT
            sheet[at : at + cell.shape[0], left : left + CELL_WIDTH] = cell
        top += height
    with folder.exporting():
        write_png(folder.path / SHEET, sheet)
    return folder.path / SHEET


def _cells(folder: PairFolder, record: PairRecord) -> tuple[U8, U8, U8]:
    middle = len(record.seqs) // 2
    render = _picture(folder.reference(record), middle)
    target = _picture(folder.target(record), middle)
    apart = lab_distance_map(srgb_u8_to_lab(target), srgb_u8_to_lab(render))
    pictures = (render, target, heat_map(apart, HEAT_TOP))
    first, second, third = (fit_width(picture, CELL_WIDTH) for picture in pictures)
    return first, second, third


def _picture(video: Path, index: int) -> U8:
    with VideoReader(video) as reader:
        return next(islice(reader, index, None))[0]


def _caption(record: PairRecord) -> str:
    verdict = "accepted" if record.accepted else "; ".join(record.reasons) or "rejected"
    words = f"{record.name}   {verdict}"
    return words.encode("ascii", "replace").decode()[:150]


def _evenly(count: int, at_most: int) -> list[int]:
    if count <= at_most:
        return list(range(count))
    return [round(i * (count - 1) / (at_most - 1)) for i in range(at_most)]
