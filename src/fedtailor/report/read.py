"""A run folder, read back for people."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import DataError
from ..metrics import directions
from ..run_files import WHAT, baseline_of, check_sealed, how_to_resume, read_json_file
from ..text_files import check_regular, read_text

if TYPE_CHECKING:
    import pyarrow

COLUMNS: Mapping[str, Mapping[str, type]] = {  # that each row of a run's tables must have to be shown, and of what kind
    "rounds": {"round": int},
    "clients": {"client": str},
    "evaluations": {"round": int, "scope": str, "client": str, "metric": str},
}
SHOWN = ("summary.json", "job.yaml", "rounds.parquet", "clients.parquet", "evaluations.parquet")
SECTIONS = {  # of a summary, and the sections in them
    "metrics": ("before", "after"),
    "clients": ("before", "mean", "worst", "p10"),
    "personal": ("base", "local", "global", "personal", "public", "clients"),
    "traffic": (),
    "flops": (),
    "memory": (),
    "seconds": (),
}


@dataclass(frozen=True)
class Run:
    """One finished run: its summary, and its tables as they are asked for."""

    folder: Path
    summary: Mapping[str, Any]
    _read: dict[str, "pyarrow.Table"] = field(default_factory=dict, repr=False, compare=False)

    @cached_property
    def settings(self) -> Mapping[str, Any]:
        """The job of the run, all defaults written out."""
        from ..yaml_text import read_yaml

        file = self.folder / "job.yaml"
        job = read_yaml(read_text(file, WHAT, error=DataError), str(file)) if file.exists() else {}
        if not isinstance(job, Mapping):
            raise _damaged(file, "it holds no settings")
        return job

    @cached_property
    def network(self) -> Mapping[str, Any]:
        """What a run on a network reports of its sites; empty for others."""
        file = self.folder / "network.json"
        found = read_json_file(file) if file.exists() else {}
        if not isinstance(found, Mapping):
            raise _damaged(file, "it holds no mapping")
        return found

    def higher_is_better(self, metric: str) -> bool:
        """Return whether more of a metric is better, also of one of the user's own."""
        own = (self.summary.get("evaluation") or {}).get("own_metrics") or {}
        return bool(directions(own).get(metric, False))

    @property
    def alone(self) -> bool:
        """Whether it is a baseline, where nobody sends anything."""
        return bool(self.summary.get("baseline"))

    @property
    def trained(self) -> str:
        """The name of the folder of what was trained: adapter, or model where every weight was."""
        return "model" if (self.folder / "model").is_dir() else "adapter"

    def rows(self, name: str, *columns: str, **where: str) -> list[dict[str, Any]]:
        """Return the rows of rounds, clients, evaluations or partition, without their empty cells; none if the run has no such table.

        Args:
            columns: those to return, as far as the table has them; all if none is named.
            where: what stands in some columns of the rows to return.
        """
        rows = self._select(name, columns, where).to_pylist()
        return [{key: value for key, value in row.items() if value is not None and value == value} for row in rows]  # noqa: PLR0124 - NaN

    def distinct(self, name: str, *columns: str, **where: str) -> set[tuple[Any, ...]]:
        """Return which values of some columns stand together in a row; takes the arguments of `rows`."""
        found = self._select(name, columns, where)
        if not found.num_rows:
            return set()
        return {tuple(row.values()) for row in found.group_by(found.column_names).aggregate([]).to_pylist()}

    def _select(self, name: str, columns: Sequence[str], where: Mapping[str, str]) -> "pyarrow.Table":
        import pyarrow.compute

        found = self._table(name)
        for column, value in where.items():  # the value as Arrow's own: to turn one of Python's into it imports pandas
            known = found[column].unique() if column in found.column_names else ()
            value_there = next((one for one in known if one.as_py() == value), None)
            found = found[:0] if value_there is None else found.filter(pyarrow.compute.equal(found[column], value_there))
        return found.select([column for column in columns if column in found.column_names]) if columns else found

    def _table(self, name: str) -> "pyarrow.Table":
        """Return a table of the run, read once; one without rows and columns if there is none."""
        import pyarrow.parquet  # a ParquetFile, no read_table, which imports pandas: twice the time of all else here

        if name not in self._read:
            file = self.folder / f"{name}.parquet"
            self._read[name] = pyarrow.table({}) if not file.exists() else _checked(file, name)
        return self._read[name]

    def events(self, *kinds: str) -> list[dict[str, Any]]:
        """Return the events of some kinds, in order."""
        return [event for event in _lines(self.folder / "events.jsonl", "event") if event["event"] in kinds]

    def samples(self, most: int) -> list[dict[str, Any]]:
        """Return a few inputs with what was wanted, and what was generated before and after.

        They come from the public test set; in simulation, where there is none, from the clients' own folders.
        """
        homes = [("", self.folder / "generations" / "{}.jsonl")]
        homes += [(p.name, p / "generations-{}.jsonl") for p in sorted((self.folder / "clients").glob("*")) if p.is_dir()]
        names = (self.summary.get("evaluation") or {}).get("texts") or {}  # what was written once is not written again
        found = []
        for client, pattern in homes:
            moments = [names.get(moment, moment) if client else moment for moment in ("before", "after")]
            before, after = (_lines(pattern.with_name(pattern.name.format(moment)), "text") for moment in moments)
            pairs = [
                {**a, "before": b["text"], "after": a["text"], "client": client} for b, a in zip(before, after, strict=False)
            ]
            found.append(pairs)
        return _spread(found, most)


