"""What attacks of our own have found, as a table."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from ...run_files import AUDIT_FILE, read_json_file
from ..plain import plain_table
from ..read import Run
from ..wording import figure

ATTACK = "attack"  # figures of attacks are no metrics of a task


def audit_table(findings: Sequence[Mapping[str, Any]]) -> Table:
    """Return a row for each finding: what was attacked, the figure, and what the same attack gets by chance (of a check: what was promised)."""
    table = plain_table("attack")
    for title, justify in (("on", "left"), ("figure", "left"), ("found", "right"), ("chance", "right"), ("", "left")):
        table.add_column(title, justify=justify)  # type: ignore[arg-type]
    for found in findings:
        between = "" if found.get("low") is None else f" ({figure(ATTACK, found['low'])} to {figure(ATTACK, found['high'])})"
        floor = f"{found['floor']:.3g}" + (" promised" if found.get("kind") == "check" else "")
        table.add_row(
            found["attack"],
            found["target"],
            found["figure"],
            f"{figure(ATTACK, found['value'])}{between}",
            floor,
            found.get("note", ""),
        )
    return table


def audited(run: Run) -> Table | None:
    """Return the table of a run that was audited; None if it was not."""
    file = run.folder / AUDIT_FILE
    findings = read_json_file(file)["findings"] if file.is_file() else []
    return audit_table(findings) if findings else None
