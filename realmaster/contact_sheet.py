"""Contact sheets: pictures in rows and columns under a header, and the one of an evaluation.

That one shows sample frames in rows; render, output, truth and where each errs in columns. Knows
evaluation's samples and drawing; no file.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from realmaster.color import srgb_u8_to_lab
from realmaster.drawing import ACCENT, DIM, INK, PAPER, fit_width, heat_map, write_text
from realmaster.evaluation import Evaluation, Sample
from realmaster.metrics import lab_distance_map

U8 = NDArray[np.uint8]

CELL_WIDTH = 400
GAP = 8
MARGIN = 24
HEADER_HEIGHT = 116
CAPTION_HEIGHT = 26
#: Lab distance that the heat maps show brightest.
HEAT_TOP = 30.0
MAX_ROWS = 8


def draw_contact_sheet(evaluation: Evaluation, title: str) -> U8:
    """The sheet as one sRGB picture; its rows are evenly chosen of the evaluation's samples."""
    samples = evaluation.samples
    rows = [samples[i] for i in _evenly(len(samples), MAX_ROWS)]
    cells = [(_caption(sample), _cells(sample)) for sample in rows]
    sheet = draw_rows(cells, title, summary_line(evaluation))
    legend = f"errors: mean |d| of L, a, b; black 0, pale yellow {HEAT_TOP:.0f} and above"
    if cells and len(cells[0][1]) > 3:
        left = MARGIN + 3 * (CELL_WIDTH + GAP)
        write_text(sheet, legend, (left, 70), height_px=9, color=DIM)
    return sheet


def draw_rows(rows: Sequence[tuple[str, Mapping[str, U8]]], title: str, summary: str) -> U8:
    """Rows of (caption, {column: sRGB (H, W, 3)}) under a header; text is ASCII.

    Every row has the same columns; pictures of a row have one shape, rows may differ.
    """
    cells = [
        (caption, [fit_width(picture, CELL_WIDTH) for picture in pictures.values()])
        for caption, pictures in rows
    ]
    names = list(rows[0][1]) if rows else []
    heights = [max(picture.shape[0] for picture in pictures) for _, pictures in cells]
    width = 2 * MARGIN + max(1, len(names)) * (CELL_WIDTH + GAP) - GAP
    height = HEADER_HEIGHT + sum(h + CAPTION_HEIGHT + GAP for h in heights) + MARGIN
    sheet = np.empty((height, width, 3), np.uint8)
    sheet[:] = PAPER
    _write_header(sheet, title, summary, names)
    top = HEADER_HEIGHT
    for (caption, pictures), row_height in zip(cells, heights, strict=True):
        write_text(sheet, caption, (MARGIN, top + 18), height_px=10, color=DIM)
        top += CAPTION_HEIGHT
        for column, picture in enumerate(pictures):
            left = MARGIN + column * (CELL_WIDTH + GAP)
            sheet[top : top + picture.shape[0], left : left + CELL_WIDTH] = picture
        top += row_height + GAP
    return sheet


def summary_line(evaluation: Evaluation) -> str:
    """The main figures in one line of ASCII; what was not measured is left out."""
    parts = [
        f"{label} {value:.2f}"
        for label, name in (
            ("G", "gap_closure_lab"),
            ("G over LUT", "gap_closure_over_lut"),
            ("delta E", "delta_e"),
            ("PSNR", "psnr_db"),
            ("SSIM", "ssim"),
            ("edges", "edge_agreement"),
            ("flicker", "flicker_ratio"),
        )
        if isinstance(value := evaluation.output[name], float)
    ]
    return "   ".join(parts)


def _evenly(count: int, at_most: int) -> Sequence[int]:
    if count <= at_most:
        return range(count)
    return [round(i * (count - 1) / (at_most - 1)) for i in range(at_most)]


def _cells(sample: Sample) -> Mapping[str, U8]:
    pictures = {"render": sample.render, "output": sample.output}
    lab = {name: srgb_u8_to_lab(picture) for name, picture in pictures.items()}
    if sample.truth is None:
        errors = {"change (output - render)": lab_distance_map(lab["output"], lab["render"])}
    else:
        pictures["truth (path-traced)"] = sample.truth
        lab_truth = srgb_u8_to_lab(sample.truth)
        errors = {f"error of {name}": lab_distance_map(lab[name], lab_truth) for name in lab}
    heat = {name: heat_map(values, HEAT_TOP) for name, values in errors.items()}
    return {**pictures, **heat}


def _caption(sample: Sample) -> str:
    closure = "" if sample.closure is None else f"   G {sample.closure:.2f}"
    return f"frame {sample.index}   {sample.t_ns * 1e-9:.2f} s{closure}"


def _write_header(sheet: U8, title: str, summary: str, names: Sequence[str]) -> None:
    write_text(sheet, title, (MARGIN, 42), height_px=17)
    write_text(sheet, summary, (MARGIN, 70), height_px=11, color=ACCENT)
    for column, name in enumerate(names):
        left = MARGIN + column * (CELL_WIDTH + GAP)
        write_text(sheet, name, (left, HEADER_HEIGHT - 10), height_px=11, color=INK)
