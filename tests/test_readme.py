"""README's commands run as they stand, in order, in an empty folder."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from realmaster.cli import COMMANDS

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def shell_lines() -> list[str]:
    """Every line of README's `sh` blocks, without comments."""
    blocks = re.findall(r"^```sh\n(.*?)^```", README, flags=re.S | re.M)
    lines = [line.split("#")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line]


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = [line.split()[1] for line in shell_lines() if line.startswith("make ")]
    assert targets[:2] == ["demo", "test"]
    assert all(re.search(rf"^{target}:", makefile, flags=re.M) for target in targets)


def test_commands_named_in_the_text_exist() -> None:
    named = set(re.findall(r"`realmaster ([a-z]+)", README))
    assert named <= set(COMMANDS)


def test_pictures_and_pages_that_are_linked_exist() -> None:
    links = re.findall(r"\]\((?!http)([^)#]+)\)", README)
    assert [link for link in links if not (ROOT / link).exists()] == []


@pytest.mark.street
@pytest.mark.slow
def test_commands_run_as_they_stand(tmp_path: Path) -> None:
    commands = [shlex.split(line) for line in shell_lines() if line.startswith("realmaster ")]
    assert len(commands) >= 6
    for _, *arguments in commands:
        done = subprocess.run(
            [sys.executable, "-m", "realmaster.cli", *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{arguments}: {done.stderr[-2000:]}"
    assert (tmp_path / "drive.enhanced.mp4").stat().st_size > 10_000
    assert (tmp_path / "report" / "metrics.json").is_file()
