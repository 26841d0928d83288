"""The first question of a job: what each site says to it before anything is done."""

from collections.abc import Callable
from typing import Any, Protocol

from ...errors import JobError, RunError
from ...federation.nvflare.engine import Stopped, beside
from ...federation.nvflare.line import Line, Patience, Plain, gives_sign
from ...records import ClientId

OPEN_S = 1800.0  # that a site may take to load its data and backbone
ABOUT = {"examples", "measures", "versions", "precision", "threads", "device", "memory_gb"}  # what a site reports of itself
STRANGE = ["off-manifest", "Opening"]  # of an answer that is none
MOST_TEXTS = 100  # that it reports, and characters of each
MOST_EXAMPLES = 10**12
MOST_REASON = 2000  # characters of why it refuses
OPEN_MISSES = 10  # signs of life that may be missing meanwhile: all of a machine may be busy then


class ServerLine(Line, Protocol):
    """The line to the sites of a job, as the server uses it."""

    @property
    def sites(self) -> list[ClientId]: ...

    def open(self, client: ClientId, opening: Plain, timeout_s: float) -> Plain:
        """Return what a site says to a job before it begins."""


class SiteRefused(JobError):
    """A site does not permit what the job asks for, or has other versions or another backbone."""


class SiteLost(RunError):
    """A site died before the first round of a submission: the job is submitted again, with those that are there then."""


def open_at_sites(
    line: ServerLine,
    opening: Plain,
    patience: Patience,
    *,
    leave_out: Callable[[ClientId, str], None],
    most_examples: int | None = None,
) -> dict[ClientId, dict[str, Any]]:
    """Return what each site reports of itself, once all permit the job and have loaded what it needs.

    A site that reports something else, or of more examples than the job takes of one, is left out: the others begin without it.

    Args:
        leave_out: called with the name of such a site, and why.
        most_examples: of one site; None: any number.

    Raises:
        JobError: if a site refuses; it names each with its reason.
        RunError: if a site cannot take part, or all are left out.
        SiteLost: if a site is gone before it could say so.
    """
    _ask_all(line, {**opening, "ask": True}, patience)
    infos = _ask_all(line, {**opening, "ask": False}, patience)
    faults = {site: fault for site, info in infos.items() if (fault := _fault_of(info, most_examples))}
    for site, fault in faults.items():
        leave_out(site, fault)
    if len(faults) == len(infos):
        raise RunError(
            f"no site can take part: {'; '.join(f'{site}: {fault}' for site, fault in faults.items())}. Nothing was trained"
        )
    return {site: info for site, info in infos.items() if site not in faults}


def answers_of(line: ServerLine, opening: Plain, patience: Patience) -> dict[ClientId, Plain]:
    """Return each site's answer, in the order of their names: what it reports of itself under info, or why not under refused or failure.

    A site without signs of life is lost.

    Raises:
        Stopped: if the engine stopped the job.
    """
    answers: dict[ClientId, Plain] = {}

    def ask(site: ClientId) -> None:
        answers[site] = _open(line, site, opening)

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


def _ask_all(line: ServerLine, opening: Plain, patience: Patience) -> dict[ClientId, dict[str, Any]]:
    answers = answers_of(line, opening, patience)
    refused = [f"{site} refuses: {answer['refused']}" for site, answer in answers.items() if "refused" in answer]
    if refused:
        raise SiteRefused(f"{'; '.join(refused)}. Nothing was trained; fix it, or leave the site out with --without SITE")
    lost = [site for site, answer in answers.items() if answer.get("failure", [""])[0] == "lost"]
    if lost:
        raise SiteLost(f"{', '.join(lost)} was lost while the job was opened")
    failed = [
        f"{site}: {' '.join(answer['failure'])}" for site, answer in answers.items() if answer.get("failure", STRANGE) != STRANGE
    ]
    if failed:
        raise RunError(f"a site cannot take part: {'; '.join(failed)}; its own runs/RUN/log.txt says why. Nothing was trained")
    return {site: answer.get("info", {}) for site, answer in answers.items()}


def _fault_of(info: Any, most_examples: int | None) -> str:
    """Return why what a site reports of itself is of no use, or nothing."""
    if not _is_info(info):
        return " ".join(STRANGE)
    if most_examples is not None and info["examples"] > most_examples:
        return f"it reports {info['examples']:,} training examples, and clients.most_examples is {most_examples:,}"
    return ""


def _is_info(info: Any) -> bool:
    """Return whether this is what `at_site.describe` reports of a site, in its types and of a sensible size."""
    try:
        texts = [info["precision"], info["device"], *info["versions"].keys(), *info["versions"].values()]
        numbers = [info["examples"], info["measures"], info["threads"], info["memory_gb"] or 0]
    except (KeyError, TypeError, AttributeError):
        return False
    return (
        set(info) == ABOUT
        and len(texts) < MOST_TEXTS
        and all(isinstance(text, str) and len(text) < MOST_TEXTS for text in texts)
        and all(isinstance(number, int) and 0 <= number < MOST_EXAMPLES for number in numbers)
    )


def _in_form(answer: object) -> Plain:
    """Return a site's answer with words that can be shown on a terminal of somebody else; one in another form is a failure."""
    match answer:
        case {"refused": text, **rest} if not rest:
            return {"refused": _printable(text)}
        case {"failure": [str(kind), str(mark)], **rest} if not rest:
            return {"failure": [_printable(kind), _printable(mark)]}
        case {"info": dict(info), **rest} if not rest:
            return {"info": info}
    return {"failure": STRANGE}


def _printable(text: object) -> str:
    return "".join(sign for sign in str(text) if sign.isprintable())[:MOST_REASON]


def _open(line: ServerLine, site: ClientId, opening: Plain) -> Plain:
    try:
        answer: object = line.open(site, opening, OPEN_S)
    except BaseException as fault:  # also the engine's own sign that the job is over, which `Line.stopped` shows
        return {"failure": ["lost", type(fault).__name__]}
    return _in_form(answer)
