import dataclasses
import itertools
import json
import random
import zlib
from pathlib import Path

import numpy as np
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from mcap.reader import make_reader
from mcap.writer import Writer

from capture_bridge import session_format
from capture_bridge.codecs import pack_buffer
from capture_bridge.crc import crc32_combine
from capture_bridge.errors import (
    MissingBufferError,
    OutputError,
    ProtocolError,
    RealMasterError,
    SessionError,
)
from capture_bridge.messages import Frame, Mark
from capture_bridge.session import Drop, SessionCodec, SessionReader, SessionWriter
from tests.capture_bridge.session_fixtures import (
    ENGINE,
    NUM_FRAMES,
    frame,
    hello,
    message,
    t_recv_ns,
    write_session,
)

CODECS: tuple[SessionCodec, ...] = ("raw", "shuffle+lz4", "shuffle+zstd")


def assert_same_pixels(reader: SessionReader, index: int, truth_index: int) -> None:
    got, truth = reader.frame(index), frame(truth_index).arrays
    assert set(got.names) == set(truth)
    for name, array in truth.items():
        copy = got.array(name)
        assert copy.dtype == array.dtype and copy.shape == array.shape
        assert copy.tobytes() == array.tobytes(), name


@pytest.mark.parametrize("codec", CODECS)
def test_every_byte_comes_back(tmp_path: Path, codec: SessionCodec) -> None:
    path = tmp_path / "s.mcap"
    write_session(path, codec=codec)
    with SessionReader(path) as reader:
        assert len(reader) == NUM_FRAMES
        assert reader.info.finished and not reader.info.note
        assert reader.info.session_uuid == ENGINE.session_uuid
        assert reader.info.hello == hello()
        assert reader.seqs.tolist() == list(range(NUM_FRAMES))
        assert reader.t_recv_ns.tolist() == [t_recv_ns(i) for i in range(NUM_FRAMES)]
        for index, header in enumerate(reader.headers):
            sent = message(index).header
            assert dataclasses.replace(header, buffers=(), camera=None) == dataclasses.replace(
                sent, buffers=(), camera=None
            )
            assert header.camera is not None and sent.camera is not None
            assert np.array_equal(header.camera.world_from_camera, sent.camera.world_from_camera)
            assert_same_pixels(reader, index, index)


def test_random_access_and_the_last_frame_from_the_end(tmp_path: Path) -> None:
    write_session(tmp_path / "s.mcap", codec="shuffle+zstd")
    with SessionReader(tmp_path / "s.mcap") as reader:
        for index in (7, 0, 4, -1):
            assert reader.frame(index).index == index % NUM_FRAMES
            assert_same_pixels(reader, index, index % NUM_FRAMES)
        assert [f.index for f in reader.frames(6, names=["depth"])] == [6, 7, 8]
        with pytest.raises(IndexError):
            reader.frame(NUM_FRAMES)


def test_plugin_codecs_and_padded_rows_are_stored_tight(tmp_path: Path) -> None:
    sent = message(0)
    descriptors, payloads = [], []
    for name, codec in (("color", "zstd"), ("depth", "shuffle+zstd"), ("normal", "shuffle+lz4")):
        descriptor, payload = pack_buffer(name, frame(0).arrays[name], codec, checksum=True)
        descriptors.append(descriptor)
        payloads.append(payload)
    motion = frame(0).arrays["motion"]
    padded = np.zeros((18, 40, 2), motion.dtype)
    padded[:, :32] = motion
    descriptor, _ = pack_buffer("motion", motion)
    descriptors.append(dataclasses.replace(descriptor, row_pitch=padded.strides[0]))
    payloads.append(padded.tobytes())
    header = dataclasses.replace(sent.header, buffers=tuple(descriptors))
    with SessionWriter(tmp_path / "s.mcap", hello()) as writer:
        writer.write_frame(Frame(header, tuple(payloads)), 1, 1)
    with SessionReader(tmp_path / "s.mcap") as reader:
        got = reader.frame(0)
        for name in ("color", "depth", "normal", "motion"):
            assert got.array(name).tobytes() == frame(0).arrays[name].tobytes()
        codecs = {b.name: b.codec for b in got.header.buffers}
        assert codecs["normal"] == "shuffle+lz4"  # as the plugin had compressed it
        assert codecs["color"] == "raw"  # Foxglove reads it: the chunk is compressed instead


def test_a_damaged_payload_is_refused_and_nothing_of_its_frame_is_written(tmp_path: Path) -> None:
    sent = message(1)
    bad = Frame(sent.header, (sent.payloads[0][:-1], *sent.payloads[1:]))
    with SessionWriter(tmp_path / "s.mcap", hello()) as writer:
        writer.write_frame(message(0), 0, 1)
        with pytest.raises(ProtocolError, match="color"):
            writer.write_frame(bad, 1, 1)
        writer.write_frame(message(2), 2, 1)
    with SessionReader(tmp_path / "s.mcap") as reader:
        assert reader.seqs.tolist() == [0, 2]
        assert_same_pixels(reader, 1, 2)


