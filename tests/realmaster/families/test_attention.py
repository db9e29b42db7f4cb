"""Attention backends: those that a CPU has give the same numbers; others are refused in a line."""

from pathlib import Path

import pytest
import torch
from diffusers.models.attention_dispatch import (
    AttentionBackendName,
    _AttentionBackendRegistry,
)

from capture_bridge.errors import SetupError
from realmaster.families.attention import attention_backends, check_attention, choose_attention
from realmaster.families.weights import load
from realmaster.in_context import InContextTransformer, Segment
from tests.realmaster.families.tiny_checkpoint import write_tiny


@torch.no_grad()
def test_another_backend_gives_the_same_numbers(tmp_path: Path) -> None:
    checkpoint = str(write_tiny(tmp_path))
    generator = torch.Generator().manual_seed(0)
    x, text = (torch.randn(shape, generator=generator) for shape in ((1, 4, 3, 6, 8), (1, 5, 16)))
    segments = [Segment(x, torch.tensor([700.0]), predicted=True), Segment(x, torch.zeros(1))]
    made = []
    for name in ("native", "_native_math"):
        model = load(InContextTransformer, checkpoint, "transformer")
        choose_attention(model, name, "cpu")
        assert _AttentionBackendRegistry.get_active_backend()[0] is AttentionBackendName.NATIVE, (
            "for other models"
        )
        names = {str(block.attn1.processor._attention_backend.value) for block in model.blocks}
        assert names == {name}
        made += model(segments, None, text)
    torch.testing.assert_close(*made, atol=1e-5, rtol=1e-5)


def test_those_at_hand_are_listed() -> None:
    found = attention_backends("cpu")
    assert {"native", "_native_math"} <= set(found)
    assert "sage" not in found
    for name in found:
        check_attention(name, "cpu")


@pytest.mark.parametrize("name", ["flush", "sage", "xformers"])
def test_an_unknown_or_missing_backend_names_those_at_hand(name: str) -> None:
    with pytest.raises(
        SetupError, match=f"--attention {name}: .*; at hand on cpu are .*native"
    ) as e:
        check_attention(name, "cpu")
    assert "\n" not in str(e.value)
