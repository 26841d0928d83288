"""fedtailor rag: documents of several clients, indexed where they are and asked together."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .console import err, note, out, print_json
from .progress import waiting

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..retrieval import Federation
    from ..retrieval.evaluate import Evaluation

app = typer.Typer(
    help="Index folders of documents, a client each, and ask them: answers with their sources.", no_args_is_help=True
)
MOST_NOTES = 10
Collection = Annotated[Path, typer.Argument(help="The folder that `rag index` made.", metavar="NAME")]
ScoreKind = Annotated[str, typer.Option("--score", help="hybrid, dense or bm25.")]
Share = Annotated[str, typer.Option(help="What leaves a client: passages, snippets, answers, scores or embeddings.")]
Verify = Annotated[bool, typer.Option("--verify", help="Embed what came back; leave out clients that stated wrong scores.")]
Routed = Annotated[int, typer.Option("--router", help="Centroids a client, by which clients are chosen; 0: all are asked.")]
Margin = Annotated[float, typer.Option(help="Of the router: how far below the best client's cosine a client is asked.")]


@app.command()
def index(  # noqa: PLR0917 - Typer passes all by name
    folders: Annotated[
        list[str] | None,
        typer.Argument(help="Folders of documents, a client each; left out: those that NAME knows.", metavar="[NAME=]FOLDER..."),
    ] = None,
    to: Annotated[
        Path, typer.Option("--out", help="Where the indexes go; they hold the documents' texts.", metavar="NAME")
    ] = Path("index"),
    tokens: Annotated[int, typer.Option(help="Most tokens of a passage.")] = 200,
    overlap: Annotated[int, typer.Option(help="Tokens that neighbours share.")] = 40,
    text_column: Annotated[str | None, typer.Option(help="Column of the text in tables.")] = None,
    title_column: Annotated[str | None, typer.Option(help="Column of the title in tables.")] = None,
    id_column: Annotated[str | None, typer.Option(help="Column of the id in tables.")] = None,
) -> None:
    """Index documents: text, Markdown, HTML, PDF, Parquet, JSON Lines, CSV. Run it again and only what has changed is read."""
    with waiting(err(), "starting"):
        from ..retrieval import Chunks, Columns, index_folders

    columns = Columns(text=text_column, title=title_column, id=id_column)
    with _bar() as progress:
        done = index_folders(folders or [], to, chunks=Chunks(tokens=tokens, overlap=overlap), columns=columns, progress=progress)
    for one in done:
        did = one.updated
        out().print(
            f"  {one.client}: {did.documents:,} documents, {did.passages:,} passages ({did.embedded:,} embedded); files: {len(did.added)} new, "
            f"{len(did.changed)} changed, {len(did.removed)} removed, {did.unchanged} as before",
            soft_wrap=True,
        )
        lines = [*did.notes, *one.skipped]
        for line in lines[:MOST_NOTES]:
            note(f"    {line}")
        if len(lines) > MOST_NOTES:
            note(f"    and {len(lines) - MOST_NOTES} more")
    out().print(f'  ask them: fedtailor rag ask {to} "…"', soft_wrap=True, style="dim")


@app.command()
def ask(  # noqa: PLR0917 - Typer passes all by name
    name: Collection,
    questions: Annotated[list[str], typer.Argument(help="What to ask.", metavar="QUESTION...")],
    top_k: Annotated[int, typer.Option(help="Passages that are found.")] = 5,
    reader: Annotated[str, typer.Option(help="best-sentence, or a causal backbone such as smollm2-135m.")] = "best-sentence",
    score: ScoreKind = "hybrid",
    share: Share = "passages",
    verify: Verify = False,
    router: Routed = 0,
    margin: Margin = 0.2,
    as_json: Annotated[bool, typer.Option("--json", help="Print the answers as JSON.")] = False,
) -> None:
    """Ask a collection: the answer, its sources, and their scores."""
    with waiting(err(), "looking"):
        from ..retrieval import ask as asked
        from ..retrieval.share import LETS_OUT

        federation = _opened(name, score=score, share=share, verify=verify, router=router, margin=margin, reader=reader)
        found = asked(federation, questions, top_k=top_k, reader=reader)
    if as_json:
        print_json([_record(one) for one in found])
        return
    note(f"  share: {share}: {LETS_OUT[share]}")
    for one in found:
        _show(one, with_question=len(found) > 1)


@app.command()
def evaluate(  # noqa: PLR0917 - Typer passes all by name
    name: Collection,
    questions: Annotated[
        Path, typer.Argument(help="A table with question, and answers, passage_id or both.", metavar="QUESTIONS")
    ],
    reader: Annotated[str, typer.Option(help="best-sentence, a causal backbone, or none.")] = "best-sentence",
    score: ScoreKind = "hybrid",
    share: Share = "passages",
    verify: Verify = False,
    router: Routed = 0,
    margin: Margin = 0.2,
    top_k: Annotated[int, typer.Option(help="Passages that are found.")] = 5,
    limit: Annotated[int | None, typer.Option(help="Only the first so many questions.")] = None,
) -> None:
    """Print recall of passages, F1 of answers, and what was sent; beside them the figures of each client's own index alone."""
    from ..retrieval import evaluate as evaluated
    from ..retrieval.collection import make_reader
    from ..retrieval.evaluate import evaluate_alone, read_questions

    known = read_questions(questions)[:limit]
    with _bar() as progress:
        federation = _opened(name, score=score, share=share, verify=verify, router=router, margin=margin, reader=reader)
        reads = None if reader == "none" else make_reader(reader, federation.embedder)
        found = evaluated(federation, known, reads, top_k=top_k, progress=lambda done, of: progress("questions", done, of))
        alone = (
            evaluate_alone(federation, known, reads, top_k=top_k, progress=lambda done, of: progress("clients alone", done, of))
            if len(federation.clients) > 1
            else {}
        )
    _show_evaluation(found, alone, clients=len(federation.clients), share=share)


