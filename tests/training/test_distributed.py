"""Two processes that share a batch train what one process does with all of it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from tests.realmaster.families.tiny_checkpoint import write_tiny
from tests.training.pairs_files import write_pairs

ROOT = Path(__file__).parents[2]


def launch(folder: Path, output: Path, processes: int, batch: int) -> None:
    """Train on the CPU in so many processes, three steps."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", str(processes), "-m", "realmaster.cli", "train", "tiny"]
    command += ["--pairs", str(folder / "pairs"), "--weights", str(folder / "tiny")]
    command += ["-o", str(output), "--steps", "3", "--batch", str(batch), "--rank", "4"]
    command += ["--frames", "5", "--lr", "0.01", "--num-validation", "1", "--validate-every", "0"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.slow
def test_two_processes_equal_one_with_the_whole_batch(tmp_path: Path) -> None:
    write_pairs(tmp_path / "pairs", clips=3)
    write_tiny(tmp_path / "tiny")
    launch(tmp_path, tmp_path / "one", 1, 2)
    launch(tmp_path, tmp_path / "two", 2, 1)
    one, two = (load_file(tmp_path / name / "adapter.safetensors") for name in ("one", "two"))
    assert one.keys() == two.keys()
    assert max(float((one[key] - two[key]).abs().max()) for key in one) < 1e-5
    assert any(bool(one[key].any()) for key in one if "lora_B" in key)
