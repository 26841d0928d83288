"""The first question of a job: what each site says to it before anything is done."""

from typing import Any, Protocol

from ..errors import JobError, RunError
from ..federation.nvflare.engine import Stopped, beside
from ..federation.nvflare.line import Line, Patience, Told, gives_sign
from ..records import ClientId

OPEN_S = 1800.0  # that a site may take to load its data and backbone
OPEN_MISSES = 10  # signs of life that may be missing meanwhile: all of a machine may be busy then


class HubLine(Line, Protocol):
    """The line to the sites of a job, as the hub uses it."""

    @property
    def sites(self) -> list[ClientId]: ...

    def open(self, client: ClientId, told: Told, timeout_s: float) -> Told:
        """Return what a site says to a job before it begins."""


class SiteRefused(JobError):
    """A site does not permit what the job asks for, or has other versions or another backbone."""


class SiteLost(RunError):
    """A site died before the first round of a submission: the job is handed in again, with those that are there then."""


def open_at_sites(line: HubLine, told: Told, patience: Patience) -> dict[ClientId, dict[str, Any]]:
    """Return what each site tells of itself, once all permit the job and have loaded what it needs.

    Raises:
        JobError: if a site refuses; it names each with its reason.
        RunError: if a site cannot take part.
        SiteLost: if a site is gone before it could say so.
    """
    _ask_all(line, {**told, "ask": True}, patience)
    return _ask_all(line, {**told, "ask": False}, patience)


def answers_of(line: HubLine, told: Told, patience: Patience) -> dict[ClientId, Told]:
    """Return each site's answer, in the order of their names: what it tells of itself under info, or why not under refused or failure.

    A site without signs of life is lost.

    Raises:
        Stopped: if the engine stopped the job.
    """
    answers: dict[ClientId, Told] = {}

    def ask(site: ClientId) -> None:
        answers[site] = _open(line, site, told)

    threads = {site: beside(ask, site) for site in line.sites}
    missed = dict.fromkeys(line.sites, 0)
    while not line.stopped() and (waiting := [site for site in line.sites if site not in answers]):
        threads[waiting[0]].join(patience.beat_s)
        for site in waiting:
            missed[site] = 0 if site in answers or gives_sign(line, site, patience.beat_s) else missed[site] + 1
            if missed[site] >= OPEN_MISSES:
                answers.setdefault(site, {"failure": ["lost", "NoSignOfLife"]})
    if line.stopped():  # the engine then claims that calls timed out
        raise Stopped("the engine stopped the job before its first round")
    return {site: answers[site] for site in line.sites}


def _ask_all(line: HubLine, told: Told, patience: Patience) -> dict[ClientId, dict[str, Any]]:
    answers = answers_of(line, told, patience)
    refused = [f"{site} refuses: {answer['refused']}" for site, answer in answers.items() if "refused" in answer]
    if refused:
        raise SiteRefused(f"{'; '.join(refused)}. Nothing was trained; mend it, or leave the site out with --without SITE")
    lost = [site for site, answer in answers.items() if answer.get("failure", [""])[0] == "lost"]
    if lost:
        raise SiteLost(f"{', '.join(lost)} was lost while the job was opened")
    failed = [f"{site}: {' '.join(answer['failure'])}" for site, answer in answers.items() if "failure" in answer]
    if failed:
        raise RunError(f"a site cannot take part: {'; '.join(failed)}; its own runs/RUN/log.txt says why. Nothing was trained")
    return {site: answer["info"] for site, answer in answers.items()}


def _open(line: HubLine, site: ClientId, told: Told) -> Told:
    try:
        answer = line.open(site, told, OPEN_S)
    except BaseException as fault:  # also the engine's own sign that the job is over, which `Line.stopped` tells
        return {"failure": ["lost", type(fault).__name__]}
    return answer if isinstance(answer, dict) and len(answer) == 1 else {"failure": ["off-manifest", "Opening"]}
