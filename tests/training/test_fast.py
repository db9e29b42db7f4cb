"""The fast tier's training: loss against the metric, data, exact resume, export, runtime parity."""

import dataclasses
import json
import math
import shutil
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch

from capture_bridge.errors import OutputError, SetupError
from realmaster.color import srgb_u8_to_lab
from realmaster.fast import INPUT_NAMES, MODEL_PATH, OUTPUT_NAMES, FastModel, prepare, recall
from tests.realmaster.fast_frames import MemoryFrame, memory_frames
from training.fast import TrainConfig, new_loop, run_frames, train, train_step, validate
from training.fast_checkpoint import load_checkpoint, load_weights, save_weights
from training.fast_data import (
    Batch,
    Sample,
    SampleStore,
    Window,
    cut_batch,
    history_valid,
    read_sample,
)
from training.fast_export import export, for_inference, to_onnx
from training.fast_loss import edge_distance, flicker, lab, similarity
from training.fast_model import (
    FastConfig,
    FastInputs,
    FastNet,
    example_inputs,
    folded,
    without_history,
)

TINY = FastConfig(
    widths=(8, 8, 16, 16, 16),
    encoder_blocks=(1, 1, 1),
    middle_blocks=2,
    decoder_blocks=(1, 1, 1),
)
SIZE = (96, 64)
WEIGHTS = Path(__file__).parents[2] / "training/models/street_fast.safetensors"


def write_sample(path: Path, frames: list[MemoryFrame]) -> None:
    """The file that the renderer of training pairs would write; the truth is a warmer render."""
    arrays = {
        name: np.stack([frame.array(name) for frame in frames])
        for name in ("color", "depth", "normal", "motion", "albedo", "roughness")
    }
    arrays["color"] = arrays["color"][..., :3]
    truth = arrays["color"][-1] * np.array([0.9, 0.7, 0.5]) + np.array([20, 10, 0])
    cameras = [frame.header.camera for frame in frames]
    np.savez(
        path,
        **arrays,
        truth=truth.astype(np.uint8),
        K=cameras[0].K,
        world_from_camera=np.stack([camera.world_from_camera for camera in cameras]),
    )


@pytest.fixture(scope="module")
def frames() -> list[MemoryFrame]:
    return memory_frames(5, SIZE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, frames: list[MemoryFrame]) -> Path:
    folder = tmp_path_factory.mktemp("street")
    for name, first in (("0003_drive_0", 0), ("0799_walk_0", 1), ("0800_drive_0", 1)):
        write_sample(folder / f"{name}.npz", frames[first : first + 4])
    for name in ("0900_drive_0", "0950_walk_1"):
        write_sample(folder / f"{name}.npz", frames[:4])
    (folder / "0004_drive_0.npz").write_bytes(b"PK\x03\x04 cut off")
    (folder / "notes.npz").write_bytes(b"")
    return folder


def config(folder: Path, out: Path, **changes: object) -> TrainConfig:
    base = TrainConfig(
        data=folder,
        out=out,
        steps=6,
        batch=2,
        crop=(32, 48),
        threads=1,
        net=TINY,
        warmup_steps=2,
        freeze_from=1.0,
    )
    return dataclasses.replace(base, **changes)


def sample_of(folder: Path) -> Sample:
    return read_sample(folder / "0003_drive_0.npz")


def test_lab_is_the_metrics_own() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    rgb[0, :8] = np.arange(8)[:, None]  # the dark, linear part of both curves
    ours = lab(torch.from_numpy(rgb / np.float32(255)).permute(2, 0, 1)[None])
    theirs = srgb_u8_to_lab(rgb) / 100
    np.testing.assert_allclose(ours[0].permute(1, 2, 0).numpy(), theirs, atol=2e-4)


def test_lab_keeps_a_gradient_outside_the_gamut() -> None:
    over = torch.full((1, 3, 1, 1), 1.3, requires_grad=True)
    lab(over)[:, 0].sum().backward()
    assert over.grad is not None
    assert (over.grad > 0).all()


def test_similarity_and_flicker_know_equality() -> None:
    image = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    valid = torch.ones(1, 1, 16, 16)
    assert similarity(image, image).item() == pytest.approx(1)
    assert similarity(image, image.flip(3)).item() < 0.5
    assert flicker(image, image, image, image, valid).item() == 0
    still = torch.zeros_like(image)
    assert flicker(image, still, image, still, valid).item() == 0  # as much as the render
    assert flicker(image, still, image, image, valid).item() > 0.1


