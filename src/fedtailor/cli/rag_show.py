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

    from ..report.wording import figure
    from ..retrieval.share import LETS_OUT

    alone, clients, asked = found.get("alone", {}), len(found["clients"]), found["asked"]
    out().print(f"  {found['questions']:,} questions, {found['answerable']:,} of them with a passage that a client holds")
    table = Table("", "all clients", *(["each alone: mean", "best"] if alone else []), box=None, padding=(0, 2))
    for metric, value in found["metrics"].items():
        values = [one[metric] for one in alone.values() if metric in one]
        own = [figure(metric, sum(values) / len(values)), figure(metric, max(values))] if values else []
        table.add_row(metric, figure(metric, value), *own)
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


def show_answer(one: "Mapping[str, Any]", *, with_question: bool) -> None:
    """Print an answer with its sources, as `retrieval.answered.record` has it."""
    from rich.padding import Padding
    from rich.text import Text

    console = out()
    if with_question:
        console.print(Text(one["question"], style="bold"))
    for line in one["notes"]:
        note(f"  {line}")
    if not one["sources"]:
        console.print(
            "  nothing was found: no passage shares a word with the question" if one["asked"] else "  no client was asked"
        )
        return
    if one["answer"] or any(source["text"] for source in one["sources"]):
        console.print(Padding(Text(one["answer"] or "(no answer)", style="bold green" if one["supported"] else "bold"), (0, 2)))
    if one["answer"] and not one["supported"]:
        console.print("  not found in the sources word for word: read them", style="yellow")
    for number, source in enumerate(one["sources"], start=1):
        mark = "→" if number in one["cited"] else " "
        title = f" · {source['title']}" if source["title"] else ""
        console.print(Text(f"{mark} [{number}] {source['source']}{title}"), soft_wrap=True)
        scores = f"score {source['score']:.3f} (cosine {source['cosine']:.3f}, BM25 {source['bm25']:.2f})"
        console.print(Text(f"      {scores}", style="dim"))
        for client, id in source["twins"]:
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
