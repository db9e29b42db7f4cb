import itertools
import random
import signal
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from capture_bridge import wire
from capture_bridge.codecs import decode_payload
from capture_bridge.errors import LinkError, ProtocolError, VersionError
from capture_bridge.keys import read_key_file, write_key_files
from capture_bridge.link import (
    ClientLink,
    FrameReceived,
    LinkState,
    MarkReceived,
    PeerFault,
    PluginConnected,
    PluginEnded,
    PluginLink,
    PluginLost,
    PluginRefused,
    ResultReceived,
)
from capture_bridge.messages import (
    Credit,
    DropCause,
    Enhanced,
    Error,
    FrameHeader,
    Mark,
    Result,
    Welcome,
)
from capture_bridge.sockets import RouterSocket, Sent, curve_keypair
from tests.capture_bridge.link_fixtures import (
    ANY_PORT,
    CAMERA,
    FRAME_BYTES,
    PATIENCE_S,
    RawPeer,
    in_thread,
    make_arrays,
    make_frame,
    make_hello,
    next_event,
    plugin,
    read_line,
    send,
    start_process,
    stop,
    wait_until,
    zmtp_part,
    zmtp_socket,
)

SLACK_S = 1.5  # for the scheduler of a busy machine

PLUGIN = """
import sys, time
from capture_bridge.link import PluginLink
from tests.capture_bridge.link_fixtures import make_hello, send

link = PluginLink(make_hello(), sys.argv[1], heartbeat_s=0.2)
link.connect()
for seq in range(100_000):
    send(link, seq)
    time.sleep(0.002)
"""

CLIENT = """
import sys
from capture_bridge.link import ClientLink, FrameReceived

client = ClientLink(sys.argv[1])
print(client.endpoint, flush=True)
while True:
    event = client.receive(60)
    if isinstance(event, FrameReceived):
        print("frame", event.frame.header.seq, flush=True)
"""


@pytest.fixture
def client() -> Iterator[ClientLink]:
    with ClientLink(ANY_PORT) as link:
        yield link


@pytest.fixture
def raw(client: ClientLink) -> Iterator[RawPeer]:
    peer = RawPeer(client.endpoint)
    yield peer
    peer.close()


def connect(link: PluginLink, client: ClientLink) -> PluginConnected:
    with in_thread(link.connect):
        event = next_event(client)
        assert isinstance(event, PluginConnected)
    return event


def next_frame(client: ClientLink) -> FrameReceived:
    event = next_event(client)
    assert isinstance(event, FrameReceived)
    return event


def num_dropped(header: FrameHeader) -> int:
    return sum(header.drops.values())


# --- frames and credit ----------------------------------------------------------------------------


def test_lockstep_loses_nothing_with_a_slow_client(client: ClientLink) -> None:
    def play() -> None:
        with plugin(client, lockstep=True) as link:
            link.connect()
            assert all(send(link, seq) for seq in range(40))
            assert link.close("finished")

    with in_thread(play):
        connected = next_event(client)
        assert isinstance(connected, PluginConnected)
        assert connected.hello.lockstep
        held: list[FrameReceived] = []
        for seq in range(40):
            event = next_frame(client)
            assert event.frame.header.seq == seq
            depth = decode_payload(event.frame.header.buffers[0], event.frame.payloads[0])
            np.testing.assert_array_equal(depth, make_arrays(seq)["depth"])
            held.append(event)
            if len(held) == 4 and seq < 39:  # the plugin stands still now
                assert client.receive(0.005) is None
                for frame in held:
                    client.release(frame)
                held.clear()
        ended = next_event(client)
    assert isinstance(ended, PluginEnded)
    assert (ended.bye.reason, ended.bye.last_seq, ended.bye.drops) == ("finished", 39, {})


