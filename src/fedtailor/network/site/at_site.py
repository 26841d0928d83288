"""A site's part of a job, assembled from its own data and what the server says."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from ...assembly import Parts, assemble
from ...assembly.fits import Warn
from ...assembly.own_tasks import reads_of_job, task_of
from ...data import Clients, Data, Divided, divide
from ...data.columns import MESSAGES
from ...data.partition.base import Embed, label_groups
from ...errors import BackboneError, FedtailorError, SettingError
from ...job import Job
from ...models.packaged import PACKAGED, is_installed
from ...records import ClientId, Example
from ..kit.agent_key import read_identity
from ..kit.columns import extra_columns, with_columns
from ..kit.site_file import SiteFile
from ..kit.versions import versions
from ..meeting.meeting import SERVERS, backbone_refusals, to_examples
from .guarded import Guarded

NO_KEY = (
    "this site has no key to sign secure sums with: fedtailor site request adds one to its kit, and who runs the network admits the request (for a kit with "
    "keys inside: fedtailor net renew)"
)


class Refused(FedtailorError):
    """The site does not take part; the text names both sides and holds nothing of the data."""


@dataclass(frozen=True, kw_only=True)
class OneOwner:
    """The partition at a site: all examples are its own."""

    client: ClientId
    columns: ClassVar[tuple[str, ...]] = ()  # that it reads

    def owners(self, examples: Sequence[Example]) -> list[ClientId]:
        """Return the owner of each example."""
        return [self.client] * len(examples)

    def groups(self, examples: Sequence[Example], draw: np.random.Generator, embed: Embed | None) -> tuple[str, list[str]] | None:
        """Return the labels where there are any."""
        return label_groups(examples)

    def divide(
        self,
        examples: Sequence[Example],
        count: int | None,
        draw: np.random.Generator,
        min_examples: int,
        embed: Embed | None = None,
    ) -> dict[ClientId, list[int]]:
        """Return all row numbers under the owner's name."""
        return {self.client: list(range(len(examples)))}


def site_parts(site: ClientId, kit: Path, file: SiteFile, opening: Mapping[str, Any], warn: Warn) -> Parts:
    """Return the parts of a job at one site.

    Args:
        kit: the site's folder; what is the run's own goes to runs/RUN below it.
        opening: from the server; see `server.opening`.

    Raises:
        Refused: if the job is not permitted, or the site has no backbone of that name, or another one than the server.
        JobError: if job, data or backbone are not usable; the text may hold paths, and is for the site's own log.
    """
    named = str(opening["job"]["backbone"])
    own = {"train": list(file.data), "columns": dict(file.columns), "missing": opening["job"]["data"].get("missing", "error")}
    clients = with_own_backbone(opening["job"]["clients"], site, file, kit)
    job = Job.from_dict(
        {**opening["job"], "backbone": _backbone(file, named, kit), "clients": clients, "data": own, "base": str(kit)}
    )
    if forbidden := file.refusals(job.to_dict()):  # once more, with all that the server left out written out
        raise Refused("; ".join(forbidden))
    parts = assemble(
        job,
        divided=_divided(site, file, job, opening),
        clients_folder=run_folder(kit, str(opening["run"])),
        site=kit,
        warn=warn,
    )
    wrong = backbone_refusals(named, parts.backbone.hashes, opening[SERVERS]["backbone"])
    if wrong:
        raise Refused("; ".join(wrong))
    return parts


def with_own_backbone(clients: Mapping[str, Any], site: ClientId, file: SiteFile, kit: Path) -> dict[str, Any]:
    """Return the job's section of clients with the backbone that it gives this site, if any, as it lies here; those of other sites are not opened.

    Raises:
        Refused: if it is not here.
    """
    overrides = dict(clients.get("overrides", {}))
    name = overrides.get(site, {}).get("backbone")
    if name is not None:
        overrides[site] = {**overrides[site], "backbone": _backbone(file, name, kit)}
    return {**clients, "overrides": overrides}


