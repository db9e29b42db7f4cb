"""The trainer on a random tiny checkpoint of the real classes: exact, resumable, and it learns."""

import json
import math
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType
from diffusers import AutoencoderKLWan, WanPipeline, WanTransformer3DModel
from diffusers import FlowMatchEulerDiscreteScheduler as Scheduler
from safetensors import safe_open
from safetensors.torch import load_file

from capture_bridge.errors import OutputError, RealMasterError, SessionError, SetupError
from realmaster.adapters import attach as attach_adapter
from realmaster.adapters import read_adapter
from realmaster.families.weights import load
from realmaster.flow_matching import noised
from realmaster.in_context import InContextTransformer
from realmaster.pair_folder import PairFolder, unfinished
from tests.realmaster.families.tiny_checkpoint import write_tiny
from tests.training.pairs_files import write_pairs
from training.adapter_file import write_adapter
from training.bases import Batch, WanBase, open_base
from training.config import Held, TrainConfig
from training.latents import shard_file
from training.objective import Draw, draw, flow_loss, held_lengths
from training.recipes import RECIPES, changed
from training.train import Run, train
from training.trainer import Result, Trainer

CHANGES = {
    "steps": 6,
    "frames": 5,
    "batch": 2,
    "rank": 4,
    "checkpoint_every": 3,
    "validate_every": 0,
    "num_validation": 0,
}


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pairs(tmp_path_factory.mktemp("pairs"))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("tiny"))


def config(**changes: object) -> TrainConfig:
    return changed("tiny", {**CHANGES, **changes})


def no_progress(done: int, total: int, loss: float = 0.0) -> None:
    """Draws nothing."""


def interrupt_at(step: int) -> Callable[[int, int, float], None]:
    def progress(done: int, total: int, loss: float) -> None:
        if done == step:
            raise KeyboardInterrupt

    return progress


@pytest.fixture
def start(pairs: Path, tiny: Path) -> Callable[..., Result]:
    def run(output: Path, training: object = no_progress, **changes: object) -> Result:
        options = {key: changes.pop(key) for key in ("resume", "overwrite") if key in changes}
        told = Run(config(**changes), pairs, output, weights=str(tiny), **options)  # type: ignore[arg-type]
        return train(told, encoding=no_progress, training=training)  # type: ignore[arg-type]

    return run


def test_it_learns(start: Callable[..., Result], tmp_path: Path) -> None:
    result = start(tmp_path, steps=40, batch=4, lr=1e-2, num_validation=1)
    assert sum(result.losses[-10:]) < 0.9 * sum(result.losses[:10])
    assert (tmp_path / "validation" / "step-00000040" / "clip-00.mp4").is_file()
    assert math.isfinite(result.scores[40].psnr_db)
    assert list((tmp_path / "logs").glob("events*"))


