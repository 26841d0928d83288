"""Data sets of the Hugging Face hub, through `datasets`."""

import os
import re
import socket
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from ..errors import DataError
from .packed import kind_of
from .read import READERS

WAIT_S = 3.0


def is_hub_id(source: str, base: Path) -> bool:
    """Return whether `source` is `hub:NAME`, or `owner/name` and no path that exists or looks like a file."""
    if source.startswith("hub:"):
        return True
    looks_so = re.fullmatch(r"[\w.-]+/[\w.-]+", source) is not None and not source.startswith(".")
    return looks_so and kind_of(source) not in READERS and not (base / source).exists() and not (base / source).parent.exists()


def read_hub(source: str, part: str) -> Any:
    """Return one split, a `datasets.Dataset`, of `owner/name`, `hub:name` or `hub:name:configuration`.

    Without a network the copy in the cache is taken, and if there is none the error comes at once.

    Raises:
        DataError: if `datasets` is not installed, or the data set cannot be had.
    """
    name, _, configuration = source.removeprefix("hub:").partition(":")
    try:
        import datasets
    except ImportError as error:
        raise DataError(
            f"data.{part} is the hub id {name!r}, which needs the package datasets; run `pip install 'fedtailor[hub]'`"
        ) from error
    reachable = _hub_answers()
    if not reachable:
        datasets.config.HF_HUB_OFFLINE = True  # else every request is tried five times
    try:
        return datasets.load_dataset(name, configuration or None, split=part)
    except Exception as error:  # whatever the hub, its client or the data set's files raise
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        hint = "see that the name, the configuration (hub:NAME:CONFIGURATION) and the split exist"
        if not reachable:
            hint = "the hub cannot be reached from here: give a local file, or load the data set once where there is a network"
        if not source.startswith("hub:"):
            hint += f"; if you meant a path, there is no {name} beside the job file"
        raise DataError(
            f"data.{part}: the data set {name!r}, split {part}, could not be loaded ({reason.rstrip('. ')}); {hint}"
        ) from error


def _hub_answers() -> bool:
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return False
    if any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")):
        return True
    address = urlparse(constants.ENDPOINT)
    try:
        socket.create_connection((address.hostname, address.port or 443), timeout=WAIT_S).close()
    except OSError:
        return False
    return True
