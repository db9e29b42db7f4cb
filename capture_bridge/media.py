"""Videos: mp4 with measured timestamps to and from arrays. The only file that knows PyAV.

A video is written in fragments, so that a kill leaves one that plays up to its last second or two;
`close` turns it into a plain mp4 with its index in front, which every editor reads. H.264 without
B-frames: each frame stands alone in time, and segments of one run can be joined without encoding
anew. Pictures are sRGB; the file says BT.709, limited range.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import av
import numpy as np
from av.container import InputContainer, OutputContainer
from av.error import FFmpegError
from av.filter import Graph
from av.video.frame import VideoFrame
from av.video.reformatter import Colorspace, Interpolation, VideoReformatter
from av.video.stream import VideoStream
from numpy.typing import NDArray

from capture_bridge.errors import OutputError, SessionError

U8 = NDArray[np.uint8]

TICKS_PER_S = 90_000
_TIME_BASE = Fraction(1, TICKS_PER_S)
_NOMINAL_FPS = 30  # picks H.264's level alone: times come from each frame
_GOP_FRAMES = 48  # also the most that a kill loses
_BT709 = 1
_LIMITED = 1
_EXACT = Interpolation.BICUBIC | 0x40000 | 0x2000  # + accurate rounding, full chroma: swscale.h
_FRAGMENTED = {"movflags": "frag_keyframe+delay_moov+default_base_moof", "flush_packets": "1"}
_PLAIN = {"movflags": "faststart"}


def to_ticks(t_ns: int) -> int:
    """The video's time stamp of a time in ns: 1/90000 s, rounded."""
    return round(Fraction(t_ns * 9, 100_000))


def from_ticks(ticks: int) -> int:
    """The time in ns of a video's time stamp, rounded."""
    return round(Fraction(ticks * 100_000, 9))


