"""The fast tier's runtime: contract of the seam, resets, resumption, bad sessions, bad weights.

Weights are the bundled ones, so these tests also say that the wheel's model runs.
"""

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from capture_bridge.errors import MissingBufferError, SessionError, SetupError
from capture_bridge.messages import FrameFlags
from realmaster.fast import HIDDEN_CHANNELS, HIDDEN_STRIDE, MODEL_PATH, FastModel, prepare, recall
from tests.realmaster.fast_frames import MemoryFrame, memory_frames

State = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def model() -> FastModel:
    return FastModel(threads=1)


@pytest.fixture(scope="module")
def frames() -> list[MemoryFrame]:
    return memory_frames(5, (96, 64))


def run(model: FastModel, frames: list[MemoryFrame], state: State | None = None) -> np.ndarray:
    return np.stack(list(model.enhance(frames, {} if state is None else state)))


def test_the_bundled_model_is_small(model: FastModel) -> None:
    assert MODEL_PATH.stat().st_size <= 10_000_000
    assert model.name == "fast"
    assert model.fingerprint.startswith("fast-")
    assert model.requires == {"color", "depth", "normal", "motion"}
    assert (MODEL_PATH.parent / "street_fast.md").is_file()


@pytest.mark.parametrize("size", [(96, 64), (90, 50), (33, 17)])
def test_any_size_gives_one_picture_per_frame(model: FastModel, size: tuple[int, int]) -> None:
    pictures = run(model, memory_frames(2, size))
    assert pictures.shape == (2, size[1], size[0], 3)
    assert pictures.dtype == np.uint8


def test_it_keeps_the_image_and_changes_it(model: FastModel, frames: list[MemoryFrame]) -> None:
    picture = run(model, frames[:1])[0].astype(float)
    color = frames[0].array("color")[..., :3].astype(float)
    assert np.corrcoef(picture.ravel(), color.ravel())[0, 1] > 0.6
    assert np.abs(picture - color).mean() > 2


def test_a_saved_state_resumes_bit_by_bit(
    model: FastModel, frames: list[MemoryFrame], tmp_path: Path
) -> None:
    whole = run(model, frames)
    state: State = {}
    first = run(model, frames[:2], state)
    np.savez(tmp_path / "state.npz", **state)
    with np.load(tmp_path / "state.npz", allow_pickle=False) as file:
        loaded = {name: file[name] for name in file.files}
    rest = run(FastModel(threads=1), frames[2:], loaded)
    np.testing.assert_array_equal(whole, np.concatenate([first, rest]))


def test_pictures_stay_after_the_next_frame(model: FastModel, frames: list[MemoryFrame]) -> None:
    state: State = {}
    first = next(iter(model.enhance(frames[:1], state)))
    first[:] = 0  # what the caller does with a picture must not reach the state
    again = run(model, frames[:2])
    np.testing.assert_array_equal(run(model, frames[1:2], state)[0], again[1])


def cut(frame: MemoryFrame) -> MemoryFrame:
    return frame.with_header(flags=FrameFlags.CUT)


def gap(frame: MemoryFrame) -> MemoryFrame:
    return frame.with_header(seq=frame.header.seq + 1)


def next_epoch(frame: MemoryFrame) -> MemoryFrame:
    return dataclasses.replace(frame, epoch=frame.epoch + 1)


@pytest.mark.parametrize("change", [cut, gap, next_epoch])
def test_history_ends_at_a_break(model: FastModel, frames: list[MemoryFrame], change) -> None:
    fresh = run(model, frames[1:2])[0]
    continued = run(model, frames[:2])[1]
    broken = run(model, [frames[0], change(frames[1])])[1]
    assert not np.array_equal(fresh, continued)
    np.testing.assert_array_equal(broken, fresh)


def test_another_size_starts_afresh(model: FastModel, frames: list[MemoryFrame]) -> None:
    other = memory_frames(2, (64, 48))[1]
    state: State = {}
    run(model, frames[:1], state)
    np.testing.assert_array_equal(run(model, [other], state), run(model, [other]))


def test_history_is_dropped_where_motion_is_unknown(
    model: FastModel, frames: list[MemoryFrame]
) -> None:
    state: State = {}
    run(model, frames[:1], state)
    motion = frames[1].array("motion").copy()
    motion[10:20, 30:50] = np.nan
    holed = dataclasses.replace(frames[1], buffers=frames[1].buffers | {"motion": motion})
    feed, depth, _ = prepare(holed)
    history = recall(holed, state, depth, feed)
    assert history["valid"][0, 0, 10:20, 30:50].max() == 0
    assert history["valid"].mean() > 0.5
    assert history["hidden"].shape == (
        1,
        HIDDEN_CHANNELS,
        64 // HIDDEN_STRIDE,
        96 // HIDDEN_STRIDE,
    )
    assert all(np.isfinite(value).all() for value in history.values())