def test_real_time_drops_are_the_gaps_exactly_and_by_cause(client: ClientLink) -> None:
    with plugin(client) as link:
        assert not send(link, 0)  # nobody has welcomed it yet
        connect(link, client)
        rng = random.Random(7)
        received: list[FrameReceived] = []
        held: list[FrameReceived] = []
        for seq in range(1, 200):
            if send(link, seq):
                held.append(next_frame(client))
                received.append(held[-1])
            if held and rng.random() < 0.4:
                client.release(held.pop(rng.randrange(len(held))))
                assert client.receive(0) is None
        assert link.last_seq == 199
        headers = [event.frame.header for event in received]
        with in_thread(lambda: link.close("quit")):
            ended = next_event(client)
            assert isinstance(ended, PluginEnded)
            assert client.receive(0) is None
    assert (
        headers[0].drops
        == {DropCause.DISCONNECTED: headers[0].seq}
        | ({} if headers[0].seq == 1 else {DropCause.DISCONNECTED: 1})
        or num_dropped(headers[0]) == headers[0].seq
    )
    for before, after in itertools.pairwise(headers):
        assert after.seq - before.seq - 1 == num_dropped(after) - num_dropped(before)
    last = headers[-1]
    assert ended.bye.last_seq - last.seq == sum(ended.bye.drops.values()) - num_dropped(last)
    assert ended.bye.drops[DropCause.DISCONNECTED] == 1
    assert ended.bye.drops[DropCause.NO_CREDIT] > 20
    assert len(headers) + sum(ended.bye.drops.values()) == 200


def test_four_frames_of_credit_are_four_frames(client: ClientLink) -> None:
    with plugin(client) as link:
        connect(link, client)
        assert [send(link, seq) for seq in range(6)] == [True] * 4 + [False] * 2
        first = next_frame(client)
        client.release(first)
        client.release(first)  # twice gives one frame of credit
        assert isinstance(next_event(client), FrameReceived)
        client.receive(0)
        wait_until(lambda: send(link, 0))
        assert not send(link, 0)


def test_a_frame_over_the_byte_limit_is_dropped_or_an_error() -> None:
    with (
        ClientLink(ANY_PORT, max_bytes_in_flight=FRAME_BYTES - 1) as client,
        plugin(client) as link,
        plugin(client, make_hello("cd" * 16, lockstep=True)) as strict,
    ):
        connect(link, client)
        assert not send(link, 0)
        assert link.drops == {DropCause.OVERSIZE: 1}
        with in_thread(link.close):
            assert isinstance(next_event(client), PluginEnded)
            client.receive(0)
        connect(strict, client)
        with pytest.raises(LinkError, match=f"{FRAME_BYTES} bytes.*limit of {FRAME_BYTES - 1}"):
            send(strict, 0)
        with in_thread(strict.close):
            assert isinstance(next_event(client), PluginEnded)
            client.receive(0)


def test_bytes_in_flight_are_limited_too() -> None:
    with (
        ClientLink(ANY_PORT, max_bytes_in_flight=2 * FRAME_BYTES + 1) as client,
        plugin(client) as link,
    ):
        connect(link, client)
        assert [send(link, seq) for seq in range(3)] == [True, True, False]


def test_lockstep_gives_up_on_a_client_that_takes_nothing(client: ClientLink) -> None:
    with plugin(client, make_hello(lockstep=True), lockstep_timeout_s=0.05) as link:
        connect(link, client)
        for seq in range(4):
            assert send(link, seq)
        with pytest.raises(LinkError, match=r"took no frame for 0\.05 s"):
            send(link, 4)


def test_credit_may_be_returned_from_another_thread(client: ClientLink) -> None:
    with plugin(client, lockstep=True) as link:
        connect(link, client)
        for seq in range(4):
            send(link, seq)
        frames = [next_frame(client) for _ in range(4)]
        waiting = threading.Event()

        def release() -> None:
            waiting.wait(PATIENCE_S)
            client.release(frames[0])

        with in_thread(release), in_thread(lambda: send(link, 4)):
            waiting.set()
            assert next_frame(client).frame.header.seq == 4
        with in_thread(link.close):
            assert isinstance(next_event(client), PluginEnded)
            client.receive(0)


def test_compressed_and_checked_payloads_arrive(client: ClientLink) -> None:
    with plugin(client, codec="shuffle+lz4", checksum=True) as link:
        connect(link, client)
        assert send(link, 9)
        frame = next_frame(client).frame
        wire.verify_checksums(frame)
        assert frame.header.buffers[0].checksum is not None
        depth = decode_payload(frame.header.buffers[0], frame.payloads[0])
        np.testing.assert_array_equal(depth, make_arrays(9)["depth"])


def test_a_plugins_own_mistake_is_raised_and_counted(client: ClientLink) -> None:
    with plugin(client) as link:
        connect(link, client)
        with pytest.raises(ProtocolError, match="depth"):
            link.send_frame({"depth": np.zeros((4, 6))}, t_sim_ns=0, camera=None)
        with pytest.raises(ProtocolError, match="world_from_camera"):
            bad = replace(CAMERA, world_from_camera=np.full((4, 4), np.nan))
            link.send_frame(make_arrays(0), t_sim_ns=0, camera=bad)
        assert link.drops == {DropCause.ENCODE: 2}
        assert send(link, 2)
        assert next_frame(client).frame.header.seq == 2


