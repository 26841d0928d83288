"""What finished runs measured, as one table: a row a run, with the job's data, its system, and what came of it."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...causes import detail_of
from ...errors import DataError
from ...metrics.figure import METRICS
from ...run_files import WHAT, check_sealed, read_json_file
from ...storage import text_sha256
from ...text_files import check_regular
from ...yaml_text import read_yaml_file

if TYPE_CHECKING:
    import pandas as pd

READ = ("job.yaml", "summary.json", "partition.parquet")  # of a run
JUDGED_BY = ("accuracy", "macro_f1", "loss")  # the metric of a run: the first of these that it has
COLUMNS = (
    "decision", "task", "backbone", "clients", "rows", "divergence", "system", "settings", "seed", "metric", "value", "higher_is_better",
    "bytes", "operations", "peak_bytes", "seconds", "rounds", "run",
)  # fmt: skip


def system_of(job: Mapping[str, Any]) -> str:
    """Return the name of the system that a job carries out: its protocol, its tuning with what sizes it, and its rule.

    Args:
        job: all settings, as `Job.to_dict` gives them.
    """
    tuning, protocol = job["tuning"], job["protocol"]
    size = next((f" {tuning[name]}" for name in ("rank", "width", "length") if tuning.get(name) is not None), "")
    targets = tuning.get("targets")
    where = f" on {','.join(map(str, targets))}" if targets else ""
    rule = (protocol.get("aggregation") or {}).get("kind", "") if protocol["kind"] == "averaging" else ""
    return ", ".join(part for part in (protocol["kind"], f"{tuning['kind']}{size}{where}", rule) if part)


def decision_of(job: Mapping[str, Any]) -> str:
    """Return what names all runs between which somebody could have chosen: those on the same data, clients, rounds and work, whatever the system."""
    local = job["protocol"].get("local", {})
    work = {name: local.get(name) for name in ("epochs", "steps", "batch_size", "accumulate")}
    data = {name: value for name, value in job["data"].items() if name != "cache"}
    same = [job["task"], job["backbone"], data, job["clients"], work, job["stop"]["rounds"]]
    return text_sha256(repr(same))[:12]


def evidence_from(folders: Iterable[Path]) -> "pd.DataFrame":
    """Return a row for each finished run in these folders, or in folders below them.

    Raises:
        DataError: if there is none.
    """
    import pandas as pd

    places = [Path(folder) for folder in folders]
    found = sorted({summary.parent for place in places for summary in place.rglob("summary.json")})
    rows = [row for folder in found for row in _row(folder)]
    if not rows:
        raise DataError(
            f"no finished run in {', '.join(map(str, places))}: a finished run is a folder with job.yaml and summary.json, which fedtailor run or sweep makes"
        )
    return pd.DataFrame(rows, columns=list(COLUMNS))


def read_evidence(file: Path) -> "pd.DataFrame":
    """Return the table in a file.

    Raises:
        DataError: if it cannot be read, or lacks a column.
    """
    import pandas as pd

    if not file.is_file():
        raise DataError(f"{file} is no file; fedtailor advise --collect RUNS --evidence FILE writes one")
    try:
        table = pd.read_parquet(file)
    except Exception as fault:  # pyarrow's own kinds are many
        raise DataError(
            f"{file} cannot be read as evidence ({type(fault).__name__}); fedtailor advise --collect RUNS --evidence FILE writes such a file"
        ) from fault
    missing = [name for name in COLUMNS if name not in table]
    if missing:
        raise DataError(
            f"{file} is no table of evidence: it lacks {', '.join(missing)}; fedtailor advise --collect RUNS --evidence FILE writes one"
        )
    return table


def _row(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the row of one run; nothing of a baseline, or of a run that has none of the metrics."""
    if not (folder / "job.yaml").is_file():
        return
    check_sealed(folder, READ, tip="put back a copy, or move the run away", may_lack=READ)
    job: Any = read_yaml_file(folder / "job.yaml", "the job of a run")
    summary: Any = read_json_file(folder / "summary.json")
    try:
        yield from _found(folder, job, summary)
    except (KeyError, TypeError, ValueError, AttributeError, OSError) as fault:  # what pyarrow raises are kinds of these
        raise DataError(
            f"the run in {folder} cannot be read as evidence ({detail_of(fault)}): its job.yaml, summary.json or partition.parquet was damaged or "
            "changed; put back a copy, or move the run away"
        ) from None


def _found(folder: Path, job: Any, summary: Any) -> Iterator[dict[str, Any]]:
    if not isinstance(job, Mapping) or not isinstance(summary, Mapping):
        raise TypeError("one of them holds no settings")
    if summary.get("baseline") or "protocol" not in job or "metrics" not in summary:
        return
    own = (summary.get("distillation") or {}).get("own", {}).get("mean")  # the clients' own models are what they end with
    measured = own or summary["metrics"].get("after") or {}
    metric = next((name for name in JUDGED_BY if measured.get(name) is not None), None)
    if metric is None:
        return
    yield {
        "decision": decision_of(job),
        "task": job["task"]["kind"],
        "backbone": str(job["backbone"]),
        "clients": int(summary["clients"]["count"]),
        "rows": _rows(folder, int(summary["clients"]["count"])),
        "divergence": summary["data"]["divergence"],
        "system": system_of(job),
        "settings": f"learning_rate={job['protocol'].get('local', {}).get('learning_rate')}",
        "seed": int(job["seed"]),
        "metric": metric,
        "value": float(measured[metric]),
        "higher_is_better": METRICS[metric].higher_is_better,
        "bytes": int(summary["traffic"]["up_bytes"] + summary["traffic"]["down_bytes"]),
        "operations": float(summary["flops"]["client_total"]),
        "peak_bytes": int(summary["memory"]["peak_bytes"]),
        "seconds": float(summary["seconds"]["total"]),
        "rounds": int(summary["rounds"]),
        "run": folder.name,
    }


def _rows(folder: Path, clients: int) -> float:
    """Return the mean number of training examples of a client."""
    import pandas as pd

    check_regular(folder / "partition.parquet", WHAT, error=DataError)
    table = pd.read_parquet(folder / "partition.parquet")
    trained = table[table["part"] == "train"] if "part" in table else table
    return len(trained) / max(1, clients)
