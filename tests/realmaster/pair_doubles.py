"""Stages for tests of pairs: cheap, deterministic, and they come in by the public door."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from capture_bridge.clips import ClipRules
from capture_bridge.session import SessionFrame, SessionWriter
from realmaster.anchors import EditedAnchors
from realmaster.gates import Verdict
from realmaster.pairs import PairSettings
from realmaster.propagation import Propagated
from tests.capture_bridge.analytic_engine import AnalyticEngine

U8 = NDArray[np.uint8]

RULES = ClipRules(length=9)
SETTINGS = PairSettings(editor="brighter", propagator="brighter", caption="a street", rules=RULES)


def record(path: Path, frames: int, *, buffers: tuple[str, ...] = (), uuid: str = "a1") -> Path:
    """A session of the analytic engine, 64x36 pixels, 24 frames a second."""
    engine = AnalyticEngine(width=64, height=36, session_uuid=uuid * 16)
    if buffers:
        engine.buffers = buffers
    with SessionWriter(path, engine.hello(), codec="raw") as writer:
        for index in range(frames):
            writer.write_frame(engine.message(index), t_recv_ns=1 + index, epoch=1)
    return path


class Brighter:
    """Makes a picture of twice the render; refuses or rejects the clips that it is told to.

    log: a file that gets a line per clip, with the process that made it.
    """

    requires = frozenset({"depth", "motion"})

    def __init__(self, log: Path, *, refuse: int = -1, reject: int = -1) -> None:
        self.log, self.refuse, self.reject = log, refuse, reject

    def anchors(self, frames: Sequence[SessionFrame]) -> EditedAnchors:
        with self.log.open("a") as file:
            file.write(f"{frames[0].header.seq} {os.getpid()}\n")
        if frames[0].header.seq == self.refuse:
            return EditedAnchors({}, {"structure": 0.2}, ("anchor 0 changes structure: 0.2",))
        return EditedAnchors({0: brighter(frames[0]), 8: brighter(frames[-1])}, {"structure": 0.9})

    def propagate(self, frames: Sequence[SessionFrame], anchors: Mapping[int, U8]) -> Propagated:
        pictures = np.stack([brighter(frame) for frame in frames])
        return Propagated(pictures, np.ones(pictures.shape[:3], np.float32), {"holes": 0.0})

    def judge(
        self, frames: Sequence[SessionFrame], made: Propagated, anchors: Mapping[int, U8]
    ) -> Verdict:
        bad = frames[0].header.seq == self.reject
        reasons = ("flicker 3.1, the limit is 1.5",) if bad else ()
        return Verdict(accepted=not bad, figures={"flicker": 3.1 if bad else 1.0}, reasons=reasons)


def brighter(frame: SessionFrame) -> U8:
    render = frame.array("color")[..., :3].astype(np.uint16)
    return np.minimum(2 * render, 255).astype(np.uint8)


class BrighterEditor:
    """An ImageEditor that needs no weights; it stops like Ctrl-C before its `left`-th edit."""

    name = "brighter"
    heeds_seed = False

    def __init__(self, left: int = -1) -> None:
        self.left = left

    def edit(self, frame: SessionFrame, prompt: str, seed: int) -> U8:
        if self.left == 0:
            raise KeyboardInterrupt
        self.left -= 1
        return brighter(frame)


def open_editor(name: str, options: object) -> BrighterEditor:
    return BrighterEditor()


def open_stopped(name: str, options: object) -> BrighterEditor:
    return BrighterEditor(left=3)
