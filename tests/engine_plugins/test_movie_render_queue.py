"""`realmaster import`: Unreal's files become true buffers in our units, or one clear error."""

import json
import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import OpenEXR
import pytest

from capture_bridge.errors import OutputError, RealMasterError, SessionError
from capture_bridge.messages import FrameFlags
from capture_bridge.session import SessionReader
from capture_bridge.verify import verify
from engine_plugins.unreal.camera import UnrealCamera, rotation
from engine_plugins.unreal.layers import MOTION_ENCODINGS, Reading, to_motion
from engine_plugins.unreal.movie_render_queue import import_render
from engine_plugins.unreal.render_files import find_shots
from engine_plugins.unreal.render_frames import Choices
from realmaster.cli import main
from tests.engine_plugins.mrq_files import (
    ENGINE,
    LAYERS,
    RATE,
    Render,
    channels,
    object_id,
    write_exr_file,
    write_frame,
    write_layer_files,
    write_render,
    write_sidecar,
)

BIASED = Choices(motion="biased")


def check_frame(reader: SessionReader, index: int, number: int, *, tolerance: float) -> None:
    """The frame's buffers against the engine's own, relative for depth."""
    truth, frame = ENGINE.frame(number), reader.frame(index)
    want, got = truth.arrays, frame.arrays(frame.names)
    assert np.abs(got["color"].astype(int) - want["color"].astype(int)).max() <= 1
    if "depth" in got:
        depth, true_depth = (np.asarray(a["depth"], np.float64) for a in (got, want))
        limit = 655.0 if tolerance > 1e-5 else np.inf
        sky = true_depth >= limit
        assert np.isinf(depth[sky]).all()
        assert np.abs(depth[~sky] / true_depth[~sky] - 1).max() < tolerance
    if "normal" in got:
        assert np.abs(got["normal"].astype(float) - want["normal"]).max() < 2e-3
    if "motion" in got:
        known = np.isfinite(want["motion"])
        off = np.abs(got["motion"].astype(float) - want["motion"])[known]
        assert off.max() < (0.02 if tolerance <= 1e-5 else 0.2)
    if "instance" in got:
        ids = np.asarray(want["instance"])
        expected = np.where(ids == 0, 0, np.vectorize(object_id)(ids))
        assert np.array_equal(got["instance"], expected)


@pytest.mark.parametrize("dtype", ["f4", "f2"])
@pytest.mark.parametrize("source", ["sidecar", "metadata"])
def test_import_gives_the_engines_numbers(tmp_path: Path, dtype: str, source: str) -> None:
    render = Render(dtype=dtype, metadata=source == "metadata")
    write_render(tmp_path / "out", render, range(5, 11))
    fps = None
    if source == "sidecar":
        write_sidecar(tmp_path / "out", ENGINE, range(5, 11), motion_encoding="biased")
    else:
        fps = Fraction(*RATE)
    made = import_render(tmp_path / "out", tmp_path / "s.mcap", choices=BIASED, fps=fps)
    assert made.frames == 6 and made.dropped == {} and made.fps == Fraction(*RATE)
    assert set(made.buffers) == {*LAYERS, "color_hdr"}
    with SessionReader(tmp_path / "s.mcap") as reader:
        for index, number in enumerate(range(5, 11)):
            check_frame(reader, index, number, tolerance=1e-3 if dtype == "f2" else 1e-6)
            header = reader.frame(index).header
            assert header.t_sim_ns == round(Fraction(number * 10**9 * RATE[1], RATE[0]))
            assert header.frame_id == number
            assert header.camera is not None and header.camera.reversed_z
            truth = ENGINE.camera(number)
            assert np.allclose(header.camera.K, truth.K, atol=1e-4)
            assert np.allclose(header.camera.world_from_camera, truth.world_from_camera, atol=1e-6)
            assert header.camera.near_m == pytest.approx(0.05 if source == "sidecar" else 0.1)
            if index:
                before = header.camera.world_from_camera_prev
                assert np.allclose(before, ENGINE.camera(number - 1).world_from_camera, atol=1e-6)
        assert reader.info.hello.engine_version.startswith("5.5.4")
        stream = {s.name: s for s in reader.info.hello.streams}
        assert stream["normal"].params["source"] == "gbuffer"
        assert stream["motion"].params["encoding"] == "biased"
        assert f"name.{object_id(3):08x}" in stream["instance"].params
    # Half motion is 0.5 steps of the frame's width / 1024 apart: too coarse for no other reason.
    found = verify(tmp_path / "s.mcap").findings
    assert [str(f) for f in found] == []