def test_history_is_dropped_where_depth_disagrees(
    model: FastModel, frames: list[MemoryFrame]
) -> None:
    state: State = {}
    run(model, frames[:1], state)
    state["depth"][:32] = 0.3  # something stood close before the upper half
    feed, depth, _ = prepare(frames[1])
    valid = recall(frames[1], state, depth, feed)["valid"][0, 0]
    assert valid[:28].max() == 0
    assert valid[36:].mean() > 0.8


def test_unknown_depth_and_missing_normals_stay_finite(
    model: FastModel, frames: list[MemoryFrame]
) -> None:
    depth = frames[0].array("depth").copy()
    depth[::3] = np.nan
    depth[1::3] = 0
    normal = np.zeros_like(frames[0].array("normal"))
    buffers = frames[0].buffers | {"depth": depth, "normal": normal}
    picture = run(model, [dataclasses.replace(frames[0], buffers=buffers)])[0]
    assert 10 < picture.mean() < 245


def test_material_is_used_where_it_is(model: FastModel, frames: list[MemoryFrame]) -> None:
    plain = [frame.without("albedo", "roughness") for frame in frames[:1]]
    half = [frame.without("roughness") for frame in frames[:1]]
    assert not np.array_equal(run(model, plain), run(model, frames[:1]))
    np.testing.assert_array_equal(run(model, plain), run(model, half))


def test_smaller_buffers_are_enlarged(model: FastModel) -> None:
    """An engine that renders at half the size it shows: G-buffers small, color large."""
    large, small = memory_frames(2, (96, 64)), memory_frames(2, (48, 32))
    mixed = [
        dataclasses.replace(
            few.with_header(render_size=(48, 32)),
            buffers=few.buffers | {"color": many.array("color")},
        )
        for many, few in zip(large, small, strict=True)
    ]
    difference = np.abs(run(model, mixed).astype(float) - run(model, large)).mean()
    assert difference < 12


@pytest.mark.parametrize("name", ["color", "depth", "normal", "motion"])
def test_a_missing_buffer_is_named(model: FastModel, frames: list[MemoryFrame], name: str) -> None:
    with pytest.raises(MissingBufferError, match=name):
        run(model, [frames[0].without(name)])


def test_no_camera_and_a_broken_camera_are_named(
    model: FastModel, frames: list[MemoryFrame]
) -> None:
    with pytest.raises(MissingBufferError, match="camera"):
        run(model, [frames[0].with_header(camera=None)])
    camera = frames[0].header.camera
    pose = camera.world_from_camera.copy()
    pose[0, 3] = np.nan
    broken = dataclasses.replace(camera, world_from_camera=pose)
    with pytest.raises(SessionError, match="not finite"):
        run(model, [frames[0].with_header(camera=broken)])


def test_bad_weights_end_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="cannot be read"):
        FastModel(tmp_path / "none.onnx")
    (tmp_path / "junk.onnx").write_bytes(b"junk")
    with pytest.raises(SetupError, match="not a model") as caught:
        FastModel(tmp_path / "junk.onnx")
    assert "\n" not in str(caught.value)


def test_large_frames_without_an_arena_look_the_same(
    model: FastModel, frames: list[MemoryFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = run(model, frames[:2])
    monkeypatch.setattr("realmaster.fast.ARENA_PIXELS", 0)
    np.testing.assert_array_equal(run(FastModel(threads=1), frames[:2]), expected)


def has_avx512() -> bool:
    cpu = Path("/proc/cpuinfo")
    return cpu.exists() and "avx512f" in cpu.read_text(encoding="utf-8")


@pytest.mark.skipif(not has_avx512(), reason="measured on Linux with onnxruntime's AVX-512 code")
def test_a_1080p_frame_takes_little_memory() -> None:
    """258 MiB. It was 338 before the network's sums were put in the order that needs least."""
    command = [sys.executable, "-m", "tests.realmaster.fast_peak"]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert float(run.stdout) < 290


def test_the_shipped_model_hears_what_lies_beyond_its_quarter_resolution() -> None:
    """Deep layers that fell silent once were noticed by nothing but a worse picture."""
    model = FastModel(threads=1)
    frame = memory_frames(1, (320, 192))[0]
    feed, _, _ = prepare(frame)
    feed |= {
        "prev": np.zeros_like(feed["color"]),
        "hidden": np.zeros((1, 8, 48, 80), np.float32),
        "valid": np.zeros((1, 1, 192, 320), np.float32),
    }
    before, _ = model.infer(feed)
    changed = feed["color"].copy()
    changed[..., 200:] = 1 - changed[..., 200:]
    after, _ = model.infer({**feed, "color": changed})
    assert np.abs(after - before)[..., 178:188].mean() > 2e-4  # with dead ones 1e-6
