import json
import re
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from capture_bridge.buffers import BUFFERS, FrameArrays
from capture_bridge.errors import MissingBufferError, OutputError, RealMasterError
from capture_bridge.media import VideoReader, VideoWriter
from capture_bridge.messages import (
    BufferDescriptor,
    Camera,
    Frame,
    FrameFlags,
    FrameHeader,
    Hello,
    StreamInfo,
)
from capture_bridge.session import SessionReader, SessionWriter
from realmaster.baselines import Baselines, fit
from realmaster.before_after import line_position, wipe, write_before_after
from realmaster.picture_track import PictureTrack, match_tolerance_ns
from realmaster.report import FILES, evaluate

WIDTH, HEIGHT, NUM_FRAMES = 96, 64, 6
STEP_NS = 41_666_667
START_NS = 5_000_000_000


def scene(index: int) -> FrameArrays:
    """A grey box that slides 2 px a frame to the right, 5 m before a textured wall at 10 m."""
    rng = np.random.default_rng(3)
    color = np.repeat(rng.integers(110, 130, (HEIGHT // 4, WIDTH // 4, 4), dtype=np.uint8), 4, 0)
    color = np.repeat(color, 4, axis=1)
    depth = np.full((HEIGHT, WIDTH), 10, np.float32)
    semantic = np.full((HEIGHT, WIDTH), 3, np.uint8)
    instance = np.ones((HEIGHT, WIDTH), np.uint32)
    motion = np.zeros((HEIGHT, WIDTH, 2), np.float16)
    box = (slice(20, 44), slice(20 + 2 * index, 50 + 2 * index))
    color[box], depth[box], semantic[box], instance[box] = 220, 5, 6, 2
    motion[box] = [-2, 0]
    normal = np.zeros((HEIGHT, WIDTH, 3), np.float16)
    normal[..., 2] = -1
    return {
        "color": color,
        "depth": depth,
        "normal": normal,
        "motion": motion,
        "instance": instance,
        "semantic": semantic,
    }


def darker(rgb: np.ndarray, gain: float) -> np.ndarray:
    return np.asarray(np.rint(rgb[..., :3] * gain), np.uint8)


def write_session(path: Path, drop: tuple[str, ...] = (), num_frames: int = NUM_FRAMES) -> Path:
    streams = tuple(
        StreamInfo(name, WIDTH, HEIGHT, BUFFERS[name].dtype, BUFFERS[name].components)
        for name in scene(0)
        if name not in drop
    )
    hello = Hello("ab" * 16, "test", "1", "test", "1", "box", streams)
    K = np.array([[80.0, 0, 48], [0, 80, 32], [0, 0, 1]])
    camera = Camera(K, np.eye(4), np.eye(4), 0.1, np.inf)
    with SessionWriter(path, hello) as writer:
        for index in range(num_frames):
            arrays = {name: a for name, a in scene(index).items() if name not in drop}
            buffers = tuple(
                BufferDescriptor(
                    name,
                    WIDTH,
                    HEIGHT,
                    BUFFERS[name].dtype,
                    BUFFERS[name].components,
                    WIDTH * BUFFERS[name].pixel_bytes,
                )
                for name in arrays
            )
            t_ns = START_NS + index * STEP_NS
            header = FrameHeader(
                index,
                index,
                t_ns,
                t_ns,
                t_ns,
                (WIDTH, HEIGHT),
                (WIDTH, HEIGHT),
                camera,
                buffers,
                FrameFlags.NONE,
            )
            payloads = tuple(np.ascontiguousarray(a).tobytes() for a in arrays.values())
            writer.write_frame(Frame(header, payloads), t_ns, 0)
    return path


def write_video(
    path: Path, gain: float, indices: range = range(NUM_FRAMES), shift_ns: int = 0
) -> Path:
    with VideoWriter(path, WIDTH, HEIGHT, crf=1, origin_ns=0) as writer:
        for index in indices:
            writer.write(darker(scene(index)["color"], gain), index * STEP_NS + shift_ns)
    return path


@pytest.fixture(scope="module")
def baselines() -> Baselines:
    return fit([(darker(scene(0)["color"], 1), darker(scene(0)["color"], 0.7))])


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A session, an output half-way to the truth, and the truth of every third frame."""
    folder = tmp_path_factory.mktemp("material")
    write_session(folder / "s.mcap")
    write_video(folder / "out.mp4", 0.75)
    write_video(folder / "truth.mp4", 0.5, range(1, NUM_FRAMES, 3))
    return folder


@pytest.fixture(scope="module")
def report(material: Path, baselines: Baselines) -> Path:
    write_before_after(material / "s.mcap", material / "out.mp4", material / "ba.mp4")
    evaluate(
        material / "s.mcap",
        material / "out.mp4",
        material / "truth.mp4",
        material / "report",
        before_after=material / "ba.mp4",
        baselines=baselines,
    )
    return material / "report"


def test_metrics_have_the_promised_names_and_the_expected_figures(report: Path) -> None:
    metrics = json.loads((report / "metrics.json").read_text())
    names = {
        "gap_closure_lab", "gap_closure_over_lut", "gap_closure_msssim", "gap_closure_by_class",
        "delta_e", "psnr_db", "ssim", "edge_agreement", "warp_error", "flicker_ratio",
    }  # fmt: skip
    assert set(metrics["baselines"]) == {"mean_std_lab", "lut3d"}
    for figures in (metrics["output"], metrics["render"], *metrics["baselines"].values()):
        assert names <= set(figures)
    output, render = metrics["output"], metrics["render"]
    assert metrics["frames"] == NUM_FRAMES
    assert metrics["frames_with_truth"] == 2
    assert 0.4 < output["gap_closure_lab"] < 0.62
    assert render["gap_closure_lab"] == 0
    assert metrics["baselines"]["lut3d"]["gap_closure_over_lut"] == 0
    assert set(output["gap_closure_by_class"]) == {"wall", "vehicle"}
    assert render["flicker_ratio"] in (1, None)
    assert output["psnr_db"] > render["psnr_db"]
    assert 0.8 < metrics["truth"]["edge_agreement"] <= 1


def test_the_table_the_sheet_and_the_page_are_whole(report: Path) -> None:
    assert sorted(path.name for path in report.iterdir()) == sorted(FILES)
    table = (report / "metrics.md").read_text()
    assert "| measure | output | render | mean_std_lab | lut3d | truth |" in table
    assert "| vehicle |" in table
    sheet = cv2.imread(str(report / "contact_sheet.png"))
    assert sheet is not None
    assert sheet.shape[1] == 5 * 400 + 4 * 8 + 2 * 24
    page = (report / "index.html").read_text()
    block = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    assert block is not None
    data = json.loads(block.group(1))
    assert len(data["samples"]) == 2
    assert set(data["samples"][0]["pictures"]) == {"render", "lut", "output", "truth"}
    assert data["video"].startswith("data:video/mp4;base64,")
    assert re.findall(r'(?:src|href)="(?!data:)', page) == []


def test_without_truth_structure_and_time_alone_are_measured(
    material: Path, baselines: Baselines, tmp_path: Path
) -> None:
    metrics = evaluate(
        material / "s.mcap", material / "out.mp4", None, tmp_path / "r", baselines=baselines
    )
    assert metrics["truth"] is None
    assert metrics["output"]["gap_closure_lab"] is None
    assert 0.5 < metrics["output"]["edge_agreement"] <= 1
    assert metrics["output"]["warp_error"] >= 0
    assert (tmp_path / "r" / "contact_sheet.png").stat().st_size > 1000


def test_a_report_is_not_overwritten_unless_told(
    material: Path, report: Path, baselines: Baselines
) -> None:
    paths = (material / "s.mcap", material / "out.mp4", None, report)
    with pytest.raises(OutputError, match="--overwrite"):
        evaluate(*paths, baselines=baselines)
    before = (report / "metrics.json").read_bytes()
    with pytest.raises(RealMasterError):
        evaluate(material / "s.mcap", material / "none.mp4", None, report, overwrite=True)
    assert (report / "metrics.json").read_bytes() == before


def test_videos_that_do_not_fit_the_session_are_refused(
    material: Path, baselines: Baselines, tmp_path: Path
) -> None:
    session = material / "s.mcap"

    def run(video: Path, truth: Path | None = None, recording: Path = session) -> None:
        evaluate(recording, video, truth, tmp_path / "r", overwrite=True, baselines=baselines)

    short = write_video(tmp_path / "short.mp4", 1, range(NUM_FRAMES - 1))
    with pytest.raises(RealMasterError, match=r"short\.mp4 has no frame at 0\.208 s"):
        run(short)
    long = write_video(tmp_path / "long.mp4", 1, range(NUM_FRAMES + 1))
    with pytest.raises(RealMasterError, match=r"long\.mp4 has a frame at 0\.250 s"):
        run(long)
    late = write_video(tmp_path / "late.mp4", 1, shift_ns=STEP_NS * 3 // 4)
    with pytest.raises(RealMasterError, match=r"late\.mp4 has"):
        run(material / "out.mp4", late)
    with VideoWriter(tmp_path / "large.mp4", 128, 64) as writer:
        writer.write(np.zeros((64, 128, 3), np.uint8), 0)
    with pytest.raises(RealMasterError, match=r"large\.mp4 is 128x64 and the session 96x64"):
        run(tmp_path / "large.mp4")
    with pytest.raises(MissingBufferError, match="color"):
        run(material / "out.mp4", None, write_session(tmp_path / "n.mcap", drop=("color",)))


def test_a_session_of_colour_alone_is_still_evaluated(
    material: Path, baselines: Baselines, tmp_path: Path
) -> None:
    others = ("depth", "normal", "motion", "instance", "semantic")
    session = write_session(tmp_path / "c.mcap", drop=others)
    metrics = evaluate(
        session,
        material / "out.mp4",
        material / "truth.mp4",
        tmp_path / "r",
        baselines=baselines,
    )
    assert metrics["output"]["edge_agreement"] is None
    assert metrics["output"]["flicker_ratio"] is None
    assert metrics["output"]["gap_closure_by_class"] is None
    assert 0.4 < metrics["output"]["gap_closure_lab"] < 0.62


def test_before_after_has_the_frames_times_and_halves_of_both(material: Path, report: Path) -> None:
    assert report.exists()
    with VideoReader(material / "ba.mp4") as video, SessionReader(material / "s.mcap") as reader:
        frames = list(video)
        assert len(frames) == len(reader)
    times = [t_ns for _, t_ns in frames]
    assert times == pytest.approx([i * STEP_NS for i in range(NUM_FRAMES)], abs=12_000)
    picture = frames[0][0].astype(int)
    render = darker(scene(0)["color"], 1).astype(int)
    assert np.abs(picture[50:, :40] - render[50:, :40]).mean() < 12
    assert np.abs(picture[50:, 56:] - render[50:, 56:] * 0.75).mean() < 12


def test_the_wipe_shows_each_side_and_its_line_stays_inside() -> None:
    before, after = (np.full((360, 640, 3), value, np.uint8) for value in (40, 200))
    picture = wipe(before, after, 0.25)
    assert (picture[200, :158] == 40).all()
    assert (picture[200, 162:] == 200).all()
    positions = [line_position(t / 10) for t in range(100)]
    assert min(positions) == pytest.approx(0.04, abs=0.01)
    assert max(positions) == pytest.approx(0.96, abs=0.01)
    assert line_position(0) == 0.5


def numbered(times_ns: list[int]) -> Iterator[tuple[np.ndarray, int]]:
    for number, t_ns in enumerate(times_ns):
        yield np.full((4, 6, 3), number, np.uint8), t_ns


def test_a_track_matches_by_time_within_half_the_shortest_interval() -> None:
    times = [0, 40, 100]
    assert match_tolerance_ns(times) == 20
    track = PictureTrack(numbered([15, 85]), "v", (6, 4), 20)
    first, none, second = (track.at(t) for t in times)
    assert first is not None
    assert first[0, 0, 0] == 0
    assert none is None
    assert second is not None
    assert second[0, 0, 0] == 1
    track.finish()
    with pytest.raises(RealMasterError, match="has none within"):
        PictureTrack(numbered([30]), "v", (6, 4), 20).at(100)
