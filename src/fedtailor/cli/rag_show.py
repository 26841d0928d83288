"""What the commands of retrieval print."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from .console import err, note, out


def show_evaluation(found: "Mapping[str, Any]") -> None:
    """Print the figures of all clients beside those of each alone, and what was sent.

    Args:
        found: what an evaluation came to, as plain values, with `clients` and `share`; `alone` may be empty.
    """
    from rich.table import Table

    from ..retrieval.share import LETS_OUT

    alone, clients, asked = found.get("alone", {}), len(found["clients"]), found["asked"]
    out().print(f"  {found['questions']:,} questions, {found['answerable']:,} of them with a passage that a client holds")
    table = Table("", "all clients", *(["each alone: mean", "best"] if alone else []), box=None, padding=(0, 2))
    for metric, value in found["metrics"].items():
        values = [one[metric] for one in alone.values() if metric in one]
        own = [f"{sum(values) / len(values):.3f}", f"{max(values):.3f}"] if values else []
        table.add_row(metric, f"{value:.3f}", *own)
    out().print(table)
    saved = "" if asked < clients * 0.75 or asked in (0, clients) else ": documents are not separable, routing saves little"
    out().print(f"  a question: {asked:.1f} of {clients} clients asked{saved}", soft_wrap=True)
    out().print(
        f"              {found['down_bytes']:,.0f} bytes to clients, {found['up_bytes']:,.0f} from clients, {found['texts']:.1f} texts of theirs",
        soft_wrap=True,
    )
    out().print(f"  share: {found['share']}: {found.get('lets_out') or LETS_OUT[found['share']]}", soft_wrap=True)
    for line in found.get("notes", ()):
        note(f"  {line}")


def show_answer(one: Any, *, with_question: bool) -> None:
    """Print an answer with its sources."""
    from rich.padding import Padding
    from rich.text import Text

    console = out()
    if with_question:
        console.print(Text(one.found.question, style="bold"))
    for line in one.found.notes:
        note(f"  {line}")
    if not one.found.hits:
        console.print(
            "  nothing was found: no passage shares a word with the question" if one.found.asked else "  no client was asked"
        )
        return
    if one.answer.text or any(hit.passage.text for hit in one.found.hits):
        console.print(
            Padding(Text(one.answer.text or "(no answer)", style="bold green" if one.answer.supported else "bold"), (0, 2))
        )
    if one.answer.text and not one.answer.supported:
        console.print("  not found in the sources word for word: read them", style="yellow")
    best = one.answer.evidence[0].hit if one.answer.evidence else None
    for place, hit in enumerate(one.found.hits):
        mark = "→" if place == best else " "
        title = f" · {hit.passage.title}" if hit.passage.title else ""
        console.print(Text(f"{mark} [{place + 1}] {hit.source}{title}"), soft_wrap=True)
        console.print(Text(f"      score {hit.score:.3f} (cosine {hit.cosine:.3f}, BM25 {hit.bm25:.2f})", style="dim"))
        for client, id in hit.twins:
            console.print(Text(f"      the same text: {client}: {id}", style="dim"))
    console.print()


@contextmanager
def bar() -> "Iterator[Callable[[str, int, int], None]]":
    """Show how much is done: a bar on a terminal, elsewhere a line now and then."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err(), transient=True) as shown:
        tasks: dict[str, Any] = {}
        lines: dict[str, int] = {}

        def progress(what: str, done: int, of: int) -> None:
            if not of:
                return
            if not err().is_terminal:
                if done < of and done * 10 // of > lines.get(what, 0):
                    note(f"  {what}: {done:,} of {of:,}")
                lines[what] = done * 10 // of if done < of else 0
                return
            if what not in tasks:
                tasks[what] = shown.add_task(what, total=of)
            shown.update(tasks[what], completed=done, total=of)

        yield progress
