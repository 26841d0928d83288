"""Opens a collection, or the clients of a job, as the options of a command say."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..retrieval import Federation

NO_READER = "none"
OF_A_JOB = {
    "score": "score.kind",
    "share": "share",
    "verify": "verify",
    "router": "router.count",
    "margin": "router.margin",
    "epsilon": "question.epsilon",
    "fetch": "fetch",
}


def opened(name: Path, top_k: int | None, reader: str | None, **given: Any) -> tuple["Federation", int, str]:
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


def folder_of(name: Path) -> Path:
    """Return where the indexes of a collection or a job are."""
    from ..running.retrieving import asking_job, index_folder, is_job

    return index_folder(asking_job(name)) if is_job(name) else name
