"""The diffusion tier through the public door: a tiny checkpoint of the real classes, on a CPU."""

import json
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from capture_bridge.errors import SetupError
from capture_bridge.images import read_png, write_png
from capture_bridge.layer import read_layer
from capture_bridge.media import VideoReader
from capture_bridge.session import SessionReader, SessionWriter
from realmaster import diffusion, enhancer
from realmaster.adapters import read_adapter
from realmaster.cli import main
from realmaster.diffusion import DiffusionModel, as_trained
from realmaster.enhancer import enhance_session, layer_path
from realmaster.families import prompts
from realmaster.families.fit import choose, next_fit
from realmaster.families.presets import PRESETS
from realmaster.families.prompts import Embedding
from realmaster.tiers import MODELS, ModelOptions, load_model
from tests.capture_bridge.analytic_engine import AnalyticEngine
from tests.realmaster.families.tiny_checkpoint import write_tiny

FRAMES = 24


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(tmp_path_factory.mktemp("session") / "s.mcap", FRAMES, (128, 72))


def record(path: Path, frames: int, size: tuple[int, int]) -> Path:
    engine = AnalyticEngine(width=size[0], height=size[1])
    with SessionWriter(path, engine.hello(), codec="raw") as writer:
        for index in range(frames):
            writer.write_frame(engine.message(index), t_recv_ns=1 + index, epoch=1)
    return path


def tiny(checkpoint: Path, **changes: object) -> DiffusionModel:
    options = ModelOptions(weights=str(checkpoint), steps=2, **changes)  # type: ignore[arg-type]
    model = load_model("tiny", options)
    assert isinstance(model, DiffusionModel)
    return model


def lora(path: Path, metadata: dict[str, str], module: str = "blocks.0.self_attn.q") -> Path:
    stem = f"diffusion_model.{module}"
    generator = torch.Generator().manual_seed(0)
    tensors = {
        f"{stem}.lora_A.weight": torch.randn(2, 48, generator=generator),
        f"{stem}.lora_B.weight": torch.randn(48, 2, generator=generator),
    }
    save_file(tensors, path, metadata)
    return path


def test_a_session_comes_out_whole_within_a_minute(
    checkpoint: Path, session: Path, tmp_path: Path
) -> None:
    started = time.monotonic()
    out = tmp_path / "o.mp4"
    code = main(
        ["enhance", str(session), "-o", str(out), "--model", "tiny", "--weights", str(checkpoint)]
    )
    assert code == 0
    assert time.monotonic() - started < 60
    with SessionReader(session) as reader, VideoReader(out) as video:
        times = reader.timeline().since_start_ns
        shown = [(picture.shape, t_ns) for picture, t_ns in video]
        layer = read_layer(layer_path(out))
        assert [frame.t_sim_ns for frame in layer.frames] == [h.t_sim_ns for h in reader.headers]
    assert [shape for shape, _ in shown] == [(72, 128, 3)] * FRAMES
    assert all(abs(t - want) <= 1e9 / 90_000 for (_, t), want in zip(shown, times, strict=True))


