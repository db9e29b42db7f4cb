"""The editor's script, run against what it uses of the editor; its file is what import reads."""

import runpy
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from capture_bridge.session import SessionReader
from capture_bridge.verify import verify
from engine_plugins.unreal import camera as unreal_camera
from engine_plugins.unreal.camera import SIDECAR_NAME, read_sidecar
from engine_plugins.unreal.movie_render_queue import import_render
from tests.engine_plugins.fake_unreal import Actor, CineCameraComponent, Editor, Section, Sequence
from tests.engine_plugins.mrq_files import ENGINE, Render, fov_deg, unreal_pose, write_render

SCRIPT = Path(unreal_camera.__file__).with_name("export_camera.py")


def run_script(editor: Editor, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setitem(sys.modules, "unreal", editor.module())
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *arguments])
    runpy.run_path(str(SCRIPT), run_name="__main__")


def drive(frame: int) -> Any:
    return unreal_pose(ENGINE.camera(frame))


def editor_with_shots(tmp_path: Path) -> Editor:
    """Two shots of five frames each; the second one's own frames begin at 100."""
    a = Sequence("/Game/A", 0, 5, cuts=[Section(0, 50, "CamA")])
    b = Sequence("/Game/B", 100, 105, cuts=[Section(90, 110, "CamB")])
    shots = [Section(0, 5, inner=a, name="shot010"), Section(5, 10, inner=b, name="shot020")]
    editor = Editor({"/Game/Main": Sequence("/Game/Main", 0, 10, shots=shots)}, project=tmp_path)
    for name in ("CamA", "CamB"):
        editor.actors[name] = Actor(name, CineCameraComponent(editor, drive, fov_deg(ENGINE)))
    return editor


def test_what_the_script_writes_is_what_import_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    editor = editor_with_shots(tmp_path)
    editor.add_job("/Game/Main", "{project_dir}Saved/MovieRenders/{sequence_name}")
    run_script(editor, monkeypatch)
    folder = tmp_path / "Saved" / "MovieRenders"
    sidecar = read_sidecar(folder / SIDECAR_NAME)
    assert sidecar.frame_rate == Fraction(24000, 1001) and sidecar.motion == "biased"
    assert sidecar.tone_curve is True and sidecar.project == "City"
    assert sorted(sidecar.frames) == list(range(10)) and editor.frame == 99  # the play head is back
    for number, found in sidecar.frames.items():
        (camera,) = found
        assert (camera.shot, camera.camera) == (
            ("shot010", "CamA") if number < 5 else ("shot020", "CamB")
        )
        truth = ENGINE.camera(number).world_from_camera
        assert np.allclose(camera.world_from_camera(), truth, atol=1e-9)

    write_render(folder / "Main", Render(metadata=False), range(10))
    made = import_render(folder, tmp_path / "s.mcap")
    assert made.frames == 10 and made.notes == () and "motion" in made.buffers
    assert verify(tmp_path / "s.mcap").findings == ()
    with SessionReader(tmp_path / "s.mcap") as reader:
        assert reader.info.hello.engine_version == "5.5.4-0+++UE5+Release-5.5"


def test_ranges_steps_and_offsets_are_the_jobs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    editor = editor_with_shots(tmp_path)
    editor.add_job(
        "/Game/Main", "unused", use_custom_playback_range=True, custom_start_frame=2,
        custom_end_frame=9, output_frame_step=2, frame_number_offset=1000,
    )  # fmt: skip
    run_script(editor, monkeypatch, str(tmp_path / "given"))
    sidecar = read_sidecar(tmp_path / "given" / SIDECAR_NAME)
    assert sorted(sidecar.frames) == [1002, 1004, 1006, 1008] and sidecar.frame_step == 2


def test_a_step_of_two_is_no_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    editor = editor_with_shots(tmp_path)
    editor.add_job("/Game/Main", "unused", output_frame_step=2)
    run_script(editor, monkeypatch, str(tmp_path))
    write_render(tmp_path, Render(layers=("color", "depth")), [0, 2, 4, 8])
    made = import_render(tmp_path, tmp_path / "s.mcap")
    assert made.dropped == {"missing_file": 1}  # frame 6
    with SessionReader(tmp_path / "s.mcap") as reader:
        times = [frame.header.t_sim_ns for frame in reader.frames()]
    assert times == [round(n * 10**9 / sidecar_rate()) for n in (0, 2, 4, 8)]
    assert verify(tmp_path / "s.mcap").findings == ()


def sidecar_rate() -> Fraction:
    return Fraction(24000, 1001)


def test_an_empty_queue_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    editor = Editor({})
    run_script(editor, monkeypatch)
    assert editor.lines == ["RealMaster: Movie Render Queue holds no job; add the sequence first"]
