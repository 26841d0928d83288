"""The commands of retrieval for a job."""

from typing import TYPE_CHECKING

from .console import out
from .rag_show import bar

if TYPE_CHECKING:
    from ..job import Job


def index_job(job: "Job", file: str) -> None:
    """Let each client of a job index its documents."""
    from ..running.retrieving import asking
    from ..running.retrieving import index as index_job

    settings = asking(job)

    with bar() as progress:
        done = index_job(job, progress=progress)
    for client, did in done.items():
        out().print(
            f"  {client}: {did.documents:,} documents, {did.passages:,} passages ({did.embedded:,} embedded)", soft_wrap=True
        )
    out().print(f"  share: {settings.share}: {settings.lets_out}", soft_wrap=True)
    out().print(f'  ask them: fedtailor rag ask {file} "…"', soft_wrap=True, style="dim")
