"""The commands of retrieval for a job."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from .console import out, print_json
from .rag_show import bar, show_retrieved

if TYPE_CHECKING:
    from ..job.retrieval import RetrievalJob


def run_job(job: Path, settings: list[str], *, as_json: bool, refused: "Mapping[str, object]") -> None:
    """Carry a job of retrieval out: index at each client, and ask its questions."""
    from ..errors import SettingError
    from ..job.retrieval import RetrievalJob
    from ..running.retrieving import run_retrieval

    loaded = RetrievalJob.load(job, settings)
    if given := [name for name, value in refused.items() if value is not None]:
        raise SettingError(
            f"{given[0]} does not go with protocol: retrieval, which trains nothing and runs on this machine; leave it out"
        )
    with bar() as progress:
        found = run_retrieval(loaded, progress=progress)
    if as_json:
        print_json(found.summary)
        return
    show_retrieved(found.summary)
    out().print(f"  result  {found.folder}", soft_wrap=True)
    out().print(f'  ask them: fedtailor rag ask {job} "…"', soft_wrap=True, style="dim")


def index_job(job: "RetrievalJob", file: str) -> None:
    """Let each client of a job index its documents."""
    from ..running.retrieving import index as index_job

    with bar() as progress:
        done = index_job(job, progress=progress)
    for client, did in done.items():
        out().print(
            f"  {client}: {did.documents:,} documents, {did.passages:,} passages ({did.embedded:,} embedded)", soft_wrap=True
        )
    out().print(f"  share: {job.protocol.share}: {job.protocol.lets_out}", soft_wrap=True)
    out().print(f'  ask them: fedtailor rag ask {file} "…"', soft_wrap=True, style="dim")