@pytest.mark.parametrize("packed", [False, True])
def test_normals_are_turned_whatever_their_encoding(tmp_path: Path, packed: bool) -> None:
    write_render(tmp_path / "out", Render(packed_normal=packed), range(2))
    import_render(tmp_path / "out", tmp_path / "s.mcap", fps=Fraction(24))
    with SessionReader(tmp_path / "s.mcap") as reader:
        got, want = reader.frame(1).array("normal"), ENGINE.frame(1).arrays["normal"]
        surface = np.asarray(ENGINE.frame(1).arrays["instance"]) > 0
        assert np.abs(got.astype(float) - want.astype(float))[surface].max() < 2e-3
        stream = next(s for s in reader.info.hello.streams if s.name == "normal")
        assert stream.params["encoding"] == ("packed" if packed else "signed")


def test_one_file_a_layer_is_the_same_as_one_a_frame(tmp_path: Path) -> None:
    write_layer_files(tmp_path / "out", Render(layers=LAYERS[:4]), range(3))
    made = import_render(tmp_path / "out", tmp_path / "s.mcap", choices=BIASED, fps=Fraction(*RATE))
    assert made.frames == 3 and len(made.shots) == 1
    with SessionReader(tmp_path / "s.mcap") as reader:
        for index in range(3):
            check_frame(reader, index, index, tolerance=1e-6)


def test_parts_and_prefixed_layers_are_found(tmp_path: Path) -> None:
    render = Render(layers=("color", "depth"), prefix="hero_cam0_", metadata=False)
    planes = channels(render, ENGINE.frame(0))
    parts: dict[str, dict[str, Any]] = {}
    for full, plane in planes.items():
        layer, _, channel = full.rpartition(".")
        parts.setdefault(layer or "FinalImage", {})[channel] = plane
    made = [OpenEXR.Part({"type": OpenEXR.scanlineimage}, p, name) for name, p in parts.items()]
    (tmp_path / "out").mkdir()
    with OpenEXR.File(made) as file:
        file.write(str(tmp_path / "out" / "a_0000.exr"))
    import_render(tmp_path / "out", tmp_path / "s.mcap", fps=Fraction(24))
    with SessionReader(tmp_path / "s.mcap") as reader:
        check_frame(reader, 0, 0, tolerance=1e-6)


@pytest.mark.parametrize("missing", [("depth",), ("normal", "motion"), LAYERS[1:]])
def test_missing_layers_are_told_in_one_line(tmp_path: Path, missing: tuple[str, ...]) -> None:
    layers = tuple(name for name in LAYERS if name not in missing)
    write_render(tmp_path / "out", Render(layers=layers), range(2))
    made = import_render(tmp_path / "out", tmp_path / "s.mcap", choices=BIASED, fps=Fraction(24))
    expected = f"without {', '.join(missing)}: the files have no such layer"
    assert made.notes == (expected,) and made.frames == 2
    with SessionReader(tmp_path / "s.mcap") as reader:
        assert set(reader.frame(0).names) == {*layers, "color_hdr"}


def test_what_nobody_can_decode_is_left_out_and_told(tmp_path: Path) -> None:
    """Motion of an unknown encoding, world normals without a camera, a cryptomatte in halves."""
    render = Render(layers=LAYERS[:4], metadata=False)
    planes = channels(render, ENGINE.frame(0))
    planes["ActorHitProxyMask00.R"] = np.zeros((ENGINE.height, ENGINE.width), "f2")
    write_exr_file(tmp_path / "out" / "s.0000.exr", planes, {})
    made = import_render(tmp_path / "out", tmp_path / "s.mcap", fps=Fraction(24))
    text = " | ".join(made.notes)
    for line in ("without motion", "without normal", "without instance", "without a camera"):
        assert text.count(line) == 1, text
    assert set(made.buffers) == {"color", "color_hdr", "depth"}


