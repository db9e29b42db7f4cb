"""The fast tier: the recurrent G-buffer U-Net of `models/street_fast.onnx`, run by onnxruntime.

Causal: a frame's picture needs that frame and the state left by the one before, which is warped
along the engine's motion and dropped where the depth says that something else was there. Works at
any resolution; needs color, depth, normal and motion; uses albedo and roughness where they are.
This file knows arrays, onnxruntime and the model's inputs; it never imports torch.
"""

import ctypes
import hashlib
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from capture_bridge.continuity import clock_of, follows
from capture_bridge.errors import MissingBufferError, SessionError, SetupError
from capture_bridge.messages import Camera

if TYPE_CHECKING:
    from capture_bridge.session import SessionFrame
    from realmaster.enhancer import State

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]
Mask = NDArray[np.bool_]

MODEL_PATH = Path(__file__).parent / "models" / "street_fast.onnx"

#: The network's sizes: images are padded to multiples of STRIDE; the hidden state has
#: HIDDEN_CHANNELS at 1/HIDDEN_STRIDE of the resolution. Training exports to these.
STRIDE = 16
HIDDEN_CHANNELS = 8
HIDDEN_STRIDE = 4
#: Order and names of the network's inputs; their shapes are in training/fast_model.py.
INPUT_NAMES = (
    "color",
    "depth",
    "normal",
    "ray_x",
    "ray_y",
    "up",
    "prev",
    "hidden",
    "valid",
    "albedo",
    "roughness",
    "has_material",
)
OUTPUT_NAMES = ("output", "hidden_next")

#: Depths beyond this are compared as if they were this: the sky is everywhere the same.
FAR_M = 1e4
#: Depths agree within this much plus this share. Our choice, the same in training.
DEPTH_SLACK_M = 0.1
DEPTH_SLACK = 0.05

#: Above this many pixels onnxruntime keeps no arena and glibc no large blocks. At 1080p the former
#: is an eighth slower and takes 0.5 GB less (measured with a former network), the latter 0.14 GB.
ARENA_PIXELS = 1_000_000
#: glibc's M_MMAP_THRESHOLD, and what larger blocks than this get: pages of their own.
_MMAP_THRESHOLD = -3
_OWN_PAGES_BYTES = 1 << 20


class FastModel:
    """The fast tier behind the seam of realmaster.enhancer. SetupError without its weights.

    threads: onnxruntime's, all cores when None.
    """

    name = "fast"
    requires = frozenset({"color", "depth", "normal", "motion"})

    def __init__(self, path: Path = MODEL_PATH, *, threads: int | None = None) -> None:
        blob = _read_weights(path)
        self._path, self._threads = path, threads
        self._network = _open_network(blob, path, threads, arena=True)
        self._arena = True
        self.fingerprint = f"fast-{hashlib.sha256(blob).hexdigest()[:16]}"

    def enhance(
        self, frames: "Iterable[SessionFrame]", state: "State"
    ) -> Iterator[NDArray[np.uint8]]:
        """One (H, W, 3) sRGB picture per frame, of color's size; `state` is updated after each.

        MissingBufferError where a needed buffer or the camera is absent; SessionError where the
        camera has values that are not finite.
        """
        for frame in frames:
            yield self.enhance_frame(frame, state)

    def summary(self, state: "State") -> Mapping[str, str]:
        """The weights that made it."""
        return {"weights": self.fingerprint}

    def enhance_frame(self, frame: "SessionFrame", state: "State") -> U8:
        """The picture of one frame; `state` is read and updated in place."""
        feed, depth, size = prepare(frame)
        height, width = size
        history = _usable_history(frame, state, depth.shape)
        if history is None:
            feed.update(_no_history(feed["color"].shape))
        else:
            feed.update(recall(frame, history, depth, feed))
        output, hidden = self.infer(feed)
        picture = cv2.convertScaleAbs(cv2.merge(list(output[0])), alpha=255)
        picture = np.ascontiguousarray(picture[:height, :width])
        state["output"] = picture
        state["hidden"] = hidden
        state["depth"] = depth
        state["clock"] = clock_of(frame)
        return picture.copy()

    def infer(self, feed: dict[str, F32]) -> tuple[F32, F32]:
        """output (1, 3, H', W') in [0, 1] and hidden_next, of inputs by name."""
        arena = feed["valid"].size <= ARENA_PIXELS
        if arena != self._arena:
            self._arena = arena
            if not arena:
                _spare_memory()
            blob = _read_weights(self._path)
            self._network = _open_network(blob, self._path, self._threads, arena=arena)
        output, hidden = self._network.run(OUTPUT_NAMES, feed)
        return output, hidden


