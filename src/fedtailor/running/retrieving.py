"""Carries a job of retrieval out: documents are dealt to clients and indexed there, and questions go through the gate."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..chance import stream_seed
from ..data.partition.iid import Iid
from ..data.read import read_table
from ..errors import DataError
from ..federation import LocalFederation
from ..job.retrieval import RetrievalJob
from ..messages import manifest_of
from ..printable import json_text
from ..protection import make_gate
from ..protocols.retrieval import Courier, Retrieval, RetrievalHalf, RetrievalRun
from ..records import ClientId, ClientInfo
from ..retrieval import Federation
from ..retrieval.client import RetrievalClient
from ..retrieval.collection import make_reader, open_folders, save_collection
from ..retrieval.documents import Document, Reading, SourceFile
from ..retrieval.embedder import Embedder, MiniLm
from ..retrieval.evaluate import evaluate, evaluate_alone, read_questions
from ..retrieval.update import update_index
from ..storage import text_sha256
from .folder import RunFolder


def index_folder(job: RetrievalJob) -> Path:
    """Return where a job's indexes go."""
    return job.base / "runs" / f"{job.name}-index"


def deal(job: RetrievalJob) -> dict[str, list[Document]]:
    """Return the documents of each client: those of a value of the column together, and each client about as many.

    Raises:
        DataError: if a column is missing, or there are fewer values than clients.
    """
    path = job.path(job.data.documents)
    table = read_table(path)
    names = {name: job.data.columns.get(name, name) for name in ("id", "title", "text")}
    for name in names.values():
        if name not in table.names:
            raise DataError(f"{path} has no column {name!r}; it has {', '.join(map(repr, table.names))}; name it in data.columns")
    rows = zip(*(table.column(names[name]) for name in ("id", "title", "text")), strict=True)
    documents = [Document(id=str(id), title=str(title or ""), text=str(text or "")) for id, title, text in rows]
    draw = np.random.default_rng(stream_seed(job.seed, "deal"))
    count = job.clients.count
    if isinstance(job.clients.partition, Iid):
        order = draw.permutation(len(documents))
        return {f"client-{k:02d}": [documents[row] for row in sorted(order[k::count])] for k in range(count)}
    by = job.clients.partition.by
    if by not in table.names:
        raise DataError(f"{path} has no column {by!r} to deal documents by; it has {', '.join(map(repr, table.names))}")
    values = [str(value) for value in table.column(by)]
    sizes = Counter(values)
    if count is None:
        owner = {value: f"client-{k:02d}" for k, value in enumerate(sorted(sizes))}
    else:
        if len(sizes) < count:
            raise DataError(f"{path} has {len(sizes)} values of {by!r}, and clients.count asks for {count}; lower it")
        owner, held = {}, {f"client-{k:02d}": 0 for k in range(count)}
        drawn = draw.permutation(sorted(sizes)).tolist()
        for value in sorted(drawn, key=lambda value: -sizes[value]):
            owner[value] = min(held, key=lambda name: held[name])
            held[owner[value]] += sizes[value]
    found: dict[str, list[Document]] = {name: [] for name in sorted(set(owner.values()))}
    for value, document in zip(values, documents, strict=True):
        found[owner[value]].append(document)
    return found


def index(
    job: RetrievalJob,
    *,
    embedder: Embedder | None = None,
    progress: Callable[[str, int, int], None] = lambda what, done, of: None,
) -> dict[str, Any]:
    """Let each client of the job index its documents, and return what was done, by client."""
    folder, embedder = index_folder(job), embedder or MiniLm()
    done = {}
    for client, documents in deal(job).items():
        content = json_text([[one.id, one.title, one.text] for one in documents])
        file = SourceFile(name="rows", sha256=text_sha256(content), read=lambda some=documents: Reading(documents=some))  # type: ignore[misc]
        done[client] = update_index(folder / client, [file], embedder, job.protocol.chunk, progress)
    save_collection(folder, {client: folder / client for client in done})
    return done


def connect(job: RetrievalJob, *, embedder: Embedder | None = None) -> Federation:
    """Return the clients of a job, whose messages go through the gate.

    Raises:
        DataError: if nothing has been indexed yet.
        SettingError: if a client's own file allows less than the job asks for.
    """
    embedder, settings = embedder or MiniLm(), job.protocol
    clients, logs = open_folders(index_folder(job))
    run = RetrievalRun(embedder=embedder, settings=settings, seed=job.seed)
    reader = job.task.reader if settings.share == "answers" and job.task.reader != "none" else "best-sentence"
    return Federation(
        clients=clients,
        embedder=embedder,
        score=settings.score,
        share=settings.share,
        verify=settings.verify,
        shared_statistics=settings.shared_statistics,
        router=settings.router,
        seed=job.seed,
        logs=logs,
        reader=make_reader(reader, embedder),
        engine=partial(_through_gate, run),
    )


def _through_gate(run: RetrievalRun, clients: Mapping[str, RetrievalClient]) -> Courier:
    """Return what carries requests to clients of this process through the gate."""
    halves = {ClientId(name): RetrievalHalf(inner=client) for name, client in clients.items()}
    infos = [ClientInfo(id=name, examples=max(1, clients[name].index.size)) for name in halves]
    local = LocalFederation(halves, infos, make_gate(manifest_of(run.calls())), lambda client, fault: None)
    return Courier(federation=local, timeout_s=run.settings.timeout_s)


@dataclass(frozen=True, kw_only=True)
class Retrieved:
    """What a job of retrieval came to."""

    folder: Path
    summary: dict[str, Any]


def run_retrieval(
    job: RetrievalJob,
    *,
    embedder: Embedder | None = None,
    progress: Callable[[str, int, int], None] = lambda what, done, of: None,
) -> Retrieved:
    """Index, ask all questions of the job, and write summary.json beside the indexes, and events.jsonl as it goes.

    Run again, only what has changed is indexed: that is how an interrupted one continues.
    """
    done = index(job, embedder=embedder, progress=progress)
    folder = RunFolder(index_folder(job))
    folder.event("start", name=job.name, share=job.protocol.share, lets_out=job.protocol.lets_out)
    for client, did in done.items():
        folder.event("indexed", client=client, documents=did.documents, passages=did.passages, embedded=did.embedded)
    summary: dict[str, Any] = {
        "protocol": Retrieval.kind,
        "job_name": job.name,
        "share": job.protocol.share,
        "lets_out": job.protocol.lets_out,
        "clients": {client: {"documents": did.documents, "passages": did.passages} for client, did in done.items()},
    }
    if job.data.questions is not None:
        summary |= _measured(job, connect(job, embedder=embedder), progress)
    folder.write_text("summary.json", json_text(summary, indent=2))
    folder.event("done", metrics=summary.get("metrics", {}))
    return Retrieved(folder=folder.path, summary=summary)


def _measured(job: RetrievalJob, federation: Federation, progress: Callable[[str, int, int], None]) -> dict[str, Any]:
    """Return the figures of all clients together, and of each one's own index alone."""
    known = read_questions(job.path(job.data.questions))
    reader = None if job.task.reader == "none" else make_reader(job.task.reader, federation.embedder)
    most = job.protocol.top_k
    found = evaluate(federation, known, reader, top_k=most, progress=partial(progress, "questions"))
    several = len(federation.clients) > 1
    alone = evaluate_alone(federation, known, reader, top_k=most, progress=partial(progress, "clients alone")) if several else {}
    return {**asdict(found), "alone": alone}