def test_a_missing_number_is_a_counted_loss(tmp_path: Path) -> None:
    numbers = [0, 1, 2, 5, 6, 9]
    write_render(tmp_path / "out", Render(layers=("color", "depth")), numbers)
    made = import_render(tmp_path / "out", tmp_path / "s.mcap", fps=Fraction(24))
    assert made.dropped == {"missing_file": 4} and made.frames == 6
    with SessionReader(tmp_path / "s.mcap") as reader:
        assert reader.seqs.tolist() == numbers
        times = [frame.header.t_sim_ns for frame in reader.frames()]
        assert times == [round(Fraction(n * 10**9, 24)) for n in numbers]
    assert verify(tmp_path / "s.mcap").findings == ()


def test_a_frame_that_lacks_a_layer_is_a_counted_loss(tmp_path: Path) -> None:
    write_render(tmp_path / "out", Render(layers=("color", "depth")), range(4))
    for number in (2, 3):
        path = tmp_path / "out" / f"Drive.{number:04d}.exr"
        write_frame(path, Render(layers=("color",)), ENGINE.frame(number))
    made = import_render(tmp_path / "out", tmp_path / "s.mcap", fps=Fraction(24))
    assert made.dropped == {"missing_layer": 2} and made.frames == 2
    assert verify(tmp_path / "s.mcap").findings == ()


def test_shots_that_follow_each_other_are_cut(tmp_path: Path) -> None:
    small = Render(layers=("color", "depth"))
    write_render(tmp_path / "out" / "shot010", small, range(3))
    write_render(tmp_path / "out" / "shot020", small, range(3, 6))
    write_render(tmp_path / "out" / "shot030", Render(layers=("color",)), range(6, 8))
    made = import_render(tmp_path / "out", tmp_path / "s.mcap", fps=Fraction(24))
    assert made.shots == ("shot010/Drive", "shot020/Drive", "shot030/Drive")
    with SessionReader(tmp_path / "s.mcap") as reader:
        cuts = [bool(f.header.flags & FrameFlags.CUT) for f in reader.frames()]
        assert cuts == [True, False, False, True, False, False, True, False]
        assert reader.epochs.tolist() == [1] * 6 + [2] * 2  # other streams: another hello
        assert reader.timeline().clock == "t_sim_ns"
    assert verify(tmp_path / "s.mcap").findings == ()


def test_cameras_that_show_the_same_frames_are_imported_one_at_a_time(tmp_path: Path) -> None:
    for name in ("CamA", "CamB"):
        write_render(tmp_path / "out" / name, Render(layers=("color",)), range(2))
    with pytest.raises(SessionError, match="import each with --shot"):
        import_render(tmp_path / "out", tmp_path / "s.mcap", fps=Fraction(24))
    made = import_render(tmp_path / "out", tmp_path / "s.mcap", fps=Fraction(24), shot="camb")
    assert made.shots == ("CamB/Drive",)


def test_scene_light_goes_through_a_curve_and_stays_in_color_hdr(tmp_path: Path) -> None:
    light = np.array([[0.0, 0.18, 1.0, 8.0, 500.0, np.inf, np.nan, -1.0]], np.float32)
    planes = {c: np.repeat(light, 4, 0) for c in "RGB"}
    write_exr_file(tmp_path / "out" / "s.0000.exr", planes, {})
    made = import_render(tmp_path / "out", tmp_path / "on.mcap", fps=Fraction(24))
    assert any("--tone-curve off" in note for note in made.notes)
    off = Choices(tone_curve=False)
    import_render(tmp_path / "out", tmp_path / "off.mcap", fps=Fraction(24), choices=off)
    with SessionReader(tmp_path / "off.mcap") as reader:
        row = reader.frame(0).array("color")[0, :, 0].tolist()
        hdr = reader.frame(0).array("color_hdr")[0, :, 0].tolist()
    assert row[0] == 0 and row == [*sorted(row[:6]), 0, 0] and 100 < row[1] < row[2] < row[3]
    assert hdr == [0.0, pytest.approx(0.18, rel=1e-3), 1.0, 8.0, 500.0, 65504.0, 0.0, 0.0]


