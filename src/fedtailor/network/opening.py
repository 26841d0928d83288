"""The first question of a job: what each site says to it before anything is done."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

from ..errors import JobError, RunError
from ..federation.nvflare.engine import Stopped
from ..federation.nvflare.line import Line, Told
from ..records import ClientId

OPEN_S = 1800.0  # that a site may take to load its data and backbone


class HubLine(Line, Protocol):
    """The line to the sites of a job, as the hub uses it."""

    @property
    def sites(self) -> list[ClientId]: ...

    def open(self, client: ClientId, told: Told, timeout_s: float) -> Told:
        """Return what a site says to a job before it begins."""


class SiteRefused(JobError):
    """A site does not permit what the job asks for, or has other versions or another backbone."""


def open_at_sites(line: HubLine, told: Told) -> dict[ClientId, dict[str, Any]]:
    """Return what each site tells of itself, once all permit the job and have loaded what it needs.

    Raises:
        JobError: if a site refuses; it names each with its reason.
        RunError: if a site cannot take part.
    """
    _ask_all(line, {**told, "ask": True})
    return _ask_all(line, {**told, "ask": False})


def answers_of(line: HubLine, told: Told) -> dict[ClientId, Told]:
    """Return each site's answer: what it tells of itself under info, or why not under refused or failure.

    Raises:
        Stopped: if the engine stopped the job.
    """
    with ThreadPoolExecutor(len(line.sites), "open") as pool:
        answers = dict(zip(line.sites, pool.map(lambda site: _open(line, site, told), line.sites), strict=True))
    if line.stopped():
        raise Stopped("the engine stopped the job before its first round")
    return answers


def _ask_all(line: HubLine, told: Told) -> dict[ClientId, dict[str, Any]]:
    answers = answers_of(line, told)
    refused = [f"{site} refuses: {answer['refused']}" for site, answer in answers.items() if "refused" in answer]
    if refused:
        raise SiteRefused(f"{'; '.join(refused)}. Nothing was trained; mend it, or leave the site out with --without SITE")
    failed = [f"{site}: {' '.join(answer['failure'])}" for site, answer in answers.items() if "failure" in answer]
    if failed:
        raise RunError(f"a site cannot take part: {'; '.join(failed)}; its own runs/RUN/log.txt says why. Nothing was trained")
    return {site: answer["info"] for site, answer in answers.items()}


def _open(line: HubLine, site: ClientId, told: Told) -> Told:
    try:
        answer = line.open(site, told, OPEN_S)
    except Exception as fault:
        return {"failure": ["lost", type(fault).__name__]}
    return answer if isinstance(answer, dict) and len(answer) == 1 else {"failure": ["off-manifest", "Opening"]}
