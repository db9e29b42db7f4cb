"""The Unreal plugin without Unreal: it compiles against the API it states, its maths is right.

What the engine does with it, only the engine can show (engine_plugins/unreal/README.md).
"""

import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from capture_bridge.errors import LinkError, OutputError
from capture_bridge.link import ClientLink
from capture_bridge.messages import Camera, FrameFlags
from capture_bridge.recorder import RecordingOptions, RecordingSummary, record_link
from capture_bridge.session import SessionReader
from capture_bridge.verify import verify
from engine_plugins.unreal import package_plugin
from engine_plugins.unreal.camera import UnrealCamera, rotation
from realmaster.geometry import reproject
from tests.capture_bridge.analytic_engine import AnalyticEngine
from tests.native.conftest import NativeBuild
from tests.native.unreal_scene import MOVERS, write_scene

pytestmark = [
    pytest.mark.native,
    pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++"),
]

NATIVE = Path(__file__).parent
PLUGIN = package_plugin.HERE / "RealMasterCapture"
MODULE = PLUGIN / "Source" / "RealMasterCapture"
SOURCES = sorted((MODULE / "Private").glob("*.cpp"))
WARNINGS = ("-Wall", "-Wextra", "-Werror", "-Wconversion", "-Wshadow=local")
VERSIONS = (4, 5, 6, 7)

#: The engine's headers that the plugin may include; unreal_api.h declares what it uses of them.
ENGINE_HEADERS = {
    "Containers/Ticker.h", "CoreMinimal.h", "Engine/DeveloperSettings.h", "Engine/Engine.h",
    "Engine/GameViewportClient.h", "FXRenderingUtils.h", "GlobalShader.h", "HAL/IConsoleManager.h",
    "Interfaces/IPluginManager.h", "Kismet/BlueprintFunctionLibrary.h", "Misc/App.h",
    "Misc/CoreDelegates.h", "Misc/EngineVersion.h", "Misc/Paths.h", "Modules/ModuleManager.h",
    "PostProcess/PostProcessMaterialInputs.h", "RHICommandList.h", "RHIGPUReadback.h",
    "RenderGraphBuilder.h", "RenderGraphUtils.h", "RenderingThread.h",
    "Runtime/Launch/Resources/Version.h", "SceneTexturesConfig.h", "SceneView.h",
    "SceneViewExtension.h", "ShaderCore.h", "ShaderParameterStruct.h",
    "Subsystems/EngineSubsystem.h", "Tasks/Task.h",
}  # fmt: skip


def files() -> list[Path]:
    return [p for p in MODULE.rglob("*") if p.suffix in (".h", ".cpp")]


def included() -> set[str]:
    """Headers that are neither the plugin's nor the core's nor made by Unreal's header tool."""
    named = {n for p in files() for n in re.findall(r'#include "([^"]+)"', p.read_text())}
    own = {p.name for p in files()} | {
        f"math/{p.name}" for p in (MODULE / "Private/math").iterdir()
    }
    return {n for n in named - own if not n.startswith("realmaster/") and ".generated." not in n}


def compiler(api: Path, minor: int) -> list[str]:
    """g++ with the stated API in place of the engine's headers, which `api` gets."""
    for name in ENGINE_HEADERS:
        (api / name).parent.mkdir(parents=True, exist_ok=True)
        (api / name).write_text('#include "unreal_api.h"\n')
    for header in MODULE.rglob("*.h"):
        (api / f"{header.stem}.generated.h").write_text("")
    places = [MODULE / "Private", MODULE / "Public", package_plugin.CORE / "include"]
    return [
        "g++", "-std=c++20", "-fsyntax-only", *WARNINGS,
        f"-DENGINE_MINOR_VERSION={minor}",
        "-isystem", str(NATIVE / "unreal_api"), "-isystem", str(api),
        *(f"-I{place}" for place in places),
    ]  # fmt: skip


