import pytest

from capture_bridge.errors import SessionError
from capture_bridge.timeline import video_timeline


def test_game_time_is_taken_while_it_runs() -> None:
    timeline = video_timeline([0, 10, 20], [5, 6, 7], [1, 2, 3])
    assert (timeline.clock, timeline.times_ns) == ("t_sim_ns", (0, 10, 20))
    assert timeline.fps == pytest.approx(1e8)


def test_a_paused_or_restarted_game_falls_back_to_the_host_clock() -> None:
    assert video_timeline([0, 10, 10], [5, 6, 7], [1, 2, 3]).clock == "t_render_ns"
    assert video_timeline([0, 10, 0], [5, 6, 5], [1, 2, 3]).clock == "t_recv_ns"


def test_no_timestamp_is_invented() -> None:
    with pytest.raises(SessionError, match="no clock"):
        video_timeline([0, 0], [0, 0], [0, 0])


def test_no_frame_and_one_frame_have_no_rate() -> None:
    assert video_timeline([], [], []).fps == 0.0
    assert video_timeline([7], [7], [7]).seconds == 0.0
