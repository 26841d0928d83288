"""What can be read of a run folder without loading a model library, and plain values as its files hold them."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .errors import DataError
from .text_files import read_text

WHAT = "a file of a run"
MOST_BYTES = 1 << 28  # of a text file of a run: a summary has rows for each client


def finite(value: Any) -> Any:
    """Return plain values with null in the place of every number that JSON has no word for."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite(inner) for key, inner in value.items()}
    return [finite(inner) for inner in value] if isinstance(value, list | tuple) else value


def read_json_file(file: Path) -> Any:
    """Return the value in a JSON file that fedtailor wrote.

    Raises:
        DataError: if it is missing, no regular file, or damaged.
    """
    text = read_text(file, WHAT, most_bytes=MOST_BYTES, error=DataError)
    try:
        return json.loads(text)  # NaN too, which fedtailor once wrote
    except (ValueError, RecursionError) as fault:
        raise DataError(
            f"{file} cannot be read: it is not JSON ({fault}); it was interrupted or changed: put back a copy."
        ) from None


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


def shared_part(summary: Mapping[str, Any], tuning: str) -> str:
    """Return, in a sentence, that a run's result is a part of its clients' models, and where these are; empty where it is whole.

    Args:
        summary: of the run, as in summary.json.
        tuning: its kind.
    """
    if not (summary.get("personal") or {}).get("shares_a_part"):
        return ""
    place = "model" if tuning == "full" else "adapter"
    return (
        "This is the shared part alone, which by itself may be no better than the backbone: "
        f"each client's own weights, with it, are in clients/ID/{place} of the run."
    )