def test_a_killed_run_goes_on_with_the_same_pictures_and_seams(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(enhancer, "SEGMENT_FRAMES", 6)
    session = record(tmp_path / "s.mcap", 16, (32, 18))
    whole, cut = tmp_path / "whole.mp4", tmp_path / "cut.mp4"
    enhance_session(session, whole, tiny(checkpoint))

    def kill(done: int, _: int) -> None:
        if done == 9:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        enhance_session(session, cut, tiny(checkpoint), progress=kill)
    assert enhance_session(session, cut, tiny(checkpoint)).resumed_frames == 6
    for one, two in zip(pictures(whole), pictures(cut), strict=True):
        assert np.abs(one.astype(int) - two).mean() < 0.1  # weights may lie otherwise in memory
    about = read_layer(layer_path(cut)).tags
    assert about["preset"] == "tiny"
    assert [join["frame"] for join in json.loads(about["seams"])] == [6, 12]
    scores = [
        [join["difference"] for join in json.loads(read_layer(layer_path(video)).tags["seams"])]
        for video in (cut, whole)
    ]
    assert scores[0] == pytest.approx(scores[1], abs=0.01)


def pictures(path: Path) -> list[np.ndarray]:
    with VideoReader(path) as video:
        return [picture for picture, _ in video]


def test_an_adapter_is_obeyed_and_changes_the_picture(
    checkpoint: Path, session: Path, tmp_path: Path
) -> None:
    path = lora(tmp_path / "a.safetensors", {"trigger": "STREET", "base_model": "tiny"})
    plain, changed = tiny(checkpoint), tiny(checkpoint, adapter=(str(path),), strength=2.0)
    assert changed._prompt().startswith("STREET ")
    assert plain.fingerprint != changed.fingerprint
    with SessionReader(session) as reader:
        frames = [reader.frame(k) for k in range(3)]
        first, second = (next(iter(m.enhance(frames, {}))) for m in (plain, changed))
    assert not np.array_equal(first, second)


def test_a_first_frame_leads_the_others(checkpoint: Path, session: Path, tmp_path: Path) -> None:
    write_png(tmp_path / "p.png", np.full((144, 256, 3), 230, np.uint8))
    led, plain = tiny(checkpoint, first_frame=tmp_path / "p.png"), tiny(checkpoint)
    assert led.fingerprint != plain.fingerprint
    with SessionReader(session) as reader:
        frames = [reader.frame(k) for k in range(6)]
        pictures = [list(model.enhance(frames, {}))[-1] for model in (led, plain)]
    assert not np.array_equal(*pictures)


def test_photos_of_both_ends_lead_the_session(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three windows, in runs of their own as after a kill: the last one ends with the photo."""
    monkeypatch.setattr(enhancer, "SEGMENT_FRAMES", 8)
    session = record(tmp_path / "s.mcap", 20, (64, 36))
    for name, level in (("first", 230), ("last", 40)):
        write_png(tmp_path / f"{name}.png", np.full((72, 128, 3), level, np.uint8))
    made = {}
    for ends in ((), ("last",), ("first", "last")):
        out = tmp_path / f"{len(ends)}.mp4"
        told = ["enhance", str(session), "-o", str(out), "--model", "tiny", "--steps", "2"]
        for end in ends:
            told += [f"--{end}-frame", str(tmp_path / f"{end}.png")]
        assert main([*told, "--weights", str(checkpoint)]) == 0
        made[ends] = np.stack(pictures(out)).astype(int)
    plain, last, both = made.values()
    assert np.abs(plain[:16] - last[:16]).mean() < 0.1
    for shown in (last, both):
        assert abs(float(shown[-1].mean()) - 40) < 3
    assert np.abs(both[0] - plain[0]).mean() > 0.4
    about = read_layer(layer_path(tmp_path / "2.mp4")).tags
    assert [join["frame"] for join in json.loads(about["seams"])] == [8, 16]
    assert float(about["last_frame_difference"]) > 0


def test_a_run_can_be_watched(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A picture lies beside the output after every step of every window, and goes with the run."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))
    session, out = record(tmp_path / "s.mcap", 30, (64, 36)), tmp_path / "o.mp4"
    watched: list[tuple[int, ...]] = []
    write = diffusion.write_png

    def noted(path: Path, picture: np.ndarray) -> None:
        assert path == tmp_path / "o.preview.png"
        write(path, picture)
        watched.append(read_png(path).shape)

    monkeypatch.setattr(diffusion, "write_png", noted)
    told = ["enhance", str(session), "-o", str(out), "--model", "tiny", "--steps", "3"]
    assert main([*told, "--weights", str(checkpoint), "--preview"]) == 0
    assert watched == [(256, 1536, 3)] * 6
    assert not (tmp_path / "o.preview.png").exists()
    plain, seen = tiny(checkpoint), tiny(checkpoint, preview=tmp_path / "p.png")
    assert plain.fingerprint == seen.fingerprint


def test_a_text_encoder_too_large_for_the_card_works_on_the_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def encode(source: str, texts: list[str], device: str, dtype: torch.dtype) -> list[Embedding]:
        asked.append((device, dtype))
        if device != "cpu":
            raise torch.OutOfMemoryError("too large")
        return [{"prompt": torch.full((1, 2, 3), float(len(text)))} for text in texts]

    monkeypatch.setattr(prompts, "_encode_wan", encode)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))
    for _ in range(2):
        made = prompts.prompt_embeddings("wan", "someone/model", ["rain", "a"], "cuda")
        assert [float(one["prompt"].mean()) for one in made] == [4, 1]
    assert asked == [("cuda", torch.bfloat16), ("cpu", torch.bfloat16)]


def test_the_layer_says_how_weights_are_quantized(checkpoint: Path) -> None:
    assert tiny(checkpoint, quantize="int8").summary({})["quantized"] == "int8"
    assert "quantized" not in tiny(checkpoint).summary({})


def test_options_have_their_say_in_the_fingerprint(checkpoint: Path) -> None:
    prints = {
        tiny(checkpoint, **changes).fingerprint
        for changes in ({}, {"seed": 1}, {"prompt": "rain"}, {"guidance": 2.0}, {"size": (64, 32)})
    }
    assert len(prints) == 5


def test_tiny_comes_with_the_package_or_says_how_to_make_it(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("realmaster.families.presets.BUNDLED_MODELS", tmp_path)
    with pytest.raises(SetupError, match=r"python -m training\.tiny_base .* makes one"):
        load_model("tiny")
    shutil.copytree(checkpoint, tmp_path / "tiny")
    model = load_model("tiny", ModelOptions(steps=2))
    assert isinstance(model, DiffusionModel)
    assert model.summary({})["source"] == "bundled"


def test_an_adapter_of_the_package_goes_by_its_name_unless_a_file_has_it(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("realmaster.families.presets.BUNDLED_MODELS", tmp_path / "models")
    (tmp_path / "models" / "adapters").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SetupError, match=r"--adapter street: there is no such file.*come: none"):
        tiny(checkpoint, adapter=("street",))
    lora(tmp_path / "models" / "adapters" / "street.safetensors", {"trigger": "OURS"})
    ours = tiny(checkpoint, adapter=("street",)).fingerprint
    (tmp_path / "street").mkdir()
    lora(tmp_path / "street" / "a.safetensors", {"trigger": "THEIRS"})
    assert tiny(checkpoint, adapter=("street",)).fingerprint != ours


def test_a_model_without_an_adapter_says_that_it_follows_no_render(
    checkpoint: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tiny(checkpoint)
    assert "tiny without --adapter" in caplog.text
    caplog.clear()
    tiny(checkpoint, adapter=(str(lora(tmp_path / "a.safetensors", {})),))
    assert not caplog.text


@pytest.mark.parametrize("name", [name for name in PRESETS if name != "tiny"])
def test_a_preset_without_a_gpu_names_what_it_needs(name: str) -> None:
    if torch.cuda.is_available():
        pytest.skip("a GPU is here")
    with pytest.raises(SetupError, match="needs an NVIDIA GPU"):
        load_model(name)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "wan9"], "there is no model 'wan9'"),
        (["--model", "fast", "--steps", "4"], "belong to"),
        (["--model", "copy", "--keep", "face=1"], "no such class"),
        (["--model", "copy", "--stabilize", "1"], "--stabilize 1"),
        (["--model", "tiny", "--weights", "./nowhere"], "no such folder"),
        (["--model", "tiny", "--weights", "W", "--steps", "0"], "from 1 to 1000"),
        (["--model", "tiny", "--weights", "W", "--adapter", "none.safetensors"], "cannot read"),
        (["--model", "tiny", "--weights", "W", "--adapter", "F"], "trained on LTX-2.3"),
        (["--model", "tiny", "--weights", "W", "--size", "10x10"], "--size"),
        (["--model", "tiny", "--weights", "W", "--first-frame", "none.png"], "no such file"),
        (["--model", "tiny", "--weights", "W", "--first-frame", "P"], "must be the same"),
        (["--model", "tiny", "--weights", "W", "--last-frame", "none.png"], "no such file"),
        (["--model", "tiny", "--weights", "W", "--last-frame", "P"], "show the last frame"),
        (["--model", "tiny", "--weights", "W", "--attention", "sage"], "at hand on cpu are native"),
        (["--model", "tiny", "--weights", "W", "--gguf", "none.gguf"], "cannot read"),
        (["--model", "tiny", "--weights", "W", "--gguf", "P"], "is no .gguf file"),
        (["--model", "tiny", "--weights", "t.gguf"], "give it as --gguf"),
        (["--model", "tiny", "--weights", "W", "--quantize", "int8", "--fit", "fp8"], "already"),
        (["--model", "tiny", "--weights", "W", "--quantize", "float8"], "int8 works on every"),
    ],
)
def test_a_users_mistake_is_one_line(
    checkpoint: Path,
    session: Path,
    tmp_path: Path,
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    foreign = lora(tmp_path / "f.safetensors", {"base_model": "LTX-2.3"})
    write_png(tmp_path / "p.png", np.zeros((64, 64, 3), np.uint8))
    names = {"W": str(checkpoint), "F": str(foreign), "P": str(tmp_path / "p.png")}
    told = [names.get(argument, argument) for argument in arguments]
    assert main(["enhance", str(session), "-o", str(tmp_path / "o.mp4"), *told]) == 1
    err = capsys.readouterr().err
    assert message in err
    assert "Traceback" not in err
    assert not (tmp_path / "o.mp4").exists()


def test_the_fit_is_the_gentlest_that_suffices() -> None:
    preset = PRESETS["wan2.2-a14b"]
    assert [choose("x", preset, gib) for gib in (200, 48, 24)] == ["none", "offload", "fp8"]
    assert next_fit("none", preset) == "offload"
    assert next_fit("fp8", preset) is None
    with pytest.raises(SetupError, match=r"24 GiB of free video memory.*there are 8.0"):
        choose("wan2.2-a14b", preset, 8.0)


def test_every_preset_stands_in_the_table_of_models() -> None:
    assert set(PRESETS) <= set(MODELS)
    for preset in PRESETS.values():
        assert preset.size[0] % 16 == 0
        assert preset.fresh % 4 == 0
        assert preset.overlap % 4 == 1


@pytest.mark.parametrize(
    ("frames", "windows"),
    [
        ("", (48, 9)),
        ("81", (48, 9)),
        ("57", (48, 9)),
        ("49", (40, 9)),
        ("25", (16, 9)),
        ("17", (12, 5)),
        ("9", (8, 1)),
        ("5", (4, 1)),
        ("2", (1, 1)),
        ("1", (48, 9)),
        ("x", (48, 9)),
    ],
)
def test_windows_are_no_longer_than_the_clips_that_an_adapter_was_trained_on(
    tmp_path: Path, frames: str, windows: tuple[int, int]
) -> None:
    adapter = read_adapter(lora(tmp_path / "a.safetensors", {"frames": frames}))
    preset = as_trained(PRESETS["wan2.2-5b"], adapter, keep_size=False)
    assert (preset.fresh, preset.overlap) == windows


def test_an_adapter_works_at_the_size_that_it_was_trained_at(tmp_path: Path) -> None:
    adapter = read_adapter(lora(tmp_path / "a.safetensors", {"resolution": "832x480"}))
    assert as_trained(PRESETS["wan2.2-5b"], adapter, keep_size=False).size == (832, 480)
    assert as_trained(PRESETS["wan2.2-5b"], adapter, keep_size=True).size == (1280, 704)
