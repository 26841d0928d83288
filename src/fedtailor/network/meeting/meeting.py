"""What the server and a site say to each other of a job before its first round, as plain values."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from ...errors import SettingError
from ...job import Job
from ...personalization import dual_of
from ...protocols.distillation.settings import REST
from ...records import Example, Numeral
from ...tasks.asked import clock_of
from ...tuning.asked import initial_of
from ..kit.policy import named_classes

SENT = "sent-by-the-hub"  # in the place of paths, which mean nothing at another machine
SERVERS = "hub"  # the name on the wire under which a job's opening says what the server has
REFUSED = "mend"  # how a job ends that the user must fix: a name on the wire
RUN_NAME = 120  # most characters
HASHES = {
    "weights": "weights",
    "tokenizer": "tokenizer files",
    "chat_template": "chat template",
    "config": "settings in config.json",
    "tokenizer_config": "settings in tokenizer_config.json",
    "generation_config": "settings in generation_config.json",
    "other_files": "other files that are loaded",
}


def job_to_send(job: Job) -> dict[str, Any]:
    """Return the settings that sites are sent: those of the data are their own, and no path of this machine is among them.

    Raises:
        SettingError: if the job cannot be carried out on a network.
    """
    check_for_network(job)
    plain = job.to_dict()
    plain |= {"data": {"train": SENT, "missing": job.data.missing}, "backbone": backbone_name(job.backbone)}
    plain["evaluation"] = {**plain["evaluation"], "retained": None if job.evaluation.retained is None else SENT}
    own = {site: _named(override) for site, override in plain["clients"]["overrides"].items()}
    plain["clients"] = {**plain["clients"], "partition": "iid", "overrides": own}
    del plain["base"]
    plain["protocol"] = job.protocol.for_sites(plain["protocol"], sent=SENT)
    if initial_of(job.tuning) is not None:
        plain["tuning"] = {**plain["tuning"], "initial": None}  # the weights come with the first message
    return plain


def at_clock(job: Job, task: Any) -> Job:
    """Return the job with the moment that its chat template writes at the server, so that every site writes the same."""
    moment = clock_of(task)
    return job if moment is None else job.replace("task.clock", moment)


def _named(override: Mapping[str, Any]) -> dict[str, Any]:
    """Return what one client differs in, with its backbone by the name that sites know it by."""
    backbone = override.get("backbone")
    return {**override, "backbone": None if backbone is None else backbone_name(backbone)}


def check_for_network(job: Job) -> None:
    """Raise SettingError, naming the setting, unless all that the job needs is at the server or at the sites themselves."""
    if own := named_classes(job.to_dict()):
        raise SettingError(
            f"on a network nothing runs but techniques that come with fedtailor, and the job names the class {own[0]}; take one of ours, or run "
            "it on one machine, without --on"
        )
    if job.clients.failure_share:
        raise SettingError(
            "clients.failure_share is for simulation on one machine: on a network clients fail by themselves; leave it out"
        )
    if job.clients.hostile_share:
        raise SettingError(
            "clients.hostile_share is for simulation on one machine: sites of a network send what they train; leave it out"
        )
    tasks: list[Any] = [job.task, *(own.task for own in job.clients.overrides.values() if own.task is not None)]
    if any("label" in task.required and (task.labels is None or isinstance(task.labels, str)) for task in tasks):
        raise SettingError(
            "on a network task.labels must be listed in the job: sites do not report theirs; write task: {kind: classification, labels: [...]}"
        )
    public = job.protocol.public_examples
    if public is not None and public[0] == REST:
        raise SettingError(
            "on a network protocol.public: rest has no meaning: the server has no training rows; name a file of public examples"
        )
    if initial_of(job.tuning) is not None and job.protocol.own_models:
        raise SettingError(
            f"on a network tuning.initial does not go with protocol: {job.protocol.kind}, whose models start at the sites; leave it out, or choose averaging"
        )
    if initial_of(job.tuning) is not None and dual_of(job.personalization) is not None:
        raise SettingError(
            f"on a network tuning.initial does not go with personalization: {job.personalization.kind}, whose start is made at the sites; leave "
            "it out, or choose personalization: finetune"
        )


def backbone_name(name: str) -> str:
    """Return the name that sites know a backbone by: of a folder or a file its own name, without where it lies."""
    looks_like_path = name.startswith((".", "/", "~")) or name.endswith((".gguf", "/")) or name.count("/") > 1
    return PurePath(name).name if looks_like_path else name


def backbone_refusals(name: str, here: Mapping[str, str], server: Mapping[str, str]) -> list[str]:
    """Return a sentence for each part of the backbone that differs."""
    return [
        f"the {what} of backbone {name!r} have SHA-256 {here.get(part)} at this site and {server.get(part)} at the server; install the same one at both"
        for part, what in HASHES.items()
        if here.get(part) != server.get(part)
    ]


def is_folder_name(name: str) -> bool:
    """Return whether a name of a run, or of a site, that came over the wire names one folder and leads nowhere else."""
    return 0 < len(name) <= RUN_NAME and name[0].isalnum() and all(sign.isalnum() or sign in "-_." for sign in name)


def plain_examples(examples: Iterable[Example]) -> list[dict[str, Any]]:
    """Return examples as plain values."""
    return [{"id": example.id, "fields": {name: _plain(value) for name, value in example.fields.items()}} for example in examples]


def to_examples(plain: Sequence[Mapping[str, Any]]) -> list[Example]:
    """Return what `plain_examples` wrote."""
    return [Example(id=str(one["id"]), fields={name: _numeral(value) for name, value in one["fields"].items()}) for one in plain]


def _numeral(value: Any) -> Any:
    """Return a whole number as the text that it was."""
    return Numeral(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _plain(value: object) -> object:
    """Return what JSON can say of a value: tasks read texts, and lists of them."""
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, Numeral):  # so that the label of a class stays a number
        return int(value)
    return value if isinstance(value, str | int | float | bool) or value is None else str(value)
