"""The editor `truth`: what is rendered already is used; what is not is rendered once and kept."""

import importlib.util
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from capture_bridge.errors import OutputError, RealMasterError, SessionError, SetupError
from capture_bridge.images import read_png, write_png
from capture_bridge.media import VideoWriter
from capture_bridge.messages import Camera
from capture_bridge.session import SessionReader, SessionWriter
from engine_plugins.street.mitsuba_setup import load_mitsuba
from engine_plugins.street.model import intrinsics
from engine_plugins.street.scene import build_street
from realmaster import truth_editor
from realmaster.editors import EditorOptions, load_editor
from tests.capture_bridge.analytic_engine import AnalyticEngine, to_message

FRAMES = 4
WIDTH, HEIGHT = 64, 36
SEED = 7  # a street for training
ENGINE = AnalyticEngine(
    WIDTH, HEIGHT, buffers=("color",), params={"seed": str(SEED), "path": "drive"}
)


@pytest.fixture
def session(tmp_path: Path) -> Iterator[SessionReader]:
    path = tmp_path / "drive.mcap"
    with SessionWriter(path, ENGINE.hello(), codec="raw") as writer:
        for index in range(FRAMES):
            message = to_message(ENGINE.frame(index), seq=100 + index)
            writer.write_frame(message, message.header.t_send_ns, 1)
    with SessionReader(path) as reader:
        yield reader


class Renderer:
    """In the place of Mitsuba: a level per frame; notes what it rendered."""

    def __init__(self) -> None:
        self.rendered: list[tuple[int, int]] = []

    def __call__(
        self, hello: object, headers: object, frames: Sequence[int], *, spp: int
    ) -> Iterator[tuple[int, np.ndarray]]:
        for index in frames:
            self.rendered.append((index, spp))
            yield index, np.full((HEIGHT, WIDTH, 3), 10 * index + 5, np.uint8)


@pytest.fixture
def renderer(monkeypatch: pytest.MonkeyPatch) -> Renderer:
    made = Renderer()
    monkeypatch.setattr(truth_editor, "render_session_truth", made)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: object())
    return made


def write_video(path: Path, session: SessionReader, levels: dict[int, int], **tags: str) -> Path:
    times_ns = session.timeline().times_ns
    with VideoWriter(path, WIDTH, HEIGHT, crf=0, origin_ns=times_ns[0], tags=tags) as writer:
        for index, level in levels.items():
            writer.write(np.full((HEIGHT, WIDTH, 3), level, np.uint8), times_ns[index])
    return path


def test_what_is_rendered_is_kept_and_never_rendered_again(
    session: SessionReader, renderer: Renderer
) -> None:
    options = EditorOptions(truth_spp=16)
    first = load_editor("truth", options).edit(session.frame(2), "p", 0)
    assert first[0, 0].tolist() == [25, 25, 25]
    kept = session.path.with_suffix(".truth") / "01234567-1-00000102-16.png"
    assert np.array_equal(read_png(kept), first)
    again = load_editor("truth", options).edit(session.frame(2), "another", 1)
    assert np.array_equal(again, first)
    assert renderer.rendered == [(2, 16)]
    load_editor("truth", EditorOptions(truth_spp=64)).edit(session.frame(2), "p", 0)
    assert renderer.rendered == [(2, 16), (2, 64)]


def test_the_video_beside_the_session_is_used_in_any_order(
    session: SessionReader, renderer: Renderer
) -> None:
    video = session.path.with_suffix(".truth.mp4")
    uuid = session.info.session_uuid
    write_video(video, session, {0: 40, 1: 80, 3: 160}, session_uuid=uuid, spp="64")
    editor = load_editor("truth", EditorOptions())
    levels = [int(editor.edit(session.frame(i), "p", 0).mean().round()) for i in (3, 0, 1, 0)]
    assert np.abs(np.array(levels) - [160, 40, 80, 40]).max() <= 3
    assert not renderer.rendered
    editor.edit(session.frame(2), "p", 0)
    assert renderer.rendered == [(2, 64)]


@pytest.mark.parametrize("tags", [{"spp": "64"}, {"session_uuid": "f" * 32, "spp": "64"}])
def test_a_video_beside_it_of_another_session_or_of_few_samples_is_left_alone(
    session: SessionReader, renderer: Renderer, tags: dict[str, str]
) -> None:
    write_video(session.path.with_suffix(".truth.mp4"), session, {0: 200}, **tags)
    load_editor("truth", EditorOptions()).edit(session.frame(0), "p", 0)
    assert renderer.rendered == [(0, 64)]
    few = session.path.with_name("few.mcap")
    few.write_bytes(session.path.read_bytes())
    with SessionReader(few) as other:
        uuid = other.info.session_uuid
        video = few.with_suffix(".truth.mp4")
        write_video(video, other, {0: 200}, session_uuid=uuid, spp="16")
        load_editor("truth", EditorOptions()).edit(other.frame(0), "p", 0)
    assert renderer.rendered == [(0, 64)] * 2


