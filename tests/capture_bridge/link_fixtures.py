"""What the tests of the link share: a hello, frames, raw peers that speak the wire by hand."""

import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import zmq

from capture_bridge import wire
from capture_bridge.buffers import FrameArrays
from capture_bridge.client_link import ClientLink, Event
from capture_bridge.codecs import pack_buffer
from capture_bridge.messages import Camera, Frame, FrameHeader, Hello, Message, StreamInfo
from capture_bridge.plugin_link import PluginLink

ANY_PORT = "tcp://127.0.0.1:0"
WIDTH, HEIGHT = 6, 4
FRAME_BYTES = WIDTH * HEIGHT * 4
PATIENCE_S = 20.0  # far more than anything takes; only reached when a test fails
CAMERA = Camera(np.eye(3), np.eye(4), np.eye(4), 0.1, 100.0)


def make_hello(uuid: str = "ab" * 16, *, lockstep: bool = False, token: str = "") -> Hello:
    stream = StreamInfo("depth", WIDTH, HEIGHT, "<f4", 1)
    return Hello(uuid, "test", "1", "test", "1", "none", (stream,), lockstep=lockstep, token=token)


def make_arrays(seq: int) -> FrameArrays:
    return {"depth": np.full((HEIGHT, WIDTH), seq, np.float32)}


def make_frame(seq: int) -> Frame:
    descriptor, payload = pack_buffer("depth", make_arrays(seq)["depth"])
    size = (WIDTH, HEIGHT)
    return Frame(FrameHeader(seq, seq, seq, 0, 0, size, size, CAMERA, (descriptor,)), (payload,))


def send(link: PluginLink, seq: int) -> bool:
    return link.send_frame(make_arrays(seq), t_sim_ns=seq, camera=CAMERA)


def next_event(client: ClientLink) -> Event:
    event = client.receive(PATIENCE_S)
    assert event is not None, "no event came"
    return event


def wait_until(condition: Callable[[], bool]) -> None:
    """Poll a condition that another process or thread brings about."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.002)


@contextmanager
def in_thread(work: Callable[[], object]) -> Iterator[None]:
    """Run `work` beside the body; its exception is raised when the body ends."""
    failures: list[BaseException] = []

    def guarded() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - it is raised again below
            failures.append(error)

    thread = threading.Thread(target=guarded)
    thread.start()
    try:
        yield
    finally:
        thread.join(PATIENCE_S)
        assert not thread.is_alive(), "the thread hangs"
    if failures:
        raise failures[0]


@contextmanager
def plugin(client: ClientLink, hello: Hello | None = None, **options: Any) -> Iterator[PluginLink]:
    """A plugin that in the end does not wait for the client, which most tests no longer ask."""
    link = PluginLink(hello or make_hello(), client.endpoint, **options)
    try:
        yield link
    finally:
        link.close(timeout_s=0)


def start_process(program: str, endpoint: str) -> subprocess.Popen[str]:
    """Another Python that runs the program text on the endpoint; its output is read by line."""
    return subprocess.Popen(
        [sys.executable, "-c", program, endpoint],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        text=True,
    )


def read_line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def stop(process: "subprocess.Popen[str]") -> None:
    process.kill()
    process.wait(PATIENCE_S)
    assert process.stdout is not None
    process.stdout.close()


class RawPeer:
    """A DEALER without any manners: sends whatever it is given."""

    def __init__(self, endpoint: str) -> None:
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.connect(endpoint)

    def send(self, *parts: bytes | memoryview) -> None:
        self._socket.send_multipart(parts)

    def send_message(self, message: Message, **changes: object) -> None:
        """The message with other fields in its header."""
        parts = wire.encode(message)
        header = {**msgpack.unpackb(parts[0]), **changes}
        self.send(msgpack.packb(header), *parts[1:])

    def receive(self) -> Message:
        """The next message but heartbeats."""
        while True:
            assert self._socket.poll(PATIENCE_S * 1000), "no message came"
            message = wire.decode(self._socket.recv_multipart())
            assert not isinstance(message, wire.Unknown)
            if getattr(message, "frames", 1) or getattr(message, "freed", ()):
                return message

    def has_message(self) -> bool:
        return bool(self._socket.poll(0))

    def close(self) -> None:
        self._context.destroy(linger=0)


def zmtp_socket(endpoint: str) -> socket.socket:
    """A TCP connection after ZMTP 3.0's NULL handshake, for sending half a message.

    libzmq takes no message before its own READY is read, so that is awaited.
    """
    host, port = endpoint.removeprefix("tcp://").split(":")
    connection = socket.create_connection((host, int(port)), PATIENCE_S)
    connection.sendall(b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32))
    ready = b"\x05READY\x0bSocket-Type" + struct.pack(">I", 6) + b"DEALER"
    connection.sendall(b"\x04" + bytes([len(ready)]) + ready)
    _receive_exactly(connection, 64)
    _, length = _receive_exactly(connection, 2)
    _receive_exactly(connection, length)
    return connection


def _receive_exactly(connection: socket.socket, num_bytes: int) -> bytes:
    data = b""
    while len(data) < num_bytes:
        received = connection.recv(num_bytes - len(data))
        assert received, "the connection closed"
        data += received
    return data


def zmtp_part(part: bytes | memoryview, *, more: bool) -> bytes:
    return struct.pack(">BQ", 2 | more, len(part)) + bytes(part)
