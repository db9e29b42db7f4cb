from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capture_bridge.clips import Clip, ClipPlan, ClipRules, Refusal, find_clips, new_share
from capture_bridge.errors import RealMasterError, SessionError
from capture_bridge.messages import Frame, FrameFlags
from capture_bridge.session import SessionReader, SessionWriter
from tests.capture_bridge.analytic_engine import AnalyticEngine, to_message

ENGINE = AnalyticEngine(width=16, height=8, buffers=("color", "instance"))
STEP_NS = 41_666_667
SHORT = ClipRules(length=9)
FRAME = ENGINE.frame(0)

Change = Callable[[int, Frame], Frame]


def message(index: int, *, flags: FrameFlags = FrameFlags.NONE, late_ns: int = 0) -> Frame:
    """One picture again and again, at its own time and seq."""
    t_ns = index * STEP_NS + late_ns
    made = replace(FRAME, index=index, t_sim_ns=t_ns, t_host_ns=FRAME.t_host_ns + t_ns, flags=flags)
    return to_message(made)


def plan(
    tmp_path: Path,
    frames: list[Frame],
    rules: ClipRules = SHORT,
    *,
    epochs: tuple[int, ...] = (),
) -> ClipPlan:
    """epochs: indices from which on the engine has connected anew."""
    path = tmp_path / "session.mcap"
    with SessionWriter(path, ENGINE.hello(lockstep=False), codec="raw", overwrite=True) as writer:
        for number, frame in enumerate(frames):
            epoch = 1 + sum(number >= at for at in epochs)
            if number in epochs:
                writer.write_epoch(ENGINE.hello(lockstep=False), epoch)
            writer.write_frame(frame, frame.header.t_send_ns + 1_000_000 + number, epoch)
    with SessionReader(path) as session:
        made = find_clips(session, rules)
    check_that_every_frame_is_accounted_for(made)
    return made


def check_that_every_frame_is_accounted_for(made: ClipPlan) -> None:
    parts: list[Clip | Refusal] = sorted([*made.clips, *made.refusals], key=lambda p: p.start)
    assert [part.start for part in parts] == [0, *(part.stop for part in parts[:-1])]
    assert parts[-1].stop == made.num_frames
    assert all(len(part) > 0 for part in parts)


def spans(made: ClipPlan) -> list[tuple[int, int]]:
    return [(clip.start, clip.stop) for clip in made.clips]


def test_a_take_is_divided_in_clips_and_its_rest_is_refused_with_its_figure(tmp_path: Path) -> None:
    made = plan(tmp_path, [message(i) for i in range(23)])
    assert spans(made) == [(0, 9), (9, 18)]
    first, second = made.clips
    assert first.name == "01234567-1-000000-9"
    assert (first.first_seq, first.last_seq, first.epoch) == (0, 8, 1)
    assert first.fps == pytest.approx(24, abs=1e-3)
    assert first.clock == "t_sim_ns"
    assert first.jitter < 1e-6
    assert "full" in second.ends
    (rest,) = made.refusals
    assert (rest.reason, rest.figure, rest.limit) == ("too short", 5, 9)
    assert "5 frames" in rest.text
    assert "session ends" in rest.text


def test_a_long_rest_becomes_a_shorter_clip_where_that_is_allowed(tmp_path: Path) -> None:
    made = plan(tmp_path, [message(i) for i in range(17 + 14)], ClipRules(length=17, minimum=9))
    assert spans(made) == [(0, 17), (17, 26)]
    assert made.clips[1].ends == "the session ends"
    assert made.refusals[0].figure == 5


@pytest.mark.parametrize("flag", [FrameFlags.CUT, FrameFlags.TELEPORT])
def test_a_jump_of_the_view_begins_a_new_take(tmp_path: Path, flag: FrameFlags) -> None:
    frames = [message(i, flags=flag if i == 12 else FrameFlags.NONE) for i in range(21)]
    made = plan(tmp_path, frames)
    assert spans(made) == [(0, 9), (12, 21)]
    assert f"{(flag.name or '').lower()} at seq 12" in made.refusals[0].text


@pytest.mark.parametrize(
    "flag", [FrameFlags.MENU, FrameFlags.LOADING, FrameFlags.PAUSED, FrameFlags.GENERATED]
)
def test_what_is_no_footage_is_left_out(tmp_path: Path, flag: FrameFlags) -> None:
    frames = [message(i, flags=flag if 9 <= i < 12 else FrameFlags.NONE) for i in range(21)]
    made = plan(tmp_path, frames)
    assert spans(made) == [(0, 9), (12, 21)]
    (refused,) = made.refusals
    assert (refused.reason, refused.figure) == ((flag.name or "").lower(), 3)


def test_lost_frames_and_a_new_connection_begin_a_new_take(tmp_path: Path) -> None:
    frames = [message(i) for i in range(23) if i not in (10, 11)]
    lost = plan(tmp_path, frames)
    assert spans(lost) == [(0, 9), (10, 19)]
    assert "2 frames were lost before seq 12" in lost.refusals[0].text
    again = plan(tmp_path, [message(i) for i in range(20)], epochs=(11,))
    assert spans(again) == [(0, 9), (11, 20)]
    assert again.clips[1].epoch == 2
    assert "epoch 2" in again.refusals[0].text


