"""Progress bars for people: on a terminal a moving bar, in a log a line now and then."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm


@contextmanager
def progress_bar(label: str, unit: str = "frame") -> Iterator[Callable[[int, int], None]]:
    """A callback (done, total) that draws a bar on stderr; total 0 means that no one knows it."""
    with tqdm(
        desc=label,
        unit=unit,
        leave=False,
        file=sys.stderr,
        mininterval=0.2 if sys.stderr.isatty() else 10.0,
    ) as bar:

        def show(done: int, total: int) -> None:
            bar.total = total or None
            bar.update(done - bar.n)

        yield show