def test_marks_commands_and_enhanced_frames_travel(client: ClientLink) -> None:
    with plugin(client) as link:
        identity = connect(link, client).identity
        send(link, 77)
        assert isinstance(next_event(client), FrameReceived)
        assert link.mark("level 2")
        mark = next_event(client)
        assert isinstance(mark, MarkReceived)
        assert mark.mark == Mark(77, "level 2")
        request = client.command(identity, "start", {"fps": "24"})
        client.send_enhanced(identity, Enhanced(77, 1, 1, b"\1\2\3\4"))
        commands = []

        def command_came() -> bool:
            commands.extend(link.poll())
            return bool(commands)

        wait_until(command_came)
        assert [(command.name, command.args) for command in commands] == [("start", {"fps": "24"})]
        link.answer(commands[0], ok=True, text="started")
        result = next_event(client)
        assert isinstance(result, ResultReceived)
        assert result.result == Result(request, True, "started")
        taken: list[Enhanced] = []

        def enhanced_came() -> bool:
            enhanced = link.take_enhanced()
            taken.extend([enhanced] if enhanced else [])
            return bool(taken)

        wait_until(enhanced_came)
        assert (taken[0].seq, bytes(taken[0].payload)) == (77, b"\1\2\3\4")
        assert link.take_enhanced() is None


# --- who may connect ------------------------------------------------------------------------------


def test_a_second_recorder_on_the_port_is_told_so(client: ClientLink) -> None:
    port = client.endpoint.rsplit(":", 1)[1]
    with pytest.raises(LinkError, match=rf"{port}: the port is taken.*another recorder"):
        ClientLink(client.endpoint)


@pytest.mark.parametrize(
    "endpoint", ["tcp://0.0.0.0:0", "tcp://*:0", "tcp://192.0.2.7:5570", "tcp://[::]:0"]
)
def test_off_loopback_needs_permission_keys_and_token(endpoint: str) -> None:
    with pytest.raises(LinkError, match="other machines"):
        ClientLink(endpoint)
    with pytest.raises(LinkError, match="CURVE keys and a token are required"):
        ClientLink(endpoint, allow_off_loopback=True, token="t")


def test_off_loopback_with_everything_binds(tmp_path: Path) -> None:
    path, _ = write_key_files(tmp_path, curve_keypair)
    keys = read_key_file(path)
    ClientLink(
        "tcp://0.0.0.0:0", allow_off_loopback=True, token=keys.token, curve=keys.curve
    ).close()


@pytest.mark.parametrize(
    "endpoint",
    [
        "5570",
        "udp://127.0.0.1:1",
        "tcp://",
        "tcp://[::1",
        "tcp://127.0.0.1",
        "tcp://127.0.0.1:99999",
    ],
)
def test_an_endpoint_that_is_none_is_refused(endpoint: str) -> None:
    with pytest.raises(LinkError, match="bad endpoint"):
        ClientLink(endpoint)
    with pytest.raises(LinkError, match="bad endpoint"):
        PluginLink(make_hello(), endpoint)


def test_nobody_listening_is_said_in_time() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        endpoint = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    link = PluginLink(make_hello(), endpoint, connect_timeout_s=0.1)
    with link, pytest.raises(LinkError, match=r"nobody answered at .* 0\.1 s; start the client"):
        link.connect()


def test_a_second_plugin_is_refused_while_the_first_lives(client: ClientLink) -> None:
    with plugin(client) as first, plugin(client, make_hello("cd" * 16)) as second:
        connect(first, client)
        with (
            in_thread(lambda: next_event(client)),
            pytest.raises(LinkError, match="another plugin is connected"),
        ):
            second.connect()
        assert send(first, 0)
        assert next_frame(client).epoch == 1
        with in_thread(first.close):
            assert isinstance(next_event(client), PluginEnded)
            client.receive(0)
        assert connect(second, client).epoch == 2


def test_several_plugins_are_kept_apart_if_asked() -> None:
    with (
        ClientLink(ANY_PORT, multiple=True) as client,
        plugin(client) as first,
        plugin(client, make_hello("cd" * 16)) as second,
    ):
        one, two = connect(first, client), connect(second, client)
        assert (one.epoch, two.epoch) == (1, 2)
        assert all(send(first, seq) for seq in range(4))
        assert send(second, 0)  # its credit is its own
        seen = [(event.identity, event.epoch) for event in (next_frame(client) for _ in range(5))]
        assert sorted(seen) == sorted([(one.identity, 1)] * 4 + [(two.identity, 2)])


