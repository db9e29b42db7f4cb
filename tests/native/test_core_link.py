"""The C++ core at one end, the real ClientLink (libzmq) at the other."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from capture_bridge.keys import read_key_file, write_key_files
from capture_bridge.link import (
    ClientLink,
    FrameReceived,
    MarkReceived,
    PluginConnected,
    PluginEnded,
    PluginLost,
    PluginRefused,
    ResultReceived,
)
from capture_bridge.recorder import record_link
from capture_bridge.session import SessionReader
from capture_bridge.sockets import curve_keypair
from tests.native.conftest import ROOT, NativeBuild
from tests.native.feeding import (
    ANY_PORT,
    PATIENCE_S,
    Received,
    feeding,
    find_wine,
    hello_of,
    receive_all,
)

pytestmark = [pytest.mark.native, pytest.mark.timeout(120)]

CLIENT = """
import sys
from capture_bridge.link import ClientLink, FrameReceived

with ClientLink(sys.argv[1], heartbeat_s=0.1) as client:
    print(client.endpoint, flush=True)
    while True:
        event = client.receive(60)
        if isinstance(event, FrameReceived):
            print(event.frame.header.seq, flush=True)
            client.release(event)
"""


@pytest.fixture(scope="module")
def feeder(native_build: NativeBuild) -> Path:
    return native_build.target("feeder")


@pytest.fixture
def client() -> Iterator[ClientLink]:
    with ClientLink(ANY_PORT) as link:
        yield link


@pytest.mark.parametrize("variant", ["plain", "asan", "tsan"])
@pytest.mark.parametrize("options", [("--no-shared",), ("--checksum",)], ids=["tcp", "shared"])
def test_frames_come_exactly_and_every_gap_is_explained(
    native_build: NativeBuild, client: ClientLink, variant: str, options: tuple[str, ...]
) -> None:
    program = native_build.target("feeder", variant)
    more = ("--frames", 40, "--fps", 200, "--late", 2, "--pitch", 512, "--size", "97x31", "--mark")
    with feeding([program], client.endpoint, *options, *more) as feeder:
        received = receive_all(client)
        account = feeder.finish()
    dropped = received.check_account()
    assert len(received.headers) + dropped == account["rendered"] == 40
    assert account["shared_memory"] == ("--no-shared" not in options)
    header = received.headers[-1]
    assert header.frame_id == 1000 + header.seq
    assert header.t_sim_ns == header.seq * 16_666_667
    assert 0 < header.t_render_ns <= header.t_send_ns
    assert header.render_size == (97, 31)
    assert header.camera is not None
    assert header.camera.world_from_camera[0, 3] == header.seq
    assert header.camera.far_m == np.inf
    assert header.camera.reversed_z
    assert [buffer.row_pitch for buffer in header.buffers] == [512, 388]
    assert received.one(MarkReceived).mark.label == "mark"
    assert [stream.name for stream in hello_of(received).streams] == ["color", "depth"]


@pytest.mark.parametrize("shared", [False, True], ids=["tcp", "shared"])
def test_large_frames_come_exactly(feeder: Path, client: ClientLink, shared: bool) -> None:
    options = ["--frames", 6, "--fps", 0, "--size", "1280x720", "--bundle", "full", "--lockstep"]
    with feeding([feeder], client.endpoint, *options, *([] if shared else ["--no-shared"])) as run:
        received = receive_all(client)
        account = run.finish()
    assert len(received.headers) == 6
    assert received.check_account() == 0
    assert account["shared_memory"] is shared


def test_the_recorder_keeps_what_the_core_sends(feeder: Path, tmp_path: Path) -> None:
    with (
        ClientLink(ANY_PORT) as client,
        feeding([feeder], client.endpoint, "--frames", 60, "--fps", 0, "--size", "160x120") as run,
    ):
        summary = record_link(client, tmp_path / "s.mcap")
        account = run.finish()
    assert summary.frames + summary.num_dropped == account["rendered"] == 60
    assert not any(cause.startswith("link/") for cause in summary.drops)
    with SessionReader(tmp_path / "s.mcap") as session:
        assert len(session) == summary.frames


def test_a_slow_client_costs_frames_that_are_all_counted(feeder: Path, client: ClientLink) -> None:
    options = ("--frames", 200, "--fps", 400, "--no-shared", "--wait-client", 20000)
    with feeding([feeder], client.endpoint, *options) as run:
        received = receive_all(client, slow_s=0.02)
        account = run.finish()
    dropped = received.check_account()
    assert dropped == account["no_credit"] > 20
    assert len(received.headers) + dropped == 200


def test_without_a_client_the_game_goes_on(feeder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with feeding(
        [feeder], f"tcp://127.0.0.1:{port}", "--frames", 50, "--fps", 1000, "--wait-client", 0
    ) as run:
        account = run.finish()
    assert account["disconnected"] == account["rendered"] == 50
    assert "realmaster record" in account["error"]


def test_lockstep_loses_nothing(feeder: Path, client: ClientLink) -> None:
    options = ("--frames", 50, "--fps", 0, "--lockstep", "--no-shared", "--wait-client", 0)
    with feeding([feeder], client.endpoint, *options) as run:
        received = receive_all(client, slow_s=0.005)
        run.finish()
    assert received.check_account() == 0
    assert [header.seq for header in received.headers] == list(range(50))
    assert hello_of(received).lockstep
    assert hello_of(received).dt_sim_ns == 16_666_667


def test_lockstep_waits_for_a_client_once_and_not_for_ever(feeder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    options = (
        "--frames",
        50,
        "--fps",
        1000,
        "--lockstep",
        "--lockstep-ms",
        200,
        "--wait-client",
        0,
    )
    with feeding([feeder], f"tcp://127.0.0.1:{port}", *options) as run:
        account = run.finish()
    assert account["disconnected"] == 50
    assert 150_000 < account["worst_begin_us"] < 20_000_000


def test_a_frame_above_the_clients_limit_is_an_oversize_drop(feeder: Path) -> None:
    with (
        ClientLink(ANY_PORT, max_bytes_in_flight=64 * 48 * 8 + 100) as client,
        feeding(
            [feeder], client.endpoint, "--frames", 30, "--fps", 0, "--grow-at", 20, "--lockstep"
        ) as run,
    ):
        received = receive_all(client)
        account = run.finish()
    received.check_account()
    assert account["oversize"] == 10
    assert "larger than the client's limit" in account["error"]


@pytest.mark.parametrize("variant", ["asan", "tsan"])
@pytest.mark.parametrize("options", [("--no-shared",), ()], ids=["tcp", "shared"])
def test_no_frame_is_lost_when_the_picture_grows(
    native_build: NativeBuild, client: ClientLink, variant: str, options: tuple[str, ...]
) -> None:
    """Of a frame four times as large the ring holds color; the rest comes in the message."""
    program = native_build.target("feeder", variant)
    more = ("--frames", 40, "--fps", 0, "--lockstep", "--grow-at", 10, "--slots", 3)
    with feeding([program], client.endpoint, "--bundle", "full", *more, *options) as run:
        received = receive_all(client)
        account = run.finish()
    assert received.check_account() == 0
    assert [header.buffers[0].height for header in received.headers] == [48] * 10 + [192] * 30
    assert account["sent"] == 40 and account["shared_memory"] == (not options)


def test_the_next_client_is_asked_for_a_ring_that_holds_the_larger_frames(feeder: Path) -> None:
    options = ("--frames", 1_000_000, "--fps", 200, "--grow-at", 3, "--until-eof")
    with ExitStack() as stack:
        with ClientLink(ANY_PORT) as first:
            endpoint = first.endpoint
            run = stack.enter_context(feeding([feeder], endpoint, *options))
            asked = ring_asked_for(first)
        with ClientLink(endpoint) as second:
            asked_again = ring_asked_for(second)
            assert run.process.stdin is not None
            run.process.stdin.close()
            run.process.stdin = None
            receive_all(second, exact=False)
            run.finish()
    assert asked < 4 * 64 * 48 * 8 <= asked_again


def ring_asked_for(client: ClientLink) -> int:
    """What the plugin asks for in bytes a slot, once a grown frame came from it."""
    asked = 0
    while (event := client.receive(PATIENCE_S)) is not None:
        if isinstance(event, PluginConnected):
            asked = event.hello.shared_slot_bytes
        elif isinstance(event, FrameReceived):
            client.release(event)
            if event.frame.header.buffers[0].height > 48:
                return asked
    raise AssertionError("no grown frame came")


def test_what_the_client_would_refuse_is_dropped_and_said(feeder: Path, client: ClientLink) -> None:
    options = ("--frames", 20, "--fps", 0, "--lockstep", "--nan-at", 5, "--give-up-at", 7)
    with feeding([feeder], client.endpoint, *options) as run:
        received = receive_all(client)
        account = run.finish()
    received.check_account()
    assert (account["encode"], account["readback_late"]) == (1, 1)
    assert not {5, 7} & {header.seq for header in received.headers}
    assert "camera" in account["error"]


def test_commands_are_answered(feeder: Path, client: ClientLink) -> None:
    with feeding([feeder], client.endpoint, "--frames", 100_000, "--fps", 200) as run:
        identity = b""
        asked: dict[int, str] = {}
        answers: dict[str, ResultReceived] = {}
        while len(answers) < 3:
            event = client.receive(PATIENCE_S)
            assert event is not None
            if isinstance(event, PluginConnected):
                identity = event.identity
                for name, args in (("echo", {"text": "grüß"}), ("fly", {}), ("x" * 500, {})):
                    asked[client.command(identity, name, args)] = name
            elif isinstance(event, ResultReceived):
                answers[asked[event.result.request_id]] = event
            elif isinstance(event, FrameReceived):
                client.release(event)
        client.command(identity, "stop")
        receive_all(client)
        run.finish()
    assert answers["echo"].result.ok
    assert answers["echo"].result.text == "grüß"
    assert not answers["fly"].result.ok
    assert "too long" in answers["x" * 500].result.text


# --- connections that break --------------------------------------------------------------------


def start_client(endpoint: str) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-c", CLIENT, endpoint], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.endpoint = process.stdout.readline().strip()  # type: ignore[attr-defined]
    return process


def end(process: "subprocess.Popen[str]") -> None:
    process.kill()
    process.communicate()


def read_frames(process: "subprocess.Popen[str]", count: int) -> list[int]:
    assert process.stdout is not None
    return [int(process.stdout.readline()) for _ in range(count)]


@pytest.mark.parametrize("options", [("--no-shared",), ()], ids=["tcp", "shared"])
def test_the_plugin_comes_back_after_its_client_died(
    native_build: NativeBuild, options: tuple[str, ...]
) -> None:
    program = native_build.target("feeder", "tsan")
    first = start_client(ANY_PORT)
    endpoint: str = first.endpoint  # type: ignore[attr-defined]
    try:
        with feeding(
            [program], endpoint, "--frames", 100_000, "--fps", 200, "--until-eof", *options
        ) as run:
            seen = read_frames(first, 20)
            first.send_signal(signal.SIGKILL)
            first.wait(PATIENCE_S)
            with ClientLink(endpoint) as client:
                received = Received()
                while len(received.headers) < 20:
                    event = client.receive(PATIENCE_S)
                    assert event is not None
                    if isinstance(event, FrameReceived):
                        received.headers.append(event.frame.header)
                        client.release(event)
                assert run.process.stdin is not None
                run.process.stdin.close()
                run.process.stdin = None
                rest = receive_all(client, exact=False)
                account = run.finish()
    finally:
        end(first)
    received.headers += rest.headers
    received.events += rest.events
    received.check_account()
    assert received.headers[0].seq > seen[-1]
    assert received.headers[-1].drops["disconnected"] > 0
    assert account["connections"] == 2


def test_a_client_that_stands_still_is_left_and_found_again(feeder: Path) -> None:
    stalled = start_client(ANY_PORT)
    endpoint: str = stalled.endpoint  # type: ignore[attr-defined]
    try:
        with feeding(
            [feeder], endpoint, "--frames", 100_000, "--fps", 200, "--until-eof", "--close-ms", 500
        ) as run:
            read_frames(stalled, 20)
            stalled.send_signal(signal.SIGSTOP)
            threading.Event().wait(1.0)  # three heartbeats are 0.3 s
            stalled.send_signal(signal.SIGCONT)
            read_frames(stalled, 40)
            assert run.process.stdin is not None
            run.process.stdin.close()
            run.process.stdin = None
            account = run.finish()
    finally:
        stalled.send_signal(signal.SIGCONT)
        end(stalled)
    assert account["connections"] == 2
    assert account["disconnected"] > 0


def test_a_game_ends_in_bounded_time_though_its_client_stands_still(feeder: Path) -> None:
    stalled = start_client(ANY_PORT)
    endpoint: str = stalled.endpoint  # type: ignore[attr-defined]
    options = ("--frames", 100_000, "--fps", 200, "--until-eof", "--close-ms", 300)
    try:
        with feeding([feeder], endpoint, *options, "--size", "640x480", "--no-shared") as run:
            read_frames(stalled, 20)
            stalled.send_signal(signal.SIGSTOP)
            assert run.process.stdin is not None
            run.process.stdin.close()
            run.process.stdin = None
            started = time.monotonic()
            account = run.finish()
            assert time.monotonic() - started < 30  # 0.3 s and the feeder's own 5
    finally:
        stalled.send_signal(signal.SIGCONT)
        end(stalled)
    assert account["worst_begin_us"] < 1_000_000


def test_a_name_in_another_code_page_is_no_reason_to_be_refused(
    feeder: Path, client: ClientLink
) -> None:
    with feeding([feeder], client.endpoint, "--frames", 3, "--game", b"stra\xdfe") as run:
        received = receive_all(client)
        run.finish()
    assert hello_of(received).game == "stra?e"


def test_a_game_that_does_nothing_for_many_heartbeats_stays_connected(feeder: Path) -> None:
    with (
        ClientLink(ANY_PORT, heartbeat_s=0.25) as client,
        feeding([feeder], client.endpoint, "--frames", 3, "--fps", 1) as run,
    ):
        received = receive_all(client)
        account = run.finish()
    received.one(PluginConnected)
    assert not [event for event in received.events if isinstance(event, PluginLost)]
    assert account["connections"] == 1
    assert len(received.headers) == 3


def test_a_killed_game_is_noticed_though_its_child_lives_on(
    native_build: NativeBuild, client: ClientLink
) -> None:
    program = native_build.target("feeder")
    with feeding([program], client.endpoint, "--frames", 100_000, "--fps", 100, "--fork") as run:
        while not isinstance(client.receive(PATIENCE_S), PluginConnected):
            pass
        assert run.process.stderr is not None
        line = run.process.stderr.readline().split()
        child = int(line[1])
        try:
            assert line[2] == "silent"
            while not isinstance(client.receive(PATIENCE_S), FrameReceived):
                pass
            run.process.send_signal(signal.SIGKILL)
            received = receive_all(client, exact=False)
            os.kill(child, 0)  # it lives
        finally:
            os.kill(child, signal.SIGKILL)
    assert isinstance(received.events[-1], PluginLost)


def test_whoever_else_listens_there_is_named(feeder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        stop = threading.Event()

        def serve() -> None:
            server.settimeout(0.05)
            while not stop.is_set():
                try:
                    connection, _ = server.accept()
                except TimeoutError:
                    continue
                with connection:
                    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n" * 20)
                    stop.wait(0.02)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            with feeding(
                [feeder], f"tcp://127.0.0.1:{port}", "--frames", 100, "--fps", 100,
                "--wait-client", 0,
            ) as run:  # fmt: skip
                account = run.finish()
        finally:
            stop.set()
            thread.join()
    assert account["sent"] == 0
    assert "client" in account["error"]


def test_a_client_that_encrypts_is_left_with_a_reason(feeder: Path, tmp_path: Path) -> None:
    path, _ = write_key_files(tmp_path, curve_keypair)
    with (
        ClientLink(ANY_PORT, curve=read_key_file(path).curve) as client,
        feeding([feeder], client.endpoint, "--frames", 50, "--fps", 100, "--wait-client", 0) as run,
    ):
        account = run.finish()
    assert account["sent"] == 0
    assert "encryption" in account["error"]


def test_a_second_plugin_is_refused_and_told_why(feeder: Path, client: ClientLink) -> None:
    with feeding([feeder], client.endpoint, "--frames", 100_000, "--fps", 50, "--until-eof") as one:
        while not isinstance(client.receive(PATIENCE_S), PluginConnected):
            pass
        with feeding(
            [feeder], client.endpoint, "--frames", 30, "--fps", 50, "--wait-client", 0
        ) as two:
            refused = None
            while not isinstance(refused, PluginRefused):
                refused = client.receive(PATIENCE_S)
                if isinstance(refused, FrameReceived):
                    client.release(refused)
            account = two.finish()
        assert one.process.stdin is not None
        one.process.stdin.close()
        one.process.stdin = None
        assert isinstance(receive_all(client, exact=False).events[-1], PluginEnded)
        one.finish()
    assert account["sent"] == 0
    assert "another plugin is connected" in account["error"]


@pytest.mark.wine
@pytest.mark.timeout(300)
def test_the_core_does_the_same_on_windows(native_build: NativeBuild, client: ClientLink) -> None:
    wine = find_wine()
    if wine is None:
        pytest.skip("wine64 is not installed (.ci/system-packages wine)")
    program = native_build.target("feeder", "windows")
    options = ("--frames", 60, "--fps", 200, "--late", 2, "--wait-client", 60000, "--checksum")
    with feeding([wine, program], client.endpoint, *options) as run:
        received = receive_all(client)
        account = run.finish()
    dropped = received.check_account()
    assert len(received.headers) + dropped == account["rendered"] == 60
    assert account["shared_memory"] is False  # a Linux client's memory has no name in Windows
