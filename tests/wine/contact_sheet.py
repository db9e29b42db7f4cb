"""Draws docs/wine_test.png: python -m tests.wine.contact_sheet OUT.png D3D11.mcap D3D12.mcap."""

import sys
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from capture_bridge.session import SessionReader
from realmaster.drawing import PAPER, fit_width, heat_map, write_label

U8 = NDArray[np.uint8]
WIDTH, GAP = 400, 8


def _cells(path: Path, index: int, label: str) -> list[U8]:
    with SessionReader(path) as session:
        arrays = session.frame(index).arrays(("color", "color_ui", "depth", "normal"))
    depth = np.asarray(arrays["depth"], np.float32).reshape(arrays["depth"].shape[:2])
    near = np.where(np.isfinite(depth), 20.0 / np.maximum(depth, 1e-3), 0.0)
    normal = np.asarray(arrays["normal"], np.float32)
    colored = np.clip(127.5 * normal * (1, -1, -1) + 127.5, 0, 255).astype(np.uint8)
    colored[~normal.any(-1)] = 0
    pictures = {
        f"{label}: color": np.ascontiguousarray(np.asarray(arrays["color"], np.uint8)[..., :3]),
        "color_ui": np.ascontiguousarray(np.asarray(arrays["color_ui"], np.uint8)[..., :3]),
        "depth (1/z)": heat_map(near.astype(np.float32), 4.0),
        "normal": colored,
    }
    out = []
    for name, picture in pictures.items():
        cell = fit_width(picture, WIDTH)
        write_label(cell, name)
        out.append(cell)
    return out


def main(out: Path, *sessions: Path) -> None:
    rows = []
    for path, label in zip(sessions, ("Direct3D 11", "Direct3D 12"), strict=True):
        with SessionReader(path) as session:
            middle = next(
                frame.index for frame in session.frames(len(session) // 2) if frame.has("depth")
            )
        for index in (middle - 8, middle):
            cells = _cells(path, index, label)
            gap = np.full((cells[0].shape[0], GAP, 3), PAPER, np.uint8)
            row = [part for cell in cells for part in (cell, gap)]
            rows += [
                np.concatenate([gap, *row], 1),
                np.full((GAP, 4 * WIDTH + 5 * GAP, 3), PAPER, np.uint8),
            ]
    sheet = np.concatenate([rows[1], *rows], 0)
    assert cv2.imwrite(str(out), sheet[..., ::-1]), f"cannot write {out}"


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
