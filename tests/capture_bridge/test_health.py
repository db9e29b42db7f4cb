"""Each fault planted in a recorded session is named by verify, by its name alone."""

import functools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from capture_bridge.buffers import FrameArrays
from capture_bridge.health import Finding, HealthProbe
from capture_bridge.messages import FrameFlags
from capture_bridge.verify import verify
from tests.capture_bridge.analytic_engine import AnalyticEngine, AnalyticFrame, to_message
from tests.capture_bridge.plants import PLANTS, Frames, each, padded, without
from tests.capture_bridge.recorded import record_frames

ENGINE = AnalyticEngine(192, 108)


@functools.cache
def clean() -> tuple[AnalyticFrame, ...]:
    """Frames 2..13 of the drive."""
    return tuple(ENGINE.frame(index) for index in range(2, 14))


def probed(frames: Frames, *, every: int = 1) -> list[str]:
    """What the probe names, without a file between."""
    probe = HealthProbe(ENGINE.hello(), every=every)
    for frame in frames:
        header = to_message(frame).header
        probe.observe(header, frame.arrays, t_recv_ns=header.t_send_ns + 1_000_000)
    return [finding.fault for finding in probe.findings()]


def verified(path: Path, frames: Frames) -> tuple[Finding, ...]:
    return verify(record_frames(path, ENGINE.hello(), frames)).findings


def test_a_clean_session_has_no_finding(tmp_path: Path) -> None:
    assert verified(tmp_path / "clean.mcap", clean()) == ()


@pytest.mark.parametrize("name", PLANTS)
def test_a_planted_fault_is_named_by_its_name_alone(name: str, tmp_path: Path) -> None:
    fault, plant = PLANTS[name]
    (finding,) = verified(tmp_path / "spoilt.mcap", plant(clean()))
    assert finding.fault == fault
    assert finding.figure > finding.limit
    assert finding.count >= 1
    assert 2 <= finding.first_seq < 14
    assert finding.cure


@pytest.mark.parametrize(
    "missing",
    [
        ("albedo", "roughness", "metallic"),
        ("instance", "semantic"),
        ("normal",),
        ("motion",),
        ("color", "color_ui"),
        ("depth", "depth_raw", "normal", "motion", "instance", "semantic", "albedo"),
    ],
)
def test_a_clean_session_with_fewer_buffers_has_no_finding(missing: tuple[str, ...]) -> None:
    assert probed(without(*missing)(clean())) == []


@pytest.mark.parametrize("name", sorted(set(PLANTS) - {"late ids"}))
def test_faults_are_named_without_albedo_and_ids(name: str) -> None:
    fault, plant = PLANTS[name]
    assert probed(without("albedo", "instance")(plant(clean()))) == [fault]


def test_a_flipped_motion_is_seen_by_color_alone() -> None:
    bare = without("depth", "normal", "instance", "semantic", "albedo")
    assert probed(bare(each("motion", lambda a: -a)(clean()))) == ["motion_sign_flipped"]
    assert probed(bare(clean())) == []


def test_a_camera_that_is_no_number_is_named() -> None:
    k = np.full((3, 3), np.nan)
    blind = [replace(f, camera=replace(f.camera, K=k)) for f in clean()]
    assert probed(blind) == ["camera_non_finite"]


def test_hud_that_is_declared_is_no_finding() -> None:
    frames = PLANTS["hud"][1](clean())
    assert probed(frames) == ["hud_in_color"]
    assert probed([replace(f, flags=FrameFlags.HUD_IN_COLOR) for f in frames]) == []


