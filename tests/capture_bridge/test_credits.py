from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture_bridge.credits import CreditAccount, CreditBook, PluginState, next_state
from capture_bridge.errors import ProtocolError
from capture_bridge.messages import (
    Bye,
    Credit,
    DropCause,
    Error,
    Frame,
    FrameHeader,
    Hello,
    Mark,
    Message,
)

HELLO = Hello("0" * 32, "e", "1", "p", "1", "g", ())
FRAME = Frame(FrameHeader(0, 0, 0, 0, 0, (1, 1), (1, 1), None, ()), ())


def test_a_session_goes_through_its_states() -> None:
    state = PluginState.NEW
    seen = []
    for message in (HELLO, Mark(0, "a"), FRAME, FRAME, Mark(0, "b"), Bye("quit"), HELLO):
        state = next_state(state, message)
        seen.append(state.value)
    assert seen == [
        "greeted",
        "greeted",
        "streaming",
        "streaming",
        "streaming",
        "ended",
        "greeted",
    ]


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (PluginState.NEW, FRAME),
        (PluginState.NEW, Mark(0, "a")),
        (PluginState.GREETED, HELLO),
        (PluginState.STREAMING, HELLO),
        (PluginState.STREAMING, Credit(1, 1)),
        (PluginState.ENDED, FRAME),
    ],
)
def test_a_message_out_of_turn_is_an_error_that_says_what_may_come(
    state: PluginState, message: Message
) -> None:
    with pytest.raises(ProtocolError, match=f"is {state.value} sent .*; it may send "):
        next_state(state, message)


def test_errors_end_a_session() -> None:
    for state in (PluginState.NEW, PluginState.GREETED, PluginState.STREAMING):
        assert next_state(state, Error("x", "device lost")) is PluginState.ENDED


def test_causes_of_a_frame_that_may_not_be_sent() -> None:
    account = CreditAccount(max_frame_bytes=100)
    assert account.try_spend(10) is DropCause.NO_CREDIT
    account.add(Credit(2, 120))
    assert account.try_spend(101) is DropCause.OVERSIZE
    assert account.try_spend(100) is None
    assert account.try_spend(30) is DropCause.NO_CREDIT  # a frame is left, but only 20 bytes
    assert account.try_spend(20) is None
    assert account.try_spend(0) is DropCause.NO_CREDIT  # bytes do not matter, no frame is left
    account.refund(20)
    assert account.try_spend(20) is None


def test_frames_without_credit_are_refused_and_cost_nothing() -> None:
    book = CreditBook(1, 100)
    with pytest.raises(ProtocolError, match="101 bytes came without credit"):
        book.take(0, 101)
    book.take(0, 100)
    with pytest.raises(ProtocolError, match="without credit: 0 frames"):
        book.take(1, 0)
    assert book.skip(10) == Credit(0, 0)
    assert book.give_back(0) == Credit(1, 100)
    assert book.give_back(0) == Credit(0, 0)
    assert book.skip(10) == Credit(1, 10)


@dataclass
class Wire:
    """What is under way between the two sides."""

    sent: list[tuple[int, int]]
    credit: list[Credit]


@given(st.lists(st.tuples(st.sampled_from("srbc"), st.integers(0, 60)), max_size=60))
def test_both_sides_agree_whatever_the_order(steps: list[tuple[str, int]]) -> None:
    """Send, receive, give back and deliver credit in any order: never over the limit or lost."""
    book, account = CreditBook(3, 100), CreditAccount(100)
    way, held = Wire([], [book.opening()]), list[int]()
    seq = 0
    for step, num_bytes in steps:
        if step == "s" and account.try_spend(num_bytes) is None:
            way.sent.append((seq, num_bytes))
            seq += 1
        elif step == "r" and way.sent:
            taken = way.sent.pop(0)
            book.take(*taken)
            held.append(taken[0])
        elif step == "b" and held:
            way.credit.append(book.give_back(held.pop()))
        elif step == "c" and way.credit:
            account.add(way.credit.pop(0))
        frames_sent = len(way.sent) + len(held)
        assert frames_sent <= 3
        waiting = sum(credit.frames for credit in way.credit)
        assert account.frames + waiting + frames_sent == 3
        assert book.granted_frames == account.frames + waiting + len(way.sent)
