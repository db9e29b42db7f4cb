"""Which measured clock gives a session's video its timestamps.

Timestamps are measured, never made from `index / fps`. This file knows frame times alone: no files.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from capture_bridge.errors import SessionError

Clock = Literal["t_sim_ns", "t_render_ns", "t_recv_ns"]


@dataclass(frozen=True, slots=True)
class Timeline:
    """When each frame is shown. clock: where it was read; times_ns: strictly increasing."""

    clock: Clock
    times_ns: tuple[int, ...]

    @property
    def since_start_ns(self) -> tuple[int, ...]:
        """The times from the first frame on: enhanced, truth and before/after videos keep them."""
        return tuple(t_ns - self.times_ns[0] for t_ns in self.times_ns)

    @property
    def seconds(self) -> float:
        """From the first frame's stamp to the last one's."""
        return (self.times_ns[-1] - self.times_ns[0]) * 1e-9 if self.times_ns else 0.0

    @property
    def fps(self) -> float:
        """Measured mean rate; 0 for fewer than two frames."""
        return (len(self.times_ns) - 1) / self.seconds if len(self.times_ns) > 1 else 0.0


def video_timeline(
    t_sim_ns: Sequence[int], t_render_ns: Sequence[int], t_recv_ns: Sequence[int]
) -> Timeline:
    """The first of the three clocks that never stands still or runs back.

    Game time is right while the game runs; it stands still in a pause and restarts with the engine,
    where the host's clock goes on. All three are int64 ns, one per frame. Raises SessionError when
    even the time of receipt does not increase.
    """
    clocks: tuple[tuple[Clock, Sequence[int]], ...] = (
        ("t_sim_ns", t_sim_ns),
        ("t_render_ns", t_render_ns),
        ("t_recv_ns", t_recv_ns),
    )
    for clock, times in clocks:
        if all(a < b for a, b in pairwise(times)):
            return Timeline(clock, tuple(times))
    raise SessionError(
        "no clock of this session increases from frame to frame (t_sim, t_render, t_recv): "
        "`realmaster verify` names the frames"
    )
