"""The test double itself: its buffers agree with one another as BUFFERS says."""

import numpy as np

from capture_bridge.buffers import BUFFERS
from tests.capture_bridge.analytic_engine import ALL_BUFFERS, AnalyticEngine


def test_shapes_and_dtypes_are_those_of_the_table() -> None:
    engine = AnalyticEngine(64, 36)
    arrays = engine.frame(3).arrays
    assert set(arrays) == set(ALL_BUFFERS)
    for name, array in arrays.items():
        assert array.shape == BUFFERS[name].shape(64, 36)
        assert array.dtype == BUFFERS[name].numpy_dtype


def test_normals_are_unit_and_face_the_camera() -> None:
    arrays = AnalyticEngine(64, 36).frame(3).arrays
    solid = np.isfinite(arrays["depth"].astype(float))
    normal = arrays["normal"].astype(float)[solid]
    assert np.allclose(np.linalg.norm(normal, axis=-1), 1, atol=2e-3)
    rows, cols = np.nonzero(solid)
    k = AnalyticEngine(64, 36).camera(3).K
    rays = np.stack([(cols + 0.5 - k[0, 2]) / k[0, 0], (rows + 0.5 - k[1, 2]) / k[1, 1]], -1)
    assert ((normal[:, :2] * rays).sum(-1) + normal[:, 2] < 0.01).all()


def test_a_message_carries_its_arrays() -> None:
    engine = AnalyticEngine(32, 18, buffers=("color", "depth"))
    message = engine.message(2)
    assert [d.name for d in message.header.buffers] == ["color", "depth"]
    depth = np.frombuffer(message.payloads[1], "<f4").reshape(18, 32)
    assert np.array_equal(depth, engine.frame(2).arrays["depth"])
    assert [s.name for s in engine.hello().streams] == ["color", "depth"]
