"""Tracks: exact for what stands still, along the motion for what moves, in both directions."""

from dataclasses import replace

import numpy as np
import pytest

from capture_bridge.errors import RealMasterError
from realmaster.geometry import world_points
from realmaster.tracking import Track, track, view_of
from tests.realmaster.fast_frames import MemoryFrame, memory_frames

SIZE = (192, 108)
COUNT = 9
BUFFERS = ("color", "depth", "normal", "motion", "instance")


@pytest.fixture(scope="module")
def frames() -> list[MemoryFrame]:
    return memory_frames(COUNT, SIZE, buffers=BUFFERS)


def tracked(frames: list[MemoryFrame], start: int, end: int) -> Track:
    return track([view_of(frame) for frame in frames], start, end)


def moving(frame: MemoryFrame) -> np.ndarray:
    return view_of(frame).moving


def rounded(found: Track) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the nearest pixels; of those not seen, somewhere."""
    x, y = np.moveaxis(np.rint(found.positions), -1, 0)
    return y.clip(0, SIZE[1] - 1).astype(int), x.clip(0, SIZE[0] - 1).astype(int)


@pytest.mark.parametrize(("start", "end"), [(8, 0), (0, 8), (4, 5)])
def test_what_stands_still_is_found_where_it_is(
    frames: list[MemoryFrame], start: int, end: int
) -> None:
    found = tracked(frames, start, end)
    own, other = (
        world_points(frames[at].array("depth"), frames[at].header.camera) for at in (start, end)
    )
    near = np.isfinite(own).all(-1) & (frames[start].array("depth") < 30)
    near &= found.seen & ~moving(frames[start])
    assert near.mean() > 0.2
    there = other[rounded(found)][near]
    assert np.isfinite(there).all(-1).mean() > 0.99  # at an edge, the nearest pixel may be sky
    off = np.linalg.norm(np.nan_to_num(there, posinf=1e3, neginf=-1e3) - own[near], axis=-1)
    pixel = frames[start].array("depth")[near] / frames[start].header.camera.K[0, 0]
    assert np.median(off / pixel) < 1.5  # the nearest pixel's point: half a pixel off, and slanted


@pytest.mark.parametrize(("start", "end"), [(8, 0), (0, 8), (3, 5)])
def test_movers_are_followed_and_nothing_else_is_taken_for_them(
    frames: list[MemoryFrame], start: int, end: int
) -> None:
    found = tracked(frames, start, end)
    own = frames[start].array("instance")
    others = frames[end].array("instance")
    moves = moving(frames[start])
    assert moves.sum() > 100
    assert found.seen[moves].mean() > 0.5
    kept = others[rounded(found)] == own
    assert kept[found.seen & moves].mean() > 0.97
    assert kept[found.seen].mean() > 0.98


def test_one_frame_back_is_the_motion(frames: list[MemoryFrame]) -> None:
    found = tracked(frames, 5, 4)
    rows, columns = np.mgrid[0 : SIZE[1], 0 : SIZE[0]]
    expected = np.stack([columns, rows], -1) + frames[5].array("motion").astype(np.float32)
    assert found.seen.mean() > 0.9
    assert np.abs(found.positions - expected)[found.seen].max() < 0.15


def test_there_and_back_leads_home(frames: list[MemoryFrame]) -> None:
    there, back = tracked(frames, 2, 7), tracked(frames, 7, 2)
    rows, columns = rounded(there)
    off = there.positions - np.stack([columns, rows], -1)
    home = back.positions[rows, columns] + off
    rows0, columns0 = np.mgrid[0 : SIZE[1], 0 : SIZE[0]]
    both = there.seen & back.seen[rows, columns]
    error = np.linalg.norm(home - np.stack([columns0, rows0], -1), axis=-1)
    assert both.mean() > 0.5
    assert np.percentile(error[both], 90) < 0.6
    assert np.percentile(error[both & moving(frames[2])], 75) < 1


def test_what_is_hidden_is_not_seen(frames: list[MemoryFrame]) -> None:
    """Pixels said to be seen show the same distance there, as the cameras expect it."""
    found = tracked(frames, 8, 0)
    own = world_points(frames[8].array("depth"), frames[8].header.camera)
    pose = np.linalg.inv(frames[0].header.camera.world_from_camera)
    expected = own @ pose[2, :3] + pose[2, 3]
    shown = frames[0].array("depth")[rounded(found)]
    still = ~moving(frames[8]) & np.isfinite(expected) & (expected > 0)
    off = np.abs(1 / shown - 1 / np.where(still, expected, 1)) * expected
    assert (off[still & found.seen] < 0.12).mean() > 0.98
    assert (~found.seen).any()


def test_without_a_camera_all_follow_the_motion(frames: list[MemoryFrame]) -> None:
    blind = [frame.with_header(camera=None) for frame in frames]
    with_camera, without = tracked(frames, 6, 3), tracked(blind, 6, 3)
    both = with_camera.seen & without.seen
    assert both.mean() > 0.8
    difference = np.abs(with_camera.positions - without.positions)[both]
    assert np.percentile(difference, 95) < 0.3
    forth = tracked(blind, 3, 6)
    assert forth.seen.mean() > 0.7


def test_buffers_of_another_size_are_refused(frames: list[MemoryFrame]) -> None:
    small = frames[0].buffers | {"depth": frames[0].array("depth")[::2, ::2]}
    with pytest.raises(RealMasterError, match=r"depth 96x54.*record them at one size"):
        view_of(replace(frames[0], buffers=small))
