"""The plugin's end of the link, for engines that are driven from Python.

In real-time mode nothing here blocks: a frame that cannot be sent now is dropped and counted by
cause, and the link connects anew by itself. In lockstep mode sending waits, for a bounded time, and
nothing is dropped. One thread owns a PluginLink.
"""

import collections
import enum
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import TracebackType
from typing import Any, Final

from capture_bridge import wire
from capture_bridge.buffers import FrameArrays
from capture_bridge.client_link import DEFAULT_ENDPOINT
from capture_bridge.codecs import pack_buffer
from capture_bridge.credits import CreditAccount
from capture_bridge.errors import LinkError, ProtocolError, VersionError
from capture_bridge.fields import DEFAULT_LIMITS, Limits
from capture_bridge.keys import CurveKeys
from capture_bridge.messages import (
    Bye,
    Camera,
    Command,
    Credit,
    DropCause,
    Enhanced,
    Error,
    ErrorCode,
    Frame,
    FrameFlags,
    FrameHeader,
    Hello,
    Mark,
    Message,
    Result,
    Welcome,
)
from capture_bridge.sockets import DealerSocket, Part, is_loopback

_RETRY_S: Final = 0.25
_RETRY_REFUSED_S: Final = 2.0
_CLOSE_TIMEOUT_S: Final = 5.0
_MAX_COMMANDS: Final = 256  # that nobody polled for; then the oldest are forgotten


class LinkState(enum.Enum):
    """Where the link stands."""

    OFFLINE = "offline"  # between two attempts
    GREETING = "greeting"  # hello is on its way
    CONNECTED = "connected"
    REFUSED = "refused"  # for good: token or version
    CLOSED = "closed"