def test_a_wrong_token_is_refused() -> None:
    with ClientLink(ANY_PORT, token="right") as client:
        for token in ("", "wrong", "réal"):
            with (
                plugin(client, make_hello(token=token)) as link,
                in_thread(lambda: next_event(client)),
            ):
                with pytest.raises(LinkError, match="token is missing or wrong"):
                    link.connect()
                assert link.state is LinkState.REFUSED
        with plugin(client, make_hello(token="right")) as link:
            connect(link, client)


def test_curve_connects_with_the_keys_and_not_without(tmp_path: Path) -> None:
    client_path, plugin_path = write_key_files(tmp_path, curve_keypair)
    client_keys, plugin_keys = read_key_file(client_path), read_key_file(plugin_path)
    other = read_key_file(write_key_files(tmp_path / "other", curve_keypair)[1])
    hello = make_hello(token=plugin_keys.token)
    with ClientLink(ANY_PORT, token=client_keys.token, curve=client_keys.curve) as client:
        with plugin(client, hello, curve=plugin_keys.curve) as link:
            connect(link, client)
            assert send(link, 0)
            assert next_frame(client).frame.header.seq == 0
            with in_thread(link.close):
                assert isinstance(next_event(client), PluginEnded)
                client.receive(0)
        for keys, timeout_s in ((None, 1.0), (other.curve, 0.5)):
            with (
                plugin(client, hello, curve=keys, connect_timeout_s=timeout_s) as plain,
                pytest.raises(LinkError),
            ):
                plain.connect()
        assert client.receive(0) is None
    with pytest.raises(LinkError, match=r"client\.keys"):
        ClientLink(ANY_PORT, token="t", curve=plugin_keys.curve)


def test_another_major_is_refused_by_both_sides_naming_both(
    client: ClientLink, raw: RawPeer
) -> None:
    raw.send_message(make_hello(), v=[2, 4])
    fault = next_event(client)
    assert isinstance(fault, PeerFault)
    assert isinstance(fault.error, VersionError)
    error = raw.receive()
    assert isinstance(error, Error)
    assert error.code == "version"
    assert "2.4" in error.text
    assert "1.1" in error.text


def test_a_plugin_tells_that_the_client_speaks_another_major() -> None:
    router = RouterSocket(ANY_PORT, heartbeat_s=1, max_part_bytes=1 << 20, keys=None)
    link = PluginLink(make_hello(), router.endpoint)
    try:

        def answer() -> None:
            received = None
            while received is None:
                router.wait(PATIENCE_S)
                received = router.receive(9)
            head = wire.encode(Welcome(1, 1, 1))[0]
            router.send(received[0], [bytes(head).replace(b"\x92\x01\x01", b"\x92\x03\x01")])

        with in_thread(answer), pytest.raises(LinkError, match=r"protocol 3\.1, this side 1\.1"):
            link.connect()
    finally:
        link.close()
        router.close(0)


# --- peers that misbehave -------------------------------------------------------------------------


def greet(raw: RawPeer, client: ClientLink) -> None:
    raw.send_message(make_hello())
    assert isinstance(next_event(client), PluginConnected)
    assert isinstance(raw.receive(), Welcome)
    assert raw.receive() == Credit(4, 512 << 20)


def test_a_refused_frame_is_a_fault_and_returns_its_credit(
    client: ClientLink, raw: RawPeer
) -> None:
    greet(raw, client)
    camera = {"K": [float("nan")] * 9, "near_m": 1, "far_m": 2}
    for changes, names in (
        ({"camera": camera}, "camera.K"),
        ({"buffers": []}, "payloads"),
        ({"seq": -1}, "frame.seq"),
        ({"render_size": [0, 4]}, "render_size.width"),
    ):
        raw.send_message(make_frame(3), **changes)
        fault = next_event(client)
        assert isinstance(fault, PeerFault)
        assert names in str(fault.error)
        assert fault.epoch == 1
        error = raw.receive()
        assert isinstance(error, Error)
        assert error.code == "bad_message"
        assert names in error.text
        assert raw.receive() == Credit(1, FRAME_BYTES)
    raw.send_message(make_frame(4))
    assert next_frame(client).frame.header.seq == 4


