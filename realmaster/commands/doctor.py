"""`doctor`."""

from dataclasses import dataclass

from realmaster.doctor import diagnose, report


@dataclass(frozen=True)
class Doctor:
    """Say what this machine can run: GPU, driver, packages, weights on disk, presets that fit."""

    def run(self) -> int:
        """Look and print."""
        for line in report(diagnose()):
            print(line)
        return 0