def _checked(file: Path, name: str) -> "pyarrow.Table":
    """Return a table of a run; raise DataError if it is damaged, or lacks what each row must have."""
    import pyarrow.parquet
    from pyarrow import types

    kinds = {int: (types.is_integer,), str: (types.is_string, types.is_large_string)}
    try:
        check_regular(file, WHAT, error=DataError)
        table = pyarrow.parquet.ParquetFile(file).read()
    except (OSError, ValueError, MemoryError) as error:  # what Arrow raises are kinds of these
        raise _damaged(file, str(error)) from None
    for column, kind in COLUMNS.get(name, {}).items():
        cells = table[column] if column in table.column_names else None
        if table.num_rows and (cells is None or cells.null_count or not any(fits(cells.type) for fits in kinds[kind])):
            raise _damaged(file, f"it has no column {column}, or a row has nothing or something else in it than it should")
    return table


def read_run(folder: str | Path) -> Run:
    """Return the run in `folder`.

    Raises:
        DataError: if it is not the folder of a finished run, or its summary is damaged.
    """
    path = Path(folder)
    file = path / "summary.json"
    if file.exists():
        summary = _summary(file)
        tip = "put back a copy, or move it away to see the rest of the run"
        check_sealed(path, SHOWN, tip=tip, may_lack=SHOWN)
        return Run(path, summary)
    if (path / "job.yaml").exists() or baseline_of(path):
        raise DataError(f"the run in {path} has not ended: it has no summary.json; {how_to_resume(path)}.")
    near = sorted(str(p.parent) for p in path.glob("*/summary.json")) if path.is_dir() else []
    near = near or sorted((str(p.parent) for p in Path("runs").glob("*/summary.json")), reverse=True)
    tip = f"there is {', '.join(near[:3])}" if near else "a run folder is what fedtailor run prints at its end"
    raise DataError(f"{path} is not the folder of a run; {tip}.")


def _summary(file: Path) -> dict[str, Any]:
    try:
        summary = read_json_file(file)
        fault = _fault(summary)
    except DataError as error:
        summary, fault = {}, str(error).rstrip(".")
    if fault:
        raise DataError(f"{file} cannot be read: {fault}; it was interrupted or changed: {how_to_resume(file.parent)}.")
    return dict(summary)


def _fault(summary: object) -> str:
    """Return what keeps a value from being a run's summary; empty if nothing does."""
    if not isinstance(summary, Mapping):
        return f"it holds {json.dumps(summary)[:40]} where a summary is expected"
    if not isinstance(summary.get("metrics"), Mapping) or "after" not in summary["metrics"]:
        return "it has no metrics of after the run"
    for name, keys in SECTIONS.items():
        section = summary.get(name, {})
        if not isinstance(section, Mapping):
            return f"{name} is {json.dumps(section)[:40]}, no section"
        for key in keys:
            if not isinstance(section.get(key, {}), Mapping):
                return f"{name}.{key} is {json.dumps(section[key])[:40]}, no section"
    return ""


def _lines(file: Path, key: str) -> list[dict[str, Any]]:
    """Return the records of a JSON Lines file, each of which must have `key`; none if there is no file.

    A last line without its end is what an interrupted run left of it: it is passed over.
    """
    if not file.exists():
        return []
    check_regular(file, WHAT, error=DataError)
    rows = []
    try:
        *lines, torn = file.read_bytes().split(b"\n")  # not splitlines: a text may hold U+2028
    except OSError as error:
        raise _damaged(file, str(error)) from None
    for number, line in enumerate([*lines, torn], start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line.decode("utf-8"))
            fault = "" if isinstance(row, dict) and key in row else f"line {number} has no {key}"
        except (ValueError, RecursionError) as error:
            fault = f"line {number} is not JSON ({error})"
        if fault and number <= len(lines):
            raise _damaged(file, fault)
        if not fault:
            rows.append(row)
    return rows


def _damaged(file: Path, fault: str) -> DataError:
    """Return the error for a file that the tables of a run can do without."""
    return DataError(
        f"{file} cannot be read: {fault}; it was interrupted or changed: put back a copy, or move it away to see the rest of the run."
    )


def _spread(groups: list[list[dict[str, Any]]], most: int) -> list[dict[str, Any]]:
    """Return up to `most` rows, taken from the groups in turn, those that changed first."""
    ordered = [sorted(group, key=lambda row: row["before"] == row["after"]) for group in groups if group]
    turns = [group[i] for i in range(max(map(len, ordered), default=0)) for group in ordered if i < len(group)]
    return turns[:most]
