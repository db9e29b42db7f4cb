"""What a row of a table names, imported only when it is asked for. Knows no table."""

import importlib
import importlib.util
from collections.abc import Sequence
from typing import Any

from capture_bridge.errors import SetupError


def imported(address: str) -> Any:
    """The object at "module:name"."""
    module, _, name = address.partition(":")
    return getattr(importlib.import_module(module), name)


def require(what: str, packages: Sequence[str], extra: str) -> None:
    """SetupError, naming the extra to install, where packages that `what` needs are missing."""
    missing = [package for package in packages if importlib.util.find_spec(package) is None]
    if missing:
        raise SetupError(f"{what} needs {', '.join(missing)}: pip install 'realmaster[{extra}]'")


def factory(row: str, address: str, packages: Sequence[str], extra: str) -> Any:
    """The callable at `address`, of the row of that name; SetupError as `require`."""
    require(f"'{row}'", packages, extra)
    return imported(address)
