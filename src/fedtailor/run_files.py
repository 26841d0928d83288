"""What can be read of a run folder without loading a model library, and plain values as its files hold them."""

import json
import math
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def finite(value: Any) -> Any:
    """Return plain values with null in the place of every number that JSON has no word for."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite(inner) for key, inner in value.items()}
    return [finite(inner) for inner in value] if isinstance(value, list | tuple) else value


def check_plain_file(file: Path) -> None:
    """Raise OSError if something else than a file stands there, such as a folder or a pipe, which a read would wait at."""
    mode = file.stat().st_mode
    if not stat.S_ISREG(mode):
        kind = next((name for holds, name in KINDS if holds(mode)), "no file")
        raise OSError(f"it is {kind}, and a file is expected")


def read_plain_text(file: Path) -> str:
    """Return the text of a file in UTF-8.

    Raises:
        OSError: if it is missing, no plain file, or cannot be read.
        ValueError: if it is not UTF-8.
    """
    check_plain_file(file)
    return file.read_text(encoding="utf-8")


def read_json(file: Path) -> Any:
    """Return the value of a JSON file; raises what `read_plain_text` raises, and ValueError if it is not JSON."""
    try:
        return json.loads(read_plain_text(file))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def baseline_of(folder: Path) -> str:
    """Return the kind of baseline that a run folder is of, finished or not; empty for a federated run."""
    for name in ("environment.json", "summary.json"):  # the second for runs whose environment does not say
        try:
            found = read_json(folder / name)
        except (OSError, ValueError):
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
