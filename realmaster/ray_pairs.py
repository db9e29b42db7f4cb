"""Makes pairs on a Ray cluster: the same `PairMaker`, one in each worker. The only file with Ray.

A worker that dies is started anew and its clip made again: the lock that it held went with it, and
what it had finished has its line in the manifest, so nothing is lost or done twice. All workers see
the sessions and the folder under the same paths: a shared disk, as clusters have.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from capture_bridge.errors import RealMasterError, SetupError
from realmaster.factories import require
from realmaster.pair_folder import PairFolder
from realmaster.pairs import Job, PairMaker, PairSettings, Stages

#: How often a clip is given to a worker that dies of it before the run is stopped.
MAX_RETRIES = 2


@dataclass(frozen=True, slots=True)
class RayWorkers:
    """Workers for `make_pairs`.

    address: of a cluster ("auto": the one this machine belongs to), or "local": one is started
    here for this run. open_stages: called once in every worker. workers: how many; 0: one per GPU
    of the cluster, or one per CPU where it has none.
    """

    address: str
    folder: Path
    settings: PairSettings
    open_stages: Callable[[PairSettings], Stages]
    workers: int = 0

    def make_all(self, jobs: Sequence[Job], announce: Callable[[str], None]) -> Iterator[bool]:
        """See pairs.Workers. SetupError without Ray or a cluster; errors of jobs as they are."""
        if not jobs:
            return
        require("--ray", ["ray"], "ray")
        import ray

        if ray.is_initialized():  # somebody's program that uses Ray for more than this
            yield from self._spread(ray, jobs, announce)
            return
        connect(self.address, self.workers)
        try:
            yield from self._spread(ray, jobs, announce)
        finally:
            ray.shutdown()

    def _spread(
        self, ray: Any, jobs: Sequence[Job], announce: Callable[[str], None]
    ) -> Iterator[bool]:
        """Give every idle worker the next job."""
        count, gpus = _size(ray, self.workers)
        worker = ray.remote(
            num_cpus=1, num_gpus=gpus, max_restarts=-1, max_task_retries=MAX_RETRIES
        )(_Worker)
        idle = [
            worker.remote(self.folder, f"manifest.ray-{n}.jsonl", self.settings, self.open_stages)
            for n in range(min(count, len(jobs)))
        ]
        waiting = list(jobs[::-1])
        running: dict[Any, tuple[Any, Job]] = {}
        while waiting or running:
            while waiting and idle:
                actor, job = idle.pop(), waiting.pop()
                announce(job.clip.name)
                running[actor.make.remote(job)] = actor, job
            (ended, *_), _ = ray.wait(list(running), num_returns=1)
            actor, job = running.pop(ended)
            yield _result(ray, ended, job)
            idle.append(actor)


class _Worker:
    """A PairMaker in a process of its own, with its models open."""

    def __init__(
        self,
        folder: Path,
        part: str,
        settings: PairSettings,
        open_stages: Callable[[PairSettings], Stages],
    ) -> None:
        self._folder, self._settings = PairFolder(folder, part), settings
        self._open_stages = open_stages
        self._maker: PairMaker | None = None

    def make(self, job: Job) -> bool:
        """Make one clip; the first call opens the models, so that their errors arrive as errors."""
        if self._maker is None:
            stages = self._open_stages(self._settings)
            self._maker = PairMaker(self._folder, self._settings, stages)
        return self._maker.make(job)


def connect(address: str, workers: int = 0) -> None:
    """Join a cluster, or start one here for "local" with so many CPUs. Raises SetupError."""
    import ray

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    local = address == "local"
    try:
        ray.init(
            address=None if local else address,
            num_cpus=workers or None if local else None,
            include_dashboard=False if local else None,
            log_to_driver=False,
            logging_level="error",
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise SetupError(
            f"--ray {address}: no cluster answers ({str(error).splitlines()[0][:200]}); start one "
            "with `ray start --head`, or give --ray local"
        ) from error


def _size(ray: Any, workers: int) -> tuple[int, int]:
    """(workers, GPUs of each)."""
    resources = ray.cluster_resources()
    gpus, cpus = int(resources.get("GPU", 0)), int(resources.get("CPU", 1))
    return workers or gpus or cpus, 1 if gpus else 0


def _result(ray: Any, ended: Any, job: Job) -> bool:
    try:
        return bool(ray.get(ended))
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, RealMasterError):
            raise error.cause from error
        raise
    except ray.exceptions.RayActorError as error:
        raise RealMasterError(
            f"clip {job.clip.name}: its worker died {MAX_RETRIES + 1} times, most likely for want "
            "of memory; take a smaller --size or larger machines, and run the same command again"
        ) from error