def test_a_payload_that_is_cut_short_is_a_fault_and_returns_what_it_cost(
    client: ClientLink, raw: RawPeer
) -> None:
    greet(raw, client)
    head, payload = wire.encode(make_frame(0))
    raw.send(head, payload[:-8])
    fault = next_event(client)
    assert isinstance(fault, PeerFault)
    assert "carries 88 bytes" in str(fault.error)
    assert isinstance(raw.receive(), Error)
    assert raw.receive() == Credit(1, FRAME_BYTES - 8)


def test_a_plugin_that_does_not_read_is_not_filled_up() -> None:
    """Else its queue would be full after a long loading screen and its heartbeats stop."""
    with ClientLink(ANY_PORT, heartbeat_s=0.2) as client:
        raw = RawPeer(client.endpoint)
        try:
            greet(raw, client)
            assert client.receive(1.0) is None
            assert not raw.has_message()
            raw.send_message(make_frame(0))
            assert next_frame(client).frame.header.seq == 0
        finally:
            raw.close()


def test_credit_that_found_no_room_is_sent_later(
    client: ClientLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    with plugin(client) as link:
        connect(link, client)
        for seq in range(4):
            assert send(link, seq)
        frames = [next_frame(client) for _ in range(4)]
        with monkeypatch.context() as patch:
            patch.setattr(client._socket, "send", lambda identity, parts: Sent.FULL)
            for frame in frames:
                client.release(frame)
            assert client.receive(0) is None
        assert not send(link, 4)
        assert client.receive(1.0) is None  # a beat comes
        wait_until(lambda: send(link, 0))
        assert [send(link, 0) for _ in range(4)] == [True] * 3 + [False]


def test_frames_without_credit_or_order_are_faults(client: ClientLink, raw: RawPeer) -> None:
    raw.send_message(make_frame(0))
    fault = next_event(client)
    assert isinstance(fault, PeerFault)
    assert "plugin that is new" in str(fault.error)
    assert isinstance(raw.receive(), Error)
    greet(raw, client)
    for seq in (5, 5, 4):
        raw.send_message(make_frame(seq))
    assert next_frame(client).frame.header.seq == 5
    for _ in range(2):
        fault = next_event(client)
        assert isinstance(fault, PeerFault)
        assert "seq must rise" in str(fault.error)
    for seq in (6, 7, 8, 9):
        raw.send_message(make_frame(seq))
    assert [next_frame(client).frame.header.seq for _ in range(3)] == [6, 7, 8]
    fault = next_event(client)
    assert isinstance(fault, PeerFault)
    assert "without credit" in str(fault.error)


def test_fuzzed_messages_never_stop_a_recording(client: ClientLink, raw: RawPeer) -> None:
    rng = random.Random(11)
    seeds = [wire.encode(make_frame(0)), wire.encode(make_hello()), wire.encode(Mark(0, "x"))]

    def disturb_and_play() -> None:
        with PluginLink(make_hello("cd" * 16), client.endpoint, lockstep=True) as good:
            good.connect()
            for seq in range(150):
                parts = [bytearray(part) for part in rng.choice(seeds)]
                part = rng.choice(parts)
                for _ in range(rng.randrange(4)):
                    part[rng.randrange(len(part))] = rng.randrange(256)
                raw.send(*map(bytes, parts), *[b""] * rng.choice([0, 0, 0, 1, 60]))
                if seq % 10 == 0:
                    send(good, seq)

    with in_thread(disturb_and_play):
        assert isinstance(next_event(client), PluginConnected)
        num_frames = num_faults = 0
        while True:
            event = next_event(client)
            if isinstance(event, PluginEnded):
                break
            if isinstance(event, FrameReceived):
                num_frames += 1
                client.release(event)
            else:
                assert isinstance(event, PeerFault | PluginRefused)
                num_faults += 1
    assert num_frames == 15
    assert num_faults > 10  # how many came before the end is up to the scheduler


def test_bytes_that_are_not_zeromq_never_stop_a_recording(client: ClientLink) -> None:
    host, port = client.endpoint.removeprefix("tcp://").split(":")
    rng = random.Random(3)
    with plugin(client) as good:
        connect(good, client)
        for num_bytes in (1, 11, 64, 5000):
            with socket.create_connection((host, int(port)), PATIENCE_S) as connection:
                connection.sendall(rng.randbytes(num_bytes))
        assert send(good, 0)
        event = next_event(client)
        while isinstance(event, PeerFault):  # ZMTP 1.0 takes nearly any bytes for a message
            event = next_event(client)
        assert isinstance(event, FrameReceived)


def test_a_plugin_that_dies_mid_frame_is_lost_and_its_half_frame_never_seen() -> None:
    with ClientLink(ANY_PORT, heartbeat_s=0.1) as client:
        connection = zmtp_socket(client.endpoint)
        hello, frame = wire.encode(make_hello()), wire.encode(make_frame(0))
        with connection:
            connection.sendall(zmtp_part(hello[0], more=False))
            assert isinstance(next_event(client), PluginConnected)
            connection.sendall(zmtp_part(frame[0], more=True))
            connection.sendall(zmtp_part(frame[1], more=False)[: FRAME_BYTES // 2])
        lost = next_event(client)
        assert isinstance(lost, PluginLost)
        with plugin(client) as link:
            assert connect(link, client).epoch == 2


# --- whole processes that die ---------------------------------------------------------------------


def test_a_killed_plugin_is_noticed_and_may_come_back() -> None:
    with ClientLink(ANY_PORT, heartbeat_s=0.2) as client:
        process = start_process(PLUGIN, client.endpoint)
        try:
            assert isinstance(next_event(client), PluginConnected)
            client.release(next_frame(client))
            process.kill()
            process.wait(PATIENCE_S)
            killed_at = time.monotonic()
            event = next_event(client)
            while isinstance(event, FrameReceived):  # what had arrived is kept
                event = next_event(client)
            assert isinstance(event, PluginLost)
            assert time.monotonic() - killed_at < 3 * 0.2 + SLACK_S
        finally:
            stop(process)
        with plugin(client) as link:
            assert connect(link, client).epoch == 2


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="needs SIGSTOP")
def test_a_plugin_that_stops_answering_is_noticed_within_three_heartbeats() -> None:
    with ClientLink(ANY_PORT, heartbeat_s=0.2) as client:
        process = start_process(PLUGIN, client.endpoint)
        try:
            assert isinstance(next_event(client), PluginConnected)
            next_frame(client)
            process.send_signal(signal.SIGSTOP)
            stopped_at = time.monotonic()
            event = next_event(client)
            while isinstance(event, FrameReceived):
                event = next_event(client)
            assert isinstance(event, PluginLost)
            assert time.monotonic() - stopped_at < 3 * 0.2 + SLACK_S
        finally:
            stop(process)


def test_a_killed_client_may_be_restarted_and_the_plugin_goes_on_counting() -> None:
    process = start_process(CLIENT, ANY_PORT)
    try:
        link = PluginLink(make_hello(), read_line(process))
        link.connect()
        sent = [send(link, 0)]
        assert read_line(process) == "frame 0"
        process.kill()
        process.wait(PATIENCE_S)

        def send_next() -> bool:
            sent.append(send(link, 0))
            return sent[-1]

        wait_until(lambda: not send_next() and DropCause.DISCONNECTED in link.drops)

        def play() -> None:
            wait_until(send_next)
            link.close()

        with ClientLink(link.endpoint, first_epoch=2) as client, in_thread(play):
            connected = next_event(client)
            assert isinstance(connected, PluginConnected)
            assert connected.epoch == 2
            frame = next_frame(client)
            ended = next_event(client)
        assert isinstance(ended, PluginEnded)
        assert frame.epoch == ended.epoch == 2
        assert frame.frame.header.seq == ended.bye.last_seq == len(sent) - 1
        assert frame.frame.header.drops == ended.bye.drops == link.drops
        assert sum(link.drops.values()) == sent.count(False)
    finally:
        stop(process)


def test_lockstep_waits_for_a_client_that_is_restarted() -> None:
    process = start_process(CLIENT, ANY_PORT)
    try:
        link = PluginLink(make_hello(lockstep=True), read_line(process))
        link.connect()
        assert send(link, 0)
        assert read_line(process) == "frame 0"
        process.kill()
        process.wait(PATIENCE_S)
        with ClientLink(link.endpoint, first_epoch=2) as client:
            frames: list[FrameReceived] = []

            def play() -> None:
                assert all(send(link, seq) for seq in range(1, 12))
                assert link.close()

            with in_thread(play):
                assert isinstance(next_event(client), PluginConnected)
                event = next_event(client)
                while isinstance(event, FrameReceived):
                    frames.append(event)
                    client.release(event)
                    event = next_event(client)
            assert isinstance(event, PluginEnded)
        seqs = [frame.frame.header.seq for frame in frames]
        assert seqs == list(range(seqs[0], 12))
        assert seqs[0] <= 1 + 3  # at most the credit left was sent to the dead client
        assert event.bye.drops == {}
    finally:
        stop(process)
