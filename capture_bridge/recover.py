"""Makes a whole session of one that was cut off or damaged.

Every frame whose header and pixels still pass their CRCs is copied, payload by payload as it was
stored, into a new file with an index. The broken file is only read.
"""

from dataclasses import dataclass
from pathlib import Path

from capture_bridge.errors import OutputError, ProtocolError, SessionError
from capture_bridge.messages import Frame, Mark
from capture_bridge.session import SessionCodec, SessionReader, SessionWriter


@dataclass(frozen=True, slots=True)
class Recovery:
    """What became of a file. lost_frames: whose header is there and whose pixels are damaged.

    lost_bytes: the end of the file, which holds no whole record. lost_groups: chunks of headers
    that are damaged, so that nobody can say how many frames they held.
    """

    path: Path
    frames: int
    lost_frames: int
    lost_groups: int
    lost_bytes: int

    def __str__(self) -> str:
        text = f"{self.path}: {self.frames} frames kept"
        if self.lost_frames:
            text += f", {self.lost_frames} damaged frames lost"
        if self.lost_groups:
            text += f", {self.lost_groups} damaged groups of frames lost"
        if self.lost_bytes:
            text += f", {self.lost_bytes} bytes of an unfinished end lost"
        return text


def recover(path: str | Path, output: str | Path, *, overwrite: bool = False) -> Recovery:
    """Write all that is whole in the session `path` to `output`, a new file.

    Raises SessionError where nothing can be recovered, OutputError where `output` is the same file,
    exists (unless `overwrite`) or cannot be written.
    """
    source, target = Path(path), Path(output)
    if target.exists():
        if source.exists() and target.samefile(source):
            raise OutputError(f"{target} is the broken file itself; give another name")
        if not overwrite:
            raise OutputError(f"{target} exists already; choose another name or pass --overwrite")
    part = target.with_name(target.name + ".part")
    with SessionReader(source, unfinished_ok=True, use_index=False) as reader:
        if not len(reader):
            raise SessionError(f"{source} holds no whole frame: there is nothing to recover")
        try:
            num_frames, lost_frames = _copy(reader, part)
            part.replace(target)
        except OSError as error:
            raise OutputError(f"cannot write {target}: {error.strerror}") from error
        finally:
            part.unlink(missing_ok=True)
        return Recovery(
            path=target,
            frames=num_frames,
            lost_frames=lost_frames,
            lost_groups=reader.num_damaged_groups,
            lost_bytes=reader.num_bytes - reader.good_bytes,
        )


def _copy(reader: SessionReader, part: Path) -> tuple[int, int]:
    """Write what is whole to a new file; gives how many frames were kept and lost."""
    (epoch, hello), *later = sorted(reader.info.hellos.items())
    with SessionWriter(
        part, hello, codec=_codec(reader), overwrite=True, first_epoch=epoch
    ) as writer:
        for epoch, hello in later:
            writer.write_epoch(hello, epoch)
        num_lost = _copy_frames(reader, writer)
        _copy_records(reader, writer)
        summary = {"recovered_from": reader.path.name, "frames": str(writer.num_frames)}
        writer.close({**reader.info.summary, **summary})
        return writer.num_frames, num_lost


def _copy_frames(reader: SessionReader, writer: SessionWriter) -> int:
    num_lost = 0
    for index in range(len(reader)):
        try:
            frame = reader.frame(index)
            payloads = tuple(reader.stored_payload(index, name) for name in frame.names)
            writer.write_frame(Frame(frame.header, payloads), frame.t_recv_ns, frame.epoch)
        except (SessionError, ProtocolError):
            num_lost += 1
    return num_lost


def _copy_records(reader: SessionReader, writer: SessionWriter) -> None:
    """Drops, marks and findings; a damaged chunk of them ends its kind."""
    last_ns = int(reader.t_recv_ns[-1])
    try:
        for drop in reader.drops():
            writer.write_drop(drop)
        for mark in reader.marks():
            named = Mark(mark.t_sim_ns, mark.label)
            writer.write_mark(named, mark.t_recv_ns, mark.epoch)
        for finding in reader.findings():
            writer.write_health(finding, last_ns)
    except SessionError:
        return


def _codec(reader: SessionReader) -> SessionCodec:
    """The codec that the session was recorded with: raw buffers stay raw."""
    codecs = {buffer.codec for buffer in reader.headers[0].buffers}
    if "shuffle+lz4" in codecs:
        return "shuffle+lz4"
    return "raw" if codecs == {"raw"} else "shuffle+zstd"
