"""Folders of documents as the clients of one collection, on one machine: indexed, asked, evaluated without a job."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import SettingError
from .allows import LOG, QueryLog, read_allows
from .asking import Found
from .collection_file import FILE, NAME, backbones_of, clients_of, embedders_of, save_collection
from .documents import Columns, Skipped, folder_files, lines_about
from .embedder import Embedder, MiniLm
from .federated import Federation
from .index import Index, is_index, open_index
from .passages import Chunks
from .question import SentQuestion
from .readers import Answer, BestSentence, Generative, Reader, client_answer
from .router import Router
from .search import Score
from .update import Updated, update_index
from .write import Progress


@dataclass(frozen=True, kw_only=True)
class Indexed:
    """What was done for one client."""

    client: str
    folder: Path
    updated: Updated
    skipped: Sequence[str]  # a sentence for each kind of file that was not read


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The answer to a question."""

    found: Found
    answer: Answer


def index_folders(
    folders: Sequence[str | Path],
    out: str | Path,
    *,
    chunks: Chunks | None = None,
    columns: Columns | None = None,
    embedder: Embedder | None = None,
    backbone: str = "",
    progress: Progress = lambda what, done, of: None,
) -> list[Indexed]:
    """Index folders of documents, each as a client, or update those that a collection knows.

    Args:
        folders: a path, or NAME=PATH for a client of another name than the folder; none: those that `out` knows.
        out: folder of the collection, which is made; it holds the texts of the documents.
        embedder: of all clients without a backbone of their own; minilm-l6 if left out.
        backbone: the embedder of the folders that are named here, as jobs name it; left out: that of all.

    Raises:
        SettingError: if two clients have one name, or the collection was made by another embedder.
        DataError: if a folder is not there.
    """
    place = Path(out)
    known = clients_of(place) if (place / FILE).exists() else {}
    named = _named(folders)
    clients = {**known, **named}
    if not clients:
        raise SettingError("there is no folder to index; name one: fedtailor rag index FOLDER --out NAME")
    if place.exists() and not known and not place.is_dir():
        raise SettingError(f"{place} is a file; name a folder that is not there yet")
    backbones = {**(backbones_of(place) if known else {}), **(dict.fromkeys(named, backbone) if backbone else {})}
    embedder = embedder or MiniLm()
    own = embedders_of(backbones)
    found = []
    for client, folder in (named or known).items():
        if place.resolve().is_relative_to(folder.resolve()):
            raise SettingError(f"the collection {place} would lie in {folder}, which it indexes; give it another place")
        skipped = Skipped()
        files = list(folder_files(folder, skipped, columns))
        done = update_index(place / client, files, own.get(client, embedder), chunks, progress)
        found.append(Indexed(client=client, folder=folder, updated=done, skipped=lines_about(skipped.files)))
        save_collection(place, {name: path for name, path in clients.items() if is_index(place / name)}, backbones)
    return found


def open_collection(
    name: str | Path,
    *,
    embedder: Embedder | None = None,
    score: Score | None = None,
    share: str = "passages",
    verify: bool = False,
    router: Router | None = None,
    question: SentQuestion | None = None,
    fetch: int = 0,
    reader: str = "best-sentence",
) -> Federation:
    """Return the clients of a collection, to be asked.

    Args:
        share: what leaves a client of its documents: passages, snippets, answers, scores or embeddings; see `share.LETS_OUT`.
        verify: embed the passages that came, and leave out clients that stated scores which these do not have.
        router: asks only clients that hold something near the question.
        question: what clients get of a question; its text and vector if left out.
        fetch: passages of a question that are fetched and scored here, before top_k are left; 0: top_k.
        reader: of the clients, where answers leave them.

    Raises:
        DataError: if there is no collection, or an index of it is damaged.
        SettingError: if settings do not go together.
    """
    indexes, logs = open_folders(Path(name))
    embedder = embedder or MiniLm()
    return Federation(
        clients=indexes,
        embedder=embedder,
        embedders=embedders_of(backbones_of(Path(name))) if (Path(name) / FILE).is_file() else {},
        score=score or Score(),
        share=share,
        verify=verify,
        question=question or SentQuestion(),
        fetch=fetch,
        logs=logs,
        router=router,
        reader=make_reader(reader, embedder) if share == "answers" else None,
    )


def open_folders(place: Path) -> tuple[dict[str, Index], dict[str, QueryLog]]:
    """Return each client's index, and what it allows, with its log."""
    folders = {place.name: place} if is_index(place) else {client: place / client for client in clients_of(place)}
    logs = {client: QueryLog(allows=read_allows(folder), file=folder / LOG) for client, folder in folders.items()}
    return {client: open_index(folder) for client, folder in folders.items()}, logs


def ask(
    name: str | Path | Federation,
    questions: str | Sequence[str],
    *,
    top_k: int = 5,
    reader: str | Reader = "best-sentence",
) -> list[Asked]:
    """Return answers with their sources.

    Args:
        name: of a collection, or one that is open.
        questions: one, or several.
        reader: best-sentence, or the name of a causal backbone such as smollm2-135m, or a reader.
    """
    federation = name if isinstance(name, Federation) else open_collection(name)
    texts = [questions] if isinstance(questions, str) else list(questions)
    found = federation.search(texts, top_k)
    if federation.share in ("passages", "snippets"):
        reads = make_reader(reader, federation.embedder) if isinstance(reader, str) else reader
        answers = reads.read([one.question for one in found], [one.hits for one in found])
    else:
        answers = [client_answer(one) for one in found]
    return [Asked(found=one, answer=answer) for one, answer in zip(found, answers, strict=True)]


def make_reader(name: str, embedder: Embedder) -> Reader:
    """Return a reader by its name: best-sentence, a causal backbone, or the folder of a run that has trained one.

    Raises:
        BackboneError: if there is no backbone of this name.
    """
    if name == "best-sentence":
        return BestSentence(embedder=embedder)
    from .trained import is_run, span_reader

    if is_run(name):
        return span_reader(Path(name))
    from ..models import choose_device, load_backbone

    backbone = load_backbone(name, device=choose_device("auto"), base=Path(), seed=0, trust_times=True)
    return Generative(embedder=embedder, model=backbone.model, tokenizer=backbone.processor)


def _named(folders: Sequence[str | Path]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for given in folders:
        name, equals, path = str(given).partition("=")
        folder = Path(path) if equals and NAME.fullmatch(name) else Path(given)
        client = name if equals and NAME.fullmatch(name) else folder.resolve().name
        if not NAME.fullmatch(client) or client == FILE:
            raise SettingError(f"{client!r} is no name for a client; give it another one: north={folder}")
        if client in found:
            raise SettingError(f"two folders make the client {client!r}; give one another name: {client}-2={folder}")
        found[client] = folder
    return found
