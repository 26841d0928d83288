"""What a search for a prompt came to: its rounds, and the prompt that won."""

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from ...printable import printable
from ...units import bytes_text, seconds_text
from ..plain import plain_table
from ..read import Run
from ..wording import figure, plural


def prompting(run: Run) -> RenderableType | None:
    """Return a row per round, and the prompt; None if none was searched."""
    section = run.summary.get("prompting")
    if not isinstance(section, Mapping):
        return None
    table = plain_table("rounds")
    rows = run.rows("rounds")
    judged = any(row.get("validation_loss") is not None for row in rows)  # what leads is measured each round
    measured = ["validation"] if judged else []
    for title in ("generation", "prompts", "examples", "best loss", "median", "worst", *measured, "sent", "received", "time"):
        table.add_column(title, justify="right")
    for row in rows:
        name = f"{int(row['round'])}{' validation' if row.get('validation') else ''}"
        losses = [figure("loss", row.get(key)) for key in ("best_loss", "median_loss", "worst_loss")]
        losses += [figure("loss", row.get("validation_loss"))] if judged else []
        counts = [f"{int(row.get(key, 0)):,}" for key in ("candidates", "scored")]
        sent = [bytes_text(row.get(key, 0)) for key in ("up_bytes", "down_bytes")]
        table.add_row(name, f"{int(row.get('generation', 0)) + 1}", *counts, *losses, *sent, seconds_text(row.get("seconds", 0)))
    return Group(table, Text(), *_prompt(section))


def _prompt(section: Mapping[str, Any]) -> list[RenderableType]:
    if "vectors" in section:
        tried, count = int(section.get("evaluations", 0)), int(section["vectors"])
        about = f"the prompt, with {plural(count, 'vector')} behind each text, found by {plural(tried, 'evaluation')}:"
    else:
        tried, pool = int(section.get("candidates", 0)), int(section.get("pool", 0))
        about = f"the prompt, the best of {plural(tried, 'prompt')} ({pool} in the pool) by {section.get('chosen_by', 'training')} loss:"
    return [Text(about, style="dim"), Padding(Text(printable(str(section.get("prompt", "")))), (0, 0, 0, 2))]
