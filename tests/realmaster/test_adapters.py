"""Adapters: every usual spelling gives the same change; what does not belong is refused."""

import copy
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from capture_bridge.errors import SetupError
from realmaster.adapters import attach, check_base, read_adapter, stacked
from realmaster.in_context import InContextTransformer, Segment
from tests.realmaster.test_in_context import CONFIG, inputs

RANK = 4
MODULES = {
    "blocks.0.attn1.to_q": ("blocks.0.self_attn.q", 48, 48),
    "blocks.1.attn2.to_out.0": ("blocks.1.cross_attn.o", 48, 48),
    "blocks.2.ffn.net.0.proj": ("blocks.2.ffn.0", 64, 48),
    "condition_embedder.time_proj": ("time_projection.1", 288, 48),
    "proj_out": ("head.head", 16, 48),
}


def factors(seed: int = 0) -> dict[str, tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    return {
        name: (
            torch.randn(RANK, cin, generator=generator),
            torch.randn(out, RANK, generator=generator),
        )
        for name, (_, out, cin) in MODULES.items()
    }


def write(path: Path, spelling: str, alpha: float | None = None, seed: int = 0) -> Path:
    tensors = {}
    for name, (a, b) in factors(seed).items():
        stem, down, up = {
            "comfyui": (f"diffusion_model.{MODULES[name][0]}", "lora_A", "lora_B"),
            "kohya": (f"diffusion_model.{MODULES[name][0]}", "lora_down", "lora_up"),
            "diffusers": (f"transformer.{name}", "lora_A", "lora_B"),
            "peft": (f"base_model.model.{name}", "lora_A.default", "lora_B.default"),
        }[spelling]
        tensors |= {f"{stem}.{down}.weight": a, f"{stem}.{up}.weight": b}
        if alpha is not None:
            tensors[f"{stem}.alpha"] = torch.tensor(alpha)
    save_file(tensors, path, {"trigger": "STREET", "reference_downscale_factor": "2"})
    return path


@pytest.fixture(scope="module")
def model() -> InContextTransformer:
    torch.manual_seed(0)
    return InContextTransformer(**CONFIG).eval()


@torch.no_grad()
def run(model: InContextTransformer) -> Tensor:
    target, reference, text, time = inputs()
    segments = [Segment(target, time, predicted=True), Segment(reference, torch.zeros(2))]
    result: Tensor = model(segments, None, text)[0]
    return result


@torch.no_grad()
def merged(model: InContextTransformer, scale: float, seed: int = 0) -> InContextTransformer:
    """The model with the change written into its weights."""
    model = copy.deepcopy(model)
    for name, (a, b) in factors(seed).items():
        model.get_submodule(name).weight.add_(scale * b @ a)
    return model


@pytest.mark.parametrize("spelling", ["comfyui", "kohya", "diffusers", "peft"])
@pytest.mark.parametrize("alpha", [None, 2.0 * RANK])
def test_every_spelling_is_the_same_change(
    model: InContextTransformer, tmp_path: Path, spelling: str, alpha: float | None
) -> None:
    adapter = read_adapter(write(tmp_path / "a.safetensors", spelling, alpha))
    assert adapter.modules.keys() == MODULES.keys()
    assert adapter.trigger == "STREET"
    assert adapter.reference_stride == 2
    with_lora = copy.deepcopy(model)
    attach(with_lora, [(adapter, 0.5)])
    wanted = run(merged(model, 0.5 * (1 if alpha is None else 2.0)))
    torch.testing.assert_close(run(with_lora), wanted, atol=1e-4, rtol=1e-4)
    assert float((run(model) - wanted).abs().max()) > 1e-2


def test_several_adapters_add_up(model: InContextTransformer, tmp_path: Path) -> None:
    first = read_adapter(write(tmp_path / "a.safetensors", "comfyui"))
    second = read_adapter(write(tmp_path / "b.safetensors", "diffusers", seed=1))
    both = copy.deepcopy(model)
    attach(both, [(first, 1.0), (second, 0.25)])
    wanted = run(merged(merged(model, 1.0), 0.25, seed=1))
    torch.testing.assert_close(run(both), wanted, atol=1e-4, rtol=1e-4)
    assert stacked([(first, 1.0), (second, 1.0)])["proj_out"].a.shape == (2 * RANK, 48)


def test_one_of_another_model_is_refused(model: InContextTransformer, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    pair = {"lora_A.weight": torch.zeros(2, 96), "lora_B.weight": torch.zeros(48, 2)}
    save_file({f"blocks.0.attn1.to_q.{k}": v for k, v in pair.items()}, path)
    with pytest.raises(SetupError, match="48x96; this model's has 48x48"):
        attach(copy.deepcopy(model), [(read_adapter(path), 1.0)])
    save_file({f"transformer_blocks.0.attn1.to_q.{k}": v for k, v in pair.items()}, path)
    with pytest.raises(SetupError, match="does not have"):
        attach(copy.deepcopy(model), [(read_adapter(path), 1.0)])


def test_a_base_that_does_not_match_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    pair = {"x.lora_A.weight": torch.zeros(2, 4), "x.lora_B.weight": torch.zeros(4, 2)}
    save_file(pair, path, {"base_model": "Lightricks/LTX-2.3"})
    adapter = read_adapter(path)
    check_base(adapter, "ltx-2.3", ["Lightricks/LTX-2.3"])
    with pytest.raises(SetupError, match=r"trained on Lightricks/LTX-2.3, not on wan2.2-5b"):
        check_base(adapter, "wan2.2-5b", ["Wan-AI/Wan2.2-TI2V-5B-Diffusers"])


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"x.lora_A.weight": torch.zeros(2, 4)}, "pairs"),
        ({"x.weight": torch.zeros(2, 4)}, "no part of a LoRA"),
        ({"x.lora_A.weight": torch.zeros(2, 4), "x.lora_B.weight": torch.zeros(4, 3)}, "not fit"),
    ],
)
def test_what_is_no_lora_is_said(tmp_path: Path, tensors: dict[str, Tensor], message: str) -> None:
    save_file(tensors, tmp_path / "a.safetensors")
    with pytest.raises(SetupError, match=message):
        read_adapter(tmp_path / "a.safetensors")


def test_damaged_foreign_and_absent_files_end_in_one_line(tmp_path: Path) -> None:
    whole = write(tmp_path / "a.safetensors", "comfyui").read_bytes()
    for name, content in (("cut", whole[:-100]), ("empty", b""), ("text", b"hello" * 100)):
        path = tmp_path / f"{name}.safetensors"
        path.write_bytes(content)
        with pytest.raises(SetupError, match="damaged"):
            read_adapter(path)
    (tmp_path / "a.pt").write_bytes(whole)
    with pytest.raises(SetupError, match="safetensors files alone"):
        read_adapter(tmp_path / "a.pt")
    with pytest.raises(SetupError, match="cannot read"):
        read_adapter(tmp_path / "none.safetensors")
