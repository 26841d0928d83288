"""Systems that a job could be carried out by: each is put together, refused with its reason, or estimated."""

import gc
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...assembly import Parts, assemble
from ...errors import JobError
from ...job import Job
from ...planning import Estimate, Means, Speed, counts_of, estimate, program_bytes, speed_of
from ...units import bytes_text, seconds_text
from .evidence import system_of
from .ranking import Place

RANKS = (4, 8, 16)
KEPT = ("epochs", "steps", "batch_size", "accumulate", "checkpointing", "proximal")  # of the job's local training


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One system for a job."""

    overrides: Sequence[str]  # of the command line, that make the job this system's
    system: str = ""
    reason: str = ""  # why it is out; "" if it is not
    over_limit: bool = False  # whether it is out for what it costs; else the job and it do not go together
    estimate: Estimate | None = None

    @property
    def total_bytes(self) -> float:
        """Bytes of all messages of the run."""
        return sum(kind.up + kind.down for kind in self.estimate.bytes.values()) if self.estimate else 0.0


@dataclass(kw_only=True)
class Search:
    """Looks at candidates one after the other; what was timed or loaded for one is used for the next."""

    file: Path
    settings: Sequence[str]
    means: Means
    most_seconds: float | None = None
    place: Place | None = None  # known once a candidate was put together
    _speed: Speed | None = field(default=None, init=False)

    def look(self, overrides: Sequence[str]) -> Candidate:
        """Return a candidate with its estimate, or with the reason why it is out."""
        gc.collect()  # the model of the candidate before
        try:
            job = Job.load(self.file, [*self.settings, *overrides])
            parts = assemble(job, trust_times=True)
        except JobError as fault:
            return Candidate(overrides=overrides, system=" ".join(overrides), reason=str(fault))
        self.place = self.place or place_of(parts)
        program, counts = program_bytes(parts), counts_of(parts)
        if self.means.client_flops is None:
            self._speed = self._speed or speed_of(parts, counts)
        found = estimate(parts, means=self.means, counts=counts, speed=self._speed, program=program)
        over, system = self._exceeds(found), system_of(parts.job.to_dict())
        return Candidate(overrides=overrides, system=system, estimate=found, reason=over, over_limit=bool(over))

    def _exceeds(self, found: Estimate) -> str:
        """Return which limit an estimate exceeds; "" if none."""
        limit, most = self.means.client_memory, found.largest
        if limit is not None and most is not None and most[1].memory.peak > limit:
            return (
                f"takes {bytes_text(most[1].memory.peak)} of memory at client {most[0]}; --client-memory is {bytes_text(limit)}"
            )
        seconds = found.seconds["run"]
        if self.most_seconds is not None and seconds is not None and seconds > self.most_seconds:
            return f"takes {seconds_text(seconds)}; --seconds is {seconds_text(self.most_seconds)}"
        return ""


def place_of(parts: Parts) -> Place:
    """Return where a job is among those that there is evidence of."""
    infos = parts.sampler.clients
    return Place(
        task=str(parts.job.to_dict()["task"]["kind"]),
        backbone=str(parts.job.backbone),
        clients=len(infos),
        rows=sum(info.examples for info in infos) / max(1, len(infos)),
        divergence=parts.divided.divergence,
    )


def candidates_of(job: Job, public: Path | None) -> Iterator[list[str]]:
    """Yield overrides that make a job one of each system.

    Args:
        public: a file of public examples, which distillation needs; None: there is none.
    """
    local = _local(job)
    for rank in RANKS:
        yield [_tuning(kind="lora", rank=rank, alpha=2 * rank), _protocol(kind="averaging", aggregation="fedavg", local=local)]
    yield [_tuning(kind="lora", rank=8, alpha=16), _protocol(kind="averaging", aggregation="ffa-lora", local=local)]
    yield [
        _tuning(kind="lora", rank=8, alpha=16, targets="all-linear"),
        _protocol(kind="averaging", aggregation="fedavg", local=local),
    ]
    for tuning in ({"kind": "fed-sb", "rank": 32}, {"kind": "adapter"}, {"kind": "prefix"}, {"kind": "full"}):
        yield [_tuning(**tuning), _protocol(kind="averaging", local=local)]
    if public is not None:
        top_k = {} if "accuracy" in job.task.figures else {"top_k": 8}
        yield [
            _tuning(kind="lora", rank=8, alpha=16),
            _protocol(kind="distillation", public=str(public.resolve()), local=local, **top_k),
        ]
    yield [_tuning(kind="lora", rank=8, alpha=16), _protocol(kind="split", cut="auto", wire="int8", local=local)]


def papers_rule(want: str, *, classes: bool, public: bool) -> str:
    """Return what the papers would choose, in our words."""
    if want == "bytes":
        if classes and public:
            return "arXiv 2501.04436 would choose distillation where bandwidth is scarce and the task is classification, with a public set that fits the private data"
        return "arXiv 2501.04436 would choose distillation where bandwidth is scarce, for classification and with a public set; neither is so here, or no --public was given"
    if want == "seconds":
        return "arXiv 2501.04436 would choose split learning where clients compute slowly and links are reliable"
    return "arXiv 2501.04436 would choose averaging of LoRA for accuracy; arXiv 2511.11585 found rank 8 enough for texts, and arXiv 2601.00526 prefers prefixes"


def _local(job: Job) -> dict[str, Any]:
    """Return what the job says of local training, but for learning rates: they belong to a tuning."""
    local, usual = (
        job.to_dict()["protocol"].get("local") or {},
        {"epochs": 1.0, "accumulate": 1, "checkpointing": False, "proximal": 0.0},
    )
    return {name: local[name] for name in KEPT if local.get(name) is not None and local[name] != usual.get(name)}


def flow_text(value: object) -> str:
    """Return a value as YAML on one line, as it is typed on a command line."""
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{name}: {flow_text(each)}' for name, each in value.items())}}}"
    if isinstance(value, str) and re.fullmatch(r"[\w/.-]+", value):
        return value
    return json.dumps(value)


def _tuning(**settings: object) -> str:
    return f"tuning={flow_text(settings)}"


def _protocol(*, local: Mapping[str, Any], **settings: object) -> str:
    return f"protocol={flow_text({**settings, **({'local': dict(local)} if local else {})})}"
