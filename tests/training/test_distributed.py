"""Processes that share a batch train what one process does with all of it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from tests.realmaster.families.tiny_checkpoint import write_tiny
from tests.training.pairs_files import write_pairs

ROOT = Path(__file__).parents[2]
FSDP2 = {
    "ACCELERATE_USE_FSDP": "true",
    "FSDP_VERSION": "2",
    "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
    "FSDP_TRANSFORMER_CLS_TO_WRAP": "InContextBlock",
    "FSDP_RESHARD_AFTER_FORWARD": "true",
}


def launch(
    folder: Path, output: Path, processes: int, batch: int, variables: dict[str, str]
) -> None:
    """Train on the CPU in so many processes, three steps."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", str(processes), "-m", "realmaster.cli", "train", "tiny"]
    command += ["--pairs", str(folder / "pairs"), "--weights", str(folder / "tiny")]
    command += ["-o", str(output), "--steps", "3", "--batch", str(batch), "--rank", "4"]
    command += ["--frames", "5", "--lr", "0.01", "--num-validation", "1", "--validate-every", "0"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true", **variables}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run in one process; its inputs lie beside it."""
    folder = tmp_path_factory.mktemp("distributed")
    write_pairs(folder / "pairs", clips=3)
    write_tiny(folder / "tiny")
    launch(folder, folder / "one", 1, 2, {})
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("variables", [{}, FSDP2], ids=["ddp", "fsdp2"])
def test_two_processes_equal_one_with_the_whole_batch(
    whole: Path, tmp_path: Path, variables: dict[str, str]
) -> None:
    launch(whole, tmp_path / "two", 2, 1, variables)
    for name in ("adapter.safetensors", "checkpoints/step-00000003.safetensors"):
        one, two = load_file(whole / "one" / name), load_file(tmp_path / "two" / name)
        assert one.keys() == two.keys()
        assert max(float((one[key] - two[key]).abs().max()) for key in one) < 1e-5
    assert any(bool(one[key].any()) for key in one if "lora_B" in key)
