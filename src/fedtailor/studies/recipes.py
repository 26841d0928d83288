"""Jobs of published experiments, and what is known of each setting: whether it is the paper's or assumed.

A recipe is a job file with a section `recipe` beside the job's own. `extends` names the recipe that it changes, arm by arm. One with `arms` is
a comparison: each arm changes the job and runs it over grids of its own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from ..errors import SettingError
from ..job import Job
from ..job.faults import nearest
from ..yaml_text import apply_override, read_yaml
from .cell_names import value_text
from .nested import flat, merge
from .prepared import names_in, prepare, with_prepared

Variant = Literal["paper", "small", "tiny"]
VARIANTS: tuple[Variant, ...] = get_args(Variant)
PAPER, ASSUMED, SMALL, TINY, YOURS = "the paper's", "assumed", "small variant", "tiny variant", "yours"
NOT_RUN = "not run here"
INHERITED = ("paper", "data", "reports", "cautions", "sweeps", "baseline", "seeds", "small_seeds", "metric", "crossover")


class Line(NamedTuple):
    """One setting of a recipe."""

    setting: str  # dotted
    value: str
    whose: str  # the paper's, assumed, of the small variant, or yours
    note: str  # where it is from, or why it was chosen


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One of the systems that a recipe compares."""

    about: str  # in a few words
    job: Mapping[str, Any] = field(default_factory=dict)  # what it changes
    cells: Sequence[str]  # grids as fedtailor sweep takes them, such as tuning.rank=4,8,16; the recipe's seeds come on top
    small: Sequence[str] | None = None  # those of the small variant; None: the same
    small_job: Mapping[str, Any] = field(default_factory=dict)  # what the small variant changes of this arm alone
    tiny_job: Mapping[str, Any] = field(default_factory=dict)  # what the tiny variant changes on top of that
    baseline: str | None = None  # it is run as this baseline

    def grids(self, variant: str) -> Sequence[str]:
        """Return the grids of a variant."""
        return self.cells if variant == "paper" or self.small is None else self.small


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A published experiment as a job, with what is known about it."""

    name: str
    title: str
    paper: str
    data: str  # folder of its data
    job: Mapping[str, Any]  # settings of the paper variant
    small: Mapping[str, Any]  # what the small variant changes
    notes: Mapping[str, tuple[str, str]]  # setting, or the section around it -> whose it is, and a note
    reports: Sequence[str] = ()  # what the paper reports, with the tag of its source
    cautions: Sequence[str] = ()
    sweeps: Mapping[str, str] = field(default_factory=dict)  # name -> what to give to fedtailor sweep
    baseline: str | None = None  # it is run as this baseline
    status: str = NOT_RUN
    arms: Mapping[str, Arm] = field(default_factory=dict)  # name -> what is compared
    seeds: Sequence[int] = (0,)  # of every cell of every arm
    small_seeds: Sequence[int] | None = None  # those of the small variant; None: the same
    tiny: Mapping[str, Any] = field(
        default_factory=dict
    )  # what the tiny variant changes of the small one, to try the recipe out; none: there is none
    metric: str = "loss"  # the figure that arms are compared by
    columns: Sequence[str] = ()  # further figures in the table; a run that has not measured one has a dash there
    leaving: bool = False  # whether the table says what leaves a client of each system
    crossover: Mapping[str, str] = field(
        default_factory=dict
    )  # of: an arm, along: a setting, under: an arm; see report/several/crossover.py
    base: Mapping[str, Any] = field(
        default_factory=dict
    )  # settings of the cell that an arm's others lose against; none: nothing is reported
    size: str = ""  # of the small variant: cells, and how long they take

    def seeds_of(self, variant: str) -> Sequence[int]:
        """Return the seeds of every cell of a variant."""
        seeds = self.seeds if variant == "paper" or self.small_seeds is None else self.small_seeds
        return seeds[:1] if variant == "tiny" else seeds

    def settings(self, variant: str = "paper", overrides: Sequence[str] = (), *, arm: str | None = None) -> dict[str, Any]:
        """Return the settings of the job, nested; or of the job as an arm changes it.

        Args:
            overrides: such as stop.rounds=20 of the job and all arms, or ARM:stop.rounds=20 of one arm.

        Raises:
            SettingError: if there is no such variant or arm, or an override cannot be read.
        """
        if variant not in VARIANTS:
            raise SettingError(f"a recipe has no variant {variant!r}; choose {' or '.join(VARIANTS)}")
        if variant == "tiny" and not self.tiny:
            raise SettingError(f"{self.name} has no tiny variant; choose paper or small")
        own = self.arms[arm] if arm else None
        raw: Any = merge(self.job, own.job if own else {})
        if variant != "paper":
            raw = merge(merge(raw, self.small), own.small_job if own else {})
        if variant == "tiny":
            raw = merge(merge(raw, self.tiny), own.tiny_job if own else {})
        for whose, override in sorted(map(part_arm, overrides), key=lambda parted: parted[0] is not None):  # an arm's own wins
            if whose is not None and whose not in self.arms:
                near = nearest(whose, self.arms)
                known = f"compares {', '.join(self.arms)}" if self.arms else "is one run, whose settings have no name in front"
                raise SettingError(
                    f"{whose}:{override} names {whose!r}; " + (f"did you mean {near}?" if near else f"{self.name} {known}")
                )
            if whose in {None, arm}:
                raw = apply_override(raw, override)
        return {"name": f"{self.name}-{variant}", **raw}

    def make_job(self, variant: str, data: Path, overrides: Sequence[str] = (), *, arm: str | None = None) -> Job:
        """Return the job of a variant on the data in the folder `data`, or in the recipe's own folder within it.

        Raises:
            SettingError: if there is no such folder, or a setting is wrong, or of an arm where the job is that of all.
        """
        settings = self.settings(variant, overrides, arm=arm)
        alone = next((text for text in overrides if part_arm(text)[0] is not None), None)
        if arm is None and alone is not None:
            raise SettingError(
                f"{alone} is a setting of one system, and this is the job that all systems start from; leave it out"
            )
        base = data / self.data if (data / self.data).is_dir() else data
        if not base.is_dir():
            raise SettingError(f"there is no folder {data}; --data names the folder that holds {self.data}/train.parquet")
        return Job.from_dict(with_prepared(settings, data), base=base)

    def prepare(self, variant: str, data: Path, overrides: Sequence[str] = ()) -> None:
        """Make what the jobs of a variant name that is to be prepared of the data, where it is not there yet.

        Raises:
            SettingError: if what it is made of is missing.
        """
        grids = [list(arm.grids(variant)) for arm in self.arms.values()]
        for name in names_in([grids, *(self.settings(variant, overrides, arm=arm) for arm in (None, *self.arms))]):
            prepare(name, data)

    def arm_lines(self, variant: str = "paper", overrides: Sequence[str] = ()) -> list[Line]:
        """Return the settings in which arms differ from the job that they change, each under the arm's name."""
        common = {line[:3] for line in self.lines(variant, overrides)}
        plain = {line[:2] for line in common}
        own = {arm: self.lines(variant, overrides, arm=arm) for arm in self.arms}
        return [
            line._replace(setting=f"{arm}: {line.setting}")
            for arm, lines in own.items()
            for line in lines
            if line[:2] not in plain or (line.whose == YOURS and line[:3] not in common)
        ]

    def lines(self, variant: str = "paper", overrides: Sequence[str] = (), *, arm: str | None = None) -> list[Line]:
        """Return every setting that the recipe makes, and whose it is. What is not among them has the job's default."""
        own: dict[str, dict[str, Any]] = {
            each: flat(self.settings(each, arm=arm)) for each in VARIANTS if each != "tiny" or self.tiny
        }
        paper, small, before = own["paper"], own["small"], own.get(variant, own["paper"])
        chosen = flat(self.settings(variant, overrides, arm=arm))
        lines = []
        for name, value in chosen.items():
            whose, note = self.note(name)
            if name not in before or before[name] != value:
                whose, note = YOURS, f"{value_text(before[name])} in the recipe" if name in before else ""
            elif variant == "tiny" and (name not in small or small[name] != value):
                whose, note = TINY, f"{value_text(small[name])} in the small variant" if name in small else ""
            elif name not in paper or paper[name] != value:
                whose, note = SMALL, f"{value_text(paper[name])} in the paper variant" if name in paper else ""
            if name != "name":
                lines.append(Line(name, value_text(value), whose, note))
        return lines

    def note(self, setting: str) -> tuple[str, str]:
        """Return whose a setting of the paper variant is, and what is known of it: its own note, or that of a section around it."""
        parts = setting.split(".")
        around = [".".join(parts[:count]) for count in range(len(parts), 0, -1)]
        return next((self.notes[name] for name in around if name in self.notes), (ASSUMED, ""))