def test_store_reads_its_own_seeds_and_skips_torn_files(folder: Path) -> None:
    train_store, validate_store = SampleStore(folder, "train"), SampleStore(folder, "validate")
    assert train_store.rescan() == 2
    assert validate_store.rescan() == 1
    assert train_store.names == ["0003_drive_0.npz", "0799_walk_0.npz"]
    assert validate_store.names == ["0800_drive_0.npz"]
    assert train_store.rescan() == 0
    again = SampleStore(folder, "train")
    again.rescan(["0799_walk_0.npz"])
    assert again.names == ["0799_walk_0.npz", "0003_drive_0.npz"]


def test_a_sample_stays_in_its_file(folder: Path, frames: list[MemoryFrame]) -> None:
    sample = sample_of(folder)
    assert sample.size == SIZE[::-1]
    for name in ("color", "depth", "motion"):
        wanted = np.stack([frame.array(name) for frame in frames[:4]])
        wanted = wanted[..., :3] if name == "color" else wanted
        np.testing.assert_array_equal(sample.array(name), wanted)
        assert isinstance(sample.array(name), np.memmap)


def test_a_compressed_sample_is_none(folder: Path, tmp_path: Path) -> None:
    with np.load(folder / "0003_drive_0.npz") as sample:
        np.savez_compressed(tmp_path / "0003_drive_0.npz", **sample)
    with pytest.raises(ValueError, match="compressed"):
        read_sample(tmp_path / "0003_drive_0.npz")


def test_no_training_sample_is_said_plainly(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="no training sample"):
        train(config(tmp_path, tmp_path / "out"))


def test_a_crop_that_no_sample_holds_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="96x64 pixels, less than a crop of 128x64"):
        train(config(folder, tmp_path / "out", crop=(64, 128)))


def test_flip_mirrors_the_geometry(folder: Path) -> None:
    """A mirrored window is the mirror image: pixels, rays, normals, motion, up, depth before."""
    samples, crop = [sample_of(folder)], (64, 96)
    plain, flipped = (
        cut_batch(samples, [Window(0, 0, 0, flip, True)], crop, 2).frames[-1]
        for flip in (False, True)
    )
    sign = torch.tensor([-1.0, 1.0, 1.0]).reshape(1, 3, 1, 1)
    inputs, mirror = plain.inputs, flipped.inputs
    torch.testing.assert_close(mirror.color, inputs.color.flip(3))
    torch.testing.assert_close(mirror.normal, inputs.normal.flip(3) * sign)
    torch.testing.assert_close(mirror.up, inputs.up * sign)
    torch.testing.assert_close(mirror.ray_x, -inputs.ray_x.flip(3))
    torch.testing.assert_close(flipped.motion, plain.motion.flip(3) * sign[:, :2], equal_nan=True)
    torch.testing.assert_close(flipped.depth_before, plain.depth_before.flip(3))


def test_crop_keeps_the_rays_of_its_pixels(folder: Path) -> None:
    samples = [sample_of(folder)]
    whole = cut_batch(samples, [Window(0, 0, 0, False, True)], (64, 96), 1).frames[0].inputs
    part = cut_batch(samples, [Window(0, 16, 32, False, True)], (32, 48), 1).frames[0].inputs
    torch.testing.assert_close(part.ray_x, whole.ray_x[..., 32:80])
    torch.testing.assert_close(part.ray_y, whole.ray_y[..., 16:48, :])
    torch.testing.assert_close(part.color, whole.color[..., 16:48, 32:80])


def test_validity_finds_what_was_hidden(folder: Path) -> None:
    samples = [sample_of(folder)]
    batch = cut_batch(samples, [Window(0, 0, 0, False, True)], (64, 96), 2)
    before, now = batch.frames
    valid = history_valid(now, before.inputs.depth)
    assert 0.8 < valid.mean().item() < 1
    nothing = history_valid(now, torch.full_like(before.inputs.depth, 0.5))
    assert nothing.mean().item() < 0.01


def test_masked_material_changes_nothing() -> None:
    torch.manual_seed(0)
    net = FastNet(TINY)
    frame = example_inputs(32, 48, torch.Generator().manual_seed(1))
    masked = frame._replace(has_material=torch.zeros(1, 1, 1, 1))
    other = masked._replace(albedo=frame.albedo.flip(3), roughness=1 - frame.roughness)
    torch.testing.assert_close(net(*masked)[0], net(*other)[0])
    assert not torch.equal(net(*masked)[0], net(*frame)[0])


