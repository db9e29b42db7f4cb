"""What the tests of the core share: a feeder process, and the account of what came from it."""

import json
import os
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from capture_bridge import wire
from capture_bridge.link import (
    ClientLink,
    Event,
    FrameReceived,
    PluginConnected,
    PluginEnded,
    PluginLost,
)
from capture_bridge.messages import BufferDescriptor, FrameHeader
from tests.native.conftest import ROOT

ANY_PORT: Final = "tcp://127.0.0.1:0"
PATIENCE_S: Final = 60.0  # far more than anything takes; only reached when a test fails
#: A data race or a bad access must fail a test even where the process would go on.
ENVIRONMENT: Final = {
    "ASAN_OPTIONS": "exitcode=99:detect_leaks=1",
    "TSAN_OPTIONS": "exitcode=99:halt_on_error=0",
    "UBSAN_OPTIONS": "print_stacktrace=1",
    "WINEPREFIX": os.environ.get("WINEPREFIX", str(ROOT / "build" / "wine")),
    "WINEDEBUG": "-all",
}


def find_wine() -> Path | None:
    """Wine for 64-bit programs, or None."""
    places = ("/usr/lib/wine/wine64", "/usr/bin/wine64", "/usr/local/bin/wine64")
    return next((path for path in map(Path, places) if path.exists()), None)


@dataclass
class Feeder:
    """A running feeder; `finish` gives the line that it prints at its end."""

    process: "subprocess.Popen[str]"

    def finish(self) -> dict[str, Any]:
        """Its account, once it ended by itself and without a sanitizer's complaint."""
        output, errors = self.process.communicate(timeout=PATIENCE_S)
        assert self.process.returncode == 0, errors
        account: dict[str, Any] = json.loads(output.splitlines()[-1])
        return account


@contextmanager
def feeding(command: Sequence[str | Path], endpoint: str, *options: object) -> Iterator[Feeder]:
    """A feeder on the endpoint, ended with the block."""
    port = endpoint.rsplit(":", 1)[1]
    process = subprocess.Popen(
        [*map(str, command), "--port", port, *map(_argument, options)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **ENVIRONMENT},
    )
    try:
        yield Feeder(process)
    finally:
        process.kill()
        process.communicate()


def _argument(option: object) -> str | bytes:
    return option if isinstance(option, bytes) else str(option)


@dataclass
class Received:
    """All events of a link until the plugin was gone."""

    events: list[Event] = field(default_factory=list)
    headers: list[FrameHeader] = field(default_factory=list)

    def one(self, kind: type[Any]) -> Any:
        """The only event of that kind."""
        found = [event for event in self.events if isinstance(event, kind)]
        assert len(found) == 1, self.events
        return found[0]

    def check_account(self) -> int:
        """Assert that the headers' drops explain every gap in seq; how many frames were dropped."""
        for before, now in zip(self.headers, self.headers[1:], strict=False):
            dropped = sum(now.drops.values()) - sum(before.drops.values())
            assert now.seq - before.seq - 1 == dropped, (before.seq, now.seq, now.drops)
        bye = self.one(PluginEnded).bye
        last = self.headers[-1]
        assert bye.last_seq - last.seq == sum(bye.drops.values()) - sum(last.drops.values())
        return sum(bye.drops.values())


def receive_all(
    client: ClientLink, *, exact: bool = True, slow_s: float = 0.0, rows: int | None = None
) -> Received:
    """Take frames until the plugin ends or is lost; with `exact` their pixels are compared."""
    received = Received()
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        event = client.receive(PATIENCE_S)
        assert event is not None, "the plugin says nothing"
        if not isinstance(event, FrameReceived):
            received.events.append(event)
            if isinstance(event, PluginEnded | PluginLost):
                return received
            continue
        header = event.frame.header
        received.headers.append(header)
        if exact:
            wire.verify_checksums(event.frame)
            for index, payload in enumerate(event.frame.payloads):
                assert bytes(payload) == picture(header.buffers[index], header.seq, index)
        if slow_s:
            threading.Event().wait(slow_s)
        client.release(event)
        del event
    raise AssertionError("the plugin never ended")


def picture(descriptor: BufferDescriptor, seq: int, buffer: int) -> bytes:
    """The bytes that the feeder paints."""
    index = np.arange(descriptor.row_pitch * descriptor.height, dtype=np.uint64)
    return ((index * 31 + seq * 17 + buffer * 101) % 251).astype(np.uint8).tobytes()


def hello_of(received: Received) -> Any:
    """The hello of the only connection."""
    return received.one(PluginConnected).hello