def test_frames_are_ordered_by_epoch_and_seq_and_duplicates_counted(tmp_path: Path) -> None:
    second = dataclasses.replace(hello(), plugin_version="2")
    with SessionWriter(tmp_path / "s.mcap", hello()) as writer:
        for seq in (0, 2, 1, 2):
            writer.write_frame(message(seq), t_recv_ns(seq), 1)
        writer.write_epoch(second, 2)
        for seq in (0, 1):
            writer.write_frame(message(seq), t_recv_ns(5 + seq), 2)
    with SessionReader(tmp_path / "s.mcap") as reader:
        assert reader.epochs.tolist() == [1, 1, 1, 2, 2]
        assert reader.seqs.tolist() == [0, 1, 2, 0, 1]
        assert reader.num_duplicates == 1
        assert reader.info.hellos == {1: hello(), 2: second}
        assert [f.epoch for f in reader.frames(3)] == [2, 2]


def test_drops_marks_findings_and_the_summary(tmp_path: Path) -> None:
    drop = Drop("plugin", "no_credit", 3, 1, 77, 4)
    with SessionWriter(tmp_path / "s.mcap", hello()) as writer:
        writer.write_frame(message(0), 1, 1)
        writer.write_drop(drop)
        writer.write_mark(Mark(9, "bookmark é"), 5, 1)
        writer.write_health({"buffer": "depth", "figure": 0.5}, 6)
        writer.close({"frames": "1"})
    with SessionReader(tmp_path / "s.mcap") as reader:
        assert list(reader.drops()) == [drop]
        (mark,) = reader.marks()
        assert (mark.label, mark.t_sim_ns, mark.t_recv_ns) == ("bookmark é", 9, 5)
        assert list(reader.findings()) == [{"buffer": "depth", "figure": 0.5}]
        assert reader.info.summary == {"frames": "1"}


def test_the_links_token_stays_out_of_the_file(tmp_path: Path) -> None:
    secret = dataclasses.replace(hello(), token="the-secret-token")
    with SessionWriter(tmp_path / "s.mcap", secret) as writer:
        writer.write_frame(message(0), 0, 1)
    assert b"the-secret-token" not in (tmp_path / "s.mcap").read_bytes()


def test_missing_buffers_are_named(tmp_path: Path) -> None:
    sent = message(0)
    header = dataclasses.replace(sent.header, buffers=sent.header.buffers[:1])
    with SessionWriter(tmp_path / "s.mcap", hello()) as writer:
        writer.write_frame(Frame(header, sent.payloads[:1]), 0, 1)
    with SessionReader(tmp_path / "s.mcap") as reader:
        with pytest.raises(MissingBufferError, match="no depth"):
            reader.frame(0).array("depth")
        with pytest.raises(MissingBufferError, match="depth, motion, which enhance needs"):
            reader.require(["color", "depth", "motion"], "enhance")
        reader.require(["color"], "export")


# --- other programs' eyes ---------------------------------------------------------------------


@pytest.mark.parametrize("codec", CODECS)
def test_the_mcap_package_reads_it_with_all_crcs(tmp_path: Path, codec: SessionCodec) -> None:
    write_session(tmp_path / "s.mcap", codec=codec)
    with (tmp_path / "s.mcap").open("rb") as file:
        reader = make_reader(file, validate_crcs=True)
        summary = reader.get_summary()
        assert summary is not None and summary.statistics is not None
        counts: dict[str, int] = {}
        for schema, channel, mcap_message in reader.iter_messages():
            counts[channel.topic] = counts.get(channel.topic, 0) + 1
            if schema is None or not schema.name.startswith("foxglove"):
                continue
            files = descriptor_pb2.FileDescriptorSet.FromString(schema.data)
            pool = descriptor_pool.DescriptorPool()
            for item in files.file:
                pool.Add(item)  # type: ignore[no-untyped-call]
            cls = message_factory.GetMessageClass(pool.FindMessageTypeByName(schema.name))
            _check_foxglove(channel.topic, cls.FromString(mcap_message.data), mcap_message.sequence)
        for topic in ("/frame", "/color", "/depth", "/camera", "/tf", "/buffer/motion"):
            assert counts[topic] == NUM_FRAMES
        assert summary.statistics.message_count == sum(counts.values())


def _check_foxglove(topic: str, got: object, index: int) -> None:
    fields = got
    truth = frame(index)
    if topic in ("/color", "/depth"):
        array = truth.arrays[topic[1:]]
        assert fields.data == array.tobytes()  # type: ignore[attr-defined]
        assert (fields.width, fields.height, fields.step) == (32, 18, 128)  # type: ignore[attr-defined]
        encoding = {"/color": "rgba8", "/depth": "32FC1"}[topic]
        assert fields.encoding == encoding  # type: ignore[attr-defined]
    elif topic == "/camera":
        assert np.allclose(fields.K, truth.camera.K.ravel())  # type: ignore[attr-defined]
    elif topic == "/tf":
        pose, q = truth.camera.world_from_camera, fields.rotation  # type: ignore[attr-defined]
        x, y, z, w = q.x, q.y, q.z, q.w
        forward = [2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y)]
        assert np.allclose(forward, pose[:3, 2])
        right = [1 - 2 * (y * y + z * z), 2 * (x * y + w * z), 2 * (x * z - w * y)]
        assert np.allclose(right, pose[:3, 0])
        position = fields.translation  # type: ignore[attr-defined]
        assert np.allclose([position.x, position.y, position.z], pose[:3, 3])


