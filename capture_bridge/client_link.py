"""The client's end of the link: receives plugins' frames as typed events and grants them credit.

One thread owns a ClientLink and calls `receive`; only `release` may be called from any thread. What
a peer sends wrong is an event too (`PeerFault`) and never an exception: a recording goes on. Bytes
are wire.py's business, ZeroMQ is that of sockets.py.
"""

import collections
import hmac
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Final

from capture_bridge import wire
from capture_bridge.credits import CreditBook, PluginState, next_state
from capture_bridge.errors import LinkError, ProtocolError, VersionError
from capture_bridge.fields import DEFAULT_LIMITS, Limits
from capture_bridge.keys import CurveKeys
from capture_bridge.messages import (
    Bye,
    Command,
    Credit,
    Enhanced,
    Error,
    ErrorCode,
    Frame,
    Hello,
    Mark,
    Message,
    Result,
    Welcome,
)
from capture_bridge.shm import SharedRing, offer_ring
from capture_bridge.sockets import Part, RouterSocket, Sent, is_loopback

DEFAULT_ENDPOINT: Final = "tcp://127.0.0.1:5570"
_CLOSE_LINGER_S: Final = 0.5
_NOTHING: Final = Credit(0, 0)
_PROBES: Final = 4  # after a connection broke; ZeroMQ reports that before it can name the peer


@dataclass(frozen=True, slots=True, eq=False)
class PeerEvent:
    """What all events have: who sent it, in which epoch, and when (host monotonic ns)."""

    identity: bytes
    epoch: int
    t_recv_ns: int


@dataclass(frozen=True, slots=True, eq=False)
class PluginConnected(PeerEvent):
    """A plugin said hello and was welcomed: a new epoch."""

    hello: Hello


@dataclass(frozen=True, slots=True, eq=False)
class PluginLost(PeerEvent):
    """A plugin is gone without bye; all that arrived from it came as events before."""

    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class PluginEnded(PeerEvent):
    """A plugin said bye; its last_seq and drops close the account of its epoch."""

    bye: Bye


@dataclass(frozen=True, slots=True, eq=False)
class PluginRefused(PeerEvent):
    """A plugin was sent away (epoch 0); it got the same reason."""

    hello: Hello
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class FrameReceived(PeerEvent):
    """A frame; give it to `release` once taken. Its payloads are views of received memory.

    They stay valid as long as they are referenced; those in shared memory hold its slot so long.
    """

    frame: Frame


@dataclass(frozen=True, slots=True, eq=False)
class MarkReceived(PeerEvent):
    """A named moment."""

    mark: Mark


@dataclass(frozen=True, slots=True, eq=False)
class ResultReceived(PeerEvent):
    """The answer to a command."""

    result: Result


@dataclass(frozen=True, slots=True, eq=False)
class PeerFault(PeerEvent):
    """A message that broke the protocol and was skipped (epoch 0: of a peer never welcomed)."""

    error: ProtocolError


Event = (
    PluginConnected
    | PluginLost
    | PluginEnded
    | PluginRefused
    | FrameReceived
    | MarkReceived
    | ResultReceived
    | PeerFault
)


@dataclass(slots=True, eq=False)
class _Peer:
    identity: bytes
    hello: Hello
    epoch: int
    book: CreditBook
    state: PluginState = PluginState.GREETED
    last_seq: int = -1
    unsent: Credit = _NOTHING  # that the plugin had no room for
    gone: str = ""  # why it can no longer be reached; lost once nothing of it is left to read
    ring: SharedRing | None = None