def part_arm(override: str) -> tuple[str | None, str]:
    """Return the arm that an override is for, None of all, and the override without it: FKD:tuning.rank=4 is for FKD."""
    whose, colon, _ = override.partition("=")[0].partition(":")
    return (whose.strip(), override[len(whose) + 1 :]) if colon else (None, override)


def recipes_folder() -> Path:
    """Return the folder of the recipes: within the installed package, or at the root of a checkout.

    Raises:
        SettingError: if there is none.
    """
    package = Path(__file__).parents[1]
    found = next((folder for folder in (package / "recipes", package.parents[1] / "recipes") if folder.is_dir()), None)
    if found is None:
        raise SettingError(f"the recipes are missing: there is no folder {package / 'recipes'}; install fedtailor again")
    return found


def recipe_names() -> list[str]:
    """Return the names of all recipes, sorted."""
    return sorted(file.stem for file in recipes_folder().glob("*.yaml"))


def load_recipe(name: str) -> Recipe:
    """Return a recipe by its name.

    Raises:
        SettingError: if there is none of that name.
    """
    names = recipe_names()
    if name not in names:
        near = nearest(name, names)
        raise SettingError(
            f"there is no recipe {name!r}; " + (f"did you mean {near}?" if near else f"there are {', '.join(names)}.")
        )
    raw = read_yaml((recipes_folder() / f"{name}.yaml").read_text(encoding="utf-8"), f"the recipe {name}")
    about, job = dict(raw["recipe"]), {key: value for key, value in raw.items() if key != "recipe"}
    small = about.pop("small", {})
    given = about.pop("arms", {})
    whose = ((PAPER, about.pop("from_paper", {})), (ASSUMED, about.pop("assumed", {})))
    notes = {setting: (who, note) for who, known in whose for setting, note in known.items()}
    parent = load_recipe(about.pop("extends")) if "extends" in about else None
    if parent is None:
        return Recipe(name=name, job=job, small=small, notes=notes, arms=_arms(given, {}), **about)
    inherited = {key: getattr(parent, key) for key in INHERITED}
    settings, arms = merge(parent.job, job), _arms(given, parent.arms)
    leaves = {leaf for arm in ({}, *(arm.job for arm in arms.values())) for leaf in flat(merge(settings, arm))}
    kept = {
        setting: note
        for setting, note in parent.notes.items()
        if any(f"{leaf}.".startswith(f"{setting}.") for leaf in leaves)
        and not any(f"{setting}.".startswith(f"{own}.") for own in notes)
    }
    small = merge(parent.small, small)
    return Recipe(name=name, job=settings, small=small, notes=kept | notes, arms=arms, **inherited | about)


def _arms(given: Mapping[str, Mapping[str, Any]], parents: Mapping[str, Arm]) -> dict[str, Arm]:
    """Return the arms that are described, new or changed from those of the recipe that is extended, and then its others."""
    own = {name: replace(parents[name], **changes) if name in parents else Arm(**changes) for name, changes in given.items()}
    return own | {name: arm for name, arm in parents.items() if name not in own}
