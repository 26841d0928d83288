"""The clients of a job of retrieval on this machine: their documents are indexed, and they are asked, without a run."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import cast

from ..assembly.data import divide_data
from ..errors import SettingError
from ..federation import LocalFederation
from ..job import Job
from ..messages import manifest_of
from ..models import choose_device, load_backbone
from ..pairs import technique
from ..protection import make_gate
from ..protocols.retrieval import Courier, Retrieval, RetrievalHalf, index_examples
from ..protocols.retrieval.messages import calls_of
from ..protocols.retrieval.server import asks_of
from ..records import ClientId, ClientInfo
from ..retrieval import Federation
from ..retrieval.client import RetrievalClient
from ..retrieval.collection import make_reader, open_folders
from ..retrieval.collection_file import save_collection
from ..retrieval.embedder import Embedder, embedder_of
from ..retrieval.update import Updated
from ..tasks.question_answering import NO_READER

Progress = Callable[[str, int, int], None]


def is_job(path: str | Path) -> bool:
    """Return whether a path is a job file, and no collection."""
    return Path(path).suffix.lower() in (".yaml", ".yml") and Path(path).is_file()


def asking_job(path: str | Path, overrides: list[str] | None = None) -> Job:
    """Return the job in a file, whose protocol asks documents.

    Raises:
        SettingError: if the file cannot be read, anything in it is wrong, or it is a job of another protocol.
    """
    job = Job.load(path, overrides or [])
    if technique("protocol", job.protocol).lack("documents") is not None:
        raise SettingError(
            f"{path} is a job of protocol: {job.protocol.kind}, which asks no documents; carry it out with fedtailor run {path}"
        )
    return job


def asking(job: Job) -> Retrieval:
    """Return how a job that `asking_job` gave asks its clients."""
    return cast(Retrieval, job.protocol)


def reader_of(job: Job) -> str:
    """Return the name of a job's reader, or the folder of the run that has trained it."""
    return str(job.task.resolve((), job.base).reads)


def index_folder(job: Job) -> Path:
    """Return where a job's indexes go."""
    return job.base / "runs" / f"{job.name}-index"


def index(job: Job, *, progress: Progress = lambda what, done, of: None) -> dict[str, Updated]:
    """Let each client of the job index its documents, and return what was done, by client."""
    folder, embedder, divided = index_folder(job), embedder_for(job), divide_data(job)
    settings, own = asking(job), own_embedders(job)
    done = {
        client: index_examples(documents, folder / client, own.get(client, embedder), settings.chunk, progress)[1]
        for client, documents in divided.train.items()
    }
    save_collection(folder, {client: folder / client for client in done})
    return done


def connect(job: Job) -> Federation:
    """Return the clients of a job, whose messages go through the gate.

    Raises:
        DataError: if nothing has been indexed yet.
        SettingError: if a client's own file allows less than the job asks for.
    """
    settings = asking(job)
    clients, logs = open_folders(index_folder(job))
    embedder = embedder_for(job)
    reader = reader_of(job) if settings.share == "answers" and reader_of(job) != NO_READER else "best-sentence"
    return Federation(
        clients=clients,
        embedder=embedder,
        embedders=own_embedders(job),
        asks=asks_of(settings, job.backbone, job.base),
        score=settings.score,
        share=settings.share,
        verify=settings.verify,
        question=settings.question,
        fetch=settings.fetch,
        shared_statistics=settings.shared_statistics,
        router=settings.router,
        seed=job.seed,
        logs=logs,
        reader=make_reader(reader, embedder),
        engine=partial(_through_gate, settings, embedder.width),
    )


def own_embedders(job: Job) -> dict[str, Embedder]:
    """Return the embedders of the clients to which the job gives a backbone of their own."""
    named = {client: own.backbone for client, own in job.clients.overrides.items() if own.backbone is not None}
    loaded = {name: embedder_for(job, name) for name in set(named.values())}
    return {str(client): loaded[name] for client, name in named.items()}


def embedder_for(job: Job, name: str = "") -> Embedder:
    """Return a backbone as an embedder: the job's, where no other is named."""
    backbone = load_backbone(
        name or job.backbone,
        kind=job.task.backbone,
        device=choose_device(job.device),
        base=job.base,
        seed=job.seed,
        trust_times=True,
    )
    return embedder_of(backbone.model, backbone.processor)


def _through_gate(settings: Retrieval, width: int, clients: Mapping[str, RetrievalClient]) -> Courier:
    """Return what carries requests to clients of this process through the gate."""
    halves = {ClientId(name): RetrievalHalf(inner=client) for name, client in clients.items()}
    infos = [ClientInfo(id=name, examples=max(1, clients[name].index.size)) for name in halves]
    gate = make_gate(manifest_of(calls_of(settings, width)))
    return Courier(federation=LocalFederation(halves, infos, gate, lambda client, fault: None), timeout_s=settings.timeout_s)