def _opened(name: Path, *, score: str, share: str, verify: bool, router: int, margin: float, reader: str) -> "Federation":
    from ..retrieval import Router, Score, open_collection

    kind: Any = score
    routed = Router(count=router, margin=margin) if router else None
    own = reader if share == "answers" and reader != "none" else "best-sentence"
    return open_collection(name, score=Score(kind=kind), share=share, verify=verify, router=routed, reader=own)


def _show_evaluation(found: "Evaluation", alone: "Mapping[str, Mapping[str, float]]", *, clients: int, share: str) -> None:
    from rich.table import Table

    from ..retrieval.share import LETS_OUT

    out().print(f"  {found.questions:,} questions, {found.answerable:,} of them with a passage that a client holds")
    table = Table("", "all clients", "each alone: mean", "best", box=None, padding=(0, 2))
    for metric, value in found.metrics.items():
        values = [one[metric] for one in alone.values() if metric in one]
        own = [f"{sum(values) / len(values):.3f}", f"{max(values):.3f}"] if values else ["", ""]
        table.add_row(metric, f"{value:.3f}", *own)
    out().print(table)
    saved = (
        ""
        if found.asked < clients * 0.75 or found.asked in (0, clients)
        else ": documents are not separable, routing saves little"
    )
    out().print(f"  a question: {found.asked:.1f} of {clients} clients asked{saved}", soft_wrap=True)
    out().print(
        f"              {found.down_bytes:,.0f} bytes to clients, {found.up_bytes:,.0f} from clients, {found.texts:.1f} texts of theirs",
        soft_wrap=True,
    )
    out().print(f"  share: {share}: {LETS_OUT[share]}", soft_wrap=True)
    for line in found.notes:
        note(f"  {line}")


def _show(one: Any, *, with_question: bool) -> None:
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


def _record(one: Any) -> dict[str, Any]:
    sources = [
        {
            "client": hit.client,
            "id": hit.passage.id,
            "file": hit.passage.file,
            "page": hit.passage.page or None,
            "title": hit.passage.title,
            "score": hit.score,
            "cosine": hit.cosine,
            "bm25": hit.bm25,
            "text": hit.passage.text,
            "twins": [list(twin) for twin in hit.twins],
        }
        for hit in one.found.hits
    ]
    cited = [evidence.hit + 1 for evidence in one.answer.evidence[:1]]
    return {
        "question": one.found.question,
        "answer": one.answer.text,
        "supported": one.answer.supported,
        "cited": cited,
        "sources": sources,
    }


@contextmanager
def _bar() -> "Iterator[Callable[[str, int, int], None]]":
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