def test_the_same_seed_gives_the_same_losses(start: Callable[..., Result], tmp_path: Path) -> None:
    first, again, other = (
        start(tmp_path / name, seed=seed).losses for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert first == again
    assert first != other


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_resumed_run_equals_an_uninterrupted_one(
    start: Callable[..., Result], tmp_path: Path, optimizer: str
) -> None:
    whole = start(tmp_path / "whole", optimizer=optimizer)
    with pytest.raises(KeyboardInterrupt):
        start(tmp_path / "cut", interrupt_at(4), optimizer=optimizer)  # one after the checkpoint
    resumed = start(tmp_path / "cut", resume=True, optimizer=optimizer)
    assert resumed.losses == whole.losses[3:]
    for name in ("adapter.safetensors", "checkpoints/step-00000006.safetensors"):
        ours, theirs = load_file(tmp_path / "cut" / name), load_file(tmp_path / "whole" / name)
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_muon_refuses_weights_that_are_split(
    start: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Accelerator, "distributed_type", DistributedType.FSDP)
    with pytest.raises(SetupError, match="muon needs whole weights"):
        start(tmp_path, optimizer="muon")


def test_a_share_of_the_steps_sees_no_reference(
    start: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []
    predict = WanBase.predict

    def noting(self: WanBase, model: object, batch: Batch, drawn: Draw) -> torch.Tensor:
        seen.append(batch.reference is not None)
        return predict(self, model, batch, drawn)

    monkeypatch.setattr(WanBase, "predict", noting)
    start(tmp_path / "half", steps=12, reference_share=0.5)
    assert 0 < sum(seen) < 12
    half = seen.copy()
    seen.clear()
    start(tmp_path / "again", steps=12, reference_share=0.5)
    assert seen == half
    seen.clear()
    start(tmp_path / "all")
    assert all(seen)
    with pytest.raises(SetupError, match="reference_share 2: from 0 to 1"):
        config(reference_share=2)


def test_ctrl_c_saves_what_was_learnt_and_ends(
    start: Callable[..., Result], tmp_path: Path
) -> None:
    before = signal.getsignal(signal.SIGINT)

    def press(done: int, total: int, loss: float) -> None:
        if done == 2:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        start(tmp_path, press, checkpoint_every=100)
    saved = [path.name for path in (tmp_path / "checkpoints").iterdir()]
    assert saved == ["step-00000003.safetensors"]
    assert (tmp_path / "adapter.safetensors").is_file()
    assert len(start(tmp_path, resume=True).losses) == 3
    assert signal.getsignal(signal.SIGINT) is before


def test_passes_of_a_step_equal_one_large_batch(
    start: Callable[..., Result], tmp_path: Path
) -> None:
    large = start(tmp_path / "large", batch=4)
    passes = start(tmp_path / "passes", batch=2, accumulation=2)
    assert passes.losses == pytest.approx(large.losses, rel=1e-5)


def test_saving_memory_changes_the_losses_little(
    start: Callable[..., Result], tmp_path: Path
) -> None:
    plain = start(tmp_path / "plain", steps=2).losses
    recomputed = start(tmp_path / "recomputed", steps=2, gradient_checkpointing=True).losses
    short = start(tmp_path / "short", steps=2, precision="bfloat16", num_validation=1).losses
    assert recomputed == pytest.approx(plain, rel=1e-6)
    assert short == pytest.approx(plain, rel=0.05)


def test_training_predicts_what_enhancing_does(tiny: Path) -> None:
    base = open_base("wan", str(tiny), "transformer", torch.float32, "cpu")
    generator = torch.Generator().manual_seed(0)
    target, reference, noise = (torch.randn(1, 4, 3, 4, 6, generator=generator) for _ in range(3))
    text = torch.randn(1, 3, 16, generator=generator)
    for held in (0, 1):
        sigma = torch.tensor([0.7])
        batch = Batch(target, reference, {"prompt": text}, stride=1, lengths=[1, 2], fps=24.0)
        drawn = Draw(noise, sigma, torch.tensor([held]))
        with torch.no_grad():
            ours = base.predict(base.transformer, batch, drawn)[:, :, held:]
            theirs = base.video({"prompt": text}, 24.0).velocity(
                noised(target, noise, sigma)[:, :, held:],
                reference,
                target[:, :, :held] if held else None,
                0.7,
                1,
            )
        assert (ours - theirs).abs().max() < 1e-5


def test_the_loss_hears_what_is_not_held_alone() -> None:
    target, noise = torch.randn(2, 4, 3, 2, 2), torch.randn(2, 4, 3, 2, 2)
    drawn = Draw(noise, torch.tensor([0.5, 0.5]), torch.tensor([1, 0]))
    perfect = noise - target
    wrong = perfect.clone()
    wrong[0, :, 0] += 5
    assert flow_loss(wrong, target, drawn) == 0
    wrong[1, :, 0] += 3
    assert flow_loss(wrong, target, drawn) == pytest.approx(0.5 * 9 / 3)


def test_a_sample_s_draw_does_not_depend_on_the_batch_it_is_in() -> None:
    noise = config().noise
    together = draw((4, 3, 2, 2), [4, 5, 6, 7], 9, 0, noise, Held(), 4)
    alone = draw((4, 3, 2, 2), [6], 9, 0, noise, Held(), 4)
    assert torch.equal(together.noise[2:3], alone.noise)
    assert torch.equal(together.sigma[2:3], alone.sigma)


def test_a_fifth_of_the_samples_is_held_and_each_length_comes() -> None:
    drawn = draw((1, 6, 1, 1), range(2000), 0, 0, config().noise, Held(), 4)
    assert held_lengths(Held(), 6, 4) == [1, 3]
    assert (drawn.held > 0).float().mean() == pytest.approx(0.2, abs=0.03)
    assert set(drawn.held.tolist()) == {0, 1, 3}
    assert held_lengths(Held(), 1, 4) == []


@pytest.fixture(scope="module")
def trained(
    pairs: Path, tiny: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Trainer]:
    """A finished run, and its trainer: the model as it was trained."""
    output = tmp_path_factory.mktemp("trained")
    kept: list[Trainer] = []
    original = Trainer.run

    def run(self: Trainer) -> Result:
        kept.append(self)
        return original(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "run", run)
        told = Run(config(lr=1e-2, trigger="STREET"), pairs, output, weights=str(tiny))
        train(told, encoding=no_progress, training=no_progress)
    return output, kept[0]


def forward(model: WanTransformer3DModel) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, 4, 2, 4, 6, generator=generator)
    text = torch.randn(1, 3, 16, generator=generator)
    with torch.no_grad():
        made: torch.Tensor = model(x, torch.tensor([500]), text, return_dict=False)[0]
    return made


def test_the_adapter_comes_back_unchanged_through_diffusers_and_our_own_reader(
    trained: tuple[Path, Trainer], tiny: Path
) -> None:
    output, trainer = trained
    as_trained = forward(trainer._base.transformer.eval())
    stock = load(WanTransformer3DModel, str(tiny), "transformer")
    plain = forward(stock)
    pipeline = WanPipeline(
        tokenizer=None,
        text_encoder=None,
        vae=load(AutoencoderKLWan, str(tiny), "vae"),
        scheduler=Scheduler(),
        transformer=stock,
    )
    pipeline.load_lora_weights(str(output), weight_name="adapter.safetensors")
    assert (forward(pipeline.transformer) - as_trained).abs().max() == 0.0
    ours = load(InContextTransformer, str(tiny), "transformer")
    attach_adapter(ours, [(read_adapter(output / "adapter.safetensors"), 1.0)])
    assert (forward(ours) - as_trained).abs().max() == 0.0
    assert (plain - as_trained).abs().max() > 1e-3


def test_the_adapter_has_comfyui_s_names_and_says_what_it_is(trained: tuple[Path, Trainer]) -> None:
    with safe_open(trained[0] / "adapter.safetensors", framework="pt") as file:
        names, told = set(file.keys()), file.metadata()
    for module in ("self_attn.q", "cross_attn.o", "ffn.0", "ffn.2"):
        for factor in ("lora_A.weight", "lora_B.weight", "alpha"):
            assert f"diffusion_model.blocks.1.{module}.{factor}" in names
    assert told["base_model"] == "tiny"
    assert told["reference_downscale_factor"] == "1"
    assert told["resolution"] == "48x32"
    assert told["frames"] == "5"
    assert told["trigger"] == "STREET"


def test_shards_are_kept_and_damaged_ones_made_anew(
    start: Callable[..., Result], tmp_path: Path
) -> None:
    first = start(tmp_path)
    whole, damaged = shard_file(tmp_path / "latents", 0), shard_file(tmp_path / "latents", 1)
    stamp = whole.stat().st_mtime_ns
    damaged.write_bytes(damaged.read_bytes()[:100])
    again = start(tmp_path, overwrite=True)
    assert whole.stat().st_mtime_ns == stamp
    assert again.losses == first.losses


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_checkpoint(
    start: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Trainer._loss

    def poisoned(self: Trainer, step: int, passage: int) -> torch.Tensor:
        return original(self, step, passage) * (float("nan") if step == 4 else 1.0)

    monkeypatch.setattr(Trainer, "_loss", poisoned)
    with pytest.raises(RealMasterError, match=r"no number at step 5 .*step-00000003"):
        start(tmp_path)
    monkeypatch.undo()
    assert start(tmp_path, resume=True).step == 6


def test_a_full_disk_is_one_line_and_keeps_the_last_checkpoint(
    start: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import training.latents as shards

    original, calls = shards.save_file, []

    def full(tensors: object, path: Path, metadata: object) -> None:
        calls.append(path)
        if path.name.startswith("step-00000006"):
            path.write_bytes(b"half")
            raise OSError(28, "No space left on device")
        original(tensors, path, metadata)  # type: ignore[arg-type]

    monkeypatch.setattr(shards, "save_file", full)
    with pytest.raises(OutputError, match="No space left"):
        start(tmp_path)
    left = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert left == ["step-00000003.safetensors"]


def test_settings_that_move_weights_cannot_change_in_a_run(
    start: Callable[..., Result], tmp_path: Path
) -> None:
    start(tmp_path)
    with pytest.raises(OutputError, match="--resume to go on"):
        start(tmp_path)
    with pytest.raises(SetupError, match=r"optimizer\.lr was 0\.001 and is 0\.5 now"):
        start(tmp_path, resume=True, lr=0.5)
    with pytest.raises(SetupError, match="no checkpoint"):
        start(tmp_path / "other", resume=True)


def test_a_checkpoint_of_another_base_is_refused(
    start: Callable[..., Result], pairs: Path, tmp_path: Path
) -> None:
    start(tmp_path / "out")
    other = write_tiny(tmp_path / "deeper")
    about = json.loads((other / "transformer" / "config.json").read_text())
    torch.manual_seed(0)
    deeper = {k: v for k, v in about.items() if not k.startswith("_")} | {"num_layers": 3}
    WanTransformer3DModel(**deeper).save_pretrained(other / "transformer")
    told = Run(config(), pairs, tmp_path / "out", weights=str(other), resume=True)
    with pytest.raises(SetupError, match="belongs to another base"):
        train(told, encoding=no_progress, training=no_progress)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"frames": 4}, r"takes 4k\+1 frames, such as 1"),
        ({"frames": 9}, "shorter than a sample"),
        ({"lr": 3.0}, "--lr 3.0"),
        ({"steps": 0}, "--steps 0"),
        ({"optimizer": "adamw8bit"}, "needs bitsandbytes"),
    ],
)
def test_what_cannot_work_is_one_line(
    start: Callable[..., Result],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, object],
    words: str,
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "bitsandbytes.optim", None)
    with pytest.raises(RealMasterError, match=words) as caught:
        start(tmp_path, **changes)
    assert "\n" not in str(caught.value)


