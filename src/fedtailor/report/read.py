"""A run folder, read back for people."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import DataError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Run:
    """One finished run: its summary, and its tables as they are asked for."""

    folder: Path
    summary: Mapping[str, Any]

    @cached_property
    def settings(self) -> Mapping[str, Any]:
        """The job of the run, all defaults written out."""
        from ..job_text import read_yaml

        file = self.folder / "job.yaml"
        return read_yaml(file.read_text(encoding="utf-8"), str(file)) if file.exists() else {}

    def table(self, name: str) -> "pd.DataFrame":
        """Return rounds, clients, evaluations or partition; empty if the run has none."""
        import pandas as pd

        file = self.folder / f"{name}.parquet"
        return pd.read_parquet(file) if file.exists() else pd.DataFrame()

    def events(self, *kinds: str) -> list[dict[str, Any]]:
        """Return the events of some kinds, in order."""
        return [event for event in _lines(self.folder / "events.jsonl") if event.get("event") in kinds]

    def samples(self, most: int) -> list[dict[str, Any]]:
        """Return a few inputs with what was wanted, and what was generated before and after.

        They come from the public test set; in simulation, where there is none, from the clients' own folders.
        """
        homes = [("", self.folder / "generations" / "{}.jsonl")]
        homes += [(p.name, p / "generations-{}.jsonl") for p in sorted((self.folder / "clients").glob("*")) if p.is_dir()]
        found = []
        for client, pattern in homes:
            before, after = (_lines(Path(str(pattern).format(moment))) for moment in ("before", "after"))
            pairs = [
                {**a, "before": b["text"], "after": a["text"], "client": client} for b, a in zip(before, after, strict=False)
            ]
            found.append(pairs)
        return _spread(found, most)


def read_run(folder: str | Path) -> Run:
    """Return the run in `folder`.

    Raises:
        DataError: if it is not the folder of a finished run.
    """
    path = Path(folder)
    file = path / "summary.json"
    if file.exists():
        try:
            return Run(path, json.loads(file.read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            raise DataError(
                f"{file} cannot be read: {error}; the run may have been cut off: go on with fedtailor run {path}/job.yaml --resume {path}."
            ) from None
    if (path / "job.yaml").exists():
        raise DataError(
            f"the run in {path} has not ended: it has no summary.json; go on with fedtailor run {path}/job.yaml --resume {path}."
        )
    near = sorted(str(p.parent) for p in path.glob("*/summary.json")) if path.is_dir() else []
    near = near or sorted((str(p.parent) for p in Path("runs").glob("*/summary.json")), reverse=True)
    tip = f"there is {', '.join(near[:3])}" if near else "a run folder is what fedtailor run prints at its end"
    raise DataError(f"{path} is not the folder of a run; {tip}.")


def _lines(file: Path) -> list[dict[str, Any]]:
    if not file.exists():
        return []
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]


def _spread(groups: list[list[dict[str, Any]]], most: int) -> list[dict[str, Any]]:
    """Return up to `most` rows, taken from the groups in turn, those that changed first."""
    ordered = [sorted(group, key=lambda row: row["before"] == row["after"]) for group in groups if group]
    turns = [group[i] for i in range(max(map(len, ordered), default=0)) for group in ordered if i < len(group)]
    return turns[:most]
