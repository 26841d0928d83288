"""fedtailor rag: documents of several clients, indexed where they are and asked together."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .console import err, note, out, print_json
from .rag_show import bar, show_answer, show_evaluation
from .waiting import waiting

if TYPE_CHECKING:
    from ..retrieval import Federation

app = typer.Typer(
    help="Index folders of documents, a client each, and ask them: answers with their sources.", no_args_is_help=True
)
MOST_NOTES = 10
NO_READER = "none"
Collection = Annotated[
    Path, typer.Argument(help="The folder that `rag index` made, or the job that it was made for.", metavar="NAME")
]
TopK = Annotated[int | None, typer.Option("--top-k", help="Passages that are found; left out: the job's, or 5.")]
ReaderName = Annotated[
    str | None,
    typer.Option(
        "--reader", help="best-sentence, a causal backbone such as smollm2-135m, or none; left out: the job's, or best-sentence."
    ),
]
ScoreKind = Annotated[str | None, typer.Option("--score", help="hybrid, dense or bm25; left out: hybrid. Of a job: as it says.")]
Share = Annotated[
    str | None,
    typer.Option(
        help="What leaves a client: passages, snippets, answers, scores or embeddings; left out: passages. Of a job: as it says."
    ),
]
Verify = Annotated[bool, typer.Option("--verify", help="Embed what came back; leave out clients that stated wrong scores.")]
Routed = Annotated[
    int | None, typer.Option("--router", help="Centroids a client, by which clients are chosen; left out: all are asked.")
]
Margin = Annotated[
    float | None, typer.Option(help="Of the router: how far below the best client's cosine a client is asked; left out: 0.2.")
]
Epsilon = Annotated[
    float | None,
    typer.Option(
        help="Send the question's vector with noise, and not its text: per unit of distance, the smaller the more noise. With --score dense. "
        "Of a job: as it says."
    ),
]
Fetch = Annotated[
    int | None, typer.Option(help="Passages that are fetched and scored here before --top-k are left. Of a job: as it says.")
]
OF_A_JOB = {
    "score": "score.kind",
    "share": "share",
    "verify": "verify",
    "router": "router.count",
    "margin": "router.margin",
    "epsilon": "question.epsilon",
    "fetch": "fetch",
}


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
        from ..running.retrieving import asking_job, is_job

    if folders and is_job(folders[0]):
        from .rag_job import index_job

        index_job(asking_job(folders[0], folders[1:]), folders[0])
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
    on: Annotated[Path | None, typer.Option(help="Ask the sites of a network: the folder of net init.", metavar="NET")] = None,
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
        elif reader is None and not any(given.values()) and (said := answers_of_service(_folder_of(name), questions, top_k)):
            found = said
        else:
            found = answers_here(_opened(name, top_k, reader, **given), questions, no_reader=NO_READER)
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
) -> None:
    """Answer questions until Ctrl-C: POST /ask and POST /v1/chat/completions, on a socket that you alone may open."""
    from .rag_serve import serve_until_stopped

    with waiting(err(), "loading the embedder and the indexes"):
        federation, most, reads = _opened(
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
        folder = _folder_of(name)
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
        federation, most, named = _opened(
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


def _opened(name: Path, top_k: int | None, reader: str | None, **given: Any) -> tuple["Federation", int, str]:
    """Return the clients of a collection or a job, how many passages are found, and who reads them; what a job says stands in the job alone."""
    from ..errors import SettingError
    from ..retrieval import Router, Score, SentQuestion, open_collection
    from ..running.retrieving import asking, asking_job, connect, is_job, reader_of

    said = {option: value for option, value in given.items() if value is not None}
    if is_job(name):
        if said:
            settings = " and ".join(f"protocol.{OF_A_JOB[option]}" for option in said)
            raise SettingError(
                f"{name} is a job, which says itself how its clients are asked: leave out --{next(iter(said))} and change {settings} there"
            )
        job = asking_job(name)
        return connect(job), asking(job).top_k if top_k is None else top_k, reader or reader_of(job)
    read = reader or "best-sentence"
    router = Router(count=said["router"], margin=said.get("margin", 0.2)) if said.get("router") else None
    federation = open_collection(
        name,
        score=Score(kind=said.get("score", "hybrid")),
        share=said.get("share", "passages"),
        verify="verify" in said,
        router=router,
        question=SentQuestion(kind="noised", epsilon=said["epsilon"]) if "epsilon" in said else None,
        fetch=said.get("fetch", 0),
        reader=read if said.get("share") == "answers" and read != NO_READER else "best-sentence",
    )
    return federation, 5 if top_k is None else top_k, read


def _folder_of(name: Path) -> Path:
    """Return where the indexes of a collection or a job are."""
    from ..running.retrieving import asking_job, index_folder, is_job

    return index_folder(asking_job(name)) if is_job(name) else name
