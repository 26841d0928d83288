"""What a site may permit to be reported of its data."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ...protocols import Settings

REPORTABLE = {
    "examples": "how many training examples there are",
    "figures": "losses and metrics on the site's own validation and test parts",
    "memory": "how much memory of its machine is free, for tuning.rank: auto",
    "prompt-scores": "how well prompts fit its examples: sums of losses and of right answers over some of them",
    "critiques": "what its own language model says of prompts after seeing examples, scrubbed of spans of these",
    "scores": "how near its passages are to a question, as numbers",
    "answers": "short answers from its passages",
    "passages": "the texts of passages that answer a question",
    "centroids": "means of the vectors of groups of its passages",
    "embeddings": "the vectors of all its passages, of which much of their texts can be rebuilt",
    "term-counts": "how many of its passages have each word",
    "public-fit": "how well its examples can be distinguished from public ones",
    "label-counts": "how many examples each label has",
    "labels": "the labels or target texts themselves, example by example (split learning with labels at the server)",
}


def reportable() -> dict[str, str]:
    """Return what a site may permit, and what each word means, with those that protocols and phases declare of their own."""
    protocols, phases = _techniques()
    return REPORTABLE | {word: what for own in (*protocols.values(), *phases.values()) for word, what in own.reports.items()}


def named_protocol(section: Mapping[str, Any]) -> "Settings | None":
    """Return the settings of a job's protocol; None if none of that name is known here.

    Raises:
        SettingError: if they cannot be read.
        TypeError: if the name is no text.
    """
    from ...job.registries import read_protocol

    if not isinstance(section["kind"], str):
        raise TypeError("the name of a protocol is a text")
    return read_protocol(section) if section["kind"] in _techniques()[0] else None


def one_of() -> dict[str, Sequence[str]]:
    """Return the protocols whose jobs each need reports of at least one of some words, with these words."""
    return {name: settings.reveals_one_of for name, settings in _techniques()[0].items() if settings.reveals_one_of}


def of_phases(job: Mapping[str, Any]) -> Iterator[str]:
    """Yield the words that the phases of a job declare, as far as they are known here: it needs reports of each."""
    _, phases = _techniques()
    for phase in job.get("after", ()):
        yield from phases[phase["kind"]].reports if phase["kind"] in phases else ()


def _techniques() -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    from ...phases import PHASES  # here, as they load what trains
    from ...protocols import PROTOCOLS

    return PROTOCOLS, PHASES
