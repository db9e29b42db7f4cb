import dataclasses
from pathlib import Path

import pytest

from capture_bridge.errors import RealMasterError
from realmaster import cli
from realmaster.commands.options import parse_size


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(f"  {name} " in text for name in cli.COMMANDS)


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_is_a_documented_dataclass(name: str) -> None:
    command = cli.load_command(name)
    assert dataclasses.is_dataclass(command)
    assert command.__doc__
    assert callable(command.run)


def test_an_unknown_command_is_one_line_and_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["recrod"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_an_error_is_one_line_and_status_1(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert cli.main(["inspect", str(tmp_path / "absent.mcap")]) == 1
    captured = capsys.readouterr().err
    assert len(captured.splitlines()) == 1
    assert "absent.mcap" in captured


def test_sizes_are_parsed_within_their_limits() -> None:
    assert parse_size("640x360") == (640, 360)
    for bad in ("640", "640x", "x360", "641x360", "8x8", "99999x2", "640x360x2", "-4x4"):
        with pytest.raises(RealMasterError, match="--size"):
            parse_size(bad)
