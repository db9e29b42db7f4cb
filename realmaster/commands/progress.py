"""Progress bars for people: on a terminal a moving bar, in a log a line now and then."""

import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

from capture_bridge.recorder import RecordingProgress


@contextmanager
def progress_bar(label: str, unit: str = "frame") -> Iterator[Callable[[int, int], None]]:
    """A callback (units done, units in all) that draws a bar on stderr; 0 in all: unknown."""
    with _bar(label, unit=unit) as bar:

        def show(done: int, total: int) -> None:
            bar.total = total or None
            bar.update(done - bar.n)

        yield show


@contextmanager
def recording_bar(num_frames: int) -> Iterator[Callable[[RecordingProgress], None]]:
    """A bar of frames, with what was lost and how large the file is; num_frames 0: unknown."""
    with _bar("record", num_frames) as bar:

        def show(at: RecordingProgress) -> None:
            words = f"{at.num_bytes / 1e6:.0f} MB, {at.num_dropped} lost"
            bar.set_postfix_str(words, refresh=False)
            bar.update(at.frames - bar.n)

        yield show


@contextmanager
def training_bar(label: str) -> Iterator[Callable[[int, int, float], None]]:
    """A callback (steps done, steps in all, loss) that draws a bar on stderr."""
    with _bar(label, unit="step") as bar:

        def show(done: int, total: int, loss: float) -> None:
            bar.total = total
            if math.isfinite(loss):  # there is none before the first step
                bar.set_postfix_str(f"loss {loss:.4f}", refresh=False)
            bar.update(done - bar.n)

        yield show


@contextmanager
def clip_bar(label: str) -> Iterator[Callable[[int, int, str], None]]:
    """A callback (clips done, clips in all, the clip that is being made) that draws a bar."""
    with _bar(label, unit="clip") as bar:

        def show(done: int, total: int, name: str) -> None:
            bar.total = total
            bar.set_postfix_str(name, refresh=False)
            bar.update(done - bar.n)
            if sys.stderr.isatty():  # a clip may take minutes: say at once which one it is
                bar.refresh()

        yield show


def _bar(label: str, num_frames: int = 0, unit: str = "frame") -> "tqdm[None]":
    return tqdm(
        desc=label,
        unit=unit,
        total=num_frames or None,
        leave=False,
        file=sys.stderr,
        delay=0.5,
        mininterval=0.2 if sys.stderr.isatty() else 10.0,
    )
