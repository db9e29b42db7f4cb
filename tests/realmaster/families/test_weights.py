"""Files of models by path or Hub id: what is not there ends in one line."""

import pytest

from capture_bridge.errors import SetupError
from realmaster.families import weights
from realmaster.families.weights import found_file


class NoNetworkError(Exception):
    """What an HTTP library raises: no OSError."""


def test_a_hub_out_of_reach_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(_: str) -> list[str]:
        raise NoNetworkError("Name or service not known")

    monkeypatch.setattr(weights, "list_repo_files", unreachable)
    with pytest.raises(SetupError, match=r"the adapter someone/lora is no file here.*not known"):
        found_file("someone/lora", ".safetensors", "adapter")
