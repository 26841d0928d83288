"""fedtailor rag: documents of several clients, indexed where they are and asked together."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .console import err, note, out, print_json
from .progress import waiting
from .rag_show import bar, record, show_answer, show_evaluation

if TYPE_CHECKING:
    from ..retrieval import Federation

app = typer.Typer(
    help="Index folders of documents, a client each, and ask them: answers with their sources.", no_args_is_help=True
)
MOST_NOTES = 10
Collection = Annotated[
    Path, typer.Argument(help="The folder that `rag index` made, or the job that it was made for.", metavar="NAME")
]
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
        from ..job.retrieval import RetrievalJob, is_retrieval
        from ..retrieval import Chunks, Columns, index_folders

    if folders and is_retrieval(folders[0]):
        from .rag_job import index_job

        index_job(RetrievalJob.load(folders[0], folders[1:]), folders[0])
        return
    columns = Columns(text=text_column, title=title_column, id=id_column)
    with bar() as progress:
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
        print_json([record(one) for one in found])
        return
    note(f"  share: {federation.share}: {LETS_OUT[federation.share]}")
    for one in found:
        show_answer(one, with_question=len(found) > 1)


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
    with bar() as progress:
        federation = _opened(name, score=score, share=share, verify=verify, router=router, margin=margin, reader=reader)
        reads = None if reader == "none" else make_reader(reader, federation.embedder)
        found = evaluated(federation, known, reads, top_k=top_k, progress=lambda done, of: progress("questions", done, of))
        alone = (
            evaluate_alone(federation, known, reads, top_k=top_k, progress=lambda done, of: progress("clients alone", done, of))
            if len(federation.clients) > 1
            else {}
        )
    show_evaluation(found, alone, clients=len(federation.clients), share=federation.share)


def _opened(name: Path, *, score: str, share: str, verify: bool, router: int, margin: float, reader: str) -> "Federation":
    from ..job.retrieval import RetrievalJob, is_retrieval
    from ..retrieval import Router, Score, open_collection
    from ..running.retrieving import connect

    if is_retrieval(name):
        return connect(RetrievalJob.load(name))
    kind: Any = score
    routed = Router(count=router, margin=margin) if router else None
    own = reader if share == "answers" and reader != "none" else "best-sentence"
    return open_collection(name, score=Score(kind=kind), share=share, verify=verify, router=routed, reader=own)
