"""Foxglove's image, camera and transform messages, so that Foxglove and Rerun open a session as is.

The four schemas are a table: it yields both the protobuf descriptors that MCAP wants beside the
messages and the messages' bytes. Field numbers are those of github.com/foxglove/foxglove-sdk
(schemas/proto). A RawImage ends with its pixels, so they are never copied: `raw_image_head` gives
what stands before them. This file knows protobuf's encoding and nothing of sessions.
"""

import struct
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from capture_bridge.messages import Camera, Matrix

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

# Protobuf's type numbers (descriptor.proto) and the wire type each is sent with.
_DOUBLE, _INT64, _INT32, _STRING, _MESSAGE, _BYTES_TYPE, _UINT32, _FIXED32_TYPE = (
    1, 3, 5, 9, 11, 12, 13, 7,
)  # fmt: skip
_OPTIONAL, _REPEATED = 1, 3

Fields = Mapping[str, tuple[int, int, int, str]]
"""Field name -> (number, protobuf type, label, name of the message type or '')."""

_TIMESTAMP = ".google.protobuf.Timestamp"

_MESSAGES: Mapping[str, Fields] = MappingProxyType(
    {
        "google.protobuf.Timestamp": {
            "seconds": (1, _INT64, _OPTIONAL, ""),
            "nanos": (2, _INT32, _OPTIONAL, ""),
        },
        "foxglove.Vector3": {
            "x": (1, _DOUBLE, _OPTIONAL, ""),
            "y": (2, _DOUBLE, _OPTIONAL, ""),
            "z": (3, _DOUBLE, _OPTIONAL, ""),
        },
        "foxglove.Quaternion": {
            "x": (1, _DOUBLE, _OPTIONAL, ""),
            "y": (2, _DOUBLE, _OPTIONAL, ""),
            "z": (3, _DOUBLE, _OPTIONAL, ""),
            "w": (4, _DOUBLE, _OPTIONAL, ""),
        },
        "foxglove.RawImage": {
            "timestamp": (1, _MESSAGE, _OPTIONAL, _TIMESTAMP),
            "frame_id": (7, _STRING, _OPTIONAL, ""),
            "width": (2, _FIXED32_TYPE, _OPTIONAL, ""),
            "height": (3, _FIXED32_TYPE, _OPTIONAL, ""),
            "encoding": (4, _STRING, _OPTIONAL, ""),
            "step": (5, _FIXED32_TYPE, _OPTIONAL, ""),
            "data": (6, _BYTES_TYPE, _OPTIONAL, ""),
        },
        "foxglove.CameraCalibration": {
            "timestamp": (1, _MESSAGE, _OPTIONAL, _TIMESTAMP),
            "frame_id": (9, _STRING, _OPTIONAL, ""),
            "width": (2, _FIXED32_TYPE, _OPTIONAL, ""),
            "height": (3, _FIXED32_TYPE, _OPTIONAL, ""),
            "distortion_model": (4, _STRING, _OPTIONAL, ""),
            "D": (5, _DOUBLE, _REPEATED, ""),
            "K": (6, _DOUBLE, _REPEATED, ""),
            "R": (7, _DOUBLE, _REPEATED, ""),
            "P": (8, _DOUBLE, _REPEATED, ""),
        },
        "foxglove.FrameTransform": {
            "timestamp": (1, _MESSAGE, _OPTIONAL, _TIMESTAMP),
            "parent_frame_id": (2, _STRING, _OPTIONAL, ""),
            "child_frame_id": (3, _STRING, _OPTIONAL, ""),
            "translation": (4, _MESSAGE, _OPTIONAL, ".foxglove.Vector3"),
            "rotation": (5, _MESSAGE, _OPTIONAL, ".foxglove.Quaternion"),
        },
    }
)

#: RawImage's name for the pixels of our buffers that have one.
IMAGE_ENCODINGS: Mapping[str, str] = MappingProxyType({"color": "rgba8", "depth": "32FC1"})

CAMERA_FRAME, WORLD_FRAME = "camera", "world"


def descriptor_set(schema: str) -> bytes:
    """The serialized FileDescriptorSet that describes `schema`, e.g. "foxglove.RawImage"."""
    return b"".join(_field(1, _file(name)) for name in _closure(schema))


def raw_image_head(
    time_ns: int, width: int, height: int, encoding: str, step: int, num_bytes: int
) -> bytes:
    """A foxglove.RawImage but for its last `num_bytes` bytes: the pixels, which follow."""
    return b"".join(
        (
            _field(1, _timestamp(time_ns)),
            _field(7, CAMERA_FRAME.encode()),
            _fixed32(2, width),
            _fixed32(3, height),
            _field(4, encoding.encode()),
            _fixed32(5, step),
            _varint(6 << 3 | _BYTES),
            _varint(num_bytes),
        )
    )