def test_cuts_and_pauses_are_no_faults() -> None:
    """Two places of the drive joined by a flagged cut; then a menu in which time stands still."""
    there = [
        replace(ENGINE.frame(60), index=14, t_sim_ns=ENGINE.t_ns(14), t_host_ns=10**13 + 1),
        replace(ENGINE.frame(61), index=15, t_sim_ns=ENGINE.t_ns(15), t_host_ns=10**13 + 2),
    ]
    there[0] = replace(there[0], flags=FrameFlags.CUT)
    menu = [
        replace(there[1], index=16 + i, t_host_ns=10**13 + 3 + i, flags=FrameFlags.MENU)
        for i in range(3)
    ]
    assert probed([*clean(), *there, *menu]) == []


def test_a_fault_that_starts_late_is_found() -> None:
    frames = [*clean()[:8], *each("normal", lambda a: -a)(clean()[8:])]
    assert probed(frames) == ["normal_flipped"]


def test_one_odd_frame_is_no_lasting_fault() -> None:
    spoilt = each("normal", lambda a: -a)(clean()[6:8])
    frames = [*clean()[:6], *spoilt, *clean()[8:]]
    assert probed(frames) == []


def test_looking_now_and_then_finds_lasting_faults_and_every_clock() -> None:
    many = [ENGINE.frame(index) for index in range(2, 26)]
    for name in ("flat depth", "flipped motion", "late color", "bgra"):
        fault, plant = PLANTS[name]
        assert probed(plant(many), every=6) == [fault]
    assert probed(PLANTS["clock jump"][1](many), every=6) == ["clock_jump"]
    assert probed(many, every=6) == []


def test_frames_that_are_not_looked_at_are_not_decoded() -> None:
    probe = HealthProbe(ENGINE.hello(), every=4)
    looked = []
    for frame in clean():
        arrays = Watched(frame.arrays)
        probe.observe(to_message(frame).header, arrays)
        looked.append(arrays.read)
    assert looked == [True, True, False, False] * 3


class Watched(dict[str, np.ndarray[tuple[int, ...], np.dtype[np.generic]]]):
    """Notes whether anything was taken out."""

    def __init__(self, arrays: FrameArrays) -> None:
        super().__init__(arrays)
        self.read = False

    def __getitem__(self, key: str) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
        self.read = True
        return super().__getitem__(key)

    def get(self, key: str, default: object = None) -> object:  # type: ignore[override]
        self.read = True
        return super().get(key, default)


@pytest.mark.parametrize("columns", [5, 21, 40, 63])
def test_the_shear_of_a_padded_pitch_is_measured(columns: int) -> None:
    probe = HealthProbe(ENGINE.hello(), every=1)
    for frame in padded("color", columns)(clean()[:4]):
        probe.observe(to_message(frame).header, frame.arrays)
    (finding,) = probe.findings()
    assert (finding.fault, finding.figure) == ("color_padded_pitch", columns)


def test_a_step_towards_a_wall_is_no_flip_of_depth_unless_no_pose_explains_it() -> None:
    """2 m, then 0.8 m: where frames are few, walking alone more than halves depth."""
    frame = to_message(ENGINE.frame(3))
    camera = frame.header.camera
    assert camera is not None
    ahead = camera.world_from_camera.copy()
    ahead[:3, 3] += 1.2 * ahead[:3, 2]
    shade = np.linspace(40, 200, 192, dtype=np.uint8)
    color = np.broadcast_to(shade[None, :, None], (108, 192, 4))
    for moved, flips in ((True, False), (False, True)):
        after = ahead if moved else camera.world_from_camera
        probe = HealthProbe(ENGINE.hello(), every=1)
        for number, (pose, depth_m) in enumerate(((camera.world_from_camera, 2.0), (after, 0.8))):
            seen = replace(
                camera, world_from_camera=pose, world_from_camera_prev=camera.world_from_camera
            )
            header = replace(frame.header, seq=10 + number, camera=seen, flags=FrameFlags.NONE)
            depth = np.full((108, 192), depth_m, np.float32)
            depth[:, :20] = np.inf  # a rim of sky, so that it is not all of one depth
            probe.observe(header, {"color": color, "depth": depth})
        assert ("depth_flips" in [finding.fault for finding in probe.findings()]) == flips
