"""The measures in the order that people read them, with their words; and the Markdown table.

Knows evaluations alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from realmaster.evaluation import Evaluation, Figures


@dataclass(frozen=True, slots=True)
class Measure:
    """How a figure is shown. hint: what it is and which way is better."""

    label: str
    hint: str
    digits: int


MEASURES: Mapping[str, Measure] = {
    "gap_closure_lab": Measure("G", "1 - d(out, truth) / d(render, truth) in Lab; 1 is best", 3),
    "gap_closure_over_lut": Measure("G over LUT", "the same against the best global LUT", 3),
    "gap_closure_msssim": Measure("G, MS-SSIM", "the same with d = 1 - MS-SSIM", 3),
    "delta_e": Measure("\u0394E", "mean CIEDE2000 to the truth; lower is better", 2),
    "psnr_db": Measure("PSNR, dB", "to the truth; higher is better", 2),
    "ssim": Measure("SSIM", "to the truth; higher is better", 3),
    "edge_agreement": Measure("Edges", "agreement with the engine's geometry; 0.5 is chance", 3),
    "warp_error": Measure("Warp error", "levels of 255 along engine motion; lower is steadier", 2),
    "flicker_ratio": Measure("Flicker", "warp error over the render's; 1 is as steady", 3),
    "flicker_ratio_per_detail": Measure(
        "Flicker per detail", "the same, each warp error over its own picture's gradient", 3
    ),
}


def columns_of(evaluation: Evaluation) -> Mapping[str, Figures]:
    """The table's columns by their titles: output first, then what it is compared with."""
    columns = {"output": evaluation.output, "render": evaluation.render, **evaluation.baselines}
    if evaluation.truth is not None:
        columns["truth"] = evaluation.truth
    return columns


def to_markdown(evaluation: Evaluation, title: str) -> str:
    """The figures as a Markdown page: one table of measures, one by semantic class."""
    columns = columns_of(evaluation)
    lines = [
        f"# {title}",
        "",
        f"{evaluation.num_frames} frames; {evaluation.num_truth_frames} of them with a truth.",
        "",
        *_table(
            ["measure", *columns],
            [
                [
                    measure.label,
                    *(_cell(figures.get(name), measure.digits) for figures in columns.values()),
                ]
                for name, measure in MEASURES.items()
            ],
        ),
        "",
        *(f"- {measure.label}: {measure.hint}." for measure in MEASURES.values()),
    ]
    by_class = evaluation.output["gap_closure_by_class"]
    over_lut = evaluation.output["gap_closure_over_lut_by_class"]
    if isinstance(by_class, dict) and isinstance(over_lut, dict):
        rows = [
            [name, f"{value:.3f}", _cell(over_lut.get(name), 3)] for name, value in by_class.items()
        ]
        lines += ["", "## By semantic class", "", *_table(["class", "G", "G over LUT"], rows)]
    return "\n".join(lines) + "\n"


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    rule = "|---|" + "--:|" * (len(head) - 1)
    return ["| " + " | ".join(head) + " |", rule, *("| " + " | ".join(row) + " |" for row in rows)]


def _cell(value: object, digits: int) -> str:
    return f"{value:.{digits}f}" if isinstance(value, float) else "-"
