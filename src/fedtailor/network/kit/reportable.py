"""What a site may permit to be reported of its data."""

from collections.abc import Iterator, Mapping
from typing import Any

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


def declared_by(job: Mapping[str, Any]) -> Iterator[str]:
    """Yield the words that the protocol and the phases of a job declare, as far as they are known here: it needs reports of each."""
    protocols, phases = _techniques()
    chosen = [protocols.get(job["protocol"]["kind"]), *(phases.get(phase["kind"]) for phase in job.get("after", ()))]
    for technique in chosen:
        yield from () if technique is None else technique.reports


def _techniques() -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    from ...phases import PHASES  # here, as they load what trains
    from ...protocols import PROTOCOLS

    return PROTOCOLS, PHASES
