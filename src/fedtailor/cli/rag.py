"""fedtailor rag: documents of several clients, indexed where they are and asked together."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .console import err, note, out, print_json
from .rag_open import NO_READER, folder_of, opened
from .rag_options import Collection, Epsilon, Fetch, Margin, On, ReaderName, Routed, ScoreKind, Share, TopK, Verify
from .rag_show import bar, show_answer, show_evaluation
from .waiting import waiting

if TYPE_CHECKING:
    pass

app = typer.Typer(
    help="Index folders of documents, a client each, and ask them: answers with their sources.", no_args_is_help=True
)
MOST_NOTES = 10


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
    backbone: Annotated[
        str, typer.Option(help="Embedder of these folders, if another than minilm-l6: a packaged name, or a folder.")
    ] = "",
    id_column: Annotated[str | None, typer.Option(help="Column of the id in tables.")] = None,
) -> None:
    """Index documents: text, Markdown, HTML, PDF, Parquet, JSON Lines, CSV. Run it again and only what has changed is read."""
    with waiting(err(), "starting"):
        from ..retrieval import Chunks, Columns, index_folders
        from ..running.retrieving import asking_job, is_job

    if folders and is_job(folders[0]):
        from .rag_job import index_job

        index_job(asking_job(folders[0], folders[1:]), folders[0])
        return
    columns = Columns(text=text_column, title=title_column, id=id_column)
    with bar() as progress:
        done = index_folders(
            folders or [],
            to,
            chunks=Chunks(tokens=tokens, overlap=overlap),
            columns=columns,
            backbone=backbone,
            progress=progress,
        )
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
    top_k: TopK = None,
    reader: ReaderName = None,
    score: ScoreKind = None,
    share: Share = None,
    verify: Verify = False,
    router: Routed = None,
    margin: Margin = None,
    epsilon: Epsilon = None,
    fetch: Fetch = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the answers as JSON.")] = False,
    on: On = None,
) -> None:
    """Ask a collection, or the clients of a job: the answer, its sources, and their scores. A service that runs for it is asked in its place."""
    from .rag_ask import answers_here, answers_of_service, answers_on

    given = {
        "score": score,
        "share": share,
        "verify": verify or None,
        "router": router,
        "margin": margin,
        "epsilon": epsilon,
        "fetch": fetch,
    }
    with waiting(err(), "looking"):
        if on is not None:
            found = answers_on(name, on, questions, top_k=top_k, reader=reader, given=given)
        elif reader is None and not any(given.values()) and (said := answers_of_service(folder_of(name), questions, top_k)):
            found = said
        else:
            found = answers_here(opened(name, top_k, reader, **given), questions, no_reader=NO_READER)
    if as_json:
        print_json(found["answers"])
        return
    note(f"  share: {found['share']}: {found['lets_out']}")
    for one in found["answers"]:
        show_answer(one, with_question=len(found["answers"]) > 1)


@app.command()
def serve(  # noqa: PLR0917 - Typer passes all by name
    name: Collection,
    socket: Annotated[
        Path | None, typer.Option(help="The socket's file; left out: ask.sock in the folder of the indexes.", metavar="FILE")
    ] = None,
    http: Annotated[
        str | None, typer.Option(help="Listen on loopback too: 127.0.0.1:PORT; port 0 takes a free one.", metavar="HOST:PORT")
    ] = None,
    top_k: TopK = None,
    reader: ReaderName = None,
    score: ScoreKind = None,
    share: Share = None,
    verify: Verify = False,
    router: Routed = None,
    margin: Margin = None,
    epsilon: Epsilon = None,
    fetch: Fetch = None,
    on: On = None,
) -> None:
    """Answer questions until Ctrl-C: POST /ask and POST /v1/chat/completions, on a socket that you alone may open; with --on those of `rag ask --on`."""
    from .rag_serve import serve_network, serve_until_stopped

    if on is not None:
        serve_network(name, on)
        return
    with waiting(err(), "loading the embedder and the indexes"):
        federation, most, reads = opened(
            name,
            top_k,
            reader,
            score=score,
            share=share,
            verify=verify or None,
            router=router,
            margin=margin,
            epsilon=epsilon,
            fetch=fetch,
        )
        folder = folder_of(name)
    serve_until_stopped(
        federation, folder, top_k=most, reader="best-sentence" if reads == NO_READER else reads, socket=socket, http=http
    )


@app.command()
def evaluate(  # noqa: PLR0917 - Typer passes all by name
    name: Collection,
    questions: Annotated[
        Path, typer.Argument(help="A table with question, and answers, passage_id or both.", metavar="QUESTIONS")
    ],
    reader: ReaderName = None,
    score: ScoreKind = None,
    share: Share = None,
    verify: Verify = False,
    router: Routed = None,
    margin: Margin = None,
    epsilon: Epsilon = None,
    fetch: Fetch = None,
    top_k: TopK = None,
    limit: Annotated[int | None, typer.Option(help="Only the first so many questions.")] = None,
) -> None:
    """Print recall of passages, F1 of answers, and what was sent; beside them the figures of each client's own index alone."""
    from dataclasses import asdict

    from ..retrieval import evaluate as evaluated
    from ..retrieval.collection import make_reader
    from ..retrieval.evaluate import evaluate_alone, read_questions

    known = read_questions(questions)[:limit]
    with bar() as progress:
        federation, most, named = opened(
            name,
            top_k,
            reader,
            score=score,
            share=share,
            verify=verify or None,
            router=router,
            margin=margin,
            epsilon=epsilon,
            fetch=fetch,
        )
        reads = None if named == NO_READER else make_reader(named, federation.embedder)
        found = evaluated(federation, known, reads, top_k=most, progress=lambda done, of: progress("questions", done, of))
        alone = (
            evaluate_alone(federation, known, reads, top_k=most, progress=lambda done, of: progress("clients alone", done, of))
            if len(federation.clients) > 1
            else {}
        )
    show_evaluation({**asdict(found), "alone": alone, "clients": list(federation.clients), "share": federation.share})
