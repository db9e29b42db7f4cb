"""The report as one HTML page: a slider between render and output, the figures, nothing external.

Fills page.html (beside this file) with one block of JSON; pictures and the video are data URIs.
Knows evaluations and OpenCV's JPEG encoder; writes no file.
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from realmaster.evaluation import Evaluation, Sample
from realmaster.measure_table import MEASURES, columns_of

U8 = NDArray[np.uint8]

TEMPLATE_PATH = Path(__file__).parent / "page.html"
JPEG_QUALITY = 88
#: A longer video is left out of the page, which a phone must still load.
MAX_VIDEO_BYTES = 24 * 2**20
NAMES = {"render": "Render", "lut": "Best LUT", "output": "RealMaster", "truth": "Path-traced"}


@dataclass(frozen=True, slots=True)
class PageText:
    """Words that the figures do not give. about: under the title. footer: at the end."""

    about: str
    footer: str


def build_page(evaluation: Evaluation, text: PageText, video: bytes | None = None) -> str:
    """The whole page as text; video: an H.264 mp4 to embed, left out over MAX_VIDEO_BYTES."""
    columns = columns_of(evaluation)
    data: dict[str, Any] = {
        "about": text.about,
        "footer": text.footer,
        "note": _note(evaluation),
        "names": NAMES,
        "chips": _chips(evaluation),
        "samples": [_sample(sample) for sample in evaluation.samples],
        "columns": list(columns),
        "rows": [
            {
                "label": measure.label,
                "hint": measure.hint,
                "digits": measure.digits,
                "values": [figures.get(name) for figures in columns.values()],
            }
            for name, measure in MEASURES.items()
        ],
        "classes": _classes(evaluation),
        "video": None,
    }
    if video is not None and len(video) <= MAX_VIDEO_BYTES:
        data["video"] = _data_uri("video/mp4", video)
    block = json.dumps(data, allow_nan=False).replace("<", "\\u003c")
    return TEMPLATE_PATH.read_text(encoding="utf-8").replace("{{DATA}}", block)


def _chips(evaluation: Evaluation) -> list[Mapping[str, Any]]:
    """The figures in large type: those that were measured, at most five."""
    names = (
        ("gap_closure_lab", "of the way from render to truth (G, 1 is all)"),
        ("gap_closure_over_lut", "of what the best LUT leaves (G over LUT)"),
        ("delta_e", "mean colour difference, CIEDE2000"),
        ("edge_agreement", "agreement with the engine's edges"),
        ("flicker_ratio", "flicker, 1 is the render's own"),
    )
    return [
        {"value": evaluation.output[name], "label": label, "digits": 2}
        for name, label in names
        if evaluation.output[name] is not None
    ]


def _note(evaluation: Evaluation) -> str:
    frames, with_truth = evaluation.num_frames, evaluation.num_truth_frames
    if evaluation.truth is None:
        return f"Measured on {frames} frames without a truth: structure and time alone."
    return (
        f"Measured on {frames} frames; against the path-traced truth on {with_truth} of them. "
        "The baselines recolour the render without a network."
    )


def _sample(sample: Sample) -> Mapping[str, Any]:
    pictures = {"render": sample.render, "lut": sample.lut, "output": sample.output}
    if sample.truth is not None:
        pictures["truth"] = sample.truth
    closure = "" if sample.closure is None else f" \u00b7 G {sample.closure:.2f}"
    return {
        "label": f"{sample.t_ns * 1e-9:.2f} s{closure}",
        "pictures": {name: _jpeg_uri(picture) for name, picture in pictures.items()},
    }


def _classes(evaluation: Evaluation) -> list[Mapping[str, Any]]:
    by_class = evaluation.output["gap_closure_by_class"]
    if not isinstance(by_class, dict):
        return []
    ranked = sorted(by_class.items(), key=lambda item: -item[1])
    return [{"name": name, "value": value} for name, value in ranked]


def _jpeg_uri(picture: U8) -> str:
    bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    _, encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return _data_uri("image/jpeg", encoded.tobytes())


def _data_uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
