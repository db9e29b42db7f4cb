"""How fast frames travel over TCP: the whole link beside a bare pyzmq loop of the same bytes.

The bundle is color, depth, normal and motion at 1080p, 37 MB a frame. Sender and receiver are two
processes; both ways use zero-copy sends and receive views, and have the same number of frames under
way. A shared machine's speed drifts, so the ways alternate in short rounds and the ratio is the
median of the rounds' ratios.
"""

import argparse
import contextlib
import functools
import multiprocessing
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection

import numpy as np
import zmq

from capture_bridge import wire
from capture_bridge.buffers import BUFFERS, FrameArrays
from capture_bridge.codecs import pack_buffer
from capture_bridge.link import ClientLink, FrameReceived, PluginLink
from capture_bridge.messages import Camera, Frame, FrameHeader, Hello, StreamInfo

NAMES = ("color", "depth", "normal", "motion")
WIDTH, HEIGHT = 1920, 1080
NUM_FRAMES = 30
NUM_ROUNDS = 15
IN_FLIGHT = 4
_GIVE_UP_S = 60.0


def measure() -> dict[str, float]:
    """Frames per second of both ways, and their ratio."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    child = context.Process(target=_serve, args=(theirs,))
    child.start()
    rates: dict[str, list[float]] = {name: [] for name in _WAYS}
    try:
        for index in range(NUM_ROUNDS):
            for name in sorted(_WAYS, reverse=index % 2 == 0):
                rates[name].append(_WAYS[name].receive(functools.partial(_start, ours, name)))
                ours.recv()  # the sender is done
    finally:
        ours.close()
        child.join(_GIVE_UP_S)
    frame_bytes = sum(BUFFERS[name].pixel_bytes for name in NAMES) * WIDTH * HEIGHT
    ratios = [link / bare for link, bare in zip(rates["link"], rates["bare"], strict=True)]
    return {
        "link_tcp_frames_per_s": statistics.median(rates["link"]),
        "link_tcp_gigabytes_per_s": statistics.median(rates["link"]) * frame_bytes / 1e9,
        "bare_zmq_tcp_frames_per_s": statistics.median(rates["bare"]),
        "link_tcp_vs_bare_zmq": statistics.median(ratios),
    }


@dataclass(frozen=True)
class _Way:
    """receive: gets a function that tells the sender where to connect; returns frames/s."""

    receive: Callable[[Callable[[str], None]], float]
    send: Callable[[str, FrameArrays], None]


def _start(pipe: Connection, name: str, endpoint: str) -> None:
    pipe.send((name, endpoint))


def _serve(pipe: Connection) -> None:
    """The sending process: does what it is told until the pipe closes."""
    arrays = _arrays()
    with contextlib.suppress(EOFError):
        while True:
            name, endpoint = pipe.recv()
            _WAYS[name].send(endpoint, arrays)
            pipe.send("done")


def _arrays() -> FrameArrays:
    rng = np.random.default_rng(0)
    return {
        name: rng.integers(0, 60, BUFFERS[name].shape(WIDTH, HEIGHT)).astype(BUFFERS[name].dtype)
        for name in NAMES
    }


def _camera() -> Camera:
    return Camera(np.eye(3), np.eye(4), np.eye(4), near_m=0.1, far_m=1000.0)


def _receive_link(start: Callable[[str], None]) -> float:
    with ClientLink("tcp://127.0.0.1:0", max_frames_in_flight=IN_FLIGHT) as client:
        start(client.endpoint)
        times: list[float] = []
        give_up = time.monotonic() + _GIVE_UP_S
        while len(times) < NUM_FRAMES and time.monotonic() < give_up:
            event = client.receive(1.0)
            if isinstance(event, FrameReceived):
                times.append(time.perf_counter())
                client.release(event)
    return _rate(times)


def _send_link(endpoint: str, arrays: FrameArrays) -> None:
    streams = tuple(
        StreamInfo(name, WIDTH, HEIGHT, BUFFERS[name].dtype, BUFFERS[name].components)
        for name in NAMES
    )
    hello = Hello("0" * 32, "bench", "1", "bench", "1", "none", streams, lockstep=True)
    with PluginLink(hello, endpoint) as link:
        link.connect()
        for index in range(NUM_FRAMES):
            link.send_frame(arrays, t_sim_ns=index, camera=_camera())


def _receive_bare(start: Callable[[str], None]) -> float:
    context = zmq.Context()
    socket = context.socket(zmq.ROUTER)
    socket.setsockopt(zmq.RCVHWM, IN_FLIGHT // 2)
    port = socket.bind_to_random_port("tcp://127.0.0.1")
    start(f"tcp://127.0.0.1:{port}")
    times: list[float] = []
    while len(times) < NUM_FRAMES and socket.poll(int(_GIVE_UP_S * 1000)):
        parts = socket.recv_multipart(copy=False)
        assert len(parts) == 2 + len(NAMES)
        times.append(time.perf_counter())
    context.destroy(linger=0)
    return _rate(times)


def _send_bare(endpoint: str, arrays: FrameArrays) -> None:
    packed = [pack_buffer(name, array) for name, array in arrays.items()]
    descriptors = tuple(descriptor for descriptor, _ in packed)
    size = (WIDTH, HEIGHT)
    header = FrameHeader(0, 0, 0, 0, 0, size, size, _camera(), descriptors)
    parts = wire.encode(Frame(header, tuple(payload for _, payload in packed)))
    context = zmq.Context()
    socket = context.socket(zmq.DEALER)
    socket.setsockopt(zmq.SNDHWM, IN_FLIGHT // 2)
    socket.connect(endpoint)
    for _ in range(NUM_FRAMES):
        socket.send_multipart(parts, copy=False)
    context.destroy(linger=int(_GIVE_UP_S * 1000))


def _rate(times: list[float]) -> float:
    if len(times) < NUM_FRAMES:
        raise RuntimeError(f"only {len(times)} of {NUM_FRAMES} frames came")
    return (len(times) - 1) / (times[-1] - times[0])


_WAYS = {"link": _Way(_receive_link, _send_link), "bare": _Way(_receive_bare, _send_bare)}


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    for key, value in measure().items():
        print(f"{key:<28} {value:.3f}")
