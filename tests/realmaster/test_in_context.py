"""The in-context forward beside the stock one: same numbers, far less modulation."""

from pathlib import Path

import pytest
import torch
from diffusers import WanTransformer3DModel
from diffusers.models.attention_dispatch import AttentionBackendName, _AttentionBackendRegistry
from torch import Tensor, nn

from benchmarks.activations import peak_bytes
from benchmarks.gpu import measure
from benchmarks.passes import default_dtype, modulation_bytes, passes
from realmaster.families.architectures import TRANSFORMERS
from realmaster.flow_matching import euler_step, noised, schedule, shifted, velocity
from realmaster.in_context import InContextTransformer, Segment
from tests.realmaster.families.tiny_checkpoint import TRANSFORMER

CONFIG = {**TRANSFORMER, "num_layers": 3}
SHAPE = (2, 4, 3, 6, 8)


class SharedRope(nn.Module):
    """Gives the second half of the frames the positions of the first."""

    def __init__(self, rope: nn.Module) -> None:
        super().__init__()
        self.rope = rope

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        cos, sin = self.rope(x[:, :, : x.shape[2] // 2])
        return torch.cat([cos, cos], 1), torch.cat([sin, sin], 1)


class LastFrameTwice(nn.Module):
    """Gives the last frame the positions of the one before it."""

    def __init__(self, rope: nn.Module) -> None:
        super().__init__()
        self.rope = rope

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        cos, sin = self.rope(x[:, :, :-1])
        tokens = cos.shape[1] // (x.shape[2] - 1)
        return torch.cat([cos, cos[:, -tokens:]], 1), torch.cat([sin, sin[:, -tokens:]], 1)


@pytest.fixture(scope="module")
def pair() -> tuple[InContextTransformer, WanTransformer3DModel]:
    """Ours and the stock model with the same weights, none of them zero."""
    torch.manual_seed(0)
    ours, stock = InContextTransformer(**CONFIG), WanTransformer3DModel(**CONFIG)
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    stock.load_state_dict(ours.state_dict())
    return ours.eval(), stock.eval()


def inputs() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    target, reference = (torch.randn(SHAPE, generator=generator) for _ in range(2))
    text = torch.randn((2, 5, 16), generator=generator)
    return target, reference, text, torch.tensor([700.0, 130.0])


@torch.no_grad()
def test_equals_the_stock_forward_with_a_timestep_per_token(
    pair: tuple[InContextTransformer, WanTransformer3DModel],
) -> None:
    ours, stock = pair
    target, reference, text, time = inputs()
    zero = torch.zeros(2)
    (got,) = ours([Segment(target, time, predicted=True), Segment(reference, zero)], None, text)
    rope, tokens = stock.rope, 3 * 3 * 4
    stock.rope = SharedRope(rope)
    try:
        per_token = torch.cat([time[:, None].expand(2, tokens), torch.zeros(2, tokens)], 1)
        wanted = stock(torch.cat([target, reference], 2), per_token, text).sample[:, :, :3]
    finally:
        stock.rope = rope
    assert float((got - wanted).abs().max()) <= 1e-5
    alone = stock(target, time, text).sample
    assert float((got - alone).abs().max()) > 1e-3  # the reference is heard


@torch.no_grad()
def test_clean_first_frames_equal_the_stock_forward(
    pair: tuple[InContextTransformer, WanTransformer3DModel],
) -> None:
    """Anchor frames in front, at timestep 0, as Wan2.2's image-to-video does it."""
    ours, stock = pair
    target, _, text, time = inputs()
    segments = [
        Segment(target[:, :, :1], torch.zeros(2)),
        Segment(target[:, :, 1:], time, first_frame=1, predicted=True),
    ]
    (got,) = ours(segments, None, text)
    per_token = time[:, None].expand(2, 36).clone()
    per_token[:, :12] = 0
    wanted = stock(target, per_token, text).sample[:, :, 1:]
    assert float((got - wanted).abs().max()) <= 1e-5


@torch.no_grad()
def test_a_picture_at_the_end_equals_the_stock_forward_with_one_frame_more(
    pair: tuple[InContextTransformer, WanTransformer3DModel],
) -> None:
    """The picture has the last frame's position and timestep 0, and its velocity is not asked."""
    ours, stock = pair
    target, other, text, time = inputs()
    ending = other[:, :, :1]
    segments = [
        Segment(target, time, predicted=True),
        Segment(ending, torch.zeros(2), first_frame=2),
    ]
    (got,) = ours(segments, None, text)
    rope = stock.rope
    stock.rope = LastFrameTwice(rope)
    try:
        per_token = torch.cat([time[:, None].expand(2, 36), torch.zeros(2, 12)], 1)
        wanted = stock(torch.cat([target, ending], 2), per_token, text).sample[:, :, :3]
    finally:
        stock.rope = rope
    assert float((got - wanted).abs().max()) <= 1e-5


@torch.no_grad()
def test_without_segments_it_is_the_stock_model(
    pair: tuple[InContextTransformer, WanTransformer3DModel],
) -> None:
    ours, stock = pair
    target, _, text, time = inputs()
    got, wanted = (model(target, time, text).sample for model in (ours, stock))
    torch.testing.assert_close(got, wanted, atol=1e-6, rtol=1e-6)


@torch.no_grad()
def test_a_smaller_reference_has_the_positions_of_what_it_shows(
    pair: tuple[InContextTransformer, WanTransformer3DModel],
) -> None:
    ours, _ = pair
    target, reference, _, time = inputs()
    small = reference[..., ::2, ::2][..., :2, :4]
    segments = [Segment(target, time), Segment(small, time, stride=2)]
    cos, _ = ours._rotary(segments)
    whole = cos[0, :36, 0].reshape(3, 3, 4, -1)
    assert torch.equal(cos[0, 36:, 0].reshape(3, 1, 2, -1), whole[:, :1, ::2])


def test_saved_and_loaded_it_is_itself_and_the_stock_model(
    pair: tuple[InContextTransformer, WanTransformer3DModel], tmp_path: Path
) -> None:
    ours, _ = pair
    ours.save_pretrained(tmp_path)
    for loaded in (InContextTransformer, WanTransformer3DModel):
        model = loaded.from_pretrained(tmp_path)
        assert model.config.num_layers == CONFIG["num_layers"]
        for name, value in model.state_dict().items():
            assert torch.equal(value, ours.state_dict()[name]), name


def test_positions_beyond_the_table_are_refused(
    pair: tuple[InContextTransformer, WanTransformer3DModel],
) -> None:
    target, *_ = inputs()
    with pytest.raises(ValueError, match="beyond"):
        pair[0]._rotary([Segment(target, torch.zeros(2), first_frame=1023)])


def test_gradients_with_and_without_checkpointing_agree(
    pair: tuple[InContextTransformer, WanTransformer3DModel],
) -> None:
    ours, _ = pair
    target, reference, text, time = inputs()
    segments = [Segment(target, time, predicted=True), Segment(reference, torch.zeros(2))]
    gradients = []
    for wanted in (False, True):
        ours.zero_grad()
        (ours.enable_gradient_checkpointing if wanted else ours.disable_gradient_checkpointing)()
        ours(segments, None, text)[0].square().mean().backward()
        gradients.append(ours.patch_embedding.weight.grad.clone())
    ours.disable_gradient_checkpointing()
    torch.testing.assert_close(*gradients)


def test_modulation_of_the_5b_model_at_720p_is_a_hundredth() -> None:
    """121 frames of 1280x704: 31 x 44 x 80 / 4 tokens and as many of the reference."""
    ours, stock = modulation_bytes(2 * 31 * 22 * 40, 6 * 3072, 2, 4)
    assert stock == pytest.approx(4.0e9, rel=0.02)
    assert ours <= stock / 100


def test_flow_matching_walks_a_straight_line() -> None:
    clean, noise = torch.randn(2, 3, 4), torch.randn(2, 3, 4)
    sigmas = schedule(7, shift=5.0)
    assert sigmas[0] == 1
    assert sigmas[-1] == 0
    assert (sigmas.diff() < 0).all()
    torch.testing.assert_close(shifted(sigmas, 1.0), sigmas)
    x = noised(clean, noise, torch.ones(2))
    torch.testing.assert_close(x, noise)
    for now, after in zip(sigmas[:-1].tolist(), sigmas[1:].tolist(), strict=True):
        x = euler_step(x, velocity(clean, noise), now, after)
    torch.testing.assert_close(x, clean, atol=1e-5, rtol=1e-5)
    half = noised(clean, noise, torch.tensor([0.5, 0.0]))
    torch.testing.assert_close(half[1], clean[1])


@pytest.mark.parametrize(
    ("name", "share", "saved"), [("wan2.2-5b", 0.6, 4e9), ("ltx-2.3", 0.4, 2e9)]
)
def test_a_full_size_pass_takes_far_less_than_the_stock_forward(
    name: str, share: float, saved: float
) -> None:
    """Two blocks, 121 frames and their reference, bf16, counted on the meta device."""
    with torch.device("meta"), default_dtype(torch.bfloat16):
        made = passes(name, 121, layers=2)
        half, ours, stock = (peak_bytes(run) for run in (made.half, made.ours, made.stock))
    assert half < 0.8 * ours
    assert ours < share * stock
    assert stock - ours > saved
    assert made.modulation[0] <= made.modulation[1] / 100


def test_the_gpu_benchmark_measures_every_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two narrow blocks on the CPU; the numbers are no matter here."""
    narrow = {**TRANSFORMERS["wan2.1-1.3b"], "num_attention_heads": 1, "ffn_dim": 64}
    monkeypatch.setattr("benchmarks.passes.TRANSFORMERS", {"wan2.1-1.3b": narrow})
    rows = list(measure("wan2.1-1.3b", 5, "cpu", size=(64, 64), layers=2, levers={}))
    ways = [row.way for row in rows]
    assert ways[:3] == ["stock, per token", "ours", "ours, half reference"]
    assert any(way.startswith("ours, attention ") for way in ways)
    assert [row.tokens for row in rows[:3]] == [64, 64, 40]
    assert all(row.step_ms > 0 and row.tflop > 0 for row in rows)
    assert rows[2].tflop < rows[1].tflop
    active, _ = _AttentionBackendRegistry.get_active_backend()
    assert active is AttentionBackendName.NATIVE, "no other model's attention is changed"


def test_bytes_are_counted_while_tensors_live() -> None:
    def run() -> None:
        first = torch.ones(1000)
        second = first + 1  # 8000 bytes are alive
        del first
        third = second.reshape(10, 100)[3:]  # a view is nothing new
        torch.cat([third, third])  # 4000 + 5600

    assert peak_bytes(run) == 4000 + 5600