def test_less_history_brings_the_output_nearer_to_that_without() -> None:
    torch.manual_seed(0)
    net = FastNet(TINY).eval()
    frame = example_inputs(32, 48, torch.Generator().manual_seed(1))
    with torch.no_grad():
        full = net(*frame)[0]
        net.keep_history(-2.0)
        less = net(*frame)[0]
        net.keep_history(-40.0)
        none = net(*frame)[0]
    assert 0 < (less - none).abs().mean() < (full - none).abs().mean()
    unknown = frame.valid.expand_as(full) == 0
    torch.testing.assert_close(full[unknown], none[unknown])


def test_training_lowers_the_error_and_repeats_bit_by_bit(folder: Path, tmp_path: Path) -> None:
    loops = []
    for name in ("a", "b"):
        run = config(folder, tmp_path / name, steps=40, learning_rate=3e-3, ema_decay=0.9)
        train(run)
        loop = new_loop(run)
        load_checkpoint(run.out / "checkpoint.npz", loop)
        loops.append(loop)
    for one, two in zip(loops[0].net.parameters(), loops[1].net.parameters(), strict=True):
        assert torch.equal(one, two)
    store = SampleStore(folder, "validate")
    store.rescan()
    figures = validate(loops[0].ema, store.samples)
    assert figures["g"] > 0.3
    assert figures["g_plain"] > 0.3
    rows = (tmp_path / "a" / "validation.jsonl").read_text().splitlines()
    assert json.loads(rows[-1])["step"] == 40


def test_resume_equals_an_uninterrupted_run(folder: Path, tmp_path: Path) -> None:
    whole = config(folder, tmp_path / "whole", steps=8)
    train(whole)
    halves = config(folder, tmp_path / "halves", steps=8)
    train(dataclasses.replace(halves, stop_after=5))
    train(dataclasses.replace(halves, resume=True))
    with (
        np.load(whole.out / "checkpoint.npz") as one,
        np.load(halves.out / "checkpoint.npz") as two,
    ):
        assert one.files == two.files
        for name in one.files:
            if name != "meta":
                np.testing.assert_array_equal(one[name], two[name], err_msg=name)


def test_resume_without_or_with_a_foreign_checkpoint(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="no checkpoint"):
        train(config(folder, tmp_path, resume=True))
    (tmp_path / "checkpoint.npz").write_bytes(b"not one")
    with pytest.raises(SetupError, match="no checkpoint of the fast tier"):
        train(config(folder, tmp_path, resume=True))


def test_a_run_starts_from_the_weights_of_another(folder: Path, tmp_path: Path) -> None:
    first = new_loop(config(folder, tmp_path, seed=1))
    save_weights(tmp_path / "one.safetensors", first.ema)
    again = new_loop(config(folder, tmp_path, seed=2, start_from=tmp_path / "one.safetensors"))
    frame = example_inputs(32, 48, torch.Generator().manual_seed(1))
    with torch.no_grad():
        wanted = first.ema(*frame)[0]
        for net in (again.net.eval(), again.ema):
            torch.testing.assert_close(net(*frame)[0], wanted, atol=5e-3, rtol=0)
    with pytest.raises(OutputError, match="exists"):
        save_weights(tmp_path / "one.safetensors", first.ema)