def _backbone(file: SiteFile, name: str, kit: Path) -> str:
    try:
        place = file.backbone(name, kit)
    except BackboneError:
        place = ""
    if not place or (place in PACKAGED and not is_installed(place)):
        raise Refused(
            f"this site has no backbone {name!r}; fedtailor net push-backbone NET {name} sends it, if the site's owner permits that"
        )
    return place


def run_folder(kit: Path, run: str) -> Path:
    """Return where a machine keeps what belongs to one run."""
    return kit / "runs" / run


def _divided(site: ClientId, file: SiteFile, job: Job, opening: Mapping[str, Any]) -> Divided:
    """Return the site's own examples in parts; those of all other sites are elsewhere."""
    clients = Clients(
        partition=OneOwner(client=site),
        min_examples=1,
        validation_share=0.0 if opening["validation_file"] else file.validation_share,
        test_share=file.test_share,
    )
    task = task_of(job, site)
    reads = reads_of_job(job, task)
    fields = (*task.required, *task.optional, *reads.get("extra", ()))
    mapped = extra_columns(file.columns, fields)
    own = divide(
        Data(train=list(file.data), columns=dict(file.columns), missing=job.data.missing),
        clients,
        **{**reads, "optional": (*task.optional, *mapped)},
        base=Path("/"),
        seed=job.seed,
        key=task.required[0],
    )
    sites: list[ClientId] = list(opening["sites"])
    train, validation, test = (
        {client: with_columns(examples, (*fields, *file.columns, MESSAGES), mapped) for client, examples in part.items()}
        for part in (own.train, own.validation, own.test)
    )
    return replace(
        own,
        train={**{other: [] for other in sites}, **train},
        validation=validation,
        test=test,
        server_test=to_examples(opening["test"]),
        public=to_examples(opening["public"]),
        retained=to_examples(opening.get("retained", [])),
        elsewhere=frozenset(sites) - {site},
    )


def guarded(site: ClientId, parts: Parts, file: SiteFile, kit: Path) -> Guarded:
    """Return the half that answers for a site.

    Raises:
        Refused: if messages of the job need what the owner does not permit to be reported, whatever its settings say, or a protection of it takes a key
            that the site does not have.
    """

    def who() -> Any:
        try:
            return read_identity(site, kit)
        except SettingError as fault:
            raise Refused(NO_KEY) from fault  # whose text, with paths, stays in the site's log

    gate = parts.gate_of(site)
    if forbidden := file.policy.manifest_refusals(gate.manifest):
        raise Refused("; ".join(forbidden))
    half = parts.half(site)
    return Guarded(
        half=parts.behind(site, half, who),
        gate=gate,
        policy=file.policy,
        rounds=parts.job.stop.rounds,
        examples=_examples(site, parts),
    )


def _examples(site: ClientId, parts: Parts) -> dict[str, int]:
    """Return how many examples each sort of figures is a mean over, at least."""
    has = parts.clients.amounts[site]
    return {
        "step": parts.protocol.local.least_examples_a_step(has.train),
        "train": has.train,
        "validation": has.validation,
        "test": has.test,
        "public": len(parts.server_test),
        "retained": len(parts.divided.retained),
        "rung": parts.protocol.least_examples,
    }


def describe(site: ClientId, parts: Parts, file: SiteFile) -> dict[str, Any]:
    """Return what a site reports of itself before the first round."""
    policy = file.policy
    has, figures = parts.clients.amounts[site], "figures" in policy.reports
    largest = max(has.validation, has.test)
    return {
        "examples": has.train,
        "measures": int(figures and largest >= policy.min_examples),
        "versions": versions(),
        "precision": parts.precision,
        "threads": torch.get_num_threads(),
        "device": parts.worker.device.type,
        "memory_gb": math.ceil(torch.cuda.mem_get_info()[1] / 1e9) if parts.worker.device.type == "cuda" else None,
    }
