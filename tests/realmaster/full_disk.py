"""A disk that is full, as far as this process can tell."""

import resource
import signal
from collections.abc import Callable


def with_file_limit(num_bytes: int, work: Callable[[], object]) -> None:
    """Run `work` where no file may grow beyond num_bytes, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        work()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
