import csv
import json
import multiprocessing
import tomllib
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path

import cv2
import numpy as np
import pytest

from capture_bridge.errors import MissingBufferError, OutputError, SessionError
from capture_bridge.media import VideoReader
from capture_bridge.session import SessionReader
from realmaster.gates import Verdict
from realmaster.pair_folder import PairFolder, unfinished
from realmaster.pairs import Job, PairMaker, PairsMade, make_pairs, plan
from realmaster.shards import Shard, parse_shard
from tests.realmaster.full_disk import with_file_limit
from tests.realmaster.pair_doubles import RULES, SETTINGS, Brighter, brighter, record

CLIPS = 4
SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(tmp_path_factory.mktemp("session") / "s.mcap", CLIPS * 9 + 3)


def run(
    session: Path,
    output: Path,
    stages: Brighter,
    *,
    shard: Shard = Shard(),  # noqa: B008
    progress: Callable[[int, int, str], None] | None = None,
) -> PairsMade:
    jobs, _ = plan([session], RULES, stages.requires)
    folder = PairFolder(output, f"manifest{shard.suffix}.jsonl")
    folder.begin(SETTINGS.to_json())
    maker = PairMaker(folder, SETTINGS, stages)
    return make_pairs(jobs, folder, maker.make_all, shard=shard, progress=progress)


def clips_in(log: Path) -> list[int]:
    return [int(line.split()[0]) for line in log.read_text().splitlines()]


def test_every_clip_ends_with_a_line_and_its_files(session: Path, tmp_path: Path) -> None:
    pairs = tmp_path / "pairs"
    seen: list[tuple[int, int, str]] = []
    made = run(
        session,
        pairs,
        Brighter(tmp_path / "log", refuse=9, reject=18),
        progress=lambda *at: seen.append(at),
    )
    assert (made.clips, made.accepted, made.rejected, made.left, made.listed) == (4, 2, 2, 0, 2)
    names = [f"a1a1a1a1-1-{first:06d}-9" for first in (0, 9, 18, 27)]
    assert [name for _, _, name in seen if name] == names
    assert seen[-1][:2] == (4, 4)
    folder = PairFolder(pairs)
    good, refused, rejected, _ = folder.records().values()
    assert refused.reasons == ("anchor 0 changes structure: 0.2",)
    assert not refused.has_videos
    assert rejected.reasons == ("flicker 3.1, the limit is 1.5",)
    assert folder.target(rejected).is_relative_to(pairs / "rejected")
    assert good.figures == {"structure": 0.9, "holes": 0.0, "flicker": 1.0}
    with SessionReader(session) as reader:
        frames = list(reader.frames())[:9]
        assert good.session_uuid == reader.info.session_uuid
        assert good.t_ns == tuple(frame.header.t_sim_ns for frame in frames)
        assert good.seqs == tuple(frame.header.seq for frame in frames)
        camera = frames[0].header.camera
        assert camera is not None
        K = np.asarray(camera.K)
        assert good.intrinsics == ((K[0, 0], K[1, 1], K[0, 2], K[1, 2] - 2),)
        for video, picture in (
            (folder.target(good), brighter),
            (folder.reference(good), lambda frame: frame.array("color")[..., :3]),
        ):
            with VideoReader(video) as reading:
                shown = list(reading)
            assert len(shown) == 9
            for (rgb, _), frame in zip(shown, frames, strict=True):
                assert rgb.shape == (32, 64, 3)
                assert np.abs(rgb.astype(int) - picture(frame)[2:34]).mean() < 3
    assert (pairs / "target" / f"{good.name}.txt").read_text() == "a street\n"
    assert (good.size, good.crop, good.fps, good.anchors) == ((64, 32), (0, 2, 64, 32), 24, (0, 8))
    assert all(path.name.startswith(".") for path in (pairs / ".work").iterdir())
    sheet = cv2.imread(str(pairs / "contact_sheet.png"))
    assert sheet is not None
    assert sheet.std() > 10