def test_weights_to_start_from_that_are_none_are_refused(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "one.safetensors"
    with pytest.raises(SetupError, match="cannot be read"):
        new_loop(config(folder, tmp_path, start_from=path))
    path.write_bytes(b"not one")
    with pytest.raises(SetupError, match="cannot be read as safetensors"):
        new_loop(config(folder, tmp_path, start_from=path))
    path.unlink()
    save_weights(path, FastNet(dataclasses.replace(TINY, widths=(8, 8, 16, 16, 24))))
    with pytest.raises(SetupError, match="another size"):
        new_loop(config(folder, tmp_path, start_from=path))


def test_steps_at_geometrys_edges_are_told_from_others() -> None:
    """A step of error where depth breaks, normals turn or the sky begins, and one on a plane."""
    depth = torch.full((1, 1, 6, 10), 8.0)
    depth[..., 5:] = 20.0
    normal = torch.zeros(1, 3, 6, 10)
    normal[:, 2] = -1
    truth = torch.zeros(1, 3, 6, 10)
    error = truth.clone()
    error[..., 5:] = 0.5
    edges = edge_distance(error, truth, depth, normal)
    assert edges.at_edges.item() == pytest.approx(0.5 / 9)
    assert (edges.elsewhere.item(), edges.contrast.item()) == (0, 0)
    weaker = edge_distance(truth, error, depth, normal)
    assert weaker.contrast.item() == pytest.approx(0.5 / 9)
    error = truth.clone()
    error[..., 2:] = 0.5
    edges = edge_distance(error, truth, depth, normal)
    assert edges.at_edges.item() == 0
    assert edges.elsewhere.item() == edges.contrast.item() == pytest.approx(0.5 / 9)
    turned = normal.clone()
    turned[..., :2] = torch.tensor([1.0, 0, 0])[:, None, None]
    assert edge_distance(error, truth, depth, turned).elsewhere.item() == 0
    sky = torch.full_like(depth, torch.inf)
    assert edge_distance(error, truth, sky, normal).at_edges.item() == 0
    sky[..., 2:] = 300.0
    assert edge_distance(error, truth, sky, normal).elsewhere.item() == 0


def test_a_deeper_network_goes_on_from_a_shallower_ones_weights(
    folder: Path, tmp_path: Path
) -> None:
    path = tmp_path / "one.safetensors"
    shallow = FastNet(TINY).eval()
    save_weights(path, shallow)
    deeper = dataclasses.replace(TINY, decoder_blocks=(2, 2, 1), middle_blocks=3)
    loop = new_loop(config(folder, tmp_path, start_from=path, net=deeper))
    frame = example_inputs(64, 96, torch.Generator().manual_seed(1))
    with torch.no_grad():
        before, after = shallow(*frame)[0], loop.net.eval()(*frame)[0]
    torch.testing.assert_close(after, before, atol=0.03, rtol=0)


def test_the_shipped_weights_are_those_of_the_shipped_model() -> None:
    """Both without history, which the export leaves sharper."""
    net = FastNet().eval()
    load_weights(WEIGHTS, net)
    frame = without_history(example_inputs(64, 96, torch.Generator().manual_seed(1)))
    shipped = ort.InferenceSession(MODEL_PATH)
    with torch.no_grad():
        ours = net(*frame)[0].clamp(0, 1).numpy()
    feed = {name: value.numpy() for name, value in frame._asdict().items()}
    theirs = shipped.run(OUTPUT_NAMES, feed)[0]
    assert np.abs(ours - theirs).mean() < 1e-3


def test_a_loss_that_is_not_finite_is_skipped(folder: Path, tmp_path: Path) -> None:
    run = config(folder, tmp_path, steps=2, similarity_weight=float("nan"))
    train(run)
    loop = new_loop(run)
    before = [p.clone() for p in loop.net.parameters()]
    load_checkpoint(tmp_path / "checkpoint.npz", loop)
    assert loop.skipped == 2
    assert all(torch.equal(a, b) for a, b in zip(before, loop.net.parameters(), strict=True))


@pytest.fixture(scope="module")
def trained(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> FastNet:
    run = config(folder, tmp_path_factory.mktemp("trained"), steps=12)
    train(run)
    loop = new_loop(run)
    load_checkpoint(run.out / "checkpoint.npz", loop)
    return for_inference(loop.net)


@pytest.mark.parametrize("size", [(64, 96), (32, 80)])
def test_onnx_computes_what_torch_does(trained: FastNet, size: tuple[int, int]) -> None:
    network = ort.InferenceSession(to_onnx(trained).SerializeToString())
    assert tuple(node.name for node in network.get_inputs()) == INPUT_NAMES == FastInputs._fields
    frame = example_inputs(*size, torch.Generator().manual_seed(5))
    with torch.no_grad():
        output, hidden = trained(*frame)
    feed = {name: value.numpy() for name, value in frame._asdict().items()}
    ours = network.run(OUTPUT_NAMES, feed)
    np.testing.assert_allclose(ours[0], output.clamp(0, 1).numpy(), atol=2e-5)
    np.testing.assert_allclose(ours[1], hidden.numpy(), atol=2e-5)


@pytest.mark.parametrize("material", [True, False])
def test_runtime_sees_what_training_saw(
    folder: Path, frames: list[MemoryFrame], trained: FastNet, tmp_path: Path, material: bool
) -> None:
    """The same four frames through the trainer's loop and through FastModel."""
    batch = cut_batch([sample_of(folder)], [Window(0, 0, 0, False, material)], (64, 96), 4)
    with torch.no_grad():
        steps = list(run_frames(trained, batch, with_gradient=0))
    export(trained, tmp_path / "tiny.onnx")
    model = FastModel(tmp_path / "tiny.onnx", threads=1)
    session = [f if material else f.without("albedo", "roughness") for f in frames[:4]]
    state: dict[str, np.ndarray] = {}
    for index, (frame, step) in enumerate(zip(session, steps, strict=True)):
        if index:
            feed, depth, _ = prepare(frame)
            history = recall(frame, state, depth, feed)
            agree = history["valid"] == step.valid.numpy()
            assert agree.mean() > 0.99
            trained_on = step.output_before.numpy(), step.valid.numpy()
            for prev, valid in ((history["prev"], history["valid"]), trained_on):
                assert not (prev * (valid == 0)).any()
            assert np.abs(history["prev"] - step.output_before.numpy()).mean() < 0.01
        picture = model.enhance_frame(frame, state)
        expected = step.output.clamp(0, 1)[0].permute(1, 2, 0).numpy() * 255
        difference = np.abs(picture - expected)
        assert difference.mean() < (0.6 if index == 0 else 1.5)


def test_folding_changes_no_picture() -> None:
    """With statistics of their own, as after training; nothing is left to normalize."""
    torch.manual_seed(0)
    net = FastNet(TINY)
    inputs = example_inputs(64, 96, torch.Generator().manual_seed(0))
    with torch.no_grad():
        for norm in (m for m in net.modules() if isinstance(m, torch.nn.BatchNorm2d)):
            torch.nn.init.uniform_(norm.weight, 0.5, 1.5)
            torch.nn.init.normal_(norm.bias)
        for _ in range(5):
            net(*inputs)
        plain = net.eval()(*inputs)
        fused = folded(net)
        assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in fused.modules())
        for ours, theirs in zip(fused(*inputs), plain, strict=True):
            torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)  # 1/40 of a code


