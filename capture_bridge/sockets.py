"""The only file that knows ZeroMQ: a router for clients and a dealer for plugins.

Both move lists of byte parts, never block unless asked to, are bounded in what they queue, and
notice a dead peer by ZMTP heartbeats. What the parts mean is not known here. Errors are LinkErrors.
"""

import contextlib
import enum
import errno
import ipaddress
import math
import os
import socket
import urllib.parse
from collections.abc import Sequence
from typing import Any, Final

import zmq
from zmq.utils.monitor import parse_monitor_message

from capture_bridge.errors import LinkError
from capture_bridge.keys import CurveKeys

Part = bytes | memoryview

#: Kept alive until closed: collecting one whose sockets are open would hang.
_CONTEXTS: Final[set["zmq.Context[Any]"]] = set()

#: Messages queued per connection; frames are bounded by credit, this bounds everything else.
HIGH_WATER: Final = 32
_RECONNECT_MS: Final = 100
_RECONNECT_MAX_MS: Final = 1000


def curve_keypair() -> tuple[str, str]:
    """A new (public, secret) pair of CURVE keys in Z85."""
    _require_curve()
    public, secret = zmq.curve_keypair()
    return public.decode("ascii"), secret.decode("ascii")


def is_loopback(endpoint: str) -> bool:
    """Whether only this host can reach the endpoint; LinkError where it is none of ours."""
    bad = LinkError(
        f"bad endpoint {endpoint!r}: it must look like tcp://127.0.0.1:5570, port at most 65535"
    )
    try:
        url = urllib.parse.urlsplit(endpoint)
        host, port = url.hostname, url.port  # ZeroMQ would take port 99999 for 34463
    except ValueError as error:
        raise bad from error
    if url.scheme == "ipc":
        return True
    if url.scheme != "tcp" or not host or port is None:
        raise bad
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Sent(enum.Enum):
    """What became of a message to one peer."""

    QUEUED = "queued"
    FULL = "full"  # the peer does not read: the message was not taken
    GONE = "gone"  # no such peer any more


class RouterSocket:
    """Bound by a client; knows its peers by identity."""

    def __init__(
        self, endpoint: str, *, heartbeat_s: float, max_part_bytes: int, keys: CurveKeys | None
    ) -> None:
        self._context = _open_context()
        self._socket = self._context.socket(zmq.ROUTER)
        self._wake_out, self._wake_in = socket.socketpair()
        self._wake_out.setblocking(False)
        self._wake_in.setblocking(False)
        try:
            _configure(self._socket, heartbeat_s)
            self._socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
            self._socket.setsockopt(zmq.MAXMSGSIZE, max_part_bytes)
            if keys is not None:
                _require_curve()
                if keys.secret is None:
                    raise LinkError("the client needs client.keys, which holds the secret key")
                self._socket.curve_secretkey = keys.secret.encode()
                self._socket.curve_publickey = keys.public.encode()
                self._socket.curve_server = True
            self._monitor = self._socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
            self._socket.bind(endpoint)
        except zmq.ZMQError as error:
            self.close(0)
            raise LinkError(_bind_failure(endpoint, error)) from error
        except LinkError:
            self.close(0)
            raise
        self._poller = zmq.Poller()
        self._poller.register(self._socket, zmq.POLLIN)
        self._poller.register(self._wake_in, zmq.POLLIN)
        self._poller.register(self._monitor, zmq.POLLIN)

    @property
    def endpoint(self) -> str:
        """Where it is bound, with the port that was chosen for port 0."""
        return str(self._socket.getsockopt_string(zmq.LAST_ENDPOINT))

    def wait(self, timeout_s: float) -> None:
        """Return when something came, a peer left, `wake` was called, or the time is over."""
        self._poller.poll(_milliseconds(timeout_s))
        with contextlib.suppress(BlockingIOError):
            while self._wake_in.recv(4096):
                pass

    def wake(self) -> None:
        """End a `wait` from any thread."""
        with contextlib.suppress(BlockingIOError):  # it has been woken many times already
            self._wake_out.send(b"\0")

    def receive(self, max_parts: int) -> tuple[bytes, list[Part]] | None:
        """Identity and parts of the next message, or None; parts are views of received memory.

        Of a message with too many parts comes one more than the limit.
        """
        try:
            identity = self._socket.recv(zmq.NOBLOCK)
        except zmq.Again:
            return None
        return identity, _receive_rest(self._socket, [], max_parts)

    def some_peer_left(self) -> bool:
        """Whether any connection broke since the last call; `send` tells whose, a little later."""
        left = False
        while self._monitor.poll(0):
            self._monitor.recv_multipart()
            left = True
        return left

    def send(self, identity: bytes, parts: Sequence[Part]) -> Sent:
        """Send to one peer; never waits."""
        try:
            self._socket.send_multipart([identity, *parts], zmq.NOBLOCK, copy=False)
        except zmq.Again:
            return Sent.FULL
        except zmq.ZMQError as error:
            if error.errno == errno.EHOSTUNREACH:
                return Sent.GONE
            raise
        return Sent.QUEUED

    def close(self, linger_s: float) -> None:
        """Close; what is not sent within `linger_s` is lost."""
        self._socket.disable_monitor()
        _close_context(self._context, linger_s)
        self._wake_in.close()
        self._wake_out.close()


