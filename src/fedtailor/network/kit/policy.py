"""What a site permits; its own process holds it, and no server can relax it."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, get_args, get_origin

from ...errors import SettingError
from .least import Least, check_least, lacking, said_of
from .peft_arguments import argument_refusals
from .reportable import declared_by, reportable

if TYPE_CHECKING:
    from ...messages import FactSpec  # loads what trains

CLASS = re.compile(r"[\w.-]+:[^\W\d][\w.]*")  # package.module:Class; not cuda:0
PLAIN = ("task", "data", "backbone", "name", "base")  # settings whose texts are nobody's code, whatever they look like


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What a site permits a job to do; what is not listed is refused before anything is trained."""

    protocols: tuple[str, ...] = ("averaging", "distillation")  # split is not among them: activations reveal much of texts
    tunings: tuple[str, ...] | None = None  # null: any
    aggregations: tuple[str, ...] | None = None  # null: any
    protections: Least = ()  # kinds that every job must have, or by kind how strong they must be: {dp: {epsilon: 8}}
    rounds: int = 100  # most rounds of one run
    bytes_per_day: int = 20_000_000_000  # most bytes up and down together, in a day of UTC
    reports: tuple[str, ...] = ("examples", "figures", "public-fit")  # of its data; see `reportable`
    min_examples: int = 16  # figures that are means over fewer examples stay here: they reveal single ones
    backbone_from_server: bool = (
        False  # weights can be made so that what is trained on them reveals more of the data: only on purpose
    )

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, list):
                object.__setattr__(self, item.name, tuple(value))
        check_least(self.protections)
        for name, types in _types().items():
            if name == "protections" and isinstance(self.protections, Mapping):
                continue
            if not _is_a(getattr(self, name), types):
                raise SettingError(f"policy.{name} is {getattr(self, name)!r}; see docs/deployment.md for what it takes")
        for name, known in _known_names().items():
            strange = sorted(set(getattr(self, name) or ()) - set(known))
            if strange:
                raise SettingError(f"policy.{name} names {strange[0]!r}; known are {', '.join(known)}")
        if not isinstance(self.backbone_from_server, bool):
            raise SettingError(f"policy.backbone_from_server is true or false; got {self.backbone_from_server!r}")
        for name in ("rounds", "bytes_per_day", "min_examples"):
            if getattr(self, name) < 1:
                raise SettingError(f"policy.{name} is a whole number from 1; got {getattr(self, name)}")

    def refusals(self, job: Mapping[str, Any]) -> list[str]:
        """Return why a job is not permitted, a sentence each that names both sides; empty if it is.

        Args:
            job: all its settings as plain values, as `Job.to_dict` gives them.
        """
        try:
            if own := named_classes(job):
                return [f"the job names the class {own[0]}, and only techniques that come with fedtailor run here"]
            return argument_refusals(job) or list(self._differences(job))
        except (KeyError, TypeError, AttributeError) as fault:
            return [f"the job is not in the form that fedtailor writes ({type(fault).__name__})"]

    def withholds(self, fact: "FactSpec", examples: Mapping[str, int]) -> bool:
        """Return whether a fact stays at the site, by what it reveals and by how few examples it is a mean over.

        Args:
            examples: how many there are of each of `FactSpec.over`.
        """
        if (
            fact.revealed == "label-counts" and fact.over and "figures" not in self.reports
        ):  # counts of right answers make a metric
            return True
        if fact.revealed in ("nothing", "work"):
            return False
        return fact.revealed not in self.reports or examples.get(fact.over, self.min_examples) < self.min_examples

    def backbone_refusals(self) -> list[str]:
        """Return why no backbone is taken from the server; empty if it is."""
        if self.backbone_from_server:
            return []
        return [
            "no backbone is taken from the server here; the site's owner permits it with fedtailor site join KIT --backbone-from-server"
        ]

    def lines(self) -> list[str]:
        """Return what is permitted and what is not, a line each, for people."""
        known = reportable()
        given = [f"{name}: {what}" for name, what in known.items() if name in self.reports]
        kept = [f"{name}: {what}" for name, what in known.items() if name not in self.reports]
        return [
            f"permits protocols {', '.join(self.protocols)}; tunings {_some(self.tunings)}; aggregations {_some(self.aggregations)}",
            f"permits at most {self.rounds} rounds a run and {self.bytes_per_day / 1e9:.1f} GB a day",
            f"{'takes' if self.backbone_from_server else 'does not take'} a backbone (weights, config, tokenizer) that the server sends",
            *said_of(self.protections),
            *(f"reports {text}" for text in given),
            *(f"does not report {text}" for text in kept),
            *([f"does not report figures over fewer than {self.min_examples} examples"] if "figures" in self.reports else []),
            "never sends examples, texts or files, and runs no code but fedtailor's own",
        ]

    def _differences(self, job: Mapping[str, Any]) -> Iterator[str]:
        protocol = job["protocol"]
        tasks = [job["task"], *(own["task"] for own in job["clients"]["overrides"].values() if own.get("task"))]
        if any(isinstance(task.get("labels"), str) for task in tasks) or job["tuning"].get("initial") is not None:
            yield "the job names a file, and no file of this site is opened for a job"
        listed: list[tuple[str, str | None, Sequence[str] | None]] = [
            ("protocol", protocol["kind"], self.protocols),
            ("tuning", job["tuning"]["kind"], self.tunings),
            ("aggregation", protocol.get("aggregation", {}).get("kind"), self.aggregations),
        ]
        for what, asked, permitted in listed:
            if permitted is not None and asked is not None and asked not in permitted:
                yield f"{what} {asked} is not permitted here; permitted: {', '.join(permitted) or 'none'}"
        asks = protocol["kind"] == "retrieval"
        if job["stop"]["rounds"] > self.rounds and not asks:
            yield f"the job asks for {job['stop']['rounds']} rounds, permitted are {self.rounds}"
        yield from lacking(self.protections, job)
        prompts = protocol["kind"] == "prompting"
        if prompts and protocol["few"] < self.min_examples:
            yield (
                f"the job sums scores of prompts over as few as {protocol['few']} examples (protocol.few), and this site reports nothing over fewer "
                f"than {self.min_examples}"
            )
        needs = {
            "examples": True,
            "prompt-scores": prompts,
            "public-fit": protocol.get("public_fit") or protocol.get("refine"),
            "label-counts": protocol.get("label_counts"),
            "labels": protocol.get("labels") == "with-server",
            **(_of_documents(protocol) if asks else {}),
            **dict.fromkeys(declared_by(job), True),
        }
        known = reportable()
        for what, needed in needs.items():
            if needed and what not in self.reports:
                yield f"the job needs reports of {what} ({known[what]}), which this site does not give"