class VideoWriter:
    """A new H.264 mp4 of width × height pictures. A context manager; `close` makes it whole.

    origin_ns: the time that becomes 0 (the first frame's by default). crf: quality, 0 (lossless) to
    51. chroma: "420" plays everywhere; odd sizes, which it cannot hold, and "444" keep every
    pixel's colour and need a player that knows High 4:4:4. chroma_qp: added to colour's quantizer,
    -12 to 12; below 0 colours are finer. lookahead: frames that the encoder holds to plan with, 5
    MB each at 1080p; 0: as many as the preset says (20). fps: where the times are to be evenly
    spaced, their rate, which the file then says and its last frame lasts by. tags: texts kept in
    the comment. Raises OutputError where the file exists (unless `overwrite`) or cannot be written.
    """

    def __init__(
        self,
        path: str | Path,
        width: int,
        height: int,
        *,
        overwrite: bool = False,
        crf: int = 16,
        preset: str = "veryfast",
        chroma: Literal["420", "444"] = "420",
        chroma_qp: int = 0,
        lookahead: int = 0,
        fps: Fraction | None = None,
        origin_ns: int | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        self.path = Path(path)
        self.width, self.height = width, height
        self._origin_ns = origin_ns
        self._last_ticks: int | None = None
        self._closed = False
        self._tags = dict(tags or {})
        odd = width % 2 or height % 2
        self._format = "yuv444p" if odd or chroma == "444" else "yuv420p"
        try:
            self._converter = _converter(width, height, self._format)
            self.path.open("wb" if overwrite else "xb").close()
            self._container = _open_output(self.path, _FRAGMENTED, self._tags)
        except FileExistsError as error:
            raise OutputError(
                f"{self.path} exists already; choose another name or pass --overwrite"
            ) from error
        except (FFmpegError, OSError) as error:
            raise self._failed(error) from error
        options = {"crf": str(crf), "preset": preset}
        params = {"chroma-qp-offset": chroma_qp, "rc-lookahead": lookahead}
        if given := [f"{name}={value}" for name, value in params.items() if value]:
            options["x264-params"] = ":".join(given)
        self._stream = self._add_stream(options, fps or Fraction(_NOMINAL_FPS))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.close()

    def write(self, rgb: U8, t_ns: int) -> None:
        """Append a picture (height, width, 3) sRGB, shown at t_ns; times must increase."""
        if rgb.shape != (self.height, self.width, 3) or rgb.dtype != np.uint8:
            raise OutputError(
                f"{self.path} holds {self.width}x{self.height} pictures of 8 bits; this one is "
                f"{rgb.dtype} {rgb.shape}"
            )
        if self._origin_ns is None:
            self._origin_ns = t_ns
        ticks = to_ticks(t_ns - self._origin_ns)
        if ticks < 0 or (self._last_ticks is not None and ticks <= self._last_ticks):
            raise OutputError(
                f"{self.path}: a frame at {ticks / TICKS_PER_S:.5f} s does not follow the one "
                f"before; a video's frames are at least 1/{TICKS_PER_S} s apart"
            )
        self._last_ticks = ticks
        frame = VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")
        frame.pts, frame.time_base = ticks, _TIME_BASE
        self._converter.vpush(frame)
        converted = self._converter.vpull()
        converted.time_base = _TIME_BASE
        self._mux(converted)

    def close(self) -> None:
        """Finish the video and put its index in front. Again does nothing."""
        if self._closed:
            return
        self._closed = True
        try:
            self._mux(None)
        finally:
            self._container.close()
        if self._last_ticks is not None:
            join_videos([self.path], self.path, tags=self._tags)

    def _add_stream(self, options: dict[str, str], fps: Fraction) -> VideoStream:
        stream = self._container.add_stream("libx264", rate=fps)
        stream.width, stream.height = self.width, self.height
        stream.pix_fmt = self._format
        stream.time_base = _TIME_BASE
        context = stream.codec_context
        context.time_base = _TIME_BASE
        context.gop_size = _GOP_FRAMES
        context.max_b_frames = 0
        context.color_range, context.colorspace = _LIMITED, _BT709
        context.color_primaries, context.color_trc = _BT709, _BT709
        context.options = options
        return stream

    def _mux(self, frame: VideoFrame | None) -> None:
        try:
            for packet in self._stream.encode(frame):
                self._container.mux(packet)
        except (FFmpegError, OSError) as error:
            raise self._failed(error) from error

    def _failed(self, error: Exception) -> OutputError:
        return OutputError(f"cannot write {self.path}: {_reason(error)}")


def _converter(width: int, height: int, pixel_format: str) -> Graph:
    """A filter from sRGB pictures to BT.709 ones of limited range.

    Its colour samples lie at the left of each pair of pixels, where H.264 has them unless a file
    says otherwise (ITU-T H.264, annex E); swscale alone would put them half-way.
    """
    graph = Graph()
    steps = [
        graph.add(
            "buffer",
            f"video_size={width}x{height}:pix_fmt=rgb24:colorspace=gbr:range=pc:"
            f"time_base={_TIME_BASE}:pixel_aspect=1/1",
        ),
        graph.add(
            "scale",
            "flags=bicubic+accurate_rnd+full_chroma_int:out_color_matrix=bt709:out_range=limited:"
            "out_chroma_loc=left",
        ),
        graph.add("format", pixel_format),
        graph.add("buffersink"),
    ]
    for step, following in pairwise(steps):
        step.link_to(following)
    graph.configure()
    return graph


class VideoReader:
    """The pictures of a video in order of time, one at a time. A context manager.

    Iterating gives (rgb (H, W, 3) u8, t_ns) where t_ns is the video's own time, 0 at its origin.
    Raises SessionError where the file is missing or holds no video that can be read.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            self._container: InputContainer = av.open(str(self.path))
        except (FFmpegError, OSError) as error:
            raise self._unreadable(error) from error
        if not self._container.streams.video:
            self._container.close()
            raise SessionError(f"{self.path} holds no video")
        self._stream = self._container.streams.video[0]
        self._stream.thread_type = "AUTO"
        self.width, self.height = self._stream.width, self._stream.height
        self.tags = _tags(self._container.metadata.get("comment", ""))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.close()

    @property
    def num_frames(self) -> int:
        """As the file's index says; 0 where it does not."""
        return self._stream.frames

    def __iter__(self) -> Iterator[tuple[U8, int]]:
        reformatter = VideoReformatter()
        try:
            self._container.seek(0)
            for frame in self._container.decode(self._stream):
                if frame.pts is None or frame.time_base is None:
                    raise SessionError(f"{self.path} has a frame without a time stamp")
                rgb = reformatter.reformat(
                    frame,
                    format="rgb24",
                    src_colorspace=_colorspace(frame),
                    interpolation=_EXACT,
                ).to_ndarray()
                yield rgb.astype(np.uint8, copy=False), round(frame.pts * frame.time_base * 10**9)
        except (FFmpegError, OSError) as error:
            raise self._unreadable(error) from error

    def close(self) -> None:
        """Close the file."""
        self._container.close()

    def _unreadable(self, error: Exception) -> SessionError:
        return SessionError(f"cannot read {self.path} as a video: {_reason(error)}")


def join_videos(
    sources: Sequence[Path], output: Path, *, tags: Mapping[str, str] | None = None
) -> None:
    """One plain mp4 of the sources' pictures with their time stamps, nothing encoded anew.

    sources: videos of one run of VideoWriters that share an origin, in order of time. `output` is
    replaced in one step, and may be one of them. Raises OutputError.
    """
    part = output.with_name(output.name + ".part")
    try:
        with _open_output(part, _PLAIN, dict(tags or {})) as target:
            stream: VideoStream | None = None
            for source in sources:
                with av.open(str(source)) as container:
                    if not container.streams.video:  # what a full disk leaves of a short video
                        raise OutputError(f"cannot write {output}: {source} was cut off")
                    given = container.streams.video[0]
                    if stream is None:
                        stream = target.add_stream_from_template(given)
                        stream.time_base = _TIME_BASE
                    for packet in container.demux(given):
                        if packet.size:  # the last one of a container is empty
                            packet.stream = stream
                            target.mux(packet)
        part.replace(output)
    except (FFmpegError, OSError) as error:
        part.unlink(missing_ok=True)
        raise OutputError(f"cannot write {output}: {_reason(error)}") from error


def _open_output(path: Path, options: dict[str, str], tags: dict[str, str]) -> OutputContainer:
    options = {
        **options,
        "video_track_timescale": str(TICKS_PER_S),
        "movie_timescale": str(TICKS_PER_S),
    }
    container = av.open(str(path), "w", format="mp4", container_options=options)
    if tags:
        container.metadata["comment"] = json.dumps(tags)
    return container


def _tags(comment: str) -> dict[str, str]:
    try:
        value: Any = json.loads(comment)
    except ValueError:
        return {}
    return {str(k): str(v) for k, v in value.items()} if isinstance(value, dict) else {}


def _colorspace(frame: VideoFrame) -> int:
    """The frame's YUV matrix; where it does not say, the usual guess by its size."""
    known = {1: Colorspace.ITU709, 5: Colorspace.ITU601, 6: Colorspace.ITU601}
    fallback = Colorspace.ITU709 if frame.height >= 720 else Colorspace.ITU601
    return known.get(frame.colorspace, fallback)


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
