from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from capture_bridge.errors import OutputError, SetupError
from capture_bridge.messages import FrameFlags
from capture_bridge.screen import MssScreen, record_screen
from capture_bridge.session import SessionReader


class CountingScreen:
    """Shows how often it was looked at."""

    def __init__(self) -> None:
        self.shown = 0

    def grab(self) -> NDArray[np.uint8]:
        picture = np.full((18, 32, 4), self.shown % 256, np.uint8)
        self.shown += 1
        return picture


def test_grabs_are_recorded_with_their_own_times(tmp_path: Path) -> None:
    path = tmp_path / "screen.mcap"
    summary = record_screen(path, fps=100, seconds=0.3, open_screen=CountingScreen)
    with SessionReader(path) as session:
        assert len(session) == summary.frames >= 2
        seqs = session.seqs
        lost = int(seqs[-1]) + 1 - len(seqs)
        assert lost == summary.num_dropped
        for frame in session.frames():
            # grab 0 only finds the size; the picture of seq n is grab n + 1: none was shown twice
            assert frame.array("color")[0, 0, 0] == (frame.header.seq + 1) % 256
            assert frame.header.flags == FrameFlags.HUD_IN_COLOR
        times = [header.t_render_ns for header in session.headers]
        assert times == sorted(set(times))


def test_without_a_screen_the_cure_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    path = tmp_path / "screen.mcap"
    with pytest.raises(SetupError, match="screen cannot be read"):
        record_screen(path, seconds=1, open_screen=MssScreen)
    assert not path.exists()


def test_an_existing_file_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "screen.mcap"
    path.write_bytes(b"mine")
    with pytest.raises(OutputError, match="exists"):
        record_screen(path, seconds=1, open_screen=CountingScreen)
    assert path.read_bytes() == b"mine"