@pytest.mark.parametrize("encoding", MOTION_ENCODINGS)
def test_motion_encodings_agree(encoding: str) -> None:
    """A point that moved 3 px right and 2 px down since the last frame, of 200x100."""
    clip = np.array([3 / 100, -2 / 50])  # current - previous, y up
    stored = {
        "biased": 0.5 + clip / 4,
        "clip": clip,
        "uv": clip * (0.5, -0.5),
        "pixels": np.array([-3.0, -2.0]),
    }[encoding]
    planes = [np.full((100, 200), v, np.float32) for v in stored]
    motion = to_motion(planes, Reading(motion=encoding))
    assert np.allclose(motion, (-3, -2), atol=1e-4)


def test_axes_of_unreals_camera() -> None:
    still = UnrealCamera((100, 200, 300), (0, 0, 0), 90).world_from_camera()
    assert np.allclose(still[:3, 3], (1, -2, 3))
    assert np.allclose(still[:3, :3], [[0, 0, 1], [-1, 0, 0], [0, -1, 0]])  # right is -y, down -z
    right = UnrealCamera((0, 0, 0), (0, 90, 0), 90).world_from_camera()  # yaw turns to the right
    assert np.allclose(right[:3, 2], (0, -1, 0), atol=1e-12)
    up = UnrealCamera((0, 0, 0), (30, 0, 0), 90).world_from_camera()  # pitch looks up
    assert up[2, 2] == pytest.approx(0.5)
    rolled = UnrealCamera((0, 0, 0), (0, 0, 90), 90).world_from_camera()  # clockwise
    assert np.allclose(rolled[:3, 0], (0, 0, -1), atol=1e-12)
    turn = rotation(20, 130, -50)
    assert np.allclose(turn.T @ turn, np.eye(3)) and np.linalg.det(turn) == pytest.approx(1)


def test_names_of_files(tmp_path: Path) -> None:
    for name in (
        "Seq.-0002.exr", "Seq.0000.exr", "a/Seq_FinalImage_0001.exr", "b/FinalImage.7.exr",
        "a/Seq_FinalImageMovieRenderQueue_WorldDepth_0001.exr", "c/Seq..0003.EXR", "c/readme.exr",
    ):  # fmt: skip
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    shots, num_unnumbered = find_shots(tmp_path)
    found = {shot.label: {n: len(files) for n, files in shot.frames.items()} for shot in shots}
    assert found == {"Seq": {-2: 1, 0: 1}, "a/Seq": {1: 2}, "c/Seq": {3: 1}, "b": {7: 1}}
    assert num_unnumbered == 1


def test_numbers_and_primaries_in_the_header_are_read(tmp_path: Path) -> None:
    """Older versions write metadata as numbers; an OCIO output has other primaries."""
    planes = channels(Render(layers=("color",)), ENGINE.frame(0))
    pose = {f"unreal/camera/cur{name}": 1.5 for name in
            ("Pos/x", "Pos/y", "Pos/z", "Rot/pitch", "Rot/yaw", "Rot/roll")}  # fmt: skip
    acescg = (0.713, 0.293, 0.165, 0.830, 0.128, 0.044, 0.32168, 0.33767)
    header: dict[str, Any] = {**pose, "unreal/camera/FinalImage/fov": 90.0}
    write_exr_file(tmp_path / "out" / "s.0000.exr", planes, header | {"chromaticities": acescg})
    made = import_render(tmp_path / "out", tmp_path / "s.mcap", fps=Fraction(24))
    assert any(note.startswith("color has other primaries") for note in made.notes)
    with SessionReader(tmp_path / "s.mcap") as reader:
        camera = reader.frame(0).header.camera
    assert camera is not None and camera.K[0, 0] == pytest.approx(ENGINE.width / 2)
    assert np.allclose(camera.world_from_camera[:3, 3], (0.015, -0.015, 0.015))


# --- what is wrong is one line -------------------------------------------------------------------


def damage(change: Callable[[bytearray], object]) -> Callable[[Path], None]:
    def apply(path: Path) -> None:
        data = bytearray(path.read_bytes())
        change(data)
        path.write_bytes(data)

    return apply


def attribute(data: bytearray, name: bytes, kind: bytes) -> int:
    """Where an attribute's size stands."""
    return data.index(name + b"\0" + kind + b"\0") + len(name) + len(kind) + 2


