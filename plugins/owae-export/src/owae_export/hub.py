"""Sends exported folders to the Hugging Face Hub and fetches them, through `huggingface_hub`'s functions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from owae.errors import OwaeError
from owae.files import expanded
from owae_export.folder import CARD, CONFIG, INFO, MODEL, read_info

FILES = (MODEL, CONFIG, INFO, CARD)


def push(folder: str | Path, repository: str, *, private: bool = False) -> str:
    """Sends an exported folder to a repository of the Hub, "user/name", made if it is not there; returns its address.

    Who you are is what `huggingface_hub` knows of you: `hf auth login`.

    Raises:
        OwaeError: It is no exported folder, or the Hub refuses or cannot be reached.
    """
    folder = expanded(str(folder))
    read_info(folder)
    hub = _hub()
    try:
        made = hub.create_repo(repository, private=private, exist_ok=True)
        hub.upload_folder(folder_path=str(folder), repo_id=repository, allow_patterns=[*FILES, "*.onnx"])
    except Exception as error:  # the Hub's own errors, those of requests, and of names it does not take
        raise OwaeError(f"{folder} could not be sent to '{repository}': {_first(error)}") from error
    return str(made)


def fetch(repository: str, revision: str | None = None) -> Path:
    """Fetches an exported folder from the Hub, nothing but its four files, into the Hub's cache; returns where it lies.

    Raises:
        OwaeError: There is none, or the Hub cannot be reached.
    """
    try:
        return Path(_hub().snapshot_download(repository, revision=revision, allow_patterns=list(FILES)))
    except OwaeError:
        raise
    except Exception as error:  # as above
        raise OwaeError(f"'{repository}' could not be fetched from the Hub: {_first(error)}") from error


def _hub() -> Any:
    try:
        import huggingface_hub
    except ImportError as error:
        raise OwaeError(f"the Hub needs huggingface_hub ({error}); pip install 'owae-export[hub]' brings it") from error
    return huggingface_hub


def _first(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