def test_a_given_video_or_folder_is_used(
    session: SessionReader, renderer: Renderer, tmp_path: Path
) -> None:
    video = write_video(tmp_path / "mine.mp4", session, {0: 90})
    made = load_editor("truth", EditorOptions(truth=video)).edit(session.frame(0), "p", 0)
    assert abs(float(made.mean()) - 90) <= 3
    folder = tmp_path / "mine"
    folder.mkdir()
    write_png(folder / "01234567-1-00000101-64.png", np.full((HEIGHT, WIDTH, 3), 120, np.uint8))
    editor = load_editor("truth", EditorOptions(truth=folder))
    assert editor.edit(session.frame(1), "p", 0).mean() == 120
    assert not renderer.rendered
    editor.edit(session.frame(2), "p", 0)
    assert (folder / "01234567-1-00000102-64.png").exists()
    new = load_editor("truth", EditorOptions(truth=tmp_path / "new"))
    new.edit(session.frame(2), "p", 0)
    assert (tmp_path / "new" / "01234567-1-00000102-64.png").exists()
    with pytest.raises(OutputError, match="--truth FOLDER"):
        load_editor("truth", EditorOptions(truth=video / "x")).edit(session.frame(3), "p", 0)


def test_pictures_of_another_session_or_size_are_refused(
    session: SessionReader, renderer: Renderer, tmp_path: Path
) -> None:
    other = write_video(tmp_path / "other.mp4", session, {0: 90}, session_uuid="f" * 32)
    with pytest.raises(SessionError, match="is the truth of session ffff"):
        load_editor("truth", EditorOptions(truth=other)).edit(session.frame(0), "p", 0)
    folder = tmp_path / "small"
    folder.mkdir()
    write_png(folder / "01234567-1-00000100-64.png", np.zeros((4, 8, 3), np.uint8))
    with pytest.raises(RealMasterError, match="8x4"):
        load_editor("truth", EditorOptions(truth=folder)).edit(session.frame(0), "p", 0)
    write_png(folder / "01234567-1-00000101-64.png", np.zeros((HEIGHT, WIDTH), np.uint8))
    with pytest.raises(SessionError, match="no 8-bit RGB"):
        load_editor("truth", EditorOptions(truth=folder)).edit(session.frame(1), "p", 0)
    assert not renderer.rendered


def test_without_mitsuba_the_cure_is_named(
    session: SessionReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(SetupError, match=r"realmaster\[truth\]"):
        load_editor("truth").edit(session.frame(0), "p", 0)
    with pytest.raises(SetupError, match="there is no editor 'photoshop'"):
        load_editor("photoshop")


@pytest.mark.parametrize(
    "wrong", [{"seeds": 0}, {"seeds": 1000}, {"truth_spp": 0}, {"editor_steps": 0}]
)
def test_options_out_of_range_are_named(wrong: dict[str, int]) -> None:
    name = "--" + next(iter(wrong)).replace("_", "-")
    with pytest.raises(RealMasterError, match=name):
        EditorOptions(**wrong)


@pytest.mark.truth
@pytest.mark.slow
def test_a_street_is_really_path_traced(tmp_path: Path) -> None:
    try:
        load_mitsuba()
    except SetupError as error:
        pytest.skip(str(error))
    street = build_street(SEED, "drive")
    path = tmp_path / "street.mcap"
    pose = street.camera(1.0)
    world = np.asarray(pose.world_from_camera)
    camera = Camera(intrinsics(pose.fov_x_deg, WIDTH, HEIGHT), world, world, 0.1, np.inf)
    with SessionWriter(path, ENGINE.hello(), codec="raw") as writer:
        frame = replace(ENGINE.frame(0), camera=camera, t_sim_ns=1_000_000_000)
        message = to_message(frame)
        writer.write_frame(message, message.header.t_send_ns, 1)
    with SessionReader(path) as reader:
        editor = load_editor("truth", EditorOptions(truth_spp=2))
        made = editor.edit(reader.frame(0), "p", 0)
    assert made.shape == (HEIGHT, WIDTH, 3)
    assert made.std() > 20
    assert (path.with_suffix(".truth") / "01234567-1-00000000-2.png").exists()