def test_what_one_bad_batch_computed_stays_out_of_the_statistics(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(samples: list[Sample], *rest: object) -> Batch:
        batch = cut_batch(samples, *rest)  # type: ignore[arg-type]
        for frame in batch.frames:
            frame.inputs.color.fill_(torch.nan)
        return batch

    run = config(folder, tmp_path, steps=2)
    before = [buffer.clone() for buffer in new_loop(run).net.buffers()]
    monkeypatch.setattr("training.fast.cut_batch", broken)
    loop = new_loop(run)
    for _ in range(2):
        assert math.isnan(train_step(run, loop, [sample_of(folder)]))
    assert all(torch.equal(a, b) for a, b in zip(before, loop.net.buffers(), strict=True))


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_statistics_can_be_kept_as_in_inference(folder: Path, tmp_path: Path, share: float) -> None:
    run = config(folder, tmp_path, freeze_from=share)
    loop = new_loop(run)
    before = [buffer.clone() for buffer in loop.net.buffers()]
    assert math.isfinite(train_step(run, loop, [sample_of(folder)]))
    same = [torch.equal(a, b) for a, b in zip(before, loop.net.buffers(), strict=True)]
    assert all(same) if share == 0 else not any(same)


def test_training_leaves_channels_out_and_inference_none(folder: Path, tmp_path: Path) -> None:
    run = config(folder, tmp_path, dropout=0.5)
    loop = new_loop(run)
    frame = example_inputs(64, 96, torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert torch.equal(loop.ema(*frame)[0], loop.ema(*frame)[0])
        assert not torch.equal(loop.net(*frame)[0], loop.net(*frame)[0])
    losses = [train_step(run, new_loop(run), [sample_of(folder)]) for _ in range(2)]
    assert losses[0] == losses[1]


def test_streets_after_the_tests_train_too(folder: Path, tmp_path: Path) -> None:
    for name in ("0999_walk_0", "1000_walk_0"):
        shutil.copy(folder / "0003_drive_0.npz", tmp_path / f"{name}.npz")
    store = SampleStore(tmp_path, "train")
    store.rescan()
    assert store.names == ["1000_walk_0.npz"]


def test_a_run_without_a_finite_gradient_ends(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.fast.MAX_SKIPPED", 3)
    with pytest.raises(SetupError, match="lower the rate"):
        train(config(folder, tmp_path, similarity_weight=float("nan")))