def run(command: Sequence[str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


@pytest.mark.parametrize("minor", VERSIONS)
def test_the_plugin_compiles_against_the_api_it_states(tmp_path: Path, minor: int) -> None:
    """All sources as one, which is quick; all but the module's by themselves make `fake_engine`."""
    unity = tmp_path / "all.cpp"
    unity.write_text("".join(f'#include "{source}"\n' for source in SOURCES))
    done = run([*compiler(tmp_path / "api", minor), str(unity)])
    assert done.returncode == 0, done.stderr[:4000]


def test_the_check_can_fail(tmp_path: Path) -> None:
    """An overload that the version does not call is an error, and so is any other engine call."""
    extension = (MODULE / "Private" / "RealMasterViewExtension.cpp").read_text()
    broken = tmp_path / "broken.cpp"
    for old, new in (
        ("Inputs.ReturnUntouched", "Inputs.Untouched"),
        ("REALMASTER_SUBSCRIBE_PARAMETERS", "int"),
    ):
        assert old in extension
        broken.write_text(extension.replace(old, new))
        done = run([*compiler(tmp_path / "api", 5), str(broken)])
        assert done.returncode != 0 and "broken.cpp" in done.stderr


def test_one_file_knows_versions_and_every_engine_header_is_stated() -> None:
    assert included() == ENGINE_HEADERS
    telling = [p.name for p in files() if "ENGINE_MINOR_VERSION" in p.read_text()]
    assert telling == ["EngineVersion.h"]
    for path in (MODULE / "Private" / "math").iterdir():
        code = re.sub(r"//.*", "", path.read_text())
        assert not re.search(r"\b(FString|FMatrix|TArray|FVector|TEXT|int32)\b", code)


def test_shader_and_its_parameters_agree() -> None:
    shader = (PLUGIN / "Shaders/Private/RealMasterStencil.usf").read_text()
    declared = (MODULE / "Private/StencilShader.h").read_text()
    types = {"FUintVector2": "uint2"}
    parameters = re.findall(r"SHADER_PARAMETER\w*\(([\w<>]+), (\w+)\)", declared)
    assert len(parameters) == 4
    for kind, name in parameters:
        assert f"\n{types.get(kind, kind)} {name};" in shader
    text = (MODULE / "Private/RealMasterCapture.cpp").read_text()
    assert '"/Plugin/RealMasterCapture/Private/RealMasterStencil.usf", "MainCS"' in text
    assert "void MainCS(" in shader


@pytest.mark.skipif(shutil.which("glslangValidator") is None, reason="needs glslang-tools")
def test_the_shader_is_good_hlsl(tmp_path: Path) -> None:
    """With the one macro of Unreal's Common.ush that it uses."""
    include, macro = '#include "/Engine/Private/Common.ush"', "#define STENCIL_COMPONENT_SWIZZLE .g"
    text = (PLUGIN / "Shaders/Private/RealMasterStencil.usf").read_text()
    assert include in text
    for name, given, good in (
        ("good", text, True),
        ("bad", text.replace("Origin +", "Origi +"), False),
    ):
        source = tmp_path / f"{name}.comp"
        source.write_text(given.replace(include, macro))
        made = tmp_path / f"{name}.spv"
        done = run(["glslangValidator", "-D", "-e", "MainCS", "-V", str(source), "-o", str(made)])
        assert (done.returncode == 0 and made.exists()) == good, done.stdout


def test_the_package_holds_the_core_and_compiles(tmp_path: Path) -> None:
    made = package_plugin.package(tmp_path)
    told = json.loads((made / "RealMasterCapture.uplugin").read_text())
    assert told["Modules"][0]["LoadingPhase"] == "PostConfigInit"  # shaders are mapped that early
    core = made / "Source/RealMasterCapture/Private/Core"
    assert (core / "src/Windows/platform_windows.cpp").exists()
    sources = [*(core / "src").glob("*.cpp"), *(core / "src/Unix").glob("*.cpp")]
    assert len(sources) + 1 >= len(list((package_plugin.CORE / "src").glob("*.cpp")))
    given = ["g++", "-std=c++20", "-fno-rtti", f"-I{core / 'include'}", f"-I{core / 'src'}"]
    for options, chosen in (
        (["-M"], sources),  # every include is found
        (["-fsyntax-only"], [p for p in sources if p.stem in ("plugin", "platform_posix")]),
    ):
        done = run([*given, *options, *map(str, chosen)])
        assert done.returncode == 0, done.stderr[:4000]
    with pytest.raises(OutputError, match="--overwrite"):
        package_plugin.package(tmp_path)
    assert package_plugin.package(tmp_path, overwrite=True) == made


# --- the maths -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def maths(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program of unreal_math.cpp."""
    program = tmp_path_factory.mktemp("unreal") / "unreal_math"
    done = run(
        ["g++", "-std=c++17", *WARNINGS, "-O1", f"-I{MODULE / 'Private'}",
         str(NATIVE / "unreal_math.cpp"), "-o", str(program)]
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[:4000]
    return program


def ask(program: Path, name: str, *values: object) -> list[str]:
    """What the program prints for one call, line by line."""
    numbers = [f"{float(v):.17g}" for value in values for v in np.ravel(np.asarray(value))]
    done = subprocess.run(
        [str(program)], input=" ".join([name, *numbers]), capture_output=True, text=True,
        check=True, timeout=60,
    )  # fmt: skip
    return done.stdout.splitlines()


def floats(line: str) -> list[float]:
    return [float(word) for word in line.split()]


def projection(fov_deg: float, aspect: float, near_cm: float) -> np.ndarray:
    """Unreal's reversed, infinite one (FReversedZPerspectiveMatrix), for row vectors."""
    wide = 1 / np.tan(np.radians(fov_deg) / 2)
    return np.array([[wide, 0, 0, 0], [0, wide * aspect, 0, 0], [0, 0, 0, 1], [0, 0, near_cm, 0]])


def inverse_view(camera: UnrealCamera) -> np.ndarray:
    """Unreal's: the rows are right, up, forward, place."""
    x, y, z = rotation(*camera.rotation_deg).T
    rows = np.eye(4)
    rows[:3, :3], rows[3, :3] = np.stack([y, z, x]), camera.location_cm
    return rows


def test_intrinsics_depth_and_jitter(maths: Path) -> None:
    still = projection(90, 16 / 9, 10)
    moved = still.copy()
    moved[2, :2] = 0.5 * 2 / 1280, -0.25 * 2 / 720  # half a pixel right, a quarter down
    lines = ask(maths, "camera", still, moved, 1280, 720)
    assert floats(lines[0]) == pytest.approx([640, 0, 640, 0, 640, 360, 0, 0, 1])
    assert floats(lines[1]) == pytest.approx([0.1, np.inf])
    assert floats(lines[2]) == pytest.approx([0.5, 0.25])
    assert floats(lines[3]) == pytest.approx([0.2, 100.0, np.inf])  # 10 cm / device value
    finite = still.copy()  # near 10 cm, far 1000 m: z m22 + m32 is z at near, 0 at far
    near, far = 10.0, 100_000.0
    finite[2, 2], finite[3, 2] = -near / (far - near), near * far / (far - near)
    lines = ask(maths, "camera", finite, finite, 1280, 720)
    assert floats(lines[1]) == pytest.approx([0.1, 1000.0])


@pytest.mark.parametrize("turn", [(0, 0, 0), (20, 130, -50), (-75, -10, 5)])
def test_poses_and_normals_are_those_of_the_import(maths: Path, turn: tuple[float, ...]) -> None:
    camera = UnrealCamera((120, -340, 560), (turn[0], turn[1], turn[2]), 90)
    normal = np.array([0.6, -0.48, 0.64])
    lines = ask(maths, "pose", inverse_view(camera), normal)
    pose = camera.world_from_camera()
    assert np.allclose(np.reshape(floats(lines[0]), (4, 4)), pose, atol=1e-12)
    assert np.allclose(floats(lines[1]), pose[:3, :3].T @ (normal * (1, -1, 1)), atol=1e-12)


def test_what_stands_still_moves_as_the_reprojection_says(maths: Path) -> None:
    engine = AnalyticEngine(width=64, height=36)
    camera: Camera = engine.camera(3)
    depth = np.full((36, 64), 7.5, np.float32)
    depth[10, 20] = np.inf
    flow, _ = reproject(depth, camera)
    poses = (camera.world_from_camera, camera.world_from_camera_prev)
    for y, x in ((10, 20), (30, 50)):
        given = (camera.K, poses[0], camera.K, poses[1], (0, 0), x + 0.5, y + 0.5, depth[y, x])
        assert np.allclose(floats(ask(maths, "motion", *given)[0]), flow[y, x], atol=1e-3)
    # With jitter the surface at this pixel is another one; its motion is that of where it is.
    jittered = (camera.K, poses[0], camera.K, poses[1], (0.5, -0.25), 51.0, 30.25, 7.5)
    same = (camera.K, poses[0], camera.K, poses[1], (0, 0), 50.5, 30.5, 7.5)
    assert ask(maths, "motion", *jittered) == ask(maths, "motion", *same)
    behind = poses[0].copy()
    behind[:3, :3] = behind[:3, :3] @ np.diag([-1, 1, -1])  # the frame before looked backwards
    given = (camera.K, poses[0], camera.K, behind, (0, 0), 32, 18, 7.5)
    assert np.isnan(floats(ask(maths, "motion", *given)[0])).all()


def test_velocity_is_decoded_as_unreal_encodes_it(maths: Path) -> None:
    """Right and down by 12.8 and 3.6 px of 1280x720: 0.02 and -0.01 in clip space."""
    clip = np.array([0.02, -0.01])
    encoded = np.sign(clip) * np.sqrt(np.abs(clip)) * np.sqrt(2) * 0.499 / 2 + 32767 / 65535
    stored = np.rint(encoded * 65535) / 65535
    assert np.allclose(
        floats(ask(maths, "velocity", stored, 1280, 720)[0]), (-12.8, -3.6), atol=0.02
    )
    zero = 32767 / 65535
    assert floats(ask(maths, "velocity", (zero, zero), 1280, 720)[0]) == pytest.approx([0, 0])


def test_halves_are_numpys(maths: Path) -> None:
    random = np.random.default_rng(5)
    values = np.concatenate(
        [
            random.normal(size=200) * 10.0 ** random.integers(-9, 6, 200),
            [0, -0.0, 1, 65504, 65519.9, 65520, -1e9, np.inf, 6e-8, 2.9e-8, 3.1e-8, 6.1e-5, 2**-14],
        ]
    ).astype(np.float32)
    with np.errstate(over="ignore"):
        expected = values.astype(np.float16).view(np.uint16).tolist()
    assert [int(w) for w in ask(maths, "half", len(values), values)[0].split()] == expected
    assert ask(maths, "half", 1, [np.nan])[0].split() == ["32256"]


def test_buffers_honour_the_row_pitch(maths: Path) -> None:
    color, depth, motion, cut, ids, normal, share = ask(maths, "buffers")
    rows = np.frombuffer(bytes.fromhex(color), np.uint8).reshape(2, 3, 4)
    assert rows[..., 0].tolist() == [[0, 1, 2]] * 2 and rows[..., 1].tolist() == [[0] * 3, [1] * 3]
    assert (rows[..., 3] == 255).all()
    metres = np.frombuffer(bytes.fromhex(depth), "<f4").reshape(2, 3)
    assert np.allclose(metres, [[1, 2, np.inf], [3, 4, np.inf]])
    flow = np.frombuffer(bytes.fromhex(motion), "<f2").reshape(2, 3, 2)
    assert (flow[:, 0] == 0).all() and (flow[:, 1:] != 0).all()  # nothing was written at x = 0
    assert np.isnan(np.frombuffer(bytes.fromhex(cut), "<f2")).all()
    assert np.frombuffer(bytes.fromhex(ids), "<u4").tolist() == [0, 1, 2, 10, 11, 12]
    axes = np.frombuffer(bytes.fromhex(normal), "<f2").reshape(2, 3, 3).astype(float)
    assert (axes[:, 2] == 0).all()  # sky
    assert np.allclose(axes[:, :2], (0, 0, 1), atol=1e-3) and share == "1.000"


def test_the_ring_gives_and_takes_back(maths: Path) -> None:
    """Entries 0 and 1, then none; late after three frames; converting is not late; 0 again."""
    assert ask(maths, "ring") == ["0 1 -1 0 1 0 1 0 1 8"]


# --- the plugin's own sources in a make-believe engine -------------------------------------------

ENGINE = AnalyticEngine(width=96, height=54, fps=24.0)
NUM_FRAMES = 12


@pytest.fixture(scope="module")
def fake_engine(native_build: NativeBuild, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """unreal_fake.cpp with the plugin's sources and the real core."""
    native_build.target("feeder")  # it links the core's library
    library = next(native_build.tree().rglob("librealmaster_core.a"))
    folder = tmp_path_factory.mktemp("fake")
    command = [word for word in compiler(folder, 5) if word != "-fsyntax-only"]
    sources = [p for p in SOURCES if p.name != "RealMasterCaptureModule.cpp"]
    program = folder / "unreal_fake"
    done = run(
        [*command, "-O1", str(NATIVE / "unreal_fake.cpp"), *map(str, sources), str(library),
         "-pthread", "-o", str(program)]
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[:4000]
    return program


def play(
    program: Path, tmp_path: Path, mode: str, frames: int = NUM_FRAMES
) -> tuple[Path, RecordingSummary]:
    """The session of the scene, recorded by the real client."""
    scene, session = tmp_path / "scene.bin", tmp_path / "s.mcap"
    write_scene(scene, ENGINE, frames)
    with (
        ClientLink("tcp://127.0.0.1:0") as link,
        subprocess.Popen(
            [program, scene, link.endpoint.rsplit(":", 1)[1], mode],
            stderr=subprocess.PIPE,
            text=True,
        ) as process,
    ):
        try:
            made = record_link(link, session, options=RecordingOptions(connect_s=30.0))
        except LinkError as error:
            process.kill()
            pytest.fail(f"{error}; the fake engine: {process.communicate()[1]}")
        try:
            _, errors = process.communicate(timeout=60)
        finally:
            process.kill()
        assert process.returncode == 0, errors
    return session, made


def check_frame(reader: SessionReader, index: int, *, only_camera_moves: bool = False) -> None:
    """A frame against the analytic engine's numbers; the frame is known by its game time."""
    found = reader.frame(index)
    number = round(found.header.t_sim_ns * 1e-9 * ENGINE.fps)
    truth = ENGINE.frame(number)
    got, want = found.arrays(found.names), truth.arrays
    assert set(got) == {"color", "depth", "normal", "motion", "instance"}
    assert np.array_equal(got["color"], want["color"])
    assert np.allclose(got["depth"], want["depth"], rtol=1e-6)
    assert np.abs(got["normal"].astype(float) - want["normal"].astype(float)).max() < 2e-3
    camera = found.header.camera
    assert camera is not None and camera.reversed_z and camera.near_m == pytest.approx(0.1)
    assert np.allclose(camera.K, truth.camera.K)
    assert np.allclose(camera.world_from_camera, truth.camera.world_from_camera)
    if found.header.flags & FrameFlags.CUT:
        assert np.isnan(got["motion"]).all()
        return
    assert np.allclose(camera.world_from_camera_prev, truth.camera.world_from_camera_prev)
    known = np.isfinite(np.asarray(want["motion"])).all(-1)
    ids = np.asarray(want["instance"])
    known &= ~np.isin(ids, MOVERS) if only_camera_moves else True
    off = np.abs(got["motion"].astype(float) - want["motion"].astype(float))[known]
    assert off.max() < 0.02  # f16 there, and 16 bits of a square root here
    assert np.array_equal(got["instance"], np.zeros_like(ids) if only_camera_moves else ids)


@pytest.mark.parametrize("mode", ["lockstep", "pieces"])
def test_in_lockstep_every_frame_comes_with_the_engines_numbers(
    fake_engine: Path, tmp_path: Path, mode: str
) -> None:
    session, made = play(fake_engine, tmp_path, mode)
    assert made.frames == NUM_FRAMES and made.num_dropped == 0
    with SessionReader(session) as reader:
        for index in range(NUM_FRAMES):
            check_frame(reader, index, only_camera_moves=mode == "pieces")
        hello = reader.info.hello
        assert hello.lockstep and hello.dt_sim_ns == round(1e9 / 24)
        assert (hello.engine, hello.engine_version, hello.game) == (
            "Unreal Engine", "5.5.4-fake", "FakeCity",
        )  # fmt: skip
        streams = {s.name: dict(s.params) for s in hello.streams}
        assert streams["normal"] == {"source": "gbuffer"}
    if mode == "lockstep":
        assert [str(f) for f in verify(session).findings] == []


def test_in_real_time_every_frame_is_right_or_counted(fake_engine: Path, tmp_path: Path) -> None:
    session, made = play(fake_engine, tmp_path, "realtime")
    assert 0 < made.frames <= NUM_FRAMES
    unexplained = [cause for cause in made.drops if not cause.startswith("plugin/")]
    assert unexplained == []
    with SessionReader(session) as reader:
        for index in range(len(reader)):
            check_frame(reader, index)
        assert len(reader) + made.num_dropped >= reader.seqs[-1] - reader.seqs[0] + 1


def test_a_copy_that_never_comes_is_given_up_and_counted(fake_engine: Path, tmp_path: Path) -> None:
    session, made = play(fake_engine, tmp_path, "late", frames=30)
    assert made.drops["plugin/readback_late"] >= 2
    assert all(cause.startswith("plugin/") for cause in made.drops)
    with SessionReader(session) as reader:
        seqs = reader.seqs.tolist()
        assert seqs[0] < 2 and not {2, 3} & set(seqs) and seqs[-1] > 20  # it goes on afterwards
        for index in range(len(reader)):
            check_frame(reader, index)


def test_a_recording_goes_on_through_a_change_of_size(fake_engine: Path, tmp_path: Path) -> None:
    session, made = play(fake_engine, tmp_path, "resize")
    assert made.frames == 2 * NUM_FRAMES and made.epochs == (1,) and made.num_dropped == 0
    width, height = ENGINE.width - 16, ENGINE.height - 8
    with SessionReader(session) as reader:
        for index in range(NUM_FRAMES, 2 * NUM_FRAMES):
            found, want = reader.frame(index), ENGINE.frame(index - NUM_FRAMES).arrays
            assert found.header.render_size == found.header.output_size == (width, height)
            is_first = index == NUM_FRAMES
            assert bool(found.header.flags & FrameFlags.CUT) == is_first
            assert np.isnan(found.array("motion")).all() == is_first
            for name in ("color", "instance", "depth"):
                assert np.allclose(found.array(name), np.asarray(want[name])[:height, :width])