def set_window(data: bytearray, x1: int, y1: int) -> None:
    at = attribute(data, b"dataWindow", b"box2i")
    struct.pack_into("<4i", data, at + 4, 0, 0, x1, y1)


def spoil_pixels(data: bytearray) -> None:
    for index in range(len(data) - 2000, len(data) - 500):
        data[index] ^= 0x5A


DAMAGED: dict[str, tuple[Callable[[Path], None], str]] = {
    "empty": (damage(lambda d: d.clear()), "is empty"),
    "no EXR": (damage(lambda d: d.__setitem__(slice(0, 4), b"\x89PNG")), "no OpenEXR"),
    "other version": (damage(lambda d: d.__setitem__(4, 3)), "version 3"),
    "cut in the header": (damage(lambda d: d.__delitem__(slice(60, None))), "within its header"),
    "cut in the pixels": (damage(lambda d: d.__delitem__(slice(-700, None))), "cut off"),
    "huge": (damage(lambda d: set_window(d, 2**31 - 2, 2**31 - 2)), "a side must be"),
    "large, few bytes": (damage(lambda d: set_window(d, 16383, 16383)), "cut off or damaged"),
    "long attribute": (
        damage(lambda d: struct.pack_into("<i", d, attribute(d, b"channels", b"chlist"), 2**30)),
        "within its header",
    ),
    "negative size": (
        damage(lambda d: struct.pack_into("<i", d, attribute(d, b"dataWindow", b"box2i"), -16)),
        "damaged",
    ),
    "spoilt pixels": (damage(spoil_pixels), "cannot be decoded"),
    "unknown compression": (
        damage(
            lambda d: d.__setitem__(attribute(d, b"compression", b"compression") + 4, 77)
        ),
        "compressed in way 77",
    ),
    "other size": (
        lambda path: write_exr_file(
            path, {c: np.zeros((4, 4), "f4") for c in ("R", "G", "B", "xWorldDepth.R")}, {}
        ),
        "4x4",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", DAMAGED)
def test_a_damaged_file_is_one_error_and_keeps_what_came_before(
    tmp_path: Path, fault: str, capfd: pytest.CaptureFixture[str]
) -> None:
    write_render(tmp_path / "out", Render(layers=("color", "depth")), range(4))
    spoil, words = DAMAGED[fault]
    spoil(tmp_path / "out" / "Drive.0002.exr")
    arguments = ["import", str(tmp_path / "out"), "-o", str(tmp_path / "s.mcap"), "--fps", "24"]
    assert main(arguments) == 1
    error = capfd.readouterr().err.strip().splitlines()
    assert len(error) == 1 and error[0].startswith("realmaster import: frame 2: "), error
    assert "Drive.0002.exr" in error[0] and words in error[0]
    assert error[0].endswith(f"the 2 frames before it are in {tmp_path / 's.mcap'}")
    with SessionReader(tmp_path / "s.mcap") as reader:
        assert len(reader) == 2
        check_frame(reader, 1, 1, tolerance=1e-6)
    assert verify(tmp_path / "s.mcap").findings == ()


def test_any_flipped_byte_is_an_error_or_a_whole_import(tmp_path: Path) -> None:
    """The format has no checksum, so pixels may differ; nothing may crash or grow."""
    write_render(tmp_path / "out", Render(layers=("color", "depth")), range(1))
    path = tmp_path / "out" / "Drive.0000.exr"
    whole, random = path.read_bytes(), np.random.default_rng(7)
    num_errors = 0
    for _ in range(150):
        data = bytearray(whole)
        for at in random.integers(0, min(len(data), 2500), 3):
            data[int(at)] = int(random.integers(256))
        path.write_bytes(data)
        try:
            import_render(
                tmp_path / "out", tmp_path / "s.mcap", fps=Fraction(24), overwrite=True, codec="raw"
            )
        except RealMasterError as error:
            assert "\n" not in str(error)
            num_errors += 1
    assert num_errors > 50


BAD_SIDECARS: dict[str, tuple[Any, str]] = {
    "no JSON": ("{", "is no JSON"),
    "nested": ("[" * 100_000, "is no JSON"),
    "a list": ([], "must be a map"),
    "other format": ({"format": "x"}, "realmaster-unreal-camera-1"),
    "no rate": ({"frames": []}, "frame_rate"),
    "rate 0": ({"frame_rate": [0, 1], "frames": []}, "frame_rate"),
    "NaN": ({"frame_rate": [24, 1], "frames": [{"number": 0, "location_cm": [0, 0, "x"]}]}, "loca"),
    "flat lens": (
        {
            "frame_rate": [24, 1],
            "frames": [
                {"number": 0, "location_cm": [0, 0, 0], "rotation_deg": [0, 0, 0], "fov_deg": 180}
            ],
        },
        "field of view",
    ),
    "other motion": ({"frame_rate": [24, 1], "frames": [], "motion_encoding": "odd"}, "'odd'"),
}


@pytest.mark.parametrize("fault", BAD_SIDECARS)
def test_a_bad_sidecar_is_one_error(tmp_path: Path, fault: str) -> None:
    write_render(tmp_path / "out", Render(), range(1))
    value, words = BAD_SIDECARS[fault]
    if isinstance(value, dict):
        value = {"format": "realmaster-unreal-camera-1"} | value
    text = value if isinstance(value, str) else json.dumps(value)
    (tmp_path / "out" / "realmaster_camera.json").write_text(text)
    with pytest.raises(RealMasterError, match=words) as caught:
        import_render(tmp_path / "out", tmp_path / "s.mcap")
    assert "\n" not in str(caught.value) and not (tmp_path / "s.mcap").exists()


def test_a_sidecar_of_another_camera_is_told(tmp_path: Path) -> None:
    write_render(tmp_path / "out", Render(layers=("color",)), range(3))
    write_sidecar(tmp_path / "out", ENGINE, [0, 1, 2, 3])
    path = tmp_path / "out" / "realmaster_camera.json"
    told = json.loads(path.read_text())
    told["frames"][1]["location_cm"][0] += 50
    path.write_text(json.dumps(told))
    notes = import_render(tmp_path / "out", tmp_path / "s.mcap").notes
    assert any(
        line.startswith("in 1 frames the sidecar's camera stands elsewhere") for line in notes
    )
    assert "1 frames of the sidecar were not rendered" in notes


def test_no_rate_no_folder_no_file_and_no_overwriting(tmp_path: Path) -> None:
    write_render(tmp_path / "out", Render(layers=("color",)), range(1))
    output = tmp_path / "s.mcap"
    with pytest.raises(SessionError, match="nothing tells the frame rate"):
        import_render(tmp_path / "out", output)
    with pytest.raises(SessionError, match="is no folder"):
        import_render(tmp_path / "none", output)
    (tmp_path / "bare").mkdir()
    with pytest.raises(SessionError, match="holds no EXR file"):
        import_render(tmp_path / "bare", output)
    with pytest.raises(SessionError, match="no shot is named"):
        import_render(tmp_path / "out", output, fps=Fraction(24), shot="other")
    output.write_bytes(b"mine")
    with pytest.raises(OutputError, match="--overwrite"):
        import_render(tmp_path / "out", output, fps=Fraction(24))
    assert output.read_bytes() == b"mine"
    (tmp_path / "out" / "Drive.0000.exr").write_bytes(b"")
    with pytest.raises(SessionError, match="is empty"):
        import_render(tmp_path / "out", output, fps=Fraction(24), overwrite=True)
    assert output.read_bytes() == b"mine"  # nothing is replaced for a bad first frame


def test_command_says_what_came(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_render(tmp_path / "out", Render(), range(3))
    arguments = ["import", str(tmp_path / "out"), "-o", str(tmp_path / "s.mcap")]
    assert main([*arguments, "--fps", "24000/1001", "--motion", "biased"]) == 0
    out = capsys.readouterr().out
    assert "3 frames of 96x54 at 23.976 a second, 0 lost, 1 shot" in out
    assert main(["verify", str(tmp_path / "s.mcap")]) == 0
    assert main(["inspect", str(tmp_path / "s.mcap")]) == 0
    assert "Unreal Engine 5.5.4-test" in capsys.readouterr().out
    assert main([*arguments, "--fps", "0"]) == 1
    assert "--fps 0" in capsys.readouterr().err
