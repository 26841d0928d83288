"""What a diagnosis says, and what each of them is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias

from .evidence import Evidence

Certainty: TypeAlias = Literal["possible", "likely"]
CERTAINTIES: tuple[Certainty, ...] = ("possible", "likely")  # rising


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A failure that a run shows."""

    signature: str  # its name
    title: str
    certainty: Certainty
    evidence: Sequence[str]  # what was measured, a sentence each, with figures
    advice: str  # what to try, in words
    overrides: Sequence[str] = ()  # the same as settings: each a try, KEY=VALUE or several of them
    source: str  # where the failure is described


class Named(Protocol):
    """What has a name, and is described somewhere."""

    @property
    def name(self) -> str:
        """The name by which thresholds are set."""

    @property
    def title(self) -> str:
        """The failure, in words."""

    @property
    def source(self) -> str:
        """Where it is described: an arXiv number, and what is said there in our words."""


class Signature(Named, Protocol):
    """One known failure of one run; a frozen dataclass whose fields are its thresholds."""

    @property
    def needs(self) -> Sequence[str]:
        """What must have been measured: TABLE.COLUMN, or SECTION of the summary."""

    def applies(self, evidence: Evidence) -> bool:
        """Return whether a run is of a kind that can fail in this way."""

    def judge(self, evidence: Evidence) -> Finding | None:
        """Return what the run shows of it; None if it does not."""


class Comparison(Named, Protocol):
    """One known failure that shows between runs alone."""

    @property
    def needs(self) -> str:
        """Which runs it compares, in words."""

    def groups(self, runs: Sequence[Evidence]) -> Sequence[Sequence[Evidence]]:
        """Return the groups of runs that can be compared."""

    def judge(self, runs: Sequence[Evidence]) -> Finding | None:
        """Return what one group of runs shows of it; None if it does not."""


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """All that was looked for in one run, or in several."""

    findings: Sequence[Finding] = ()  # the likely ones first
    silent: Sequence[str] = ()  # names of signatures that were judged and not found
    not_judged: Mapping[str, str] = field(default_factory=dict)  # name: why


def found(of: Named, certainty: Certainty, evidence: Sequence[str], advice: str, overrides: Sequence[str] = ()) -> Finding:
    """Return a finding of a signature."""
    return Finding(
        signature=of.name,
        title=of.title,
        certainty=certainty,
        evidence=tuple(evidence),
        advice=advice,
        overrides=tuple(overrides),
        source=of.source,
    )
