"""Faces: who changes is found out, by the engine's ids where there are any."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from capture_bridge.errors import SetupError
from realmaster.faces import SIDE, TEMPLATE, FaceIdentity, open_faces
from realmaster.gates import GATES, Limits
from tests.realmaster.fast_frames import MemoryFrame, memory_frames

onnx = pytest.importorskip("onnx", reason="needs realmaster[train]")

U8 = NDArray[np.uint8]
SIZE = (96, 64)
COUNT = 5
#: Two faces, of 28 pixels a side, by their upper left corners; and the ids of who has them.
PLACES = {7: (10, 20), 9: (55, 12)}
_SCALE = 28 / SIDE


def write_recognizer(path: Path, side: int = SIDE) -> Path:
    """Embeds a face as the means of its 8 x 8 parts."""

    def tensor(name: str, shape: list[int]) -> object:
        return onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)

    nodes = [
        onnx.helper.make_node("AveragePool", ["x"], ["p"], kernel_shape=[14, 14], strides=[14, 14]),
        onnx.helper.make_node("Flatten", ["p"], ["y"]),
    ]
    graph = onnx.helper.make_graph(
        nodes,
        "recognizer",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 3, side, side])],
        [
            onnx.helper.make_tensor_value_info(
                "y", onnx.TensorProto.FLOAT, [1, 3 * (side // 14) ** 2]
            )
        ],
    )
    opsets = [onnx.helper.make_opsetid("", 17)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opsets, ir_version=9), str(path))
    return path


def find_both(picture: U8) -> list[NDArray[np.float32]]:
    return [
        (TEMPLATE * _SCALE + np.array(place, np.float32)).astype(np.float32)
        for place in PLACES.values()
    ]


def face(seed: int) -> U8:
    drawn = np.random.default_rng(seed).integers(0, 256, (7, 7, 3)).astype(np.uint8)
    return np.asarray(cv2.resize(drawn, (28, 28), interpolation=cv2.INTER_CUBIC))


def picture(seeds: dict[int, int]) -> U8:
    """A grey picture with the faces of these seeds."""
    made = np.full((SIZE[1], SIZE[0], 3), 120, np.uint8)
    for person, seed in seeds.items():
        x, y = PLACES[person]
        made[y : y + 28, x : x + 28] = face(seed)
    return made


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> FaceIdentity:
    path = write_recognizer(tmp_path_factory.mktemp("faces") / "arcface.onnx")
    return FaceIdentity(find_both, path)


@pytest.fixture(scope="module")
def frames() -> list[MemoryFrame]:
    instance = np.zeros((SIZE[1], SIZE[0]), np.uint32)
    for person, (x, y) in PLACES.items():
        instance[y : y + 28, x : x + 28] = person
    drawn = memory_frames(COUNT, SIZE)
    return [replace(frame, buffers=frame.buffers | {"instance": instance}) for frame in drawn]


def identity(faces: FaceIdentity, frames: list[MemoryFrame], seeds: list[dict[int, int]]) -> float:
    pictures = [picture(one) for one in seeds]
    anchors = {0: pictures[0], COUNT - 1: pictures[-1]}
    return faces.measured(frames, pictures, anchors)["identity"]


def test_who_stays_is_known_again(faces: FaceIdentity, frames: list[MemoryFrame]) -> None:
    assert identity(faces, frames, [{7: 1, 9: 2}] * COUNT) == pytest.approx(1, abs=1e-3)


def test_one_who_changes_is_found_among_others(
    faces: FaceIdentity, frames: list[MemoryFrame]
) -> None:
    same, changed = {7: 1, 9: 2}, {7: 1, 9: 3}
    value = identity(faces, frames, [same, changed, changed, changed, same])
    assert value < Limits().identity
    (gate,) = [gate for gate in GATES if gate.figure == "identity"]
    reason = gate.reason({"identity": value}, Limits())
    assert reason is not None
    assert reason.startswith("identity: ")


def test_ids_tell_people_apart_who_have_changed_places(
    faces: FaceIdentity, frames: list[MemoryFrame]
) -> None:
    same, swapped = {7: 1, 9: 2}, {7: 2, 9: 1}
    seeds = [same, swapped, swapped, swapped, same]
    assert identity(faces, frames, seeds) < Limits().identity
    nameless = [frame.without("instance") for frame in frames]
    assert identity(faces, nameless, seeds) == pytest.approx(1, abs=1e-3)


def test_without_faces_there_is_no_figure(
    faces: FaceIdentity, frames: list[MemoryFrame], tmp_path: Path
) -> None:
    blind = FaceIdentity(lambda _: [], write_recognizer(tmp_path / "arcface.onnx"))
    pictures = [picture({7: 1, 9: 2})] * COUNT
    assert blind.measured(frames, pictures, {0: pictures[0]}) == {}
    assert faces.measured(frames, pictures, {}) == {}


def test_what_is_no_model_is_said(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="holds 0 YuNet detectors and 0 other"):
        open_faces(tmp_path)
    (tmp_path / "face_detection_yunet_x.onnx").write_bytes(b"none")
    write_recognizer(tmp_path / "arcface.onnx")
    with pytest.raises(SetupError, match="no YuNet detector"):
        open_faces(tmp_path)
    (tmp_path / "broken.onnx").write_bytes(b"none")
    with pytest.raises(SetupError, match="no face recognizer"):
        FaceIdentity(find_both, tmp_path / "broken.onnx")
    with pytest.raises(SetupError, match=r"takes \[\[1, 3, 56, 56\]\]"):
        FaceIdentity(find_both, write_recognizer(tmp_path / "small.onnx", 56))
