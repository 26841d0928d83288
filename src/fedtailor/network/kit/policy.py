"""What a site permits; its own process holds it, and no server can relax it."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from ...errors import SettingError
from .least import SWITCH, Form, Least, check_least, lacking, number, said_of, shown
from .peft_arguments import argument_refusals
from .reportable import named_protocol, of_phases, one_of, reportable

if TYPE_CHECKING:
    from ...messages import FactSpec, Manifest  # loads what trains

CLASS = re.compile(r"[\w.-]+:[^\W\d][\w.]*")  # package.module:Class; not cuda:0
FREE = ("nothing", "work")  # what facts and tensors may reveal of everybody's data
OF_ALL = ("examples",)  # what every job reveals: a site says how many it has before the first round
PLAIN = ("task", "data", "backbone", "name", "base")  # settings whose texts are nobody's code, whatever they look like


def _are_names(value: object) -> bool:
    return isinstance(value, tuple) and all(isinstance(text, str) for text in value)


_NAMES = Form('a list of names, such as ["averaging", "distillation"]', _are_names)
_ANY = Form("a list of names, or null, which permits any", lambda value: value is None or _are_names(value))
_NUMBER = number("a whole number from 1, below 2^63", below=2**63, whole=True)
FORMS = {
    "protocols": _NAMES,
    "tunings": _ANY,
    "aggregations": _ANY,
    "protections": Form(
        'a list of kinds, or a mapping of each to how strong it must be, such as {"dp": {"epsilon": 8}}', _are_names
    ),
    **dict.fromkeys(("rounds", "bytes_per_day", "min_examples"), _NUMBER),
    "reports": Form('a list of words, such as ["examples", "figures"]', _are_names),
    "backbone_from_server": SWITCH,
}


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
        for name, form in FORMS.items():
            value = getattr(self, name)
            if not form.fits(value) and not (name == "protections" and isinstance(value, Mapping)):
                raise SettingError(f"policy.{name} is {form.words}; got {shown(value)}")
        for name, known in _known_names().items():
            strange = sorted(set(getattr(self, name) or ()) - set(known))
            if strange:
                raise SettingError(f"policy.{name} names {strange[0]!r}; known are {', '.join(known)}")

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
        if fact.revealed in FREE:
            return False
        return self.keeps(fact.revealed) or examples.get(fact.over, self.min_examples) < self.min_examples

    def keeps(self, revealed: str) -> bool:
        """Return whether all that reveals this stays at the site, facts and tensors alike."""
        return revealed not in (*FREE, *self.reports)

    def manifest_refusals(self, manifest: "Manifest") -> list[str]:
        """Return why messages of a job cannot do without what stays here, a sentence for each word; empty if they can.

        Args:
            manifest: of the job as this site reads it.
        """
        found: dict[str, str] = {}
        for kind, message in manifest.up.items():
            for sort, specs in (("fact", message.facts), ("tensor", message.plain().tensors)):
                for name, spec in specs.items():
                    if not spec.optional and self.keeps(spec.revealed):
                        found.setdefault(spec.revealed, f" for the {sort} {name!r} of its messages {kind!r}")
        return [self._lacking(word, where) for word, where in found.items()]

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
            *_contradictions(self),
            f"permits protocols {_some(self.protocols)}; tunings {_some(self.tunings)}; aggregations {_some(self.aggregations)}",
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
        try:
            settings = named_protocol(protocol)
        except SettingError as fault:
            yield f"the job's protocol cannot be read here: {fault}"
            return
        if settings is None:  # refused above, as no policy names it
            return
        if job["stop"]["rounds"] > self.rounds and settings.in_rounds:
            yield f"the job asks for {job['stop']['rounds']} rounds, permitted are {self.rounds}"
        yield from lacking(self.protections, job)
        for setting, what in settings.sums.items():
            if (few := getattr(settings, setting)) < self.min_examples:
                yield (
                    f"the job sums {what} over as few as {few} examples (protocol.{setting}), and this site reports nothing over fewer "
                    f"than {self.min_examples}"
                )
        needed = dict.fromkeys([*OF_ALL, *settings.reveals, *settings.reports, *of_phases(job)])
        yield from (self._lacking(word) for word in needed if self.keeps(word))

    def _lacking(self, word: str, where: str = "") -> str:
        meaning = reportable().get(word, "a word that no policy knows")
        return (
            f"the job needs reports of {word}{where} ({meaning}), which this site does not give; it gives {_some(self.reports)}, and its owner permits more "
            f"by adding {word} to policy.reports"
        )


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


def _contradictions(policy: Policy) -> Iterator[str]:
    """Yield what a policy permits and what nevertheless no job can have from it."""
    nothing = "permits no job at all"
    if "examples" not in policy.reports:
        yield f"{nothing}: each needs reports of examples; add it to policy.reports"
    for name in ("protocols", "tunings", "aggregations"):
        if getattr(policy, name) == ():
            yield f"{nothing}: policy.{name} is empty{'' if name == 'protocols' else '; null permits any'}"
    for protocol, words in one_of().items():
        if protocol in policy.protocols and not set(words) & set(policy.reports):
            yield f"permits no job of {protocol}, though policy.protocols names it: it needs reports of {' or '.join(words)}; add that to policy.reports"


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


def _some(names: Sequence[str] | None) -> str:
    return "any" if names is None else ", ".join(names) or "none"
