"""What a frame shows of another: turning, coming nearer, hidden behind a wall, thinned out."""

from dataclasses import replace

import numpy as np
import pytest

from capture_bridge.messages import Camera
from realmaster.anchors import AnchorRules, choose_anchors
from realmaster.coverage import new_objects, sight_of, unshown
from tests.realmaster.fast_frames import MemoryFrame, memory_frames

SIZE = (96, 64)


@pytest.fixture(scope="module")
def frame() -> MemoryFrame:
    return memory_frames(1, SIZE, buffers=("color", "depth"))[0]


def seen(
    frame: MemoryFrame,
    depth: float,
    *,
    yaw_deg: float = 0.0,
    ahead: float = 0.0,
    size: tuple[int, int] = SIZE,
    wall: slice | None = None,
) -> MemoryFrame:
    """A plane across the view (inf: sky) from a camera of 90 degrees that is turned or nearer."""
    width, height = size
    turn = np.eye(4)
    cos, sin = np.cos(np.radians(yaw_deg)), np.sin(np.radians(yaw_deg))
    turn[:3, :3] = [[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]]
    turn[2, 3] = ahead
    K = np.array([[width / 2, 0, width / 2], [0, width / 2, height / 2], [0, 0, 1]])
    z = np.full((height, width), depth - ahead, np.float32)
    if wall is not None:
        z[:, wall] = 1.0
    camera = Camera(K, turn, turn, near_m=0.1, far_m=np.inf)
    return replace(frame.with_header(camera=camera), buffers={"depth": z})


@pytest.mark.parametrize("size", [SIZE, (960, 640)])
def test_a_turn_hides_what_leaves_the_view(frame: MemoryFrame, size: tuple[int, int]) -> None:
    before, after = (seen(frame, np.inf, yaw_deg=yaw, size=size) for yaw in (0, 45))
    assert unshown(sight_of(before), [sight_of(before)]) == 0
    # The right half of `after` looks 45 to 90 degrees aside, of the left half the corners are cut.
    assert 0.5 <= unshown(sight_of(after), [sight_of(before)]) <= 0.62
    assert unshown(sight_of(after), [sight_of(before), sight_of(after)]) == 0


def test_what_was_too_far_to_be_sharp_counts_as_not_shown(frame: MemoryFrame) -> None:
    far = sight_of(seen(frame, 10))
    assert unshown(sight_of(seen(frame, 10, ahead=4)), [far]) == 0  # 1.7 times as large
    assert unshown(sight_of(seen(frame, 10, ahead=6)), [far]) == 1  # 2.5 times


def test_a_wall_hides_what_is_behind(frame: MemoryFrame) -> None:
    behind = sight_of(seen(frame, 10, wall=slice(32, 64)))
    assert unshown(sight_of(seen(frame, 10)), [behind]) == pytest.approx(1 / 3, abs=0.03)


def test_without_buffers_or_camera_nothing_is_known(frame: MemoryFrame) -> None:
    known = sight_of(seen(frame, 10))
    for bare in (
        seen(frame, 10, yaw_deg=90).without("depth"),
        seen(frame, 10).with_header(camera=None),
    ):
        assert unshown(sight_of(bare), [known]) == unshown(known, [sight_of(bare)]) == 0
        assert new_objects(sight_of(bare), [known]) == 0


def test_a_clip_that_travels_far_has_an_anchor_between(frame: MemoryFrame) -> None:
    turning = [seen(frame, np.inf, yaw_deg=10 * k) for k in range(17)]
    assert choose_anchors(turning[:5]) == [0, 4]
    first, middle, last = choose_anchors(turning)
    assert (first, last) == (0, 16)
    assert 6 <= middle <= 10
    around = [seen(frame, np.inf, yaw_deg=24 * k) for k in range(15)]
    assert len(choose_anchors(around)) == 4
    assert len(choose_anchors(around, AnchorRules(most=3))) == 3