class PluginLink:
    """Sends frames to a client; `connect` first, or let `send_frame` connect when one appears.

    hello: its token goes along; its `lockstep` is set from the argument of that name unless that is
    None. connect_timeout_s: how long `connect` waits. lockstep_timeout_s: how long `send_frame`
    waits in lockstep mode before it raises. codec, checksum: of all payloads. curve: the client's
    public key (plugin.keys).
    """

    def __init__(
        self,
        hello: Hello,
        endpoint: str = DEFAULT_ENDPOINT,
        *,
        lockstep: bool | None = None,
        connect_timeout_s: float = 5.0,
        lockstep_timeout_s: float = 30.0,
        heartbeat_s: float = 1.0,
        codec: str = "raw",
        checksum: bool = False,
        curve: CurveKeys | None = None,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        is_loopback(endpoint)  # raises where it is no endpoint at all
        self.hello = hello if lockstep is None else replace(hello, lockstep=lockstep)
        self.endpoint = endpoint
        self.state = LinkState.OFFLINE
        #: The recording's epoch, once connected.
        self.epoch = 0
        #: What the client last complained about, "" where it did not.
        self.last_error = ""
        self._connect_timeout_s = connect_timeout_s
        self._lockstep_timeout_s = lockstep_timeout_s
        self._heartbeat_s = heartbeat_s
        self._codec = codec
        self._checksum = checksum
        self._curve = curve
        self._limits = limits
        self._account = CreditAccount(0)
        self._commands: collections.deque[Command] = collections.deque(maxlen=_MAX_COMMANDS)
        self._enhanced: Enhanced | None = None
        self._drops: collections.Counter[str] = collections.Counter()
        self._client_said_bye = False
        self._next_seq = 0
        self._t_sim_ns = 0
        self._retry_at = 0.0
        self._socket: DealerSocket | None = None
        self._handlers: Mapping[type[Any], Callable[[Any], None]] = {
            Welcome: self._on_welcome,
            Credit: self._on_credit,
            Command: self._commands.append,
            Enhanced: self._on_enhanced,
            Error: self._on_error,
            Bye: self._on_bye,
        }

    @property
    def connected(self) -> bool:
        """Whether a client takes frames now."""
        return self.state is LinkState.CONNECTED

    @property
    def drops(self) -> Mapping[str, int]:
        """Frames dropped so far, by cause."""
        return dict(self._drops)

    @property
    def last_seq(self) -> int:
        """The seq of the last frame that was rendered, sent or not; -1 before the first."""
        return self._next_seq - 1

    def connect(self) -> None:
        """Shake hands with the client and get its first credit, or raise LinkError.

        The error says whether nobody is there, the client speaks another major, or it refused.
        After it the link may still be used: it goes on trying in the background.
        """
        deadline = time.monotonic() + self._connect_timeout_s
        self.last_error = ""
        if self._socket is None:
            self.state, self._retry_at = LinkState.OFFLINE, 0.0
        while True:
            self._pump()
            if self.connected and self._account.frames:
                return
            if self.last_error and self.state is not LinkState.GREETING:
                raise LinkError(f"{self.endpoint} refused the plugin: {self.last_error}")
            if time.monotonic() >= deadline:
                raise LinkError(self._nobody())
            self._wait(deadline)

    def send_frame(
        self,
        arrays: FrameArrays,
        *,
        t_sim_ns: int,
        camera: Camera | None,
        frame_id: int | None = None,
        t_render_ns: int | None = None,
        flags: FrameFlags = FrameFlags.NONE,
        jitter_px: tuple[float, float] = (0.0, 0.0),
        render_size: tuple[int, int] | None = None,
        output_size: tuple[int, int] | None = None,
    ) -> bool:
        """Whether the frame was sent. Call it once per rendered frame: it counts `seq`.

        arrays: as BUFFERS says; raw ones are not copied and must not be written to afterwards.
        Sizes default to that of the first array. Real-time mode never waits. Lockstep mode waits
        and raises LinkError after its timeout. ProtocolError: the arrays or the camera are not what
        the protocol allows (counted as a drop).
        """
        seq = self._next_seq
        self._next_seq += 1
        self._t_sim_ns = t_sim_ns
        self._pump()
        if not self.hello.lockstep:
            cause = self._cause_without_packing()
            if cause is not None:
                return self._dropped(cause)
        now_ns = time.monotonic_ns()
        try:
            packed = [
                pack_buffer(name, array, self._codec, checksum=self._checksum)
                for name, array in arrays.items()
            ]
            size = (packed[0][0].width, packed[0][0].height) if packed else (1, 1)
            header = FrameHeader(
                seq=seq,
                frame_id=seq if frame_id is None else frame_id,
                t_sim_ns=t_sim_ns,
                t_render_ns=now_ns if t_render_ns is None else t_render_ns,
                t_send_ns=now_ns,
                render_size=render_size or size,
                output_size=output_size or render_size or size,
                camera=camera,
                buffers=tuple(descriptor for descriptor, _ in packed),
                flags=flags,
                drops=self.drops,
                jitter_px=jitter_px,
            )
            parts = wire.encode(Frame(header, tuple(part for _, part in packed)), self._limits)
        except ProtocolError:
            self._drops[DropCause.ENCODE] += 1
            raise
        return self._send_parts(parts)

    def mark(self, label: str, t_sim_ns: int | None = None) -> bool:
        """Name a moment, by default the last frame's; whether a client was there to be told."""
        self._pump()
        return self._send(Mark(self._t_sim_ns if t_sim_ns is None else t_sim_ns, label))

    def poll(self) -> list[Command]:
        """The commands that came since the last call; answer each with `answer`."""
        self._pump()
        commands = list(self._commands)
        self._commands.clear()
        return commands

    def answer(self, command: Command, *, ok: bool, text: str = "") -> bool:
        """Answer a command; whether the client was there to be told."""
        return self._send(Result(command.request_id, ok, text))

    def take_enhanced(self) -> Enhanced | None:
        """The newest enhanced frame that came back since the last call."""
        self._pump()
        enhanced, self._enhanced = self._enhanced, None
        return enhanced

    def close(self, reason: str = "the engine ends", *, timeout_s: float | None = None) -> bool:
        """Say bye with the final account; whether the client confirmed that it has everything.

        Waits for that at most `timeout_s`, by default 5 s, in lockstep mode its timeout: closing
        earlier would make TCP discard what the client has not read yet.
        """
        if self.state is LinkState.CLOSED:
            return False
        if self.connected:
            self._pump()
        if timeout_s is None:
            timeout_s = self._lockstep_timeout_s if self.hello.lockstep else _CLOSE_TIMEOUT_S
        deadline = time.monotonic() + timeout_s
        bye = Bye(reason, self.last_seq, self.drops)
        said_bye = self._send(bye)
        while self.connected and time.monotonic() < deadline:
            self._wait(deadline)
            self._pump()
            said_bye = said_bye or self._send(bye)
        if self._socket is not None:
            self._socket.close(0)
            self._socket = None
        self.state = LinkState.CLOSED
        return said_bye and self._client_said_bye

    def __enter__(self) -> "PluginLink":
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # --- sending ----------------------------------------------------------------------------------

    def _cause_without_packing(self) -> DropCause | None:
        if not self.connected:
            return DropCause.DISCONNECTED
        return DropCause.NO_CREDIT if self._account.frames < 1 else None

    def _dropped(self, cause: DropCause) -> bool:
        self._drops[cause] += 1
        return False

    def _send_parts(self, parts: list[Part]) -> bool:
        num_bytes = sum(map(len, parts[1:]))
        deadline = time.monotonic() + self._lockstep_timeout_s
        while True:
            cause = self._try_send(parts, num_bytes)
            if cause is None:
                return True
            if not self.hello.lockstep:
                return self._dropped(cause)
            if self.state is LinkState.REFUSED:
                self._drops[cause] += 1
                raise LinkError(f"{self.endpoint} refused the plugin: {self.last_error}")
            if cause is DropCause.OVERSIZE:
                self._drops[cause] += 1
                raise LinkError(
                    f"a frame of {num_bytes} bytes is larger than the client's limit of "
                    f"{self._account.max_frame_bytes}: capture at a smaller size"
                )
            if time.monotonic() >= deadline:
                self._drops[cause] += 1
                raise LinkError(self._starved())
            self._wait(deadline)
            self._pump()

    def _try_send(self, parts: list[Part], num_bytes: int) -> DropCause | None:
        if not self.connected or self._socket is None:
            return DropCause.DISCONNECTED
        cause = self._account.try_spend(num_bytes)
        if cause is None and not self._socket.send(parts):
            self._account.refund(num_bytes)
            return DropCause.NO_CREDIT
        return cause

    def _send(self, message: Message) -> bool:
        if not self.connected or self._socket is None:
            return False
        return self._socket.send(wire.encode(message, self._limits))

    # --- the connection ---------------------------------------------------------------------------

    def _pump(self) -> None:
        """Take in what has come, notice a dead client, connect anew; never waits."""
        if self.state is LinkState.OFFLINE and time.monotonic() >= self._retry_at:
            self._socket = DealerSocket(
                self.endpoint, heartbeat_s=self._heartbeat_s, keys=self._curve
            )
            self._socket.send(wire.encode(self.hello, self._limits))
            self.state = LinkState.GREETING
        if self._socket is None:
            return
        self._socket.update()
        while self._socket is not None:
            parts = self._socket.receive(self._limits.buffers + 1)
            if parts is None:
                break
            self._handle(parts)
        if self._socket is not None and self._socket.lost:
            self._go_offline("")

    def _handle(self, parts: list[Part]) -> None:
        try:
            message = wire.decode(parts, self._limits)
        except VersionError as error:
            self._on_error(Error(ErrorCode.VERSION, str(error)))
            return
        except ProtocolError as error:
            self.last_error = f"the client sent a bad message: {error}"
            return
        handler = self._handlers.get(type(message))
        if handler is not None:
            handler(message)

    def _on_welcome(self, welcome: Welcome) -> None:
        self._account = CreditAccount(welcome.max_frame_bytes)
        self.epoch = welcome.epoch
        self.last_error = ""
        self._client_said_bye = False
        self.state = LinkState.CONNECTED

    def _on_credit(self, credit: Credit) -> None:
        self._account.add(credit)

    def _on_enhanced(self, enhanced: Enhanced) -> None:
        self._enhanced = enhanced

    def _on_error(self, error: Error) -> None:
        self.last_error = error.text
        if error.code == ErrorCode.BAD_MESSAGE:
            return
        self._go_offline(error.text)
        self._retry_at = time.monotonic() + _RETRY_REFUSED_S
        if error.code in (ErrorCode.TOKEN, ErrorCode.VERSION):
            self.state = LinkState.REFUSED

    def _on_bye(self, bye: Bye) -> None:
        self._go_offline(f"the client left: {bye.reason}")
        self._client_said_bye = True

    def _go_offline(self, reason: str) -> None:
        self.last_error = reason
        if self._socket is not None:
            self._socket.close(0)
            self._socket = None
        self._account = CreditAccount(0)
        self._retry_at = time.monotonic() + _RETRY_S
        self.state = LinkState.OFFLINE

    def _wait(self, deadline: float) -> None:
        remaining_s = max(0.0, deadline - time.monotonic())
        if self._socket is not None:
            self._socket.wait(remaining_s)
        else:
            time.sleep(min(remaining_s, max(0.0, self._retry_at - time.monotonic())))

    def _nobody(self) -> str:
        if self._socket is not None and self._socket.turned_away:
            return (
                f"the client at {self.endpoint} closed the connection: the CURVE keys are missing "
                "or wrong (use its plugin.keys), or it is no RealMaster client"
            )
        return (
            f"nobody answered at {self.endpoint} for {self._connect_timeout_s:g} s; start "
            "the client first: realmaster record --source listen -o session.mcap"
        )

    def _starved(self) -> str:
        state = "took no frame" if self.connected else "was gone"
        return (
            f"lockstep: the client at {self.endpoint} {state} for {self._lockstep_timeout_s:g} s; "
            "restart the client, or raise the timeout"
        )
