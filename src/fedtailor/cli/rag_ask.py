"""Where `fedtailor rag ask` gets its answers: from a service that runs, from the indexes of this machine, or from the sites of a network."""

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..retrieval import Federation

SOCKET = "ask.sock"  # of a service, in the folder of the indexes


def answers_here(opened: tuple["Federation", int, str], questions: Sequence[str], *, no_reader: str) -> dict[str, Any]:
    """Return the answers of clients whose indexes are on this machine, and what was shared."""
    from ..retrieval import ask
    from ..retrieval.answered import record
    from ..retrieval.share import LETS_OUT

    federation, most, reads = opened
    found = ask(federation, questions, top_k=most, reader="best-sentence" if reads == no_reader else reads)
    return {"answers": [record(one) for one in found], "share": federation.share, "lets_out": LETS_OUT[federation.share]}


def answers_of_service(folder: Path, questions: Sequence[str], top_k: int | None) -> dict[str, Any] | None:
    """Return the answers of the service that runs for a collection or a job; None if none does."""
    from ..retrieval.over_socket import ask_service
    from ..retrieval.share import LETS_OUT

    found = ask_service(folder / SOCKET, questions, top_k)
    if not found:
        return None
    return {"answers": found, "share": found[0]["share"], "lets_out": LETS_OUT[found[0]["share"]]}


def answers_on(
    name: Path, network: Path, questions: Sequence[str], *, top_k: int | None, reader: str | None, given: Mapping[str, object]
) -> dict[str, Any]:
    """Return the answers of the sites of a network: a job of its name that is open there is asked, else the job runs with these questions in the place of its own.

    Raises:
        SettingError: if `name` is no job of retrieval, or options are given that the job itself says.
        RunError: if no site answers.
    """
    from ..errors import SettingError
    from ..network.command.open_run import ask_open
    from ..network.command.submit import run_on
    from ..running.retrieving import asking, asking_job, is_job
    from ..storage import write_text

    if not is_job(name):
        raise SettingError(
            f"--on asks the sites of a network for a job, and {name} is no job file; write one: protocol: retrieval"
        )
    if said := [option for option, value in given.items() if value is not None]:
        raise SettingError(
            f"{name} is a job, which says itself how its clients are asked: leave out --{said[0]} and change it there"
        )
    job = asking_job(name)
    if reader is None and (found := ask_open(job, network, questions, top_k)) is not None:
        return {"answers": found, "share": asking(job).share, "lets_out": asking(job).lets_out}
    with tempfile.TemporaryDirectory(prefix="fedtailor-ask-") as place:
        file, column = Path(place) / "questions.jsonl", job.data.columns.get("question", "question")
        write_text(file, "".join(json.dumps({column: text}) + "\n" for text in questions))
        for setting, value in (("data.test", str(file)), ("protocol.top_k", top_k), ("task.reader", reader), ("data.limit", {})):
            job = job if value is None else job.replace(setting, value)
        return dict(run_on(job, network, out=Path(place) / "run").summary["retrieval"])
