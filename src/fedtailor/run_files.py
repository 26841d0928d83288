"""What can be read of a run folder without loading a model library, and plain values as its files hold them."""

import json
import math
import os
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from .causes import cause_of
from .errors import DataError
from .storage import sha256_of
from .text_files import check_regular, read_text, sort_of

WHAT = "a file of a run"
SEALS = "hashes.json"  # of the files of a run that must not change
ABSENT = ""  # among the hashes of a file that may not be there yet
MOST_BYTES = 1 << 28  # of a text file of a run: a summary has rows for each client
AUDIT_FILE = "audit.json"  # what attacks of our own have found


def finite(value: Any) -> Any:
    """Return plain values with null in the place of every number that JSON has no word for."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite(inner) for key, inner in value.items()}
    return [finite(inner) for inner in value] if isinstance(value, list | tuple) else value


def read_json_file(file: Path, *, tip: str = "put back a copy") -> Any:
    """Return the value in a JSON file that fedtailor wrote.

    Args:
        tip: what to do where it is damaged.

    Raises:
        DataError: if it is missing, no regular file, or damaged.
    """
    text = read_text(file, WHAT, most_bytes=MOST_BYTES, error=DataError)
    try:
        return json.loads(text)  # NaN too, which fedtailor once wrote
    except (ValueError, RecursionError) as fault:
        raise DataError(f"{file} cannot be read: it is not JSON ({fault}); it was interrupted or changed: {tip}.") from None


def sealed_hashes(folder: Path) -> dict[str, list[str]]:
    """Return the SHA-256 of the files that a run has sealed, by path within its folder; empty for runs of older versions.

    A file has two while it is being replaced; of one that is written for the first time, the other is ABSENT.

    Raises:
        DataError: if the list is damaged, or lost where the run wrote one.
    """
    file = folder / SEALS
    if not file.exists():
        try:
            environment = read_json_file(folder / "environment.json")
        except DataError:
            return {}
        if isinstance(environment, dict) and environment.get("sealed"):
            raise DataError(
                f"{file}, the list of hashes that the run wrote, is missing, so changes to the run could not be seen; put back a copy."
            )
        return {}
    found = read_json_file(file)
    if not isinstance(found, dict) or not all(
        isinstance(hashes, list) and all(isinstance(one, str) for one in hashes) for hashes in found.values()
    ):
        raise DataError(f"{file} is damaged: it holds no list of hashes; put back a copy.")
    return found


def check_sealed(folder: Path, names: Iterable[str], *, tip: str, may_lack: Collection[str] = ()) -> None:
    """Raise DataError, naming the file, if one that the run sealed is lost, or is not as the run wrote it.

    Args:
        names: files, or folders whose files are all checked, as far as they were sealed.
        tip: what to do.
        may_lack: files that may be lost.
    """
    sealed = sealed_hashes(folder)
    wanted = [name for name in sealed if any(name == one or name.startswith(f"{one}/") for one in names)]
    for name in wanted:
        file = folder / name
        if not file.exists():
            if name in may_lack or ABSENT in sealed[name]:
                continue
            raise DataError(f"{file} is missing, which the run wrote; {tip}.")
        check_regular(file, WHAT, error=DataError)
        try:
            same = sha256_of(file) in sealed[name]
        except OSError as fault:
            raise DataError(f"{cause_of(fault, str(file))}.") from None
        if not same:
            raise DataError(
                f"{file} was changed or damaged since the run wrote it: its SHA-256 is not the one in {SEALS}; {tip}."
            )


def baseline_of(folder: Path) -> str:
    """Return the kind of baseline that a run folder is of, finished or not; empty for a federated run."""
    for name in ("environment.json", "summary.json"):  # the second for runs whose environment does not say
        try:
            found = read_json_file(folder / name)
        except DataError:
            continue
        if isinstance(found, dict) and found.get("baseline"):
            return str(found["baseline"])
    return "local" if any((folder / "clients").glob("*/alone")) else ""


def how_to_resume(folder: Path) -> str:
    """Return what to do with a run that was interrupted or damaged: resume it, or, a baseline, start it again."""
    baseline = baseline_of(folder)
    if baseline:
        job = folder / "job.yaml" if (folder / "job.yaml").is_file() else "JOB"
        return f"a baseline cannot be resumed: start it again with fedtailor run {job} --baseline {baseline}"
    on = " --on NET" if (folder / "network.json").is_file() else ""
    return f"resume it with fedtailor run --resume {folder}{on}"


def found_at(path: Path) -> str:
    """Return in a sentence what is at a path that should be the folder of a run, and is not."""
    if not os.path.lexists(path):
        return "there is nothing of that name"
    if not path.exists():
        return "it is a link that leads nowhere, or round in a circle"
    if not path.is_dir():
        return f"it is {sort_of(path) or 'a file'}"
    if (path / "sweep.json").is_file():
        return f"it is the folder of a sweep or of a recipe, whose runs are in {path / 'cells'}"
    return "it has neither job.yaml nor summary.json" if any(path.iterdir()) else "it is an empty folder"


def shared_part(summary: Mapping[str, Any], place: str) -> str:
    """Return, in a sentence, that a run's result is a part of its clients' models, and where these are; empty where it is whole.

    Args:
        summary: of the run, as in summary.json.
        place: the name of the folder of what was trained: adapter or model.
    """
    if not (summary.get("personal") or {}).get("shares_a_part"):
        return ""
    return (
        "This is the shared part alone, which by itself may be no better than the backbone: "
        f"each client's own weights, with it, are in clients/ID/{place} of the run."
    )