def _spare_memory() -> None:
    """Let glibc give large blocks back as soon as they are free; elsewhere do nothing.

    By itself it learns to keep them, in pieces that do not fit the next ones: 140 MB at 1080p.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _OWN_PAGES_BYTES)


def _read_weights(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SetupError(
            f"the fast tier's weights cannot be read: {path} ({error.strerror}); reinstall the "
            "package or train them with: python -m training.fast"
        ) from error


def _num_cores() -> int:
    """The cores that this process may use; onnxruntime itself counts physical ones alone."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _open_network(blob: bytes, path: Path, threads: int | None, *, arena: bool) -> Any:
    """The onnxruntime session of the weights `blob`, which were read from `path`."""
    options = ort.SessionOptions()
    options.enable_cpu_mem_arena = arena
    options.intra_op_num_threads = threads or _num_cores()
    options.inter_op_num_threads = 1
    # Idle threads that spin slow the busy one where two share a core: 109 against 136 ms a frame.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    wanted = ("CUDAExecutionProvider", "CPUExecutionProvider")
    providers = [name for name in wanted if name in ort.get_available_providers()]
    try:
        network = ort.InferenceSession(blob, options, providers=providers)
    except Exception as error:
        raise SetupError(f"{path} is not a model that onnxruntime can run: {error}") from error
    names = tuple(node.name for node in network.get_inputs())
    if names != INPUT_NAMES:
        raise SetupError(
            f"{path} takes {', '.join(names)}; this version feeds {', '.join(INPUT_NAMES)}; "
            "export it again with: python -m training.fast_export"
        )
    return network


def prepare(frame: "SessionFrame") -> tuple[dict[str, F32], F32, tuple[int, int]]:
    """The network's inputs but history, the padded depth (H', W'), and color's (height, width)."""
    missing = [n for n in ("color", "depth", "normal", "motion") if not frame.has(n)]
    if frame.header.camera is None:
        missing.append("camera")
    if missing:
        raise MissingBufferError(
            f"the fast tier needs {', '.join(missing)}, which frame {frame.header.seq} of this "
            "session does not have; record with a plugin that sends them"
        )
    color = frame.array("color")[..., :3]
    height, width = color.shape[:2]
    depth = _padded(_sized(frame.array("depth"), width, height))
    depth = np.where(depth > 0, depth, np.float32(np.inf)).astype(np.float32)
    feed = {
        "color": _planes(_padded(color), 1 / 255),
        "depth": depth[None, None],
        "normal": _planes(_padded(_sized(frame.array("normal"), width, height))),
        **_view_of_camera(frame, width, height, depth.shape),
        **_material(frame, width, height, depth.shape),
    }
    return feed, depth, (height, width)


