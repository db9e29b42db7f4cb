"""A session layer: which frame of a session each picture of an enhanced video stands for.

The source session is never changed. A layer is a small MCAP file beside the video: its metadata
name the session and the video, and each message of `/enhanced` names one frame by (epoch, seq),
with the session's t_sim_ns, the picture's time in the video, and the CRC-32 of its RGB bytes as
they were before they were encoded.
"""

import dataclasses
import json
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from capture_bridge.container import Chunk, ContainerWriter
from capture_bridge.container_reader import Container
from capture_bridge.errors import OutputError, ProtocolError, SessionError
from capture_bridge.fields import DEFAULT_LIMITS, Fields

PROFILE = "realmaster-layer"
SCHEMA_MAJOR = 1
_METADATA = "realmaster.layer"
_TOPIC = "/enhanced"
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class LayerFrame:
    """One picture. t_video_ns: its time in the video. crc32: zlib's, of its (H, W, 3) bytes."""

    epoch: int
    seq: int
    t_sim_ns: int
    t_video_ns: int
    crc32: int = 0


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer that was read. video: the file's name, beside the layer."""

    session_uuid: str
    video: str
    tags: Mapping[str, str]
    frames: tuple[LayerFrame, ...]


def write_layer(
    path: Path, video: str, frames: Iterable[LayerFrame], *, tags: Mapping[str, str]
) -> None:
    """Write the layer of a video; tags must hold the session_uuid. Replaces a layer in one step.

    Raises OutputError where it cannot be written, or `path` is anything but a layer.
    """
    check_replaceable(path)
    part = path.with_name(path.name + ".part")
    properties = {field.name: {"type": "integer"} for field in dataclasses.fields(LayerFrame)}
    schema = json.dumps({"type": "object", "properties": properties}).encode()
    about = {**tags, "schema_version": f"{SCHEMA_MAJOR}.0", "video": video}
    assert "session_uuid" in about
    try:
        writer = ContainerWriter(part, PROFILE, "realmaster layer 1", overwrite=True)
        try:
            writer.add_metadata(_METADATA, about)
            channel = writer.add_channel(
                _TOPIC, "json", ("realmaster.LayerFrame", "jsonschema", schema)
            )
            chunk = Chunk("zstd")
            for number, frame in enumerate(frames):
                data = json.dumps(dataclasses.asdict(frame)).encode()
                chunk.add(channel, number, frame.t_video_ns, frame.t_video_ns, data)
                if chunk.num_bytes >= _CHUNK_BYTES:
                    writer.add_chunks([chunk])
                    chunk = Chunk("zstd")
            if chunk.num_bytes:
                writer.add_chunks([chunk])
            writer.finish()
        finally:
            writer.close()
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise OutputError(f"cannot write {path}: {error.strerror}") from error


def check_replaceable(path: Path) -> None:
    """OutputError where anything but a layer is in a layer's place, such as a recording."""
    if path.exists() and not _is_layer(path):
        raise OutputError(
            f"{path}, where the video's layer would go, is no layer but a recording or another "
            f"file: name the video otherwise, such as {path.stem}.enhanced.mp4"
        )


def _is_layer(path: Path) -> bool:
    try:
        with closing(Container(path)) as container:
            return container.contents.profile == PROFILE
    except SessionError:
        return False


def read_layer(path: Path) -> Layer:
    """The layer in a file; SessionError where it is missing, damaged or something else."""
    container = Container(path)
    try:
        contents = container.contents
        about = next((values for name, values in contents.metadata if name == _METADATA), None)
        if contents.profile != PROFILE or about is None:
            raise SessionError(f"{path} is no session layer (`realmaster enhance` writes those)")
        version = about.get("schema_version", "")
        if version.split(".")[0] != str(SCHEMA_MAJOR):
            raise SessionError(
                f"{path} has layer schema {version[:40]!r}; this RealMaster reads {SCHEMA_MAJOR}.x"
            )
        frames = [
            _read_frame(container, bytes(message.data))
            for place in contents.chunks
            for _, message in container.messages(place)
        ]
        tags = {k: v for k, v in about.items() if k not in ("schema_version", "video")}
        return Layer(about.get("session_uuid", ""), about.get("video", ""), tags, tuple(frames))
    finally:
        container.close()


def _read_frame(container: Container, data: bytes) -> LayerFrame:
    try:
        fields = Fields(json.loads(data), _TOPIC, DEFAULT_LIMITS)
        return LayerFrame(
            epoch=fields.integer("epoch"),
            seq=fields.integer("seq"),
            t_sim_ns=fields.time_ns("t_sim_ns"),
            t_video_ns=fields.time_ns("t_video_ns"),
            crc32=fields.integer("crc32", high=2**32 - 1),
        )
    except (ProtocolError, ValueError, RecursionError) as error:
        raise container.damaged(f"a record of {_TOPIC}: {error}") from error
