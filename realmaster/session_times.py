"""When each frame of a session is shown, in ns from its first frame: the videos' time line.

Enhanced, truth and before/after videos all keep it, so that frames are matched by time.
"""

from capture_bridge.session import SessionReader


def video_times_ns(reader: SessionReader) -> tuple[int, ...]:
    """Strictly increasing times, 0 at the first frame; SessionError where no clock increases."""
    times_ns = reader.timeline().times_ns
    return tuple(t_ns - times_ns[0] for t_ns in times_ns)