def test_a_cut_that_nobody_flagged_shows_in_the_objects(tmp_path: Path) -> None:
    """Every object is another one from frame 11 on; one small newcomer at frame 3 is no cut."""
    frames = []
    for index in range(20):
        instance = FRAME.arrays["instance"].astype("<u4")
        if index >= 3:
            instance[:2, :2] = 77
        if index >= 11:
            instance = instance + np.uint32(1000)
        made = replace(
            FRAME,
            index=index,
            t_sim_ns=index * STEP_NS,
            t_host_ns=FRAME.t_host_ns + index * STEP_NS,
            arrays=FRAME.arrays | {"instance": instance},
        )
        frames.append(to_message(made))
    seen = plan(tmp_path, frames)
    assert spans(seen) == [(0, 9), (11, 20)]
    assert "of the picture at seq 11" in seen.refusals[0].text
    assert spans(plan(tmp_path, frames, replace(SHORT, max_new=1.0))) == [(0, 9), (9, 18)]


def test_an_uneven_rate_is_refused_with_its_figure_and_spoils_one_clip(tmp_path: Path) -> None:
    frames = [message(i, late_ns=STEP_NS if i >= 4 else 0) for i in range(14)]
    made = plan(tmp_path, frames)
    assert spans(made) == [(4, 13)]
    uneven = made.refusals[0]
    assert (uneven.reason, uneven.start, uneven.stop) == ("uneven rate", 0, 4)
    assert uneven.figure == pytest.approx(1, abs=1e-3)
    assert "83.3 ms among steps of 41.7 ms" in uneven.text
    assert spans(plan(tmp_path, frames, replace(SHORT, max_jitter=1.5))) == [(0, 9)]


def test_a_rate_is_measured_on_the_first_clock_that_runs(tmp_path: Path) -> None:
    def with_times(frame: Frame, **times: int) -> Frame:
        return replace(frame, header=replace(frame.header, **times))

    frames = [with_times(message(i), t_sim_ns=5) for i in range(9)]
    assert plan(tmp_path, frames).clips[0].clock == "t_render_ns"


def test_buffers_that_change_their_size_begin_a_new_take(tmp_path: Path) -> None:
    larger = AnalyticEngine(width=32, height=16, buffers=("color", "instance"))
    frames = [message(i) for i in range(10)]
    for index in range(10, 19):
        t_ns = index * STEP_NS
        frame = replace(
            larger.frame(0), index=index, t_sim_ns=t_ns, t_host_ns=FRAME.t_host_ns + t_ns
        )
        frames.append(to_message(frame))
    assert spans(plan(tmp_path, frames)) == [(0, 9), (10, 19)]


@settings(max_examples=25, deadline=None)
@given(
    flags=st.lists(st.sampled_from([FrameFlags.NONE] * 6 + list(FrameFlags)), max_size=60),
    lost=st.sets(st.integers(0, 59), max_size=6),
    minimum=st.sampled_from([None, 9]),
    rule=st.sampled_from([9, 17]),
)
def test_every_frame_is_in_one_clip_or_one_refusal(
    tmp_path_factory: pytest.TempPathFactory,
    flags: list[FrameFlags],
    lost: set[int],
    minimum: int | None,
    rule: int,
) -> None:
    frames = [message(i, flags=flag) for i, flag in enumerate(flags) if i not in lost]
    if not frames:
        return
    made = plan(tmp_path_factory.mktemp("clips"), frames, ClipRules(length=rule, minimum=minimum))
    for clip in made.clips:
        assert len(clip) % 8 == 1
        assert clip.last_seq - clip.first_seq == len(clip) - 1
        inner = [frames[i].header.flags for i in clip.indices]
        assert not any(flag & ~FrameFlags.HUD_IN_COLOR for flag in inner[1:])
        assert not inner[0] & (FrameFlags.MENU | FrameFlags.PAUSED)


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ({"length": 80}, "73 or 81"),
        ({"length": 85}, "81 or 89"),
        ({"length": 1}, "9 to 1025"),
        ({"length": 2000}, "9 to 1025"),
        ({"length": 17, "minimum": 25}, "9 to 17"),
        ({"max_jitter": 0.0}, "jitter"),
        ({"max_new": 2.0}, "new objects"),
        ({"max_jitter": float("nan")}, "jitter"),
    ],
)
def test_rules_that_no_model_takes_are_refused(rules: dict[str, float], words: str) -> None:
    with pytest.raises(RealMasterError, match=words):
        ClipRules(**rules)  # type: ignore[arg-type]
    assert ClipRules(length=85, multiple=4).length == 85


def test_a_session_without_frames_has_nothing_to_cut(tmp_path: Path) -> None:
    path = tmp_path / "empty.mcap"
    with SessionWriter(path, ENGINE.hello(), codec="raw"):
        pass
    with SessionReader(path) as session, pytest.raises(SessionError, match="no frames"):
        find_clips(session)


def test_new_share_counts_only_ids_that_were_not_there() -> None:
    instance = np.array([[0, 1, 2, 2]], np.uint32)
    assert new_share(instance, np.array([1], np.uint32)) == 0.5
    assert new_share(instance, np.array([1, 2], np.uint32)) == 0
    assert new_share(instance, np.array([], np.uint32)) == 0.75
