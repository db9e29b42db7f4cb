"""Processes that share a batch train what one process does with all of it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from tests.realmaster.families.tiny_checkpoint import write_tiny
from tests.training.pairs_files import write_pairs
from tests.training.share_a_batch import run

ROOT = Path(__file__).parents[2]


def share(folder: Path, way: str) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", "2", "-m", "tests.training.share_a_batch", str(folder), way]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"},
        stderr=subprocess.PIPE,
        text=True,
    ) as launcher:
        try:
            _, told = launcher.communicate(timeout=120)
        except subprocess.TimeoutExpired:
            launcher.terminate()  # it ends its workers
            raise
    assert launcher.returncode == 0, told[-6000:]


@pytest.mark.slow
def test_two_processes_equal_one_with_the_whole_batch(tmp_path: Path) -> None:
    write_pairs(tmp_path / "pairs", clips=3)
    write_tiny(tmp_path / "tiny")
    run(tmp_path, "whole", batch=2)
    for way in ("ddp", "fsdp2", "short"):  # a group of processes each: gloo's do not come twice
        share(tmp_path, way)
    for name in ("adapter.safetensors", "checkpoints/step-00000003.safetensors"):
        one = load_file(tmp_path / "whole" / name)
        for way in ("ddp", "fsdp2"):
            two = load_file(tmp_path / way / name)
            assert one.keys() == two.keys()
            assert max(float((one[key] - two[key]).abs().max()) for key in one) < 1e-5, way
        assert any(bool(one[key].any()) for key in one if "lora_B" in key)
    short = load_file(tmp_path / "short" / "adapter.safetensors")
    assert all(bool(value.isfinite().all()) for value in short.values())
