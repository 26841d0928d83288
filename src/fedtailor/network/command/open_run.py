"""A job of retrieval that stays open on a network: it is submitted, and others ask it."""

import json
import secrets
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ...errors import RunError, SettingError
from ...job import Job
from ...retrieval.inbox import CLOSED
from ...running import Result, Watcher
from ...storage import write_text
from ..kit.kits import OPEN_RUN, admin_kit, check_installed, kit_role
from .submit import run_on

LOOK_S = 0.1  # between two looks for an answer
ANSWER_S = 300.0  # that one is waited for
LONGEST_S = 86_400.0  # that a job stays open without a question, where it does not say


def serve_on(job: Job, network: Path, *, watcher: Watcher, said: Callable[[str], None]) -> Result:
    """Carry out a job that answers the questions of others until it is stopped, or nobody asks for `open_s`.

    Args:
        said: called with the engine's id once the job is submitted.
    """
    kit = admin_kit(network)
    settings: Any = job.protocol
    job = job.replace("data.test", None).replace("protocol.open_s", settings.open_s or LONGEST_S)

    def begun(id: str) -> None:
        write_text(kit / OPEN_RUN, json.dumps({"job": id, "name": job.name}))
        said(id)

    try:
        with tempfile.TemporaryDirectory(prefix="fedtailor-open-") as place:
            return run_on(job, network, out=Path(place) / "run", watcher=watcher, begun=begun)
    finally:
        (kit / OPEN_RUN).unlink(missing_ok=True)


def ask_open(job: Job, network: Path, questions: Sequence[str], top_k: int | None) -> list[dict[str, Any]] | None:
    """Return the answers of the job that is open on a network; None if none of this name is.

    Raises:
        SettingError: if a question cannot be answered.
        RunError: if no answer comes.
    """
    check_installed()
    from ...federation.nvflare.administration import ServerSession

    kit = admin_kit(network)
    try:
        found = json.loads((kit / OPEN_RUN).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if found.get("name") != job.name:
        return None
    with ServerSession(kit, kit_role(kit)["user"]) as server:
        ticket = secrets.token_hex(16)
        asked = {"ticket": ticket, "questions": list(questions), **({} if top_k is None else {"top_k": top_k})}
        until = time.monotonic() + ANSWER_S
        while (taken := server.ask(str(found["job"]), {"ask": asked})) is not None:
            if taken.get("fault") != CLOSED or time.monotonic() > until:
                break
            time.sleep(10 * LOOK_S)  # sites are still indexing
        if taken is None:
            return None  # it has ended
        _check(taken)
        while time.monotonic() < until:
            answer = server.ask(str(found["job"]), {"look": ticket})
            if answer is None:
                raise RunError("the job that was open has ended before it answered; ask again")
            if answer:
                _check(answer)
                return list(answer["answers"])
            time.sleep(LOOK_S)
    raise RunError(
        f"no answer came within {ANSWER_S:.0f} s; look at the server's log, or end the job that is open and serve it again"
    )


def _check(answer: Any) -> None:
    if "fault" in answer:
        raise SettingError(f"the job that is open on the network: {answer['fault']}")
