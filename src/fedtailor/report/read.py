"""A run folder, read back for people."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ..errors import DataError
from ..metrics import directions
from ..run_files import WHAT, baseline_of, check_sealed, found_at, how_to_resume, read_json_file
from ..text_files import check_regular, read_text
from .parquet import Tables, damaged

SHOWN = ("summary.json", "job.yaml", "rounds.parquet", "clients.parquet", "evaluations.parquet")
SECTIONS = {  # of a summary, and the sections in them
    "metrics": ("before", "after"),
    "clients": ("before", "mean", "worst", "p10"),
    "retained": ("before", "after"),
    "tasks": (),
    "personal": ("base", "local", "global", "personal", "public", "retained", "clients"),
    "after": (),
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

    @cached_property
    def settings(self) -> Mapping[str, Any]:
        """The job of the run, all defaults written out.

        Raises:
            DataError: if the file holds none.
        """
        from ..yaml_text import read_yaml

        file = self.folder / "job.yaml"
        job = read_yaml(read_text(file, WHAT, error=DataError), str(file)) if file.exists() else {}
        if not isinstance(job, Mapping):
            raise damaged(file, "it holds no settings")
        return job

    @cached_property
    def network(self) -> Mapping[str, Any]:
        """What a run on a network reports of its sites; empty for others.

        Raises:
            DataError: if the file holds no mapping.
        """
        file = self.folder / "network.json"
        found = read_json_file(file) if file.exists() else {}
        if not isinstance(found, Mapping):
            raise damaged(file, "it holds no mapping")
        return found

    def higher_is_better(self, metric: str) -> bool:
        """Return whether more of a metric is better, also of one of the user's own."""
        own = (self.summary.get("evaluation") or {}).get("own_metrics") or {}
        return bool(directions(own).get(metric, False))

    @cached_property
    def client_figures(self) -> dict[str, tuple[dict[str, float], dict[str, float]]]:
        """Each client's figures on its own test part, before the first round and in the round that was kept."""
        kept = self.summary.get("best_round") if self.summary.get("kept", "best") == "best" else None
        rounds, clients, metrics, values = self.columns("evaluations", "round", "client", "metric", "value", scope="client")
        edges: dict[str, tuple[int, int]] = {}
        for round, client in zip(rounds, clients, strict=True):
            first, last = edges.get(client, (round, round))
            edges[client] = min(first, round), max(last, round)
        found: dict[str, dict[object, dict[str, float]]] = {client: {} for client in edges}
        for round, client, metric, value in zip(rounds, clients, metrics, values, strict=True):
            if isinstance(value, int | float) and round in (*edges[client], kept):
                found[client].setdefault(round, {})[metric] = float(value)
        return {
            client: (found[client].get(first, {}), found[client].get(last, {}) | found[client].get(kept, {}))
            for client, (first, last) in edges.items()
        }

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
        return self._tables.rows(name, *columns, **where)

    def columns(self, name: str, *columns: str, **where: str) -> list[list[Any]]:
        """Return the cells of some columns, top down, None where one is empty; takes the arguments of `rows`."""
        return self._tables.columns(name, *columns, **where)

    def has_column(self, name: str, column: str) -> bool:
        """Return whether a table of the run has a column in which anything stands."""
        return any(value is not None for value in self.columns(name, column)[0])

    @cached_property
    def _tables(self) -> Tables:
        return Tables(self.folder)

    def events(self, *kinds: str) -> list[dict[str, Any]]:
        """Return the events of some kinds, in order; all if none is named."""
        return [event for event in _lines(self.folder / "events.jsonl", "event") if not kinds or event["event"] in kinds]

    def samples(self, most: int) -> list[dict[str, Any]]:
        """Return a few inputs with what was wanted, and what was generated before and after.

        They come from the public test set; in simulation, where there is none, from the clients' own folders.
        """
        found = []
        for before, after in zip(self._texts("before"), self._texts("after"), strict=True):
            pairs = zip(before, after, strict=False)
            found.append([{**a, "before": b["text"], "after": a["text"]} for b, a in pairs])
        return _spread(found, most)

    def texts(self, moment: str) -> list[dict[str, Any]]:
        """Return all that was generated at a moment, "before" or "after", from the same places as `samples`."""
        return [row for rows in self._texts(moment) for row in rows]

    def classes(self, moment: str) -> Mapping[str, Mapping[str, int]]:
        """Return how many pictures of each class a classifier has found at a moment, among "made" ones and "real" ones; empty if that is not known.

        Raises:
            DataError: if the file has no classes that can be read.
        """
        file = self.folder / "samples" / f"{moment}.json"
        found = read_json_file(file) if file.exists() else {}
        classes = found.get("classes", {}) if isinstance(found, Mapping) else None
        if not isinstance(classes, Mapping) or not all(isinstance(one, Mapping) for one in classes.values()):
            raise damaged(file, "it has no classes")
        return classes

    def _texts(self, moment: str) -> list[list[dict[str, Any]]]:
        """Return what was generated on the public test set, and from each client's examples."""
        names = (self.summary.get("evaluation") or {}).get("texts") or {}  # what was written once is not written again
        homes = [folder for folder in sorted((self.folder / "clients").glob("*")) if folder.is_dir()]
        files = [(home.name, home / f"generations-{names.get(moment, moment)}.jsonl") for home in homes]
        return [
            [{**row, "client": client} for row in _lines(file, "text")]
            for client, file in [("", self.folder / "generations" / f"{moment}.jsonl"), *files]
        ]


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
    tip = f"finished runs are in {', '.join(near[:3])}" if near else "a run folder is what fedtailor run prints at its end"
    raise DataError(f"{path} is not the folder of a run: {found_at(path)}; {tip}.")


def _summary(file: Path) -> dict[str, Any]:
    tip = how_to_resume(file.parent)
    summary = read_json_file(file, tip=tip)
    if fault := _fault(summary):
        raise DataError(f"{file} cannot be read: {fault}; it was interrupted or changed: {tip}.")
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
        raise damaged(file, str(error)) from None
    for number, line in enumerate([*lines, torn], start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line.decode("utf-8"))
            fault = "" if isinstance(row, dict) and key in row else f"line {number} has no {key}"
        except (ValueError, RecursionError) as error:
            fault = f"line {number} is not JSON ({error})"
        if fault and number <= len(lines):
            raise damaged(file, fault)
        if not fault:
            rows.append(row)
    return rows


def _spread(groups: list[list[dict[str, Any]]], most: int) -> list[dict[str, Any]]:
    """Return up to `most` rows, taken from the groups in turn, those that changed first."""
    ordered = [sorted(group, key=lambda row: row["before"] == row["after"]) for group in groups if group]
    turns = [group[i] for i in range(max(map(len, ordered), default=0)) for group in ordered if i < len(group)]
    return turns[:most]
