"""Whether people stay who they are: faces of a clip's pictures against those of its anchors.

The models are the user's, as ONNX files: a YuNet detector, which OpenCV runs, and an ArcFace-style
recognizer, which onnxruntime runs. Knows pictures and instance ids; the limit is gates.py's.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from capture_bridge.errors import SetupError

if TYPE_CHECKING:
    from capture_bridge.session import SessionFrame

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]
Finder = Callable[[U8], Sequence[F32]]
"""The faces of a picture (H, W, 3): (5, 2) x, y of eyes, nose and corners of the mouth each."""

#: insightface's recognizers take RGB faces of this side as (x - 127.5) / 127.5, whose five points
#: lie here (deepinsight/insightface, face_align.py): left to right as seen, eyes, nose, mouth.
SIDE = 112
TEMPLATE: F32 = np.array(
    [
        [38.2946, 51.6963],
        [73.5318, 51.5014],
        [56.0252, 71.7366],
        [41.5493, 92.3655],
        [70.7299, 92.2041],
    ],
    np.float32,
)
#: Eyes closer than this, in pixels, say little about a person. Our choice.
_MIN_EYES_PX = 8
_MIN_SCORE = 0.7
#: Of a clip, so many frames are looked at.
_MAX_FRAMES = 8


class FaceIdentity:
    """Compares faces. finder: finds them. recognizer: ArcFace-style, (1, 3, 112, 112) to (1, D)."""

    def __init__(self, finder: Finder, recognizer: Path) -> None:
        self._find = finder
        self._network = _open(recognizer)

    def measured(
        self, frames: "Sequence[SessionFrame]", pictures: Sequence[U8], anchors: Mapping[int, U8]
    ) -> dict[str, float]:
        """identity: of the person who changes most, the mean cosine with her face in an anchor.

        A person is an instance of the engine; without ids, the most similar face of the anchors.
        Nothing where no face of an anchor is seen again.
        """
        known = [
            face for at, picture in anchors.items() for face in self._faces(frames[at], picture)
        ]
        likeness: dict[int, list[float]] = {}
        step = max(1, len(pictures) // _MAX_FRAMES)
        for at in range(0, len(pictures), step):
            if at in anchors or not known:
                continue
            for person, embedding in self._faces(frames[at], pictures[at]):
                same = [(other, float(e @ embedding)) for other, e in known if other == person]
                if same:
                    likeness.setdefault(person, []).append(max(cosine for _, cosine in same))
        if not likeness:
            return {}
        return {"identity": min(float(np.mean(cosines)) for cosines in likeness.values())}

    def _faces(self, frame: "SessionFrame", picture: U8) -> list[tuple[int, F32]]:
        """(instance id, 0 without; embedding of length 1) of each face that is large enough."""
        height, width = picture.shape[:2]
        found = []
        for points in self._find(picture):
            if np.linalg.norm(points[1] - points[0]) < _MIN_EYES_PX:
                continue
            person = 0
            if frame.has("instance") and frame.array("instance").shape == (height, width):
                x, y = np.clip(np.rint(points[2]).astype(int), 0, (width - 1, height - 1))
                person = int(frame.array("instance")[y, x])
            found.append((person, self.embedding(picture, points)))
        return found

    def embedding(self, picture: U8, points: F32) -> F32:
        """(D,) of length 1, of the face whose five points these are."""
        matrix: Any = cv2.estimateAffinePartial2D(points, TEMPLATE, method=cv2.LMEDS)[0]
        if matrix is None:
            return np.zeros(self._network.get_outputs()[0].shape[1], np.float32)
        face = cv2.warpAffine(picture, matrix, (SIDE, SIDE))
        blob = (face.astype(np.float32).transpose(2, 0, 1)[None] - 127.5) / 127.5
        (embedding,) = self._network.run(None, {self._network.get_inputs()[0].name: blob})
        return np.asarray(embedding[0] / max(float(np.linalg.norm(embedding)), 1e-9), np.float32)


def open_faces(folder: Path) -> FaceIdentity:
    """The detector (a name with "yunet") and the recognizer (the other) of a folder. SetupError."""
    files = sorted(folder.glob("*.onnx"))
    detectors = [file for file in files if "yunet" in file.name.lower()]
    recognizers = [file for file in files if file not in detectors]
    if len(detectors) != 1 or len(recognizers) != 1:
        raise SetupError(
            f"{folder} holds {len(detectors)} YuNet detectors and {len(recognizers)} other .onnx "
            "files; put one of each there: face_detection_yunet_*.onnx and an ArcFace recognizer"
        )
    return FaceIdentity(yunet(detectors[0]), recognizers[0])


def yunet(path: Path) -> Finder:
    """A finder by OpenCV's YuNet (cv2.FaceDetectorYN). SetupError where the file is another."""
    try:
        detector = cv2.FaceDetectorYN.create(str(path), "", (320, 320), _MIN_SCORE)
    except cv2.error as error:
        raise SetupError(f"{path} is no YuNet detector that OpenCV can read") from error

    def find(picture: U8) -> list[F32]:
        height, width = picture.shape[:2]
        detector.setInputSize((width, height))
        _, rows = detector.detect(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        found = np.zeros((0, 15), np.float32) if rows is None else np.asarray(rows, np.float32)
        return list(found[:, 4:14].reshape(-1, 5, 2))

    return find


def _open(path: Path) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    try:
        network = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise SetupError(f"{path} is no face recognizer that onnxruntime can read") from error
    taken, given = network.get_inputs(), network.get_outputs()
    if len(taken) != 1 or list(taken[0].shape[1:]) != [3, SIDE, SIDE] or len(given[0].shape) != 2:
        raise SetupError(
            f"{path} takes {[list(one.shape) for one in taken]}; an ArcFace recognizer takes one "
            f"(1, 3, {SIDE}, {SIDE}) and gives one embedding"
        )
    return network