def camera_calibration(time_ns: int, camera: Camera, size: tuple[int, int]) -> bytes:
    """A foxglove.CameraCalibration of a pinhole; size: (width, height) that K belongs to."""
    projection = np.zeros((3, 4))
    projection[:, :3] = camera.K
    return b"".join(
        (
            _field(1, _timestamp(time_ns)),
            _field(9, CAMERA_FRAME.encode()),
            _fixed32(2, size[0]),
            _fixed32(3, size[1]),
            _doubles(6, camera.K),
            _doubles(7, np.eye(3)),
            _doubles(8, projection),
        )
    )


def frame_transform(time_ns: int, world_from_camera: Matrix) -> bytes:
    """A foxglove.FrameTransform: the pose (4, 4) of the camera in the world."""
    x, y, z, w = _quaternion(world_from_camera[:3, :3])
    translation = b"".join(_double(i + 1, v) for i, v in enumerate(world_from_camera[:3, 3]))
    rotation = b"".join(_double(i + 1, v) for i, v in enumerate((x, y, z, w)))
    return b"".join(
        (
            _field(1, _timestamp(time_ns)),
            _field(2, WORLD_FRAME.encode()),
            _field(3, CAMERA_FRAME.encode()),
            _field(4, translation),
            _field(5, rotation),
        )
    )


def _quaternion(rotation: Matrix) -> tuple[float, float, float, float]:
    """The unit quaternion (x, y, z, w) of a rotation matrix (Bar-Itzhack 2000)."""
    r = rotation
    k = np.array(
        [
            [r[0, 0] - r[1, 1] - r[2, 2], 0.0, 0.0, 0.0],
            [r[1, 0] + r[0, 1], r[1, 1] - r[0, 0] - r[2, 2], 0.0, 0.0],
            [r[2, 0] + r[0, 2], r[2, 1] + r[1, 2], r[2, 2] - r[0, 0] - r[1, 1], 0.0],
            [r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1], np.trace(r)],
        ]
    )
    x, y, z, w = np.linalg.eigh(k)[1][:, -1]
    return (x, y, z, w) if w >= 0 else (-x, -y, -z, -w)


def _closure(schema: str) -> list[str]:
    """`schema` and all message types it needs, the needed ones first."""
    needed = [kind[1:] for _, _, _, kind in _MESSAGES[schema].values() if kind]
    ordered = [name for need in needed for name in _closure(need)]
    return [*dict.fromkeys(ordered), schema]


def _file(message: str) -> bytes:
    """A FileDescriptorProto with one message, named as the message's file is upstream."""
    package, name = message.rsplit(".", 1)
    needed = dict.fromkeys(kind[1:] for _, _, _, kind in _MESSAGES[message].values() if kind)
    fields = b"".join(
        _field(
            2,
            _field(1, field.encode())
            + _int(3, number)
            + _int(4, label)
            + _int(5, kind)
            + (_field(6, type_name.encode()) if type_name else b""),
        )
        for field, (number, kind, label, type_name) in _MESSAGES[message].items()
    )
    return b"".join(
        (
            _field(1, _file_name(message)),
            _field(2, package.encode()),
            *(_field(3, _file_name(other)) for other in needed),
            _field(4, _field(1, name.encode()) + fields),
            _field(12, b"proto3"),
        )
    )


def _file_name(message: str) -> bytes:
    package, name = message.rsplit(".", 1)
    stem = name.lower() if package.startswith("google") else name
    return f"{package.replace('.', '/')}/{stem}.proto".encode()


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _int(number: int, value: int) -> bytes:
    return _varint(number << 3 | _VARINT) + _varint(value)


def _field(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | _BYTES) + _varint(len(data)) + data


def _fixed32(number: int, value: int) -> bytes:
    return _varint(number << 3 | _FIXED32) + struct.pack("<I", value)


def _double(number: int, value: float) -> bytes:
    return _varint(number << 3 | _FIXED64) + struct.pack("<d", value)


def _doubles(number: int, values: Matrix) -> bytes:
    return _field(number, np.ascontiguousarray(values, "<f8").tobytes())


def _timestamp(time_ns: int) -> bytes:
    seconds, nanos = divmod(time_ns, 1_000_000_000)
    return _int(1, seconds) + _int(2, nanos)
