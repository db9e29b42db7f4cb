"""`realmaster run` as a real process that real signals end: a whole session, and no game left."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from capture_bridge.session import SessionReader
from capture_bridge.verify import verify
from realmaster.opengl_game import PLUGIN_VARIABLE
from tests.native.conftest import NativeBuild
from tests.native.test_opengl import need_egl

pytestmark = [
    pytest.mark.native,
    pytest.mark.timeout(180),
    pytest.mark.skipif(sys.platform != "linux", reason="the interposer needs Linux"),
]
PATIENCE_S = 60.0
ENOUGH_BYTES = 4 << 20  # some frames of 320x180
#: A game with a helper process, as launchers have; writes both ids.
PLAIN = "sleep 1000 & echo $! $$ > {pids}; exec {game} {arguments}"
#: One that does not end when it is asked to.
STUBBORN = "trap '' TERM; " + PLAIN


@dataclass
class Run:
    """A running `realmaster run`, its session, and the file of the game's process ids."""

    process: "subprocess.Popen[str]"
    path: Path
    pids: Path

    def wait_for(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < deadline, "the recording does not begin"
            time.sleep(0.02)

    def wait_for_frames(self) -> None:
        self.wait_for(lambda: self.path.exists() and self.path.stat().st_size > ENOUGH_BYTES)

    def end(self, number: signal.Signals) -> tuple[int, str, str]:
        """The exit status, what was said and what was complained of."""
        self.process.send_signal(number)
        said, complaints = self.process.communicate(timeout=PATIENCE_S)
        return self.process.returncode, said, complaints

    def game_is_gone(self) -> bool:
        """Whether no process of the game runs; what waits to be reaped by init does not."""
        pids = self.pids.read_text().split()
        assert len(pids) == 2
        return not any(_runs(pid) for pid in pids)


def _runs(pid: str) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


@pytest.fixture
def interposer(native_build: NativeBuild) -> Path:
    need_egl()
    return native_build.target("realmaster_opengl")


@contextmanager
def running(
    game: Path, interposer: Path, folder: Path, *arguments: str, script: str = PLAIN
) -> Iterator[Run]:
    """Records `game` under a shell; whatever a failing test leaves is killed."""
    path, pids = folder / "s.mcap", folder / "pids"
    shell = script.format(pids=pids, game=game, arguments=" ".join(arguments))
    command = [sys.executable, "-m", "realmaster.cli", "run", "-o", str(path), "--codec", "raw"]
    process = subprocess.Popen(
        [*command, "--fps", "0", "--", "/bin/sh", "-c", shell],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, PLUGIN_VARIABLE: str(interposer)},
    )
    try:
        yield Run(process, path, pids)
    finally:
        process.kill()
        process.communicate()
        for pid in pids.read_text().split() if pids.exists() else []:
            if _runs(pid):
                os.kill(int(pid), signal.SIGKILL)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_leaves_a_whole_session_and_no_game(
    native_build: NativeBuild, interposer: Path, tmp_path: Path, number: signal.Signals
) -> None:
    game = native_build.target("opengl_fixed")
    with running(game, interposer, tmp_path, "--hud") as run:
        run.wait_for_frames()
        status, said, complaints = run.end(number)
        assert status == 0, complaints
        assert "Traceback" not in complaints
        assert run.game_is_gone()
    # The frame's number is drawn with the world and stands still: the probe takes it for a HUD.
    found = [str(f) for f in verify(run.path).findings if f.fault != "hud_in_color"]
    assert found == []
    with SessionReader(run.path) as session:
        assert len(session) >= 5
        assert session.frame(-1).array("color").shape == (180, 320, 4)
        assert f"{len(session)} frames" in said


def test_a_game_that_will_not_end_is_killed(
    native_build: NativeBuild, interposer: Path, tmp_path: Path
) -> None:
    game = native_build.target("opengl_fixed")
    with running(game, interposer, tmp_path, "--hud", script=STUBBORN) as run:
        run.wait_for_frames()
        status, _, complaints = run.end(signal.SIGTERM)
        assert status == 0, complaints
        assert run.game_is_gone()
    with SessionReader(run.path) as session:
        assert len(session) >= 5


def test_stopped_before_its_world_came(
    native_build: NativeBuild, interposer: Path, tmp_path: Path
) -> None:
    game = native_build.target("opengl_fixed")
    with running(game, interposer, tmp_path, "--menu") as run:
        run.wait_for(lambda: run.pids.exists() and len(run.pids.read_text().split()) == 2)
        status, _, complaints = run.end(signal.SIGINT)
        assert status == 1
        assert "sh was stopped and" in complaints
        assert "Traceback" not in complaints
        assert run.game_is_gone()
    assert not run.path.exists()
