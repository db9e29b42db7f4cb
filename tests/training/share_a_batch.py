"""Started by torchrun in two processes: three steps by DDP, by FSDP2 ("fsdp2", in bf16 "short")."""

import os
import sys
from pathlib import Path

from training.recipes import changed
from training.train import Run, train

FSDP2 = {
    "ACCELERATE_USE_FSDP": "true",
    "FSDP_VERSION": "2",
    "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
    "FSDP_TRANSFORMER_CLS_TO_WRAP": "InContextBlock",
    "FSDP_RESHARD_AFTER_FORWARD": "true",
}


def run(folder: Path, name: str, batch: int, precision: str = "float32") -> None:
    """Three steps, each of the same two samples however they are shared out."""
    settings = {"steps": 3, "batch": batch, "rank": 4, "frames": 5, "lr": 0.01}
    config = changed("tiny", {**settings, "precision": precision, "num_validation": 1})
    train(
        Run(config, folder / "pairs", folder / name, weights=str(folder / "tiny")),
        encoding=lambda *_: None,
        training=lambda *_: None,
    )


if __name__ == "__main__":
    way = sys.argv[2]
    if way != "ddp":
        os.environ.update(FSDP2)
    run(Path(sys.argv[1]), way, batch=1, precision="bfloat16" if way == "short" else "float32")
