"""When each frame of a session is shown, in ns from its first frame: the videos' time line.

Enhanced, truth and before/after videos all keep it, so that frames are matched by time.
"""

from capture_bridge.session import SessionReader
from capture_bridge.timeline import video_timeline


def video_times_ns(reader: SessionReader) -> tuple[int, ...]:
    """Strictly increasing times, 0 at the first frame; SessionError where no clock increases."""
    clocks = [(header.t_sim_ns, header.t_render_ns) for header in reader.headers]
    timeline = video_timeline(
        [t_sim_ns for t_sim_ns, _ in clocks],
        [t_render_ns for _, t_render_ns in clocks],
        reader.t_recv_ns.tolist(),
    )
    return tuple(t_ns - timeline.times_ns[0] for t_ns in timeline.times_ns)
