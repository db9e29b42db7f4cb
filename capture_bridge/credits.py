"""Who may send what when: a plugin's state as a table, and the credit for frames on both sides.

The client grants credit in frames and in bytes; a frame costs one frame and the bytes of its
payloads as sent. This file knows no sockets and no clocks.
"""

import enum
from collections.abc import Mapping
from typing import Final

from capture_bridge.errors import ProtocolError
from capture_bridge.messages import (
    Bye,
    Credit,
    DropCause,
    Error,
    Frame,
    Hello,
    Mark,
    Message,
    Result,
)


class PluginState(enum.Enum):
    """Where a plugin stands, as the client sees it."""

    NEW = "new"  # connected, has not said hello
    GREETED = "greeted"  # was welcomed, has sent no frame yet
    STREAMING = "streaming"
    ENDED = "ended"  # said bye or reported an error; may say hello again


_TRANSITIONS: Final[Mapping[tuple[PluginState, type[Message]], PluginState]] = {
    (PluginState.NEW, Hello): PluginState.GREETED,
    (PluginState.NEW, Bye): PluginState.ENDED,
    (PluginState.NEW, Error): PluginState.ENDED,
    (PluginState.GREETED, Frame): PluginState.STREAMING,
    (PluginState.GREETED, Mark): PluginState.GREETED,
    (PluginState.GREETED, Result): PluginState.GREETED,
    (PluginState.GREETED, Bye): PluginState.ENDED,
    (PluginState.GREETED, Error): PluginState.ENDED,
    (PluginState.STREAMING, Frame): PluginState.STREAMING,
    (PluginState.STREAMING, Mark): PluginState.STREAMING,
    (PluginState.STREAMING, Result): PluginState.STREAMING,
    (PluginState.STREAMING, Bye): PluginState.ENDED,
    (PluginState.STREAMING, Error): PluginState.ENDED,
    (PluginState.ENDED, Hello): PluginState.GREETED,
}


def next_state(state: PluginState, message: Message) -> PluginState:
    """The state after a plugin sent `message`; ProtocolError where it may not be sent now."""
    following = _TRANSITIONS.get((state, type(message)))
    if following is None:
        allowed = [kind.__name__.lower() for before, kind in _TRANSITIONS if before is state]
        raise ProtocolError(
            f"a plugin that is {state.value} sent {type(message).__name__.lower()}; "
            f"it may send {', '.join(allowed)}"
        )
    return following


class CreditBook:
    """The client's side, for one plugin: what is granted, and which frames are held.

    At any time, granted and held together are `max_frames` and `max_bytes`.
    """

    def __init__(self, max_frames: int, max_bytes: int) -> None:
        self.granted_frames = max_frames
        self.granted_bytes = max_bytes
        self._held: dict[int, int] = {}  # seq -> bytes

    def opening(self) -> Credit:
        """The credit to send after welcome."""
        return Credit(self.granted_frames, self.granted_bytes)

    def take(self, seq: int, num_bytes: int) -> None:
        """A frame came and is held from now on; ProtocolError where it had no credit."""
        if self.granted_frames < 1 or num_bytes > self.granted_bytes:
            raise ProtocolError(
                f"frame {seq} of {num_bytes} bytes came without credit: "
                f"{self.granted_frames} frames and {self.granted_bytes} bytes were granted"
            )
        assert seq not in self._held
        self.granted_frames -= 1
        self.granted_bytes -= num_bytes
        self._held[seq] = num_bytes

    def give_back(self, seq: int) -> Credit:
        """The credit to send now that the frame is not held any more; nothing the second time."""
        num_bytes = self._held.pop(seq, None)
        if num_bytes is None:
            return Credit(0, 0)
        self.granted_frames += 1
        self.granted_bytes += num_bytes
        return Credit(1, num_bytes)

    def skip(self, num_bytes: int) -> Credit:
        """The credit to send for a frame that came but was refused: what it spent, at most."""
        frames = min(1, self.granted_frames)
        return Credit(frames, min(num_bytes, self.granted_bytes) if frames else 0)


class CreditAccount:
    """The plugin's side: what it may still send. Starts empty, with every (re)connection anew."""

    def __init__(self, max_frame_bytes: int) -> None:
        self.max_frame_bytes = max_frame_bytes
        self.frames = 0
        self.num_bytes = 0

    def add(self, credit: Credit) -> None:
        """The client granted this much more."""
        self.frames += credit.frames
        self.num_bytes += credit.nbytes

    def try_spend(self, num_bytes: int) -> DropCause | None:
        """Spend one frame of that many bytes; or the cause for which it must be dropped."""
        if num_bytes > self.max_frame_bytes:
            return DropCause.OVERSIZE
        if self.frames < 1 or num_bytes > self.num_bytes:
            return DropCause.NO_CREDIT
        self.frames -= 1
        self.num_bytes -= num_bytes
        return None

    def refund(self, num_bytes: int) -> None:
        """Undo one `try_spend`: the frame was not sent after all."""
        self.frames += 1
        self.num_bytes += num_bytes