def test_crcs_of_parts_combine() -> None:
    data = random.Random(1).randbytes(5000)
    for cut in (0, 1, 31, 4096, 5000):
        first, second = data[:cut], data[cut:]
        combined = crc32_combine(zlib.crc32(first), zlib.crc32(second), len(second))
        assert combined == zlib.crc32(data)


# --- bad files --------------------------------------------------------------------------------


def test_an_existing_output_is_refused_without_overwrite(tmp_path: Path) -> None:
    path = tmp_path / "s.mcap"
    write_session(path)
    before = path.read_bytes()
    with pytest.raises(OutputError, match="--overwrite"):
        SessionWriter(path, hello())
    assert path.read_bytes() == before
    SessionWriter(path, hello(), overwrite=True).close()
    with SessionReader(path) as reader:
        assert len(reader) == 0
    with pytest.raises(OutputError, match="cannot write"):
        SessionWriter(tmp_path / "absent" / "s.mcap", hello())


def _foreign_mcap(path: Path) -> None:
    with path.open("wb") as file:
        writer = Writer(file)
        writer.start("ros2")  # type: ignore[no-untyped-call]
        writer.finish()  # type: ignore[no-untyped-call]


def test_each_bad_file_is_one_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "s.mcap"
    with pytest.raises(SessionError, match="cannot open"):
        SessionReader(path)
    with pytest.raises(SessionError):
        SessionReader(tmp_path)
    path.write_bytes(b"")
    with pytest.raises(SessionError, match="is empty"):
        SessionReader(path)
    path.write_bytes(b"\0\0\0\x20ftypisom" * 20)
    with pytest.raises(SessionError, match="not an MCAP file"):
        SessionReader(path)
    _foreign_mcap(path)
    with pytest.raises(SessionError, match="another program"):
        SessionReader(path)


def test_a_newer_major_is_refused_and_a_newer_minor_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, version in (("major", (2, 0)), ("minor", (1, 9))):
        with monkeypatch.context() as patch:
            patch.setattr("capture_bridge.session_writer.SCHEMA_VERSION", version)
            write_session(tmp_path / f"{name}.mcap")
    with pytest.raises(SessionError, match=r"schema 2\.0.*reads 1\.x"):
        SessionReader(tmp_path / "major.mcap")
    with SessionReader(tmp_path / "minor.mcap") as reader:
        assert len(reader) == NUM_FRAMES


def test_a_truncated_file_names_the_cure(tmp_path: Path) -> None:
    path = tmp_path / "s.mcap"
    write_session(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(SessionError, match="realmaster recover"):
        SessionReader(path)
    with SessionReader(path, unfinished_ok=True) as reader:
        assert len(reader) == NUM_FRAMES
        assert not reader.info.finished and "was not closed" in reader.info.note


def _read_all(path: Path) -> None:
    with SessionReader(path, unfinished_ok=True) as reader:
        for index, name in itertools.product(range(len(reader)), ("color", "normal")):
            reader.frame(index).array(name)
        list(reader.drops())


@pytest.mark.parametrize("codec", CODECS)
def test_flipped_bytes_never_raise_anything_else(tmp_path: Path, codec: SessionCodec) -> None:
    """Nor is a wrong pixel ever given: CRCs see to that."""
    path = tmp_path / "s.mcap"
    write_session(path, codec=codec, num_frames=2)
    whole = path.read_bytes()
    rng = random.Random(7)
    spots = [rng.randrange(len(whole)) for _ in range(120)]
    spots += list(range(40)) + list(range(len(whole) - 400, len(whole), 3))
    num_refused = 0
    for spot in spots:
        damaged = bytearray(whole)
        damaged[spot] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        try:
            with SessionReader(path, unfinished_ok=True) as reader:
                for index in range(len(reader)):
                    for name in ("color", "depth", "normal", "instance"):
                        got = reader.frame(index).array(name)
                        assert got.tobytes() == frame(index).arrays[name].tobytes()
        except RealMasterError:
            num_refused += 1
    assert num_refused > 20


def test_a_chunk_that_claims_absurd_sizes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.mcap"
    write_session(path, codec="shuffle+zstd", num_frames=2)
    whole = path.read_bytes()
    place = whole.index(b"\x04\x00\x00\x00zstd")  # after start, end, size, CRC of a chunk
    for size in (2**62, 2**40, 0):
        damaged = bytearray(whole)
        damaged[place - 12 : place - 4] = size.to_bytes(8, "little")
        path.write_bytes(damaged)
        with pytest.raises(SessionError):
            _read_all(path)


def test_json_records_are_plain(tmp_path: Path) -> None:
    drop = Drop("link", "gap", 1, 1, 2)
    assert json.loads(session_format.to_json(drop)) == dataclasses.asdict(drop)
