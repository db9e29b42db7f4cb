"""Quantized transformers of the tiny checkpoint: GGUF files written here, and torchao's int8."""

import importlib.util
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from capture_bridge.errors import SetupError
from realmaster.adapters import Adapter, Factors, attach
from realmaster.families.fit import choose, place, when_quantized
from realmaster.families.ltx2 import Ltx2Video
from realmaster.families.ltx2_transformer import InContextLtx2Transformer
from realmaster.families.opening import Opening, open_video
from realmaster.families.presets import PRESETS
from realmaster.families.quantized import load_gguf, quantized_gib, torchao_options
from realmaster.families.weights import load
from realmaster.in_context import InContextTransformer, Segment
from tests.realmaster.families.test_ltx2 import models, prompt
from tests.realmaster.families.tiny_checkpoint import write_tiny

gguf = pytest.importorskip("gguf", reason="the extra 'quantized' is not installed")

#: From diffusers' names to those of the original code, which GGUF files carry.
ORIGINAL = (
    ("condition_embedder.text_embedder.linear_1", "text_embedding.0"),
    ("condition_embedder.text_embedder.linear_2", "text_embedding.2"),
    ("condition_embedder.time_embedder.linear_1", "time_embedding.0"),
    ("condition_embedder.time_embedder.linear_2", "time_embedding.2"),
    ("condition_embedder.time_proj", "time_projection.1"),
    ("proj_out", "head.head"),
    (".attn1.", ".self_attn."),
    (".attn2.", ".cross_attn."),
    (".to_q", ".q"),
    (".to_k", ".k"),
    (".to_v", ".v"),
    (".to_out.0", ".o"),
    (".ffn.net.0.proj", ".ffn.0"),
    (".ffn.net.2", ".ffn.2"),
    (".norm2", ".norm3"),
)


#: The same for LTX-2.3, whose names differ less.
ORIGINAL_LTX = (
    ("av_cross_attn_video_scale_shift", "av_ca_video_scale_shift_adaln_single"),
    ("av_cross_attn_video_a2v_gate", "av_ca_a2v_gate_adaln_single"),
    ("av_cross_attn_audio_scale_shift", "av_ca_audio_scale_shift_adaln_single"),
    ("av_cross_attn_audio_v2a_gate", "av_ca_v2a_gate_adaln_single"),
    ("video_a2v_cross_attn_scale_shift_table", "scale_shift_table_a2v_ca_video"),
    ("audio_a2v_cross_attn_scale_shift_table", "scale_shift_table_a2v_ca_audio"),
    ("prompt_adaln.", "prompt_adaln_single."),
    ("time_embed.", "adaln_single."),
    ("proj_in", "patchify_proj"),
    ("norm_q", "q_norm"),
    ("norm_k", "k_norm"),
)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def plain(checkpoint: Path) -> InContextTransformer:
    return load(InContextTransformer, str(checkpoint), "transformer")


def write_gguf(path: Path, tensors: dict[str, Tensor], kind: Any) -> Path:
    """Matrices quantized, everything else in float32, as the public files are."""
    writer = gguf.GGUFWriter(str(path), "wan")
    for name, tensor in tensors.items():
        values = np.ascontiguousarray(tensor.detach().float().numpy())
        if values.ndim == 2 and values.shape[1] % 32 == 0:
            writer.add_tensor(name, gguf.quants.quantize(values, kind), raw_dtype=kind)
        elif values.ndim == 1 and name.endswith((".weight", ".bias")):
            short = gguf.GGMLQuantizationType.BF16
            writer.add_tensor(name, gguf.quants.quantize(values, short), raw_dtype=short)
        else:
            writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def original_name(name: str) -> str:
    if name == "scale_shift_table":
        return "head.modulation"
    name = name.replace("scale_shift_table", "modulation")
    for ours, theirs in ORIGINAL:
        name = name.replace(ours, theirs)
    return name