class DealerSocket:
    """Connected by a plugin to one client. One connection: open a new one after `lost`."""

    def __init__(self, endpoint: str, *, heartbeat_s: float, keys: CurveKeys | None) -> None:
        self._context = _open_context()
        self._socket = self._context.socket(zmq.DEALER)
        #: The connection stood and broke.
        self.lost = False
        #: The other side closed before the connection stood: wrong or missing keys.
        self.turned_away = False
        self._stands = False
        try:
            _configure(self._socket, heartbeat_s)
            self._socket.setsockopt(zmq.RECONNECT_IVL, _RECONNECT_MS)
            self._socket.setsockopt(zmq.RECONNECT_IVL_MAX, _RECONNECT_MAX_MS)
            if keys is not None:
                _require_curve()
                public, secret = curve_keypair()
                self._socket.curve_serverkey = keys.public.encode()
                self._socket.curve_publickey = public.encode()
                self._socket.curve_secretkey = secret.encode()
            self._monitor = self._socket.get_monitor_socket(
                zmq.EVENT_HANDSHAKE_SUCCEEDED
                | zmq.EVENT_HANDSHAKE_FAILED_AUTH
                | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
                | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
                | zmq.EVENT_DISCONNECTED
            )
            self._socket.connect(endpoint)
        except zmq.ZMQError as error:
            self.close(0)
            raise LinkError(f"cannot connect to {endpoint}: {_reason(error)}") from error
        except LinkError:
            self.close(0)
            raise
        self._poller = zmq.Poller()
        self._poller.register(self._socket, zmq.POLLIN)
        self._poller.register(self._monitor, zmq.POLLIN)

    def wait(self, timeout_s: float) -> None:
        """Return when there is something to receive or the connection changed, or after a time."""
        self._poller.poll(_milliseconds(timeout_s))

    def update(self) -> None:
        """Bring `lost` and `turned_away` up to date."""
        while self._monitor.poll(0):
            event = parse_monitor_message(self._monitor.recv_multipart())["event"]
            if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                self._stands = True
                self.turned_away = False
            elif self._stands:
                self.lost = True
            else:
                self.turned_away = True

    def receive(self, max_parts: int) -> list[Part] | None:
        """The parts of the next message, or None; of too many parts one more than the limit."""
        try:
            first = self._socket.recv(zmq.NOBLOCK, copy=False).buffer
        except zmq.Again:
            return None
        return _receive_rest(self._socket, [first], max_parts)

    def send(self, parts: Sequence[Part]) -> bool:
        """Whether the message was queued; large parts are not copied and must not change."""
        try:
            self._socket.send_multipart(parts, zmq.NOBLOCK, copy=False)
        except zmq.Again:
            return False
        return True

    def close(self, linger_s: float) -> None:
        """Close; what is not sent within `linger_s` is lost."""
        self._socket.disable_monitor()
        _close_context(self._context, linger_s)


def _open_context() -> "zmq.Context[Any]":
    context = zmq.Context()
    _CONTEXTS.add(context)
    return context


def _close_context(context: "zmq.Context[Any]", linger_s: float) -> None:
    context.destroy(linger=_milliseconds(linger_s))
    _CONTEXTS.discard(context)


def _configure(sock: "zmq.Socket[Any]", heartbeat_s: float) -> None:
    beat_ms = max(1, _milliseconds(heartbeat_s))
    sock.setsockopt(zmq.LINGER, 0)
    sock.setsockopt(zmq.SNDHWM, HIGH_WATER)
    sock.setsockopt(zmq.RCVHWM, HIGH_WATER)
    sock.setsockopt(zmq.HEARTBEAT_IVL, beat_ms)
    sock.setsockopt(zmq.HEARTBEAT_TIMEOUT, beat_ms)
    sock.setsockopt(zmq.HEARTBEAT_TTL, 2 * beat_ms)


def _receive_rest(sock: "zmq.Socket[Any]", parts: list[Part], max_parts: int) -> list[Part]:
    while sock.getsockopt(zmq.RCVMORE):
        part = sock.recv(copy=False)
        if len(parts) <= max_parts:
            parts.append(part.buffer)
    return parts


def _bind_failure(endpoint: str, error: zmq.ZMQError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"cannot listen on {endpoint}: the port is taken, most likely by another recorder; "
            "stop that one or choose another port"
        )
    return f"cannot listen on {endpoint}: {_reason(error)}"


def _reason(error: zmq.ZMQError) -> str:
    return os.strerror(error.errno) if error.errno else str(error)


def _require_curve() -> None:
    if not zmq.has("curve"):
        raise LinkError("this build of ZeroMQ lacks CURVE encryption: install pyzmq from PyPI")


def _milliseconds(seconds: float) -> int:
    return math.ceil(seconds * 1000)
