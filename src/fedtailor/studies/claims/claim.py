"""A claim: what a paper states, in our words, and the comparison that decides it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any, Literal, get_args

from ...errors import SettingError
from ...job.faults import nearest
from ...yaml_text import read_yaml

Direction = Literal["lower", "higher", "same"]
Way = Literal["difference", "change"]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two sides of one figure, paired by seed: the effect is what the first has over the second."""

    name: str = "main"
    figure: str = ""  # a column of a sweep's table; clients.NAME, rounds.NAME: the mean of that column of a run's own table
    by: Way = "difference"  # change: the effect is (of - against) / against
    of: Mapping[str, Any] = field(default_factory=dict)  # column -> value, or a pattern such as skew*
    against: Mapping[str, Any] | None = field(default_factory=dict)  # None: the effect is the figure itself, less `bar`
    against_figure: str = ""  # of the second side; left out: the same
    bar: float = 0.0
    direction: Direction
    size: float | None = None  # the paper's, in the unit of the effect; None where it names none, or another model's
    margin: float = 0.0  # how far from the size a value still counts as reaching it
    matters: float = 0.0  # the least effect that counts; of `same`: the largest that does not
    settings: Sequence[str] = ()  # of this comparison's runs, on top of the test's own

    def __post_init__(self) -> None:
        if self.direction not in get_args(Direction) or self.by not in get_args(Way):
            raise SettingError(f"a comparison has no direction {self.direction!r} by {self.by!r}")
        if self.direction == "same" and self.matters <= 0:
            raise SettingError("a comparison of what is to be the same needs `matters`, the largest effect that does not count")


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One statement of a paper."""

    id: str  # by system, such as fpt-near-central
    says: str  # in our words
    measure: str  # what an effect is, and its unit
    compare: Sequence[Comparison]
    recipe: str = ""  # that tests it; with `small`, in its small variant
    variant: str = "small"
    settings: Sequence[str] = ()  # of all its runs; of a recipe of one run also what is varied, as for fedtailor sweep
    baselines: Sequence[str] = ()
    command: str = ""  # where no recipe tests it
    counted: bool = False  # bytes, operations, refusals: the same for every seed, so that one is enough
    hours: float | None = None  # of two cores, that the test takes
    untestable: str = ""  # why nothing here can decide it
    notes: Sequence[str] = ()

    def __post_init__(self) -> None:
        if not self.untestable and not (self.recipe or self.command):
            raise SettingError(f"the claim {self.id} has neither a recipe nor a command that tests it, and no reason")

    @property
    def runs(self) -> str:
        """The command that tests it."""
        return f"fedtailor claims run {self.id} --data DATA" if self.recipe else self.command


@dataclass(frozen=True, kw_only=True)
class Paper:
    """A paper and its claims."""

    number: str  # arXiv's
    title: str
    about: str  # what it says, in our words
    run: Mapping[str, str]  # command -> what it does
    assumed: Sequence[str]
    claims: Sequence[Claim]


@cache
def load_papers() -> tuple[Paper, ...]:
    """Return all papers with their claims, in the order of their files.

    Raises:
        SettingError: if an id is there twice.
    """
    found = sorted((file for file in files(__package__).iterdir() if file.name.endswith(".yaml")), key=lambda file: file.name)
    papers = tuple(_paper(read_yaml(file.read_text(encoding="utf-8"), file.name)) for file in found)
    ids = [claim.id for paper in papers for claim in paper.claims]
    twice = next((one for one in ids if ids.count(one) > 1), None)
    if twice is not None:
        raise SettingError(f"the claim {twice} is there twice")
    return papers


def claim_named(name: str) -> tuple[Paper, Claim]:
    """Return a claim and its paper.

    Raises:
        SettingError: if there is none of that name.
    """
    known = {claim.id: (paper, claim) for paper in load_papers() for claim in paper.claims}
    if name not in known:
        near = nearest(name, known)
        raise SettingError(
            f"there is no claim {name!r}; " + (f"did you mean {near}?" if near else "fedtailor claims list has all.")
        )
    return known[name]


def _paper(raw: Mapping[str, Any]) -> Paper:
    claims = [Claim(**each | {"compare": [Comparison(**one) for one in each["compare"]]}) for each in raw["claims"]]
    return Paper(**{key: value for key, value in raw.items() if key != "claims"}, claims=claims)