class ClientLink:
    """Binds the endpoint; `receive` gives events; `release` returns a frame's credit.

    max_frames_in_flight, max_bytes_in_flight: what a plugin may have sent that is not released.
    heartbeat_s: a dead plugin is noticed within three of these. token: what hellos must carry.
    curve: encrypts. Off loopback, `allow_off_loopback`, `curve` and `token` are all required.
    multiple: several plugins at once, told apart by identity; else the first one wins.
    shared_memory: offer it to plugins that ask for it; of at most max_bytes_in_flight each.
    first_epoch: for a client that goes on with a recording. Raises LinkError.
    """

    def __init__(
        self,
        endpoint: str = DEFAULT_ENDPOINT,
        *,
        max_frames_in_flight: int = 4,
        max_bytes_in_flight: int = 512 << 20,
        heartbeat_s: float = 1.0,
        token: str | None = None,
        curve: CurveKeys | None = None,
        allow_off_loopback: bool = False,
        multiple: bool = False,
        shared_memory: bool = True,
        first_epoch: int = 1,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        _check_reach(endpoint, allow_off_loopback, curve is not None, bool(token))
        self._max_frames = max_frames_in_flight
        self._max_bytes = max_bytes_in_flight
        self._heartbeat_s = heartbeat_s
        self._token = token
        self._multiple = multiple
        self._shares = shared_memory and is_loopback(endpoint)
        self._is_open = True
        self._limits = limits
        self._sharing_limits = replace(limits, shared_memory=True)
        self._next_epoch = first_epoch
        self._thread = threading.get_ident()  # the one that receives
        self._next_request = 1
        self._peers: dict[bytes, _Peer] = {}
        self._events: collections.deque[Event] = collections.deque()
        self._released: collections.deque[FrameReceived] = collections.deque()
        self._next_beat = time.monotonic() + heartbeat_s / 2
        self._probes = 0
        self._socket = RouterSocket(
            endpoint,
            heartbeat_s=heartbeat_s,
            max_part_bytes=limits.frame_bytes,
            keys=curve,
        )
        self._handlers: Mapping[type[Any], Callable[[_Peer, Any, int, int], None]] = {
            Frame: self._on_frame,
            Mark: self._on_mark,
            Result: self._on_result,
            Bye: self._on_bye,
            Error: self._on_error,
        }

    @property
    def endpoint(self) -> str:
        """Where plugins connect to, with the real port where port 0 was asked for."""
        return self._socket.endpoint

    def receive(self, timeout_s: float) -> Event | None:
        """The next event, waiting at most `timeout_s`; None where there was none."""
        deadline = time.monotonic() + timeout_s
        self._thread = threading.get_ident()
        while True:
            self._return_credit()
            if self._events:
                return self._events.popleft()
            received = self._socket.receive(self._limits.buffers + 1)
            if received is not None:
                self._handle(*received)
                continue
            self._report_lost()
            self._look_after_peers()
            if self._events:
                continue
            now = time.monotonic()
            if now >= deadline:
                return None
            self._socket.wait(max(0.0, min(deadline, self._next_beat) - now))

    def release(self, event: FrameReceived) -> None:
        """The frame is taken: its plugin may send another. From any thread; twice does no harm."""
        self._released.append(event)
        self._wake()

    def command(self, identity: bytes, name: str, args: Mapping[str, str] | None = None) -> int:
        """Ask a plugin for something, e.g. "start" or "stop"; the request_id of its Result."""
        request_id = self._next_request
        self._next_request += 1
        self._send(identity, Command(request_id, name, args or {}))
        return request_id

    def send_enhanced(self, identity: bytes, enhanced: Enhanced) -> None:
        """Send an enhanced frame back into the engine; one that it does not read is lost."""
        self._send(identity, enhanced)

    def close(self, reason: str = "the client ends") -> None:
        """Say bye to all plugins and free the port."""
        for peer in self._peers.values():
            self._send(peer.identity, Bye(reason))
        for identity in list(self._peers):
            self._forget(identity)
        self._is_open = False
        self._socket.close(_CLOSE_LINGER_S)

    def __enter__(self) -> "ClientLink":
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # --- what comes in ----------------------------------------------------------------------------

    def _handle(self, identity: bytes, parts: list[Part]) -> None:
        t_recv_ns = time.monotonic_ns()
        peer = self._peers.get(identity)
        shares = peer is not None and peer.ring is not None
        try:
            message = wire.decode(parts, self._sharing_limits if shares else self._limits)
            if isinstance(message, wire.Unknown):
                return
            state = next_state(PluginState.NEW if peer is None else peer.state, message)
            if isinstance(message, Hello):
                self._on_hello(identity, message, t_recv_ns)
            elif peer is not None:
                peer.state = state
                self._handlers[type(message)](peer, message, sum(map(len, parts[1:])), t_recv_ns)
        except ProtocolError as error:
            self._on_fault(identity, peer, error, t_recv_ns)
            if peer is not None and wire.kind_of(parts, self._limits) == "frame":
                self._grant(peer, peer.book.skip(sum(map(len, parts[1:]))))

    def _on_hello(self, identity: bytes, hello: Hello, t_recv_ns: int) -> None:
        refusal = self._refusal(hello)
        if refusal is not None:
            self._events.append(PluginRefused(identity, 0, t_recv_ns, hello, refusal.text))
            self._send(identity, refusal)
            return
        peer = _Peer(
            identity, hello, self._next_epoch, CreditBook(self._max_frames, self._max_bytes)
        )
        self._next_epoch += 1
        if self._shares:
            peer.ring = offer_ring(hello, self._max_bytes, self._wake)
        self._peers[identity] = peer
        self._events.append(PluginConnected(identity, peer.epoch, t_recv_ns, hello))
        self._send(
            identity,
            Welcome(
                epoch=peer.epoch,
                max_frame_bytes=min(self._limits.frame_bytes, self._max_bytes),
                heartbeat_ns=round(self._heartbeat_s * 1e9),
                shared=None if peer.ring is None else peer.ring.info,
            ),
        )
        self._grant(peer, peer.book.opening())

    def _refusal(self, hello: Hello) -> Error | None:
        if self._token and not hmac.compare_digest(self._token.encode(), hello.token.encode()):
            text = "the token is missing or wrong: use the plugin.keys of this client"
            return Error(ErrorCode.TOKEN, text)
        if self._multiple:
            return None
        for other in self._peers.values():
            if other.hello.session_uuid == hello.session_uuid:
                other.gone = other.gone or "it connected anew"
            self._send(other.identity, _NOTHING)  # finds out whether it still lives
            if not other.gone:
                text = f"another plugin is connected ({other.hello.plugin}); end that one first"
                return Error(ErrorCode.BUSY, text)
        return None

    def _on_frame(self, peer: _Peer, frame: Frame, num_bytes: int, t_recv_ns: int) -> None:
        seq = frame.header.seq
        try:
            if seq <= peer.last_seq:
                raise ProtocolError(f"frame {seq} came after frame {peer.last_seq}; seq must rise")
            taken = frame if peer.ring is None else peer.ring.take(frame)
            peer.book.take(seq, num_bytes)
        except ProtocolError:
            if peer.ring is not None:
                peer.ring.refuse(frame)
            raise
        frame = taken
        peer.last_seq = seq
        self._events.append(FrameReceived(peer.identity, peer.epoch, t_recv_ns, frame))

    def _on_mark(self, peer: _Peer, mark: Mark, num_bytes: int, t_recv_ns: int) -> None:
        self._events.append(MarkReceived(peer.identity, peer.epoch, t_recv_ns, mark))

    def _on_result(self, peer: _Peer, result: Result, num_bytes: int, t_recv_ns: int) -> None:
        self._events.append(ResultReceived(peer.identity, peer.epoch, t_recv_ns, result))

    def _on_bye(self, peer: _Peer, bye: Bye, num_bytes: int, t_recv_ns: int) -> None:
        """Answer with bye: the plugin may close now, which before would have lost data in TCP."""
        self._forget(peer.identity)
        self._events.append(PluginEnded(peer.identity, peer.epoch, t_recv_ns, bye))
        self._send(peer.identity, Bye("all received"))

    def _on_error(self, peer: _Peer, error: Error, num_bytes: int, t_recv_ns: int) -> None:
        self._forget(peer.identity)
        reason = f"{error.code}: {error.text}"
        self._events.append(PluginLost(peer.identity, peer.epoch, t_recv_ns, reason))

    def _on_fault(
        self, identity: bytes, peer: _Peer | None, error: ProtocolError, t_recv_ns: int
    ) -> None:
        epoch = 0 if peer is None else peer.epoch
        self._events.append(PeerFault(identity, epoch, t_recv_ns, error))
        code = ErrorCode.VERSION if isinstance(error, VersionError) else ErrorCode.BAD_MESSAGE
        self._send(identity, Error(code, _shortened(str(error))))

    # --- what goes out ----------------------------------------------------------------------------

    def _return_credit(self) -> None:
        while self._released:
            event = self._released.popleft()
            peer = self._peers.get(event.identity)
            if peer is not None and peer.epoch == event.epoch:
                self._grant(peer, peer.book.give_back(event.frame.header.seq))
        for peer in self._peers.values():
            if peer.ring is not None and peer.ring.has_freed:
                self._grant(peer, _NOTHING)

    def _grant(self, peer: _Peer, credit: Credit) -> None:
        """Send credit and freed slots; what finds no room goes along with the next beat."""
        total = Credit(
            peer.unsent.frames + credit.frames,
            peer.unsent.nbytes + credit.nbytes,
            peer.unsent.freed + (() if peer.ring is None else peer.ring.drain()),
        )
        if total != _NOTHING:
            full = self._send(peer.identity, total) is Sent.FULL
            peer.unsent = total if full else _NOTHING

    def _look_after_peers(self) -> None:
        """Twice a heartbeat: send credit anew that found no room; find out whose link broke.

        Plugins are not sent anything for nothing: one whose game loads a level for minutes does
        not read, and a full queue would stop its heartbeats.
        """
        if self._socket.some_peer_left():
            self._probes = _PROBES
        elif time.monotonic() < self._next_beat:
            return
        self._next_beat = time.monotonic() + self._heartbeat_s / 2
        for peer in self._peers.values():
            self._grant(peer, _NOTHING)
            if self._probes:
                self._send(peer.identity, _NOTHING)
        self._probes = max(0, self._probes - 1)

    def _report_lost(self) -> None:
        """Only called with nothing left to receive, so what arrived of a dead plugin is kept."""
        for peer in [peer for peer in self._peers.values() if peer.gone]:
            self._forget(peer.identity)
            self._events.append(
                PluginLost(peer.identity, peer.epoch, time.monotonic_ns(), peer.gone)
            )

    def _forget(self, identity: bytes) -> None:
        ring = self._peers.pop(identity).ring
        if ring is not None:
            ring.close()

    def _wake(self) -> None:
        if self._is_open and threading.get_ident() != self._thread:
            self._socket.wake()

    def _send(self, identity: bytes, message: Message) -> Sent:
        sent = self._socket.send(identity, wire.encode(message, self._limits))
        peer = self._peers.get(identity)
        if sent is Sent.GONE and peer is not None and not peer.gone:
            peer.gone = "its connection broke or it stopped answering"
        return sent


def _check_reach(endpoint: str, allowed: bool, has_curve: bool, has_token: bool) -> None:
    if is_loopback(endpoint):
        return
    if not allowed:
        raise LinkError(
            f"{endpoint} can be reached from other machines; use 127.0.0.1, "
            "or allow it explicitly and give keys (realmaster keys)"
        )
    if not (has_curve and has_token):
        raise LinkError(
            f"{endpoint} can be reached from other machines, so CURVE keys and a token are "
            "required: make them with realmaster keys"
        )


def _shortened(text: str) -> str:
    return text if len(text) <= 500 else text[:499] + "…"
