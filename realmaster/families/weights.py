"""Loads a model's components from a folder or the Hub; whatever fails is one line with its cure.

safetensors alone: a checkpoint that needs unpickling is refused.
"""

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from huggingface_hub import hf_hub_download, list_repo_files
from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError, RepositoryNotFoundError
from safetensors import SafetensorError

from capture_bridge.errors import SetupError
from realmaster.families.presets import Preset, bundled

#: What loaders raise over files that are damaged, or over hardware that a dtype needs.
_DAMAGED = (SafetensorError, ValueError, LookupError, RuntimeError, EOFError, TypeError)


def load(component: Any, source: str, subfolder: str, **options: Any) -> Any:
    """`component.from_pretrained` of one subfolder, ready for inference. SetupError."""
    where = f"{source} ({subfolder})"
    local = Path(source)
    is_hub_id = not local.exists() and re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", source)
    if not is_hub_id and not (local / subfolder).is_dir():
        raise SetupError(f"{where}: there is no such folder; it must be in diffusers' layout")
    with damaged_or_absent(where, source):
        made = component.from_pretrained(source, subfolder=subfolder, **options)
    return made.eval() if hasattr(made, "eval") else made


@contextmanager
def damaged_or_absent(where: str, source: str) -> Iterator[None]:
    """Turns whatever a loader raises over `where`, of the model `source`, into a SetupError."""
    try:
        with warnings.catch_warnings():  # diffusers passes the Hub what the Hub has dropped
            warnings.filterwarnings("ignore", message="The `local_dir_use_symlinks`")
            yield
    except _DAMAGED as error:
        raise SetupError(f"{where} is damaged or another model: {_first_line(error)}") from error
    except OSError as error:
        raise SetupError(_absent(where, source, error)) from error


def source_of(name: str, preset: Preset, given: str | None) -> str:
    """The folder or Hub id of the preset's weights, or what the user gave in its place.

    SetupError for a model of our own that did not come with the package.
    """
    source = given or preset.source or bundled(name)
    if source is None:
        raise SetupError(
            f"{name}'s weights did not come with this package: give --weights FOLDER; "
            "python -m training.tiny_base --clips PAIRS --out FOLDER makes one"
        )
    return str(source)


def found_file(source: str, suffix: str, what: str) -> Path:
    """A file of that path, or the one with that suffix of a folder or a Hub id.

    A Hub id is `owner/name` or `owner/name/file`. SetupError.
    """
    path = Path(source)
    if path.is_dir():
        found = sorted(str(entry) for entry in path.glob(f"*{suffix}"))
        if len(found) == 1:
            return Path(found[0])
        raise SetupError(f"{path} holds {len(found)} files {suffix}: name one of them")
    if path.suffix == suffix and (path.exists() or source.count("/") != 2):
        return path
    if path.is_file():
        raise SetupError(f"the {what} {source} is no {suffix} file")
    owner, _, rest = source.partition("/")
    name, _, file = rest.partition("/")
    try:
        files = [file] if file else list_repo_files(f"{owner}/{name}")
        found = [entry for entry in files if entry.endswith(suffix)]
        if len(found) == 1:
            return Path(hf_hub_download(f"{owner}/{name}", found[0]))
    except Exception as error:  # the Hub's client passes on what its HTTP library raises
        raise SetupError(
            f"the {what} {source} is no file here, and the Hub does not give it: "
            f"{_first_line(error)}"
        ) from error
    raise SetupError(
        f"{source} holds {len(found)} files {suffix} ({', '.join(found[:4])}): name one as "
        f"{owner}/{name}/FILE{suffix}"
    )


def _absent(where: str, source: str, error: OSError) -> str:
    causes: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in causes:
        causes.append(cause)
        cause = cause.__cause__ or cause.__context__
    if any(isinstance(cause, GatedRepoError) for cause in causes):
        return (
            f"{where} asks for its licence to be accepted: do that at "
            f"https://huggingface.co/{source}, then log in with: hf auth login"
        )
    if any(isinstance(cause, RepositoryNotFoundError) for cause in causes):
        return f"{where}: the Hub has no such model, and there is no folder of that name"
    if any(isinstance(c, LocalEntryNotFoundError | ConnectionError) for c in causes) or (
        "connect" in str(error)
    ):
        return (
            f"{where} is not on this machine and the Hub cannot be reached; fetch it where there "
            f"is a network, with: hf download {source}"
        )
    return f"{where} cannot be read: {_first_line(error)}"


def _first_line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return (text[0] if text else type(error).__name__)[:300]