def _of_documents(protocol: Mapping[str, Any]) -> dict[str, bool]:
    """Return what a job of retrieval needs reports of."""
    share = protocol["share"]
    return {
        "scores": share != "embeddings",
        "answers": share == "answers",
        "passages": share in ("passages", "snippets"),
        "embeddings": share == "embeddings",
        "centroids": protocol["router"] is not None,
        "term-counts": bool(protocol["shared_statistics"]),
    }


def named_classes(job: Mapping[str, Any]) -> list[str]:
    """Return the classes of somebody's own that a job names: as a `kind`, however deep, or as the bare name that may stand in its place."""
    bare = (text for name, value in job.items() if name not in PLAIN for text in _texts(value) if CLASS.fullmatch(text))
    return sorted({*bare, *(kind for kind in _kinds(job) if ":" in kind)})


def _kinds(value: object) -> Iterator[str]:
    """Yield all values of `kind`, however deep."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if key == "kind":
                yield str(inner)
            yield from _kinds(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _kinds(inner)


def _texts(value: object) -> Iterator[str]:
    """Yield all texts among values, however deep."""
    inside = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    if isinstance(value, str):
        yield value
    for inner in inside:
        yield from _texts(inner)


def _types() -> dict[str, Any]:
    texts = tuple[str, ...]
    return {
        **dict.fromkeys(("protocols", "protections", "reports"), texts),
        **dict.fromkeys(("tunings", "aggregations"), texts | None),
        "rounds": int,
        "bytes_per_day": int,
        "min_examples": int,
    }


def _known_names() -> dict[str, Collection[str]]:
    from ...aggregation import AGGREGATIONS  # here, as they load what trains
    from ...aggregation.logits import LOGIT_AGGREGATIONS
    from ...protection import PROTECTIONS
    from ...protocols import PROTOCOLS
    from ...tuning import TUNINGS

    rules = list(dict.fromkeys([*AGGREGATIONS, *LOGIT_AGGREGATIONS]))
    return {
        "protocols": PROTOCOLS,
        "tunings": TUNINGS,
        "aggregations": rules,
        "protections": PROTECTIONS,
        "reports": reportable(),
    }


def _is_a(value: object, types: Any) -> bool:
    if types is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if value is None:
        return get_origin(types) is not tuple and type(None) in get_args(types)
    return isinstance(value, tuple) and all(isinstance(text, str) for text in value)


def _some(names: Sequence[str] | None) -> str:
    return "any" if names is None else ", ".join(names) or "none"
