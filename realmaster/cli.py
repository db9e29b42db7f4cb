"""The command line: one command, `realmaster`, with subcommands in a lazy table.

Each subcommand is a frozen dataclass with a `run` method; only the one that was typed is imported,
so that `realmaster inspect` needs neither Panda3D nor onnxruntime. This is the only place where an
error becomes an exit status: RealMasterError is printed as one line, Ctrl-C says so in one line.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Protocol

import tyro

from capture_bridge.errors import RealMasterError
from realmaster import __version__
from realmaster.factories import imported


class Command(Protocol):
    """What a subcommand's dataclass offers."""

    def run(self) -> int:
        """Do it; the exit status."""


#: name -> (where it lives, what it does)
COMMANDS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "demo": (
            "realmaster.commands.demo:Demo",
            "record, check, enhance and compare the street game: all in one go",
        ),
        "record": (
            "realmaster.commands.capture:Record",
            "record a session from the street game, any plugin or the screen",
        ),
        "run": (
            "realmaster.commands.run:Run",
            "start any OpenGL program and record it (Linux)",
        ),
        "street": (
            "realmaster.commands.capture:Street",
            "drive or walk through the embedded street game in a window",
        ),
        "keys": (
            "realmaster.commands.capture:Keys",
            "make the keys and the token that a link off this machine needs",
        ),
        "inspect": (
            "realmaster.commands.sessions:Inspect",
            "what a session holds: streams, rate, gaps, drops, health",
        ),
        "verify": (
            "realmaster.commands.sessions:Verify",
            "recount and re-check everything in a session",
        ),
        "recover": (
            "realmaster.commands.sessions:Recover",
            "make a whole session of one that was cut off",
        ),
        "clips": (
            "realmaster.commands.clips:Clips",
            "how a session would be cut into clips for training pairs, and why",
        ),
        "pairs": (
            "realmaster.commands.pairs:Pairs",
            "make training pairs of sessions: the render beside its photoreal version",
        ),
        "export": ("realmaster.commands.sessions:Export", "a session as mp4, png or exr"),
        "import": (
            "realmaster.commands.renders:Import",
            "a session of what Unreal's Movie Render Queue wrote",
        ),
        "doctor": (
            "realmaster.commands.doctor:Doctor",
            "what this machine can run, and what is missing",
        ),
        "enhance": ("realmaster.commands.lift:Enhance", "lift a session to photoreal video"),
        "train": (
            "realmaster.commands.train:Train",
            "train an adapter from a folder of pairs",
        ),
        "truth": (
            "realmaster.commands.lift:Truth",
            "path-trace the frames of a street game's session",
        ),
        "evaluate": (
            "realmaster.commands.lift:Evaluate",
            "measure an enhanced video against its session and the truth",
        ),
    }
)


def help_text() -> str:
    """What `realmaster --help` prints."""
    width = max(map(len, COMMANDS))
    rows = "\n".join(f"  {name:<{width}}  {what}" for name, (_, what) in COMMANDS.items())
    return (
        "usage: realmaster COMMAND [options]\n\n"
        "Record game and previz sessions with their true buffers, lift them to photoreal video.\n\n"
        f"commands:\n{rows}\n\n"
        "`realmaster COMMAND --help` says what a command takes."
    )


def load_command(name: str) -> type[Command]:
    """The dataclass behind a subcommand's name (a key of COMMANDS)."""
    command: type[Command] = imported(COMMANDS[name][0])
    return command


def main(args: Sequence[str] | None = None) -> int:
    """Run one subcommand; the exit status: 0, 1 (error or finding), 2 (usage), 130 (Ctrl-C)."""
    arguments = list(sys.argv[1:] if args is None else args)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(help_text())
        return 0 if arguments else 2
    name, *rest = arguments
    if name == "--version":
        print(f"realmaster {__version__}")
        return 0
    if name not in COMMANDS:
        known = ", ".join(COMMANDS)
        print(f"realmaster: there is no command '{name}'; there are {known}", file=sys.stderr)
        return 2
    try:
        command = tyro.cli(
            load_command(name),
            prog=f"realmaster {name}",
            args=rest,
            config=(tyro.conf.FlagCreatePairsOff,),
        )
        return command.run()
    except RealMasterError as error:
        print(f"realmaster {name}: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # `realmaster inspect … | head`: nobody reads on
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print(f"\nrealmaster {name}: stopped; what was finished is kept", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