def test_a_half_written_folder_of_pairs_is_refused(tmp_path: Path, tiny: Path) -> None:
    folder = write_pairs(tmp_path / "pairs", clips=2)
    told = Run(config(), folder, tmp_path / "out", weights=str(tiny))

    def refused(words: str) -> None:
        with pytest.raises(SessionError, match=words):
            train(told, encoding=no_progress, training=no_progress)

    lines = (folder / "metadata.jsonl").read_text()
    (folder / "metadata.jsonl").write_text(lines[:-20])
    refused("line 2 is cut off")
    (folder / "metadata.jsonl").write_text(lines.replace("target/clip1", "../../clip1"))
    refused("leads out of the folder")
    (folder / "metadata.jsonl").write_text(lines)
    PairFolder(folder).mark(["clip0", "clip1"])
    refused("half written: .* or remove .work/")
    unfinished(folder)[0].unlink()
    (folder / "target" / "clip1.mp4").unlink()
    refused("has not finished")
    (folder / "metadata.jsonl").unlink()
    refused("has not finished")


def test_an_experts_adapter_sees_its_share_of_the_noise_and_says_whose_it_is(
    tmp_path: Path,
) -> None:
    weights = str(write_tiny(tmp_path, experts=2))
    for name, least, most in (("high", 0.875, 1.0), ("low", 0.0, 0.875)):
        made = RECIPES[f"wan2.2-a14b-{name}"]()
        drawn = draw((4, 3, 2, 2), range(500), 0, 0, made.noise, made.held, 4).sigma
        assert least <= float(drawn.min()) < least + 0.2
        assert most - 0.2 < float(drawn.max()) <= most
        base = open_base("wan", weights, made.component, torch.float32, "cpu")
        folder = {"high": "transformer", "low": "transformer_2"}[name]
        wanted = load(InContextTransformer, weights, folder).state_dict()
        assert all(torch.equal(wanted[k], v) for k, v in base.transformer.state_dict().items())
        factors = {f"blocks.0.attn1.to_q.lora_{f}.weight": torch.ones(2, 2) for f in "AB"}
        write_adapter(tmp_path / "one.safetensors", factors, made, step=1, size=(32, 32))
        assert read_adapter(tmp_path / "one.safetensors").expert == name
    with pytest.raises(SetupError, match="alone makes no video"):
        changed("wan2.2-a14b-low", {"num_validation": 2})


def test_every_recipe_is_complete() -> None:
    for name, make in RECIPES.items():
        made = make()
        assert replace(made) == made, name
        assert (made.lora is None) == (made.reference_share < 1)
    with pytest.raises(SetupError, match=r"there are tiny, tiny-base, wan2\.2-5b"):
        changed("wan", {})
