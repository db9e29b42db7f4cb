"""Turns a checkpoint of the fast tier into the ONNX file that `realmaster.fast` runs.

`python -m training.fast_export --checkpoint runs/fast/checkpoint.npz --output street_fast.onnx`.
Normalizations become part of the convolutions before them. Weights are stored as float16 (half the
bytes) and cast back when the file is loaded, so onnxruntime computes in float32 with exactly the
weights that torch has after `for_inference`.
"""

import io
import json
import logging
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
import torch
import tyro
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from capture_bridge.errors import OutputError
from realmaster.fast import INPUT_NAMES, OUTPUT_NAMES
from training.fast import validate
from training.fast_checkpoint import load_averaged, save_weights
from training.fast_data import SampleStore
from training.fast_model import FastConfig, FastInputs, FastNet, example_inputs, folded

log = logging.getLogger(__name__)

OPSET = 17
MAX_BYTES = 10_000_000


@dataclass(frozen=True, slots=True)
class ExportConfig:
    """What to export, and where to."""

    checkpoint: Path
    output: Path
    overwrite: bool = False
    data: Path | None = None
    """Folder of samples: measures the exported weights on all its validation seeds."""
    history: float = 0.0
    """Added to the logit of how much of the previous output is kept: below 0 frames are sharper."""
    weights: Path | None = None
    """Also write what another training can start from (.safetensors)."""
    net: FastConfig = field(default_factory=FastConfig)


class Clamped(nn.Module):
    """The network as it is used: its output is limited to [0, 1]."""

    def __init__(self, net: FastNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        """(output, hidden) of the fields of FastInputs in order."""
        output, hidden = self.net(*inputs)
        return output.clamp(0, 1), hidden


def export(net: FastNet, path: Path, *, overwrite: bool = False) -> int:
    """Writes the ONNX file with dynamic height and width; returns its size in bytes."""
    if path.exists() and not overwrite:
        raise OutputError(f"{path} exists; choose another name or add --overwrite")
    blob = to_onnx(net).SerializeToString()
    assert len(blob) <= MAX_BYTES, f"{len(blob)} bytes"
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_bytes(blob)
    part.replace(path)
    return len(blob)


def to_onnx(net: FastNet) -> onnx.ModelProto:
    """The network as an ONNX model; its weights must already be float16's (`for_inference`)."""
    example = example_inputs(64, 96, torch.Generator().manual_seed(0))
    buffer = io.BytesIO()
    module = Clamped(net).eval()
    with warnings.catch_warnings():  # the exporter without further packages calls itself old
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            tuple(example),
            buffer,  # type: ignore[arg-type]
            dynamo=False,
            opset_version=OPSET,
            input_names=list(INPUT_NAMES),
            output_names=list(OUTPUT_NAMES),
            dynamic_axes=_dynamic_axes(example),
        )
    model = onnx.load_from_string(buffer.getvalue())
    _store_as_half(model)
    onnx.checker.check_model(model)
    return model


@torch.no_grad()
def for_inference(net: FastNet) -> FastNet:
    """A copy without normalizations (`folded`), with every weight rounded to float16."""
    net = folded(net)
    for parameter in net.parameters():
        parameter.copy_(parameter.half().float())
    return net


def _dynamic_axes(example: FastInputs) -> dict[str, dict[int, str]]:
    axes = {"output": {2: "height", 3: "width"}, "hidden_next": {2: "height_4", 3: "width_4"}}
    for name, value in example._asdict().items():
        suffix = "_4" if name == "hidden" else ""
        sizes = {2: f"height{suffix}", 3: f"width{suffix}"}
        axes[name] = {axis: label for axis, label in sizes.items() if value.shape[axis] > 1}
    return axes


def _store_as_half(model: onnx.ModelProto) -> None:
    """Replaces float32 weights by float16 ones with a Cast behind each."""
    casts = []
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.ndim < 2:
            continue
        half = values.astype(np.float16)
        assert np.array_equal(half.astype(np.float32), values), tensor.name
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(half, f"{name}.half"))
        casts.append(helper.make_node("Cast", [f"{name}.half"], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def main() -> None:
    """The command line."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    config = tyro.cli(ExportConfig, description=__doc__)
    net = FastNet(config.net)
    load_averaged(config.checkpoint, net)
    if config.weights is not None:
        save_weights(config.weights, net)
    net.keep_history(config.history)
    net = for_inference(net)
    size = export(net, config.output, overwrite=config.overwrite)
    log.info("%s: %.2f MB", config.output, size / 1e6)
    if config.data is not None:
        store = SampleStore(config.data, "validate")
        store.rescan()
        figures = validate(net, store.samples)
        log.info("%d validation samples: %s", len(store.samples), json.dumps(figures))


if __name__ == "__main__":
    main()