@torch.no_grad()
def velocity(model: InContextTransformer, dtype: torch.dtype = torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    x, text = (torch.randn(shape, generator=generator) for shape in ((1, 4, 3, 6, 8), (1, 5, 16)))
    segments = [
        Segment(x.to(dtype), torch.tensor([700.0]), predicted=True),
        Segment(x.to(dtype), torch.zeros(1)),
    ]
    made: Tensor = model(segments, None, text.to(dtype))[0]
    return made.float()


def difference(one: Tensor, two: Tensor) -> float:
    return float((one - two).abs().mean() / two.abs().mean())


@pytest.mark.parametrize(("kind", "error"), [("Q8_0", 0.005), ("Q4_0", 0.06)])
@pytest.mark.parametrize("names", [str, original_name])
def test_a_gguf_file_is_the_model_within_its_quantization(
    checkpoint: Path,
    plain: InContextTransformer,
    tmp_path: Path,
    kind: str,
    error: float,
    names: Any,
) -> None:
    tensors = {names(name): tensor for name, tensor in plain.state_dict().items()}
    path = write_gguf(tmp_path / "t.gguf", tensors, gguf.GGMLQuantizationType[kind])
    made = load_gguf(InContextTransformer, path, str(checkpoint), "transformer", torch.float32)
    assert type(made.blocks[0].ffn.net[2]).__name__ == "GGUFLinear"
    off = difference(velocity(made), velocity(plain))
    assert 0 < off < error


def test_a_gguf_file_of_ltx_is_the_model_within_its_quantization(tmp_path: Path) -> None:
    plain, vae = models("2.3")
    plain.save_pretrained(tmp_path / "transformer")
    tensors = {}
    for name, tensor in plain.state_dict().items():
        for ours, theirs in ORIGINAL_LTX:
            name = name.replace(ours, theirs)
        tensors[f"model.diffusion_model.{name}"] = tensor
    kind = gguf.GGMLQuantizationType.Q8_0
    path = write_gguf(tmp_path / "t.gguf", tensors, kind)
    made = load_gguf(InContextLtx2Transformer, path, str(tmp_path), "transformer", torch.float32)
    made.drop_sound()
    x = torch.randn(1, 8, 2, 2, 2, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        got, wanted = (
            Ltx2Video(model, vae, prompt(0), fps=24.0).velocity(x, x, None, 0.7, 1)
            for model in (made, plain)
        )
    assert 0 < difference(got, wanted) < 0.02


def test_a_gguf_file_that_is_damaged_or_another_models_is_one_line(
    checkpoint: Path, plain: InContextTransformer, tmp_path: Path
) -> None:
    def refused(path: Path) -> str:
        with pytest.raises(SetupError) as caught:
            load_gguf(InContextTransformer, path, str(checkpoint), "transformer", torch.float32)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    kind = gguf.GGMLQuantizationType.Q8_0
    tensors = plain.state_dict()
    whole = write_gguf(tmp_path / "whole.gguf", tensors, kind).read_bytes()
    for size in (2, 30, 1000, len(whole) - 5000):
        (tmp_path / "cut.gguf").write_bytes(whole[:size])
        refused(tmp_path / "cut.gguf")
    assert "cannot read" in refused(tmp_path / "none.gguf")
    assert "lacks" in refused(
        write_gguf(tmp_path / "less.gguf", dict(list(tensors.items())[:-6]), kind)
    )
    wide = {**tensors, "proj_out.weight": torch.zeros(16, 96)}
    refused(write_gguf(tmp_path / "wide.gguf", wide, kind))


def test_torchao_halves_the_weights_and_stays_close(
    checkpoint: Path, plain: InContextTransformer
) -> None:
    pytest.importorskip("torchao", reason="the extra 'quantized' is not installed")
    options = torchao_options("int8")
    made = load(
        InContextTransformer, str(checkpoint), "transformer", torch_dtype=torch.bfloat16, **options
    )
    assert type(made.blocks[0].ffn.net[2].weight).__module__.startswith("torchao")
    assert type(made.condition_embedder.time_proj.weight) is torch.nn.Parameter
    assert 0 < difference(velocity(made, torch.bfloat16), velocity(plain)) < 0.03


@pytest.mark.parametrize("way", ["gguf", "int8"])
def test_an_adapter_works_on_quantized_weights_and_so_does_offloading(
    checkpoint: Path, plain: InContextTransformer, tmp_path: Path, way: str
) -> None:
    if way == "gguf":
        kind = gguf.GGMLQuantizationType.Q8_0
        path = write_gguf(tmp_path / "t.gguf", plain.state_dict(), kind)
        dtype = torch.float32
        made = load_gguf(InContextTransformer, path, str(checkpoint), "transformer", dtype)
    else:
        dtype = torch.bfloat16
        options = torchao_options("int8")
        made = load(
            InContextTransformer, str(checkpoint), "transformer", torch_dtype=dtype, **options
        )
    generator = torch.Generator().manual_seed(0)
    module = "blocks.0.ffn.net.2"
    pair = Factors(*(torch.randn(s, generator=generator) for s in ((2, 64), (48, 2))))
    adapter = Adapter("a", {module: pair}, {})
    attach(made, [(adapter, 1.0)])
    place(made, "offload", "cpu")
    wanted = load(InContextTransformer, str(checkpoint), "transformer")
    attach(wanted, [(adapter, 1.0)])
    assert difference(velocity(wanted), velocity(plain)) > 0.05
    assert difference(velocity(made, dtype), velocity(wanted)) < 0.03


def test_a_preset_is_opened_with_quantized_weights(tmp_path: Path) -> None:
    """Two experts, each with a file of its own; then both by torchao."""
    folder = write_tiny(tmp_path, experts=2)
    preset = replace(PRESETS["tiny"], source=str(folder), boundary=0.5)
    files = []
    for name in ("transformer", "transformer_2"):
        tensors = load(InContextTransformer, str(folder), name).state_dict()
        kind = gguf.GGMLQuantizationType.Q8_0
        files.append(write_gguf(tmp_path / f"{name}.gguf", tensors, kind))
    plain = Opening(preset, ("a street",), (), "none", "cpu", 24.0)
    generator = torch.Generator().manual_seed(0)
    x, reference = (torch.randn(1, 4, 2, 4, 4, generator=generator) for _ in range(2))

    @torch.no_grad()
    def velocities(opening: Opening) -> list[Tensor]:
        video = open_video(opening)
        near = reference.to(torch.bfloat16 if opening.quantize != "none" else torch.float32)
        return [video.velocity(x, near, None, sigma, 1) for sigma in (0.9, 0.1)]

    wanted = velocities(plain)
    for opening in (replace(plain, gguf=files), replace(plain, quantize="int8")):
        for got, want in zip(velocities(opening), wanted, strict=True):
            assert 0 < difference(got, want) < 0.03


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(SetupError, match=r"realmaster\[quantized\]"):
        torchao_options("int8")
    with pytest.raises(SetupError, match=r"needs gguf: pip install"):
        load_gguf(InContextTransformer, tmp_path / "t.gguf", "", "transformer", torch.float32)


def test_quantized_weights_fit_smaller_cards(tmp_path: Path) -> None:
    preset = PRESETS["wan2.1-14b"]
    (tmp_path / "a.gguf").write_bytes(bytes(1 << 20))
    assert quantized_gib([tmp_path / "a.gguf"], "none", 26.6) == pytest.approx(1 / 1024)
    small = when_quantized(preset, quantized_gib([], "int8", preset.weights_gib))
    assert choose("x", small, 36.0) == "none"
    assert choose("x", preset, 36.0) == "offload"
    with pytest.raises(SetupError, match="32 GiB"):
        choose("x", small, 24.0)