def recall(
    frame: "SessionFrame", state: "State", depth: F32, feed: dict[str, F32]
) -> dict[str, F32]:
    """The inputs prev, hidden and valid: the state, moved along the motion to this frame."""
    camera = frame.header.camera
    assert camera is not None
    height, width = state["output"].shape[:2]
    motion = frame.array("motion")
    scale = np.array([width / motion.shape[1], height / motion.shape[0]], np.float32)
    flow = _padded(_sized(motion, width, height)).astype(np.float32)
    if (scale != 1).any():
        flow *= scale
    before = _depth_before(depth, feed, camera)
    map_x, map_y, valid = _sources(flow)
    seen = cv2.remap(np.minimum(state["depth"], FAR_M), map_x, map_y, cv2.INTER_NEAREST)
    valid &= np.abs(seen - before) <= DEPTH_SLACK_M + DEPTH_SLACK * before
    prev = cv2.remap(
        _padded(state["output"]), map_x, map_y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    prev *= valid[..., None]
    hidden = state["hidden"]
    coarse = cv2.resize(np.nan_to_num(flow), hidden.shape[:1:-1], interpolation=cv2.INTER_AREA)
    coarse_x, coarse_y, _ = _sources(coarse / np.float32(HIDDEN_STRIDE))
    moved = [
        cv2.remap(plane, coarse_x, coarse_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        for plane in hidden[0]
    ]
    return {
        "prev": _planes(prev, 1 / 255),
        "hidden": np.asarray(np.stack(moved)[None], np.float32),
        "valid": valid.astype(np.float32)[None, None],
    }


def _usable_history(
    frame: "SessionFrame", state: "State", shape: tuple[int, ...]
) -> "State | None":
    """The state, or None where this frame does not continue the one that left it."""
    if "clock" not in state or not follows(frame, state["clock"]):
        return None
    return state if state["depth"].shape == shape else None


def _no_history(shape: tuple[int, ...]) -> dict[str, F32]:
    _, _, height, width = shape
    coarse = (1, HIDDEN_CHANNELS, height // HIDDEN_STRIDE, width // HIDDEN_STRIDE)
    return {
        "prev": np.zeros((1, 3, height, width), np.float32),
        "hidden": np.zeros(coarse, np.float32),
        "valid": np.zeros((1, 1, height, width), np.float32),
    }


def _view_of_camera(
    frame: "SessionFrame", width: int, height: int, padded: tuple[int, ...]
) -> dict[str, F32]:
    """Ray slopes of the padded image's columns and rows, and the world's up in camera axes."""
    camera = frame.header.camera
    assert camera is not None
    poses = (camera.K, camera.world_from_camera, camera.world_from_camera_prev)
    if not all(np.isfinite(pose).all() for pose in poses) or 0 in (camera.K[0, 0], camera.K[1, 1]):
        raise SessionError(
            f"frame {frame.header.seq}: the camera holds numbers that are not finite or a focal "
            "length of 0, so the fast tier cannot place its pixels; record it again"
        )
    scale_x, scale_y = width / frame.header.render_size[0], height / frame.header.render_size[1]
    K = camera.K * np.array([[scale_x], [scale_y], [1.0]])
    ray_x = (np.arange(padded[1]) + 0.5 - K[0, 2]) / K[0, 0]
    ray_y = (np.arange(padded[0]) + 0.5 - K[1, 2]) / K[1, 1]
    return {
        "ray_x": ray_x.astype(np.float32).reshape(1, 1, 1, -1),
        "ray_y": ray_y.astype(np.float32).reshape(1, 1, -1, 1),
        "up": camera.world_from_camera[2, :3].astype(np.float32).reshape(1, 3, 1, 1),
    }


def _material(
    frame: "SessionFrame", width: int, height: int, padded: tuple[int, ...]
) -> dict[str, F32]:
    """Albedo and roughness, or zeros and a mask of 0 where the engine has not both."""
    if not (frame.has("albedo") and frame.has("roughness")):
        return {
            "albedo": np.zeros((1, 3, *padded), np.float32),
            "roughness": np.zeros((1, 1, *padded), np.float32),
            "has_material": np.zeros((1, 1, 1, 1), np.float32),
        }
    albedo = _padded(_sized(frame.array("albedo"), width, height))
    roughness = _padded(_sized(frame.array("roughness"), width, height))
    return {
        "albedo": _planes(albedo, 1 / 255),
        "roughness": (roughness * np.float32(1 / 255))[None, None],
        "has_material": np.ones((1, 1, 1, 1), np.float32),
    }


def _depth_before(depth: F32, feed: dict[str, F32], camera: Camera) -> F32:
    """Depth (H', W') that a standing surface had from the camera of the frame before, to FAR_M."""
    step = np.linalg.solve(camera.world_from_camera_prev, camera.world_from_camera)[2]
    x, y, z, offset = step.astype(np.float32)
    ahead = (x * feed["ray_x"][0, 0] + z) + y * feed["ray_y"][0, 0]
    before: F32 = np.minimum(depth, np.float32(FAR_M)) * ahead + offset
    return np.minimum(before, np.float32(FAR_M))


def _sources(flow: F32) -> tuple[F32, F32, Mask]:
    """cv2.remap's maps for a flow (H, W, 2), and where it is known and points into the image."""
    height, width = flow.shape[:2]
    map_x = np.asarray(flow[..., 0] + np.arange(width, dtype=np.float32), np.float32)
    map_y = np.asarray(flow[..., 1] + np.arange(height, dtype=np.float32)[:, None], np.float32)
    valid = (map_x >= 0) & (map_x <= width - 1) & (map_y >= 0) & (map_y <= height - 1)
    unknown = np.isnan(map_x) | np.isnan(map_y)
    if unknown.any():
        map_x[unknown], map_y[unknown] = 0, 0
    return map_x, map_y, valid


def _sized(image: NDArray[Any], width: int, height: int) -> NDArray[Any]:
    """The buffer at color's size; nearest, since its numbers must not mix over edges."""
    if image.shape[:2] == (height, width):
        return image
    rows = (np.arange(height) * image.shape[0]) // height
    columns = (np.arange(width) * image.shape[1]) // width
    sized: NDArray[Any] = image[rows[:, None], columns]
    return sized


def _padded(image: NDArray[Any]) -> NDArray[Any]:
    """The image with its last row and column repeated up to multiples of STRIDE."""
    down, right = -image.shape[0] % STRIDE, -image.shape[1] % STRIDE
    if not (down or right):
        return image
    widths = [(0, down), (0, right), (0, 0)][: image.ndim]
    return np.asarray(np.pad(image, widths, mode="edge"))


def _planes(image: NDArray[Any], scale: float = 1.0) -> F32:
    """(H, W, 3) of any number type -> (1, 3, H, W) float32 times `scale`."""
    planes = np.empty((1, image.shape[2], *image.shape[:2]), np.float32)
    np.multiply(np.moveaxis(image, 2, 0), np.float32(scale), out=planes[0], casting="unsafe")
    return planes
