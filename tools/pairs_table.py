"""Write docs/pairs.md again from what techniques say that they give and need, so that the page cannot age."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from fedtailor.aggregation import AGGREGATIONS
from fedtailor.interfaces import traits_of
from fedtailor.job.together import LOSS_USERS, task_technique
from fedtailor.pairs import WORDS, Need, Technique, technique
from fedtailor.personalization import PERSONALIZATIONS
from fedtailor.phases import PHASES
from fedtailor.protection import PROTECTIONS, needs_of
from fedtailor.protocols import PROTOCOLS
from fedtailor.tasks import TASKS
from fedtailor.tuning import TUNINGS, UNTRAINED

WITH = " with "  # between a technique and the settings of a variant
PAGE = Path(__file__).parents[1] / "docs" / "pairs.md"
HEAD = """# What goes with what

Everything that is not in the table goes together, as far as the model allows it: some pairs are known only once the backbone is loaded (a head
that is its embedding, layers that a method of PEFT has no form for), and are refused then in the same way. `fedtailor check job.yaml` says it
before anything is done. This page is made from what each technique gives and needs (`make tables`).

| | does not go with | since | instead |
|---|---|---|---|
"""
SECTIONS: Mapping[str, Mapping[str, type]] = {
    "task": TASKS,
    "tuning": {**TUNINGS, **UNTRAINED},
    "protocol": PROTOCOLS,
    "personalization": PERSONALIZATIONS,
    "aggregation": AGGREGATIONS,
    "protection": PROTECTIONS,
    "after": PHASES,
}


def techniques() -> Iterator[Technique]:
    """Yield every technique that a job can name, with what its class says of it."""
    for section, kinds in SECTIONS.items():
        for kind, cls in kinds.items():
            for settings in getattr(cls, "variants", (None,)):
                yield _technique(section, kind, cls, settings)
    for name, word in (
        ("clients.select other than uniform", "drawn-alike"),
        ("clients.most_weight below 1", "shares-as-sent"),
        ("clients.overrides of ranks", "one-rank"),
        ("clients.overrides of tasks", "one-task"),
    ):
        yield Technique(section="clients", name=f"clients: {name}", gives={word: False}, needs=())
    for name, remedy in LOSS_USERS.items():
        yield Technique(section="", name=name, gives={}, needs=(Need(word="held-out-loss", remedy=remedy),))


def _technique(section: str, kind: str, cls: Any, settings: Mapping[str, Any] | None) -> Technique:
    """Return what a class says of itself; with these settings, if it names some."""
    if settings is not None:
        made = cls(**settings)
        found = task_technique(made) if section == "task" else technique(section, made)
        name = f"{section}: {kind}" + (
            f"{WITH}{', '.join(f'{key}: {value}' for key, value in settings.items())}" if settings else ""
        )
        return Technique(
            section=section, name=name, gives=found.gives, needs=found.needs if section == "task" else needs_of(made)
        )
    if section == "task":
        return task_technique(cls)
    if section == "aggregation":
        return technique(section, cls, traits=traits_of(cls()))
    if section == "protection":
        return Technique(section=section, name=f"{section}: {kind}", gives=technique(section, cls()).gives, needs=needs_of(cls()))
    return technique(section, cls)


def _chosen(each: Technique) -> str:
    """Return the name of a technique without the settings of a variant."""
    return each.name.partition(WITH)[0]


def _needy(known: Sequence[Technique], each: Technique, need: Need) -> str:
    """Return the name of what needs something, with the settings of the variant if others of it do not."""
    variants = [other for other in known if _chosen(other) == _chosen(each)]
    return _chosen(each) if all(need.word in [own.word for own in other.needs] for other in variants) else each.name


def _lacking(known: Sequence[Technique], need: Need) -> list[str]:
    """Return what does not meet a need; a technique of which all variants do not, once."""
    there = [other for other in known if other.section == WORDS[need.word].section]
    lacking = [other for other in there if other.lack(need.word) is not None]
    some = {_chosen(other) for other in there if other not in lacking}
    names = dict.fromkeys(other.name if _chosen(other) in some else _chosen(other) for other in lacking)
    return [name.partition(": ")[2] for name in names]


def page() -> str:
    """Return the page: a row for each need of a technique that others do not meet."""
    known = list(techniques())
    rows = {}
    for each in known:
        for need in each.needs:
            word = WORDS[need.word]
            lacking = _lacking(known, need)
            if lacking:
                key = (
                    word.section,
                    tuple(lacking),
                    f"it needs {'an' if word.section[0] in 'aeiou' else 'a'} {word.section}{' section' if word.section == 'clients' else ''} that {word.means}",
                    need.remedy,
                )
                rows.setdefault(key, {})[_needy(known, each, need)] = None
    return HEAD + "".join(
        f"| {', '.join(f'`{name}`' for name in names)} | {section}: {', '.join(f'`{name}`' for name in lacking)} | {why} | {remedy} |\n"
        for (section, lacking, why, remedy), names in rows.items()
    )


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    sys.stdout.write(f"wrote {PAGE.name}\n")
