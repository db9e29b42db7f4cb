"""Exact counts of lost frames, by who lost them and why.

A plugin counts every rendered frame in `seq`, and every frame it dropped by cause in its headers.
So what is missing between two frames that arrived was dropped by the plugin, arrived malformed, or
is explained by nobody: that remainder is the link's. Pure bookkeeping: no files, no sockets.
"""

from collections import Counter
from collections.abc import Mapping

from capture_bridge.messages import Bye, FrameHeader
from capture_bridge.session_format import Drop, DropStage


class LossAccount:
    """The losses of one recording; every method gives the new `/drops` records.

    What a plugin dropped before the recording's first frame is not a loss of the recording.
    """

    def __init__(self) -> None:
        #: Frames lost, by (stage, cause).
        self.totals: Counter[tuple[str, str]] = Counter()
        #: Places where seq jumps.
        self.num_gaps = 0
        self._session_uuid = ""
        self._last_seq: int | None = None
        self._drops: Mapping[str, int] = {}
        self._refused: Counter[str] = Counter()  # since the last frame, by cause

    def connected(self, session_uuid: str) -> None:
        """A plugin came (back); one of another engine run is counted from anew."""
        if session_uuid != self._session_uuid:
            self._session_uuid = session_uuid
            self._last_seq, self._drops = None, {}

    def refused(self, cause: str) -> None:
        """A message arrived malformed or damaged; the gap in seq will tell if it was a frame."""
        self._refused[cause] += 1

    def frame(self, header: FrameHeader, epoch: int, t_recv_ns: int) -> list[Drop]:
        """A whole frame arrived: what was lost since the one before."""
        if self._last_seq is None or header.seq <= self._last_seq:
            self._last_seq, self._drops = header.seq, header.drops
            return self.lost(epoch, t_recv_ns)
        return self._close_gap(header.seq - 1, header.drops, epoch, t_recv_ns, header.seq)

    def ended(self, bye: Bye, epoch: int, t_recv_ns: int) -> list[Drop]:
        """The plugin ended in good order: what was lost after its last frame."""
        if self._last_seq is None or bye.last_seq < self._last_seq:
            return self.lost(epoch, t_recv_ns)
        return self._close_gap(bye.last_seq, bye.drops, epoch, t_recv_ns, bye.last_seq)

    def lost(self, epoch: int, t_recv_ns: int) -> list[Drop]:
        """The plugin is gone, and its seq with it: all that was refused is taken for frames."""
        refused, self._refused = self._refused, Counter()
        return [
            self._count(DropStage.DECODE, cause, count, epoch, t_recv_ns)
            for cause, count in sorted(refused.items())
        ]

    def _close_gap(
        self, last_missing: int, drops: Mapping[str, int], epoch: int, t_recv_ns: int, seq: int
    ) -> list[Drop]:
        assert self._last_seq is not None
        first, rest = self._last_seq + 1, last_missing - self._last_seq
        self.num_gaps += rest > 0
        records = []
        for cause, count in sorted(drops.items()):
            told = count - self._drops.get(cause, 0)
            if told > 0:
                rest -= told
                records.append(self._count(DropStage.PLUGIN, cause, told, epoch, t_recv_ns, first))
        for cause, count in sorted(self._refused.items()):
            refused = min(count, max(rest, 0))
            if refused:
                rest -= refused
                records.append(
                    self._count(DropStage.DECODE, cause, refused, epoch, t_recv_ns, first)
                )
        if rest > 0:
            records.append(self._count(DropStage.LINK, "gap", rest, epoch, t_recv_ns, first))
        self._last_seq, self._drops, self._refused = seq, drops, Counter()
        return records

    def _count(
        self, stage: DropStage, cause: str, count: int, epoch: int, t_recv_ns: int, seq: int = -1
    ) -> Drop:
        self.totals[stage, cause] += count
        return Drop(stage, cause, count, epoch, t_recv_ns, seq)
