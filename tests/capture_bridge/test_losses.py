import dataclasses

from capture_bridge.losses import LossAccount
from capture_bridge.messages import Bye, FrameHeader
from capture_bridge.session import Drop
from tests.capture_bridge.session_fixtures import message


def header(seq: int, **drops: int) -> FrameHeader:
    return dataclasses.replace(message(0).header, seq=seq, drops=drops)


def account() -> LossAccount:
    made = LossAccount()
    made.connected("a" * 32)
    return made


def test_a_gap_that_the_plugin_explains_is_its_drops() -> None:
    losses = account()
    assert losses.frame(header(10, no_credit=10), 1, 0) == []  # before the recording
    assert losses.frame(header(11, no_credit=10), 1, 1) == []
    records = losses.frame(header(15, no_credit=12, readback_late=1), 1, 2)
    assert records == [
        Drop("plugin", "no_credit", 2, 1, 2, 12),
        Drop("plugin", "readback_late", 1, 1, 2, 12),
    ]
    assert losses.num_gaps == 1 and sum(losses.totals.values()) == 3


def test_what_nobody_explains_is_the_links() -> None:
    losses = account()
    losses.frame(header(0), 1, 0)
    (record,) = losses.frame(header(4), 1, 1)
    assert record == Drop("link", "gap", 3, 1, 1, 1)


def test_refused_messages_count_where_seq_has_a_gap() -> None:
    losses = account()
    losses.frame(header(0), 1, 0)
    losses.refused("malformed")
    losses.refused("damaged")
    records = losses.frame(header(3), 1, 1)
    assert [(r.stage, r.cause, r.count) for r in records] == [
        ("decode", "damaged", 1),
        ("decode", "malformed", 1),
    ]
    losses.refused("malformed")  # it was not a frame: no gap
    assert losses.frame(header(4), 1, 2) == []


def test_bye_and_loss_close_the_account() -> None:
    losses = account()
    losses.frame(header(0), 1, 0)
    records = losses.ended(Bye("end", last_seq=5, drops={"no_credit": 4}), 1, 1)
    assert [(r.stage, r.count) for r in records] == [("plugin", 4), ("link", 1)]
    losses.refused("malformed")
    (record,) = losses.lost(2, 9)
    assert (record.stage, record.count, record.epoch) == ("decode", 1, 2)
    assert sum(losses.totals.values()) == 6


def test_a_reconnection_of_the_same_run_goes_on_counting_and_another_run_starts_anew() -> None:
    losses = account()
    losses.frame(header(7), 1, 0)
    losses.connected("a" * 32)
    (record,) = losses.frame(header(12, disconnected=4), 2, 1)
    assert (record.cause, record.count, record.epoch) == ("disconnected", 4, 2)
    losses.connected("b" * 32)
    assert losses.frame(header(40, no_credit=9), 3, 2) == []
