"""Pairs on a local Ray cluster of two workers."""

import os
import signal
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from capture_bridge.errors import SessionError
from realmaster.pair_folder import PairFolder
from realmaster.pairs import PairSettings, make_pairs, plan
from realmaster.ray_pairs import RayWorkers, connect
from tests.realmaster.pair_doubles import RULES, SETTINGS, Brighter, record

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'realmaster[ray]'")
pytestmark = pytest.mark.slow

CLIPS = 6


class DiesOnce(Brighter):
    """Its process is killed in the middle of a clip, in whichever worker meets it first."""

    def judge(self, *given: object):  # type: ignore[no-untyped-def]
        verdict = super().judge(*given)  # type: ignore[arg-type]
        killed = self.log.with_suffix(".killed")
        if given[0][0].header.seq == 18 and not killed.exists():  # type: ignore[index]
            killed.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return verdict


class Fails(Brighter):
    def judge(self, *given: object):  # type: ignore[no-untyped-def]
        raise SessionError("s.mcap: frame 3 is damaged")


def open_double(kind: type[Brighter], log: Path, settings: PairSettings) -> Brighter:
    return kind(log)


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    connect("local", workers=2)
    yield
    ray.shutdown()


def run(tmp_path: Path, kind: type[Brighter], workers: int):  # type: ignore[no-untyped-def]
    session = record(tmp_path / "s.mcap", CLIPS * 9)
    folder = PairFolder(tmp_path / "pairs")
    folder.begin(SETTINGS.to_json())
    jobs, _ = plan([session], RULES, kind.requires)
    ray_workers = RayWorkers(
        address="local",
        folder=folder.path,
        settings=SETTINGS,
        open_stages=partial(open_double, kind, tmp_path / "log"),
        workers=workers,
    )
    return make_pairs(jobs, folder, ray_workers.make_all)


@pytest.mark.usefixtures("cluster")
@pytest.mark.timeout(240)
def test_a_worker_killed_mid_run_loses_nothing_and_nothing_is_done_twice(tmp_path: Path) -> None:
    made = run(tmp_path, DiesOnce, workers=2)
    assert (tmp_path / "log.killed").exists()
    assert (made.clips, made.accepted, made.left, made.listed) == (CLIPS, CLIPS, 0, CLIPS)
    lines = [
        line
        for part in (tmp_path / "pairs").glob("manifest*.jsonl")
        for line in part.read_bytes().splitlines()
    ]
    assert len(lines) == CLIPS
    began = Counter(line.split()[0] for line in (tmp_path / "log").read_text().splitlines())
    assert began.pop("18") == 2
    assert set(began.values()) == {1}
    processes = {line.split()[1] for line in (tmp_path / "log").read_text().splitlines()}
    assert len(processes) == 3
    assert len(list((tmp_path / "pairs" / "target").glob("*.mp4"))) == CLIPS
    assert not list((tmp_path / "pairs" / ".work").glob("[!.]*"))


@pytest.mark.usefixtures("cluster")
@pytest.mark.timeout(240)
def test_an_error_of_a_job_arrives_as_itself(tmp_path: Path) -> None:
    with pytest.raises(SessionError, match=r"^s\.mcap: frame 3 is damaged$"):
        run(tmp_path, Fails, workers=1)