def test_exports_list_the_accepted_pairs_alone(session: Path, tmp_path: Path) -> None:
    pairs = tmp_path / "pairs"
    run(session, pairs, Brighter(tmp_path / "log", refuse=9, reject=18))
    rows = [json.loads(line) for line in (pairs / "metadata.jsonl").read_text().splitlines()]
    with (pairs / "metadata.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert len(rows) == len(table) == 2
    for row, line in zip(rows, table, strict=True):
        assert row["video"] == row["video_path"] == line["video"]
        assert row["reference_video"] == row["control_path"] == line["in_context_videos"]
        assert row["caption"] == row["prompt"] == line["prompt"] == "a street"
        assert float(line["frame_rate"]) == row["frame_rate"] == 24
        assert (pairs / row["video"]).is_file()
        assert (pairs / row["reference_video"]).is_file()
        reserved = {"audio", "video_mask", "audio_mask", "reference_audio", "media_path"}
        assert not reserved & row.keys()
    config = tomllib.loads((pairs / "musubi.toml").read_text())
    assert config["general"]["resolution"] == [64, 32]
    assert config["datasets"][0]["target_frames"] == [9]
    assert config["datasets"][0]["video_jsonl_file"] == "metadata.jsonl"


class Stopped(Brighter):
    """Ctrl-C comes in the `after`-th clip, its pictures half made."""

    def __init__(self, log: Path, after: int) -> None:
        super().__init__(log)
        self.left = after

    def judge(self, *given: object) -> Verdict:  # type: ignore[override]
        if self.left == 0:
            raise KeyboardInterrupt
        self.left -= 1
        return super().judge(*given)  # type: ignore[arg-type]


@pytest.mark.parametrize("after", [0, 2])
def test_an_interrupted_run_leaves_usable_files_and_goes_on(
    after: int, session: Path, tmp_path: Path
) -> None:
    pairs = tmp_path / "pairs"
    with pytest.raises(KeyboardInterrupt):
        run(session, pairs, Stopped(tmp_path / "first", after))
    assert len((pairs / "metadata.jsonl").read_text().splitlines()) == after
    assert len(list(pairs.rglob("*.mp4"))) == 2 * after
    assert len(unfinished(pairs)) == 1, "which the trainer heeds"
    made = run(session, pairs, Brighter(tmp_path / "second"))
    assert (made.made, made.accepted) == (CLIPS - after, CLIPS)
    assert clips_in(tmp_path / "second") == [0, 9, 18, 27][after:]
    assert not unfinished(pairs)
    again = run(session, pairs, Brighter(tmp_path / "third"))
    assert (again.made, again.accepted) == (0, CLIPS)
    assert not (tmp_path / "third").exists()


def test_files_without_a_line_are_made_anew(session: Path, tmp_path: Path) -> None:
    """Killed between the files' moving in and the manifest's line."""
    pairs = tmp_path / "pairs"
    run(session, pairs, Brighter(tmp_path / "log"))
    manifest = pairs / "manifest.jsonl"
    lines = manifest.read_bytes().splitlines(keepends=True)
    manifest.write_bytes(b"".join(lines[:-1]) + lines[-1][:100])
    (pairs / "target" / "a1a1a1a1-1-000027-9.mp4").write_bytes(b"half")
    made = run(session, pairs, Brighter(tmp_path / "log"))
    assert (made.made, made.accepted) == (1, CLIPS)
    with VideoReader(pairs / "target" / "a1a1a1a1-1-000027-9.mp4") as reader:
        assert len(list(reader)) == 9


def test_shards_share_a_folder_and_make_each_clip_once(session: Path, tmp_path: Path) -> None:
    pairs, log = tmp_path / "pairs", tmp_path / "log"
    first = run(session, pairs, Brighter(log), shard=Shard(1, 2))
    assert unfinished(pairs)
    assert (first.made, first.left) == (2, 2)
    second = run(session, pairs, Brighter(log), shard=Shard(0, 2))
    assert not unfinished(pairs)
    assert (second.made, second.left, second.listed) == (2, 0, 4)
    assert sorted(clips_in(log)) == [0, 9, 18, 27]
    assert sorted(path.name for path in pairs.glob("manifest*")) == [
        "manifest.0-of-2.jsonl",
        "manifest.1-of-2.jsonl",
    ]


def test_a_clip_that_another_process_makes_is_left_to_it(session: Path, tmp_path: Path) -> None:
    pairs, log = tmp_path / "pairs", tmp_path / "log"
    other = PairFolder(pairs)
    other.begin(SETTINGS.to_json())
    with other.claim("a1a1a1a1-1-000009-9") as room:
        assert room is not None
        made = run(session, pairs, Brighter(log))
    assert (made.made, made.left) == (3, 1)
    assert clips_in(log) == [0, 18, 27]


def _run_at_once(session: Path, pairs: Path, log: Path, door: Connection) -> None:
    door.send("ready")
    door.recv()
    run(session, pairs, Brighter(log))


def test_processes_that_run_at_once_make_each_clip_once(session: Path, tmp_path: Path) -> None:
    doors, others = [], []
    for _ in range(2):
        ours, theirs = SPAWN.Pipe()
        arguments = (session, tmp_path / "pairs", tmp_path / "log", theirs)
        other = SPAWN.Process(target=_run_at_once, args=arguments)
        other.start()
        doors.append(ours)
        others.append(other)
    try:
        assert all(door.poll(60) and door.recv() == "ready" for door in doors)
        for door in doors:
            door.send("go")
        for other in others:
            other.join(120)
            assert other.exitcode == 0
    finally:
        for other, door in zip(others, doors, strict=True):
            other.kill()
            other.join(30)
            door.close()
    assert sorted(clips_in(tmp_path / "log")) == [0, 9, 18, 27]
    lines = (tmp_path / "pairs" / "manifest.jsonl").read_bytes().splitlines()
    assert len(lines) == len(PairFolder(tmp_path / "pairs").records()) == CLIPS
    assert len((tmp_path / "pairs" / "metadata.jsonl").read_text().splitlines()) == CLIPS


def test_several_sessions_are_one_folder(session: Path, tmp_path: Path) -> None:
    other = record(tmp_path / "t.mcap", 9, uuid="b2")
    jobs, plans = plan([other, session, session], RULES, frozenset({"depth"}))
    assert len(jobs) == CLIPS + 1
    assert jobs == plan([session, other], RULES, frozenset())[0]
    assert [len(cut.refusals) for _, cut in plans] == [0, 1, 1]


def test_a_session_without_motion_or_depth_is_named_before_any_work(
    session: Path, tmp_path: Path
) -> None:
    blind = record(tmp_path / "blind.mcap", 9, buffers=("color", "normal"), uuid="b2")
    with pytest.raises(MissingBufferError, match=r"blind\.mcap has no depth, motion.*record it"):
        plan([session, blind], RULES, Brighter.requires)


def test_a_session_that_is_too_short_says_what_would_do(tmp_path: Path) -> None:
    short = record(tmp_path / "short.mcap", 20)
    rules = type(RULES)(length=81)
    with pytest.raises(SessionError, match=r"short\.mcap.*20 frames are left.*--length 17"):
        plan([short], rules, frozenset())


@pytest.mark.parametrize("room_for", [100, 8_000])
def test_a_full_disk_is_told_and_the_next_run_goes_on(
    room_for: int, session: Path, tmp_path: Path
) -> None:
    pairs, log = tmp_path / "pairs", tmp_path / "log"
    log.touch()
    PairFolder(pairs).begin(SETTINGS.to_json())
    with pytest.raises(OutputError, match=r"cannot write.*same command goes on"):
        with_file_limit(room_for, lambda: run(session, pairs, Brighter(log)))
    for video in pairs.rglob("*.mp4"):
        with VideoReader(video) as reader:
            assert len(list(reader)) == 9
    assert run(session, pairs, Brighter(log)).accepted == CLIPS


def test_shards_are_parsed_and_come_from_the_environment() -> None:
    assert parse_shard("3/16", {"RANK": "1", "WORLD_SIZE": "2"}) == Shard(3, 16)
    assert parse_shard("", {"RANK": "1", "WORLD_SIZE": "2"}) == Shard(1, 2)
    assert parse_shard("", {"RANK": "1"}) == Shard(0, 1)
    items = list(range(11))
    parts = [Shard(i, 3).part(items) for i in range(3)]
    assert sorted(item for part in parts for item in part) == items
    for bad in ("3", "3/3", "-1/3", "1/0", "a/b", "1/2/3"):
        with pytest.raises(Exception, match="--shard"):
            parse_shard(bad, {})
    with pytest.raises(Exception, match="RANK/WORLD_SIZE 2/2"):
        parse_shard("", {"RANK": "2", "WORLD_SIZE": "2"})


def test_workers_may_end_in_any_order(session: Path, tmp_path: Path) -> None:
    folder = PairFolder(tmp_path / "pairs")
    folder.begin(SETTINGS.to_json())
    maker = PairMaker(folder, SETTINGS, Brighter(tmp_path / "log"))

    def backwards(jobs: Sequence[Job], announce: Callable[[str], None]) -> Iterator[bool]:
        yield from maker.make_all(jobs[::-1], announce)

    jobs, _ = plan([session], RULES, frozenset())
    assert make_pairs(jobs, folder, backwards).accepted == CLIPS
    assert clips_in(tmp_path / "log") == [27, 18, 9, 0]
    lines = (tmp_path / "pairs" / "metadata.jsonl").read_text().splitlines()
    videos = [json.loads(line)["video"] for line in lines]
    assert videos == sorted(videos)
