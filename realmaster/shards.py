"""Which part of a list is this process's, where several share the work. Knows no work."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from capture_bridge.errors import RealMasterError

T = TypeVar("T")

MAX_SHARDS = 100_000


@dataclass(frozen=True, slots=True)
class Shard:
    """The `index`-th of `count` parts, from 0."""

    index: int = 0
    count: int = 1

    def part(self, items: Sequence[T]) -> list[T]:
        """Every count-th item from the index-th on: all shards together have each once."""
        return list(items[self.index :: self.count])

    @property
    def suffix(self) -> str:
        """What tells its files from those of the others; empty where there are none."""
        return "" if self.count == 1 else f".{self.index}-of-{self.count}"


WHOLE = Shard()


def parse_shard(text: str, environment: Mapping[str, str]) -> Shard:
    """The shard of a text such as "3/16"; of RANK and WORLD_SIZE where the text is empty.

    torchrun sets those two; SLURM and Kubernetes can. RealMasterError for what is no shard.
    """
    name = "--shard"
    if not text and "RANK" in environment and "WORLD_SIZE" in environment:
        name, text = "RANK/WORLD_SIZE", f"{environment['RANK']}/{environment['WORLD_SIZE']}"
    if not text:
        return WHOLE
    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
    if not match or not int(match[1]) < int(match[2]) <= MAX_SHARDS:
        raise RealMasterError(
            f"{name} {text[:40]}: write I/N with I from 0 to N - 1, such as 0/16 to 15/16"
        )
    return Shard(int(match[1]), int(match[2]))
