"""The probe: what is wrong with the buffers that an engine sends, named, with figure and cure.

The faults stand in a table (checks.py): how each is measured, its limit, its cure. A finding needs
the figure beyond its limit for several frames in a row, or in half of all that could tell. Runs
while recording (`every` > 1 looks at the pixels of a pair of frames now and then, at every header
always) and in `verify` (all frames). Memory is that of two reduced frames. This file knows no files
and no sockets.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from capture_bridge.alignment import StaticEdges
from capture_bridge.buffers import SEMANTIC_CLASSES
from capture_bridge.checks import CHECKS, CLOCK_CHECKS, Check
from capture_bridge.evidence import FramePair, Reduced
from capture_bridge.faults import Scene
from capture_bridge.header_faults import Moment
from capture_bridge.messages import FrameHeader, Hello

#: While recording: about 45 ms of one core per 24 frames, 5 to 11 % of it at 24 to 60 frames/s.
RECORDING_EVERY = 24
#: Classes that move by themselves; left out when motion is compared with the camera's poses.
MOVING_CLASSES = ("vehicle", "person")
#: Classes that are yellow-green under white light.
GREEN_CLASSES = ("foliage",)


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault. first_seq: of the first frame that shows it; count: looked-at frames that do.

    figure is the mean over those frames, limit what it may not exceed; text says both in words.
    """

    buffer: str
    fault: str
    figure: float
    limit: float
    first_seq: int
    count: int
    text: str
    cure: str

    def __str__(self) -> str:
        where = (
            f" (first at seq {self.first_seq}, {self.count} times)" if self.first_seq >= 0 else ""
        )
        return f"{self.fault}: {self.text}{where}; {self.cure}"


@dataclass(slots=True)
class _Tally:
    """What one check has seen so far."""

    told: int = 0
    bad: int = 0
    run: int = 0
    longest: int = 0
    total: float = 0.0
    worst: float = -np.inf
    first_seq: int = -1

    def add(self, seq: int, figure: float | None, limit: float) -> None:
        if figure is None:
            return
        self.told += 1
        self.worst = max(self.worst, figure)
        if figure <= limit:
            self.run = 0
            return
        if self.bad == 0:
            self.first_seq = seq
        self.bad += 1
        self.run += 1
        self.longest = max(self.longest, self.run)
        self.total += figure

    def is_finding(self, frames: int) -> bool:
        return self.longest >= frames or (self.bad >= 2 and 2 * self.bad >= self.told)


class HealthProbe:
    """Looks at a session's frames in order and names what is wrong with them.

    `every`: the pixels of two consecutive frames out of so many are looked at (1: of all).
    """

    def __init__(self, hello: Hello, *, every: int = RECORDING_EVERY) -> None:
        self.hello = hello
        self.every = every
        self._moving = _ids_of(hello, MOVING_CLASSES)
        self._green = _ids_of(hello, GREEN_CLASSES)
        self._seen = 0
        self._epoch = 0
        self._moment: tuple[FrameHeader, int | None] | None = None
        self._before: Reduced | None = None
        self._static_edges = StaticEdges()
        self._pixel_tallies = [_Tally() for _ in CHECKS]
        self._clock_tallies = [_Tally() for _ in CLOCK_CHECKS]

    def observe(
        self,
        header: FrameHeader,
        arrays: Mapping[str, NDArray[np.generic]],
        *,
        t_recv_ns: int | None = None,
        epoch: int = 0,
    ) -> None:
        """Look at the next frame. arrays: its buffers as in BUFFERS, read in this call only.

        A mapping that decodes on access is decoded for the frames that are looked at alone.
        """
        if epoch != self._epoch:
            self._epoch, self._moment, self._before = epoch, None, None
        before, t_before_ns = self._moment if self._moment is not None else (None, None)
        moment = Moment(header, before, t_recv_ns, t_before_ns, self.hello)
        for check, tally in zip(CLOCK_CHECKS, self._clock_tallies, strict=True):
            tally.add(header.seq, check.measure(moment), check.limit)
        self._moment = (header, t_recv_ns)
        place = self._seen % self.every
        self._seen += 1
        if place <= 1:
            self._look(header, arrays)

    def _look(self, header: FrameHeader, arrays: Mapping[str, NDArray[np.generic]]) -> None:
        now = Reduced(header, arrays)
        pair = FramePair(now, self._before, arrays, self._moving, self._green)
        self._before = now
        if pair.before is None and self.every > 1:
            return  # the first of a pair, or one whose partner was dropped
        was = None if pair.before is None else pair.before.luma
        if was is not None and now.luma is not None and pair.flow is not None:
            self._static_edges.add(was, now.luma, pair.flow, now.rows, now.cols)
        scene = Scene(pair, self._static_edges)
        for check, tally in zip(CHECKS, self._pixel_tallies, strict=True):
            if all(name in arrays for name in check.needs):
                tally.add(header.seq, check.measure(scene), check.limit)

    def findings(self) -> list[Finding]:
        """The faults so far, in the table's order; what follows from another fault is left out."""
        rows: list[tuple[Check[Scene] | Check[Moment], _Tally]] = [
            *zip(CHECKS, self._pixel_tallies, strict=True),
            *zip(CLOCK_CHECKS, self._clock_tallies, strict=True),
        ]
        active = [(check, tally) for check, tally in rows if tally.is_finding(check.frames)]
        hidden: set[str] = set()
        for check, _ in active:
            if check.fault not in hidden:
                hidden.update(set(check.hides) - {check.fault})
        return [_finding(check, tally) for check, tally in active if check.fault not in hidden]


def _finding(check: Check[Scene] | Check[Moment], tally: _Tally) -> Finding:
    figure = tally.total / tally.bad
    text = check.text.format(figure=figure, limit=check.limit)
    return Finding(
        check.buffer,
        check.fault,
        figure,
        check.limit,
        tally.first_seq,
        tally.bad,
        f"{check.buffer}: {text}",
        check.cure,
    )


def _ids_of(hello: Hello, classes: tuple[str, ...]) -> frozenset[int]:
    """Ids of the named classes in the semantic stream's own table."""
    for stream in hello.streams:
        if stream.name == "semantic":
            names = stream.params.get("classes", ",".join(SEMANTIC_CLASSES)).split(",")
            return frozenset(i for i, name in enumerate(names) if name in classes)
    return frozenset()
