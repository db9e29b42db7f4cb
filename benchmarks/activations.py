"""Peak bytes of the tensors that a forward pass makes, counted as they come and go.

Works on the meta device, where nothing is computed: so a full-size model at full resolution can be
measured on any machine. Attention's own workspace is not counted (fused kernels need next to none).
`python -m benchmarks.activations` prints the table for the presets: ours beside diffusers' stock
forward with a timestep per token, 121 frames with a reference of the same size, bf16.
"""

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from benchmarks.passes import default_dtype, passes


class _Count(TorchDispatchMode):
    """Counts the storages that operations return while they live."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        inputs = {_key(t) for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)}
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor) and _key(tensor) not in inputs | self._known:
                self._add(tensor.untyped_storage())
        return result

    def _add(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        self._known.add(key)
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._drop, key, size)

    def _drop(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.now -= size


def _key(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


def peak_bytes(run: Callable[[], object]) -> int:
    """The most bytes that `run` had in new tensors at one time."""
    with torch.no_grad(), _attention_without_workspace(), _Count() as count:
        run()
    return count.peak


@contextmanager
def _attention_without_workspace() -> Iterator[None]:
    """On the meta device attention would be counted as its unfused form."""
    functional = torch.nn.functional
    fused = functional.scaled_dot_product_attention

    def attend(query: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if query.device.type == "meta":
            return torch.empty_like(query)
        return fused(query, *args, **kwargs)

    functional.scaled_dot_product_attention = attend
    try:
        yield
    finally:
        functional.scaled_dot_product_attention = fused


def main() -> None:
    print("| model | tokens | a block's modulation: ours | stock | peak: ours | stock |")
    print("|---|--:|--:|--:|--:|--:|")
    for name in ("wan2.2-5b", "wan2.1-14b", "ltx-2.3"):
        with torch.device("meta"), default_dtype(torch.bfloat16):
            made = passes(name, 121, layers=2)  # more layers take no more memory
            ours, stock = (peak_bytes(run) / 1e9 for run in (made.ours, made.stock))
        few, many = made.modulation
        print(
            f"| {name} | {2 * made.tokens} | {few / 1e3:.0f} kB | {many / 1e9:.2f} GB "
            f"| {ours:.1f} GB | {stock:.1f} GB |",
            flush=True,
        )


if __name__ == "__main__":
    main()
