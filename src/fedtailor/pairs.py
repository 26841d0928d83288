"""What the techniques of one job give to each other and need of each other, as data, and what is said where a need is not met.

A technique says so in two class attributes, or properties where it depends on its settings: `gives`, a mapping of words to whether it has what
they stand for (or, in the place of False, why not), and `needs`, its needs. What it does not mention is as `WORDS` has it.
A class whose settings decide names, in `variants`, those worth a row of the manual's table.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .errors import SettingError


@dataclass(frozen=True, kw_only=True)
class Word:
    """Something that techniques of one section have, or have not."""

    section: str  # of the job: task, tuning, protocol, aggregation, personalization, protection, clients
    means: str  # behind the name of the section: "trains weights"
    usual: bool | str = True  # whether a technique that says nothing has it, or why it has not


WORDS: Mapping[str, Word] = {
    "training": Word(section="protocol", means="trains weights"),
    "one-model": Word(section="protocol", means="has one model for all clients"),
    "whole-model": Word(section="protocol", means="lets a client train its whole model"),
    "updates": Word(section="protocol", means="adds up updates of weights"),
    "prompts": Word(section="protocol", means="searches for prompts", usual="which trains weights"),
    "documents": Word(section="protocol", means="asks documents", usual=False),
    "cut": Word(section="protocol", means="cuts the model", usual=False),
    "any-model": Word(section="protocol", means="trains models of any kind"),
    "tokens": Word(section="task", means="is of texts"),
    "held-out-loss": Word(section="task", means="has a held-out loss that says how good a model is"),
    "one-loss": Word(section="task", means="has one loss"),
    "next-token": Word(section="task", means="has a language model, which says the next token"),
    "factors": Word(section="tuning", means="trains plain LoRA", usual=False),
    "sums": Word(section="aggregation", means="needs no more than the sum of all updates", usual=False),
    "plain-mean": Word(section="aggregation", means="is the plain mean of all updates", usual=False),
    "no-control": Word(section="aggregation", means="has no control variates"),
    "same-factors": Word(section="aggregation", means="keeps the factors of the shared adapter from round to round"),
    "same-tensors": Word(section="aggregation", means="trains the same tensors in each round"),
    "whole-words": Word(section="protection", means="leaves updates as numbers that add up"),
    "noise-apart": Word(section="protection", means="adds no share of its noise at each client"),
    "blind-server": Word(section="protection", means="looks at no single update at the server"),
    "drawn-alike": Word(section="clients", means="draws all clients alike"),
    "shares-as-sent": Word(section="clients", means="leaves clients the weights that they report"),
    "one-rank": Word(section="clients", means="lets all clients train one rank"),
    "one-task": Word(section="clients", means="lets all clients train one task"),
    "shared-adapter": Word(section="personalization", means="lets clients keep nothing beside the shared factors", usual=False),
    "trains-home": Word(
        section="personalization", means="trains what stays with a client together with the shared weights", usual=False
    ),
    "rank-free": Word(section="personalization", means="keeps nothing of one rank from round to round", usual=False),
    "home-noised": Word(section="personalization", means="trains nothing without noise before the shared weights"),
    "no-pull": Word(section="personalization", means="pulls no client's own factors towards the shared ones"),
}


@dataclass(frozen=True, kw_only=True)
class Need:
    """Something without which a technique means nothing."""

    word: str  # of `WORDS`
    remedy: str  # what to write instead: "choose tuning: lora, or personalization: ditto"
    why: str = ""  # said behind the pair
    name: str = ""  # of the setting that needs it, where it is not the technique itself


@dataclass(frozen=True, kw_only=True)
class Technique:
    """One choice of a job, as far as others must know it."""

    section: str
    name: str  # as an error names it: "tuning: lora"
    gives: Mapping[str, bool | str]
    needs: Sequence[Need]

    def lack(self, word: str) -> str | None:
        """Return None if it gives what the word stands for; else why it does not, which may be empty."""
        has = self.gives.get(word, WORDS[word].usual)
        return None if has is True else has or ""


def technique(section: str, settings: Any, *, path: str = "", traits: Any = None) -> Technique:
    """Return a choice of a job, with the gives and needs of its class, or the usual ones.

    Args:
        path: of its name; left out: the section.
        traits: what has `gives` and `needs` in its place.
    """
    source = settings if traits is None else traits
    return Technique(
        section=section,
        name=f"{path or section}: {getattr(settings, 'kind', type(settings).__name__)}",
        gives=getattr(source, "gives", {}),
        needs=getattr(source, "needs", USUAL_NEEDS.get(section, ())),
    )


USUAL_NEEDS: Mapping[str, Sequence[Need]] = {
    "task": (
        Need(
            word="training",
            remedy="write the task of that protocol: label-likelihood or reference-likelihood for prompting, question-answering for retrieval; or choose protocol: averaging",
        ),
    ),
    "tuning": (Need(word="training", remedy="leave tuning out"),),
    "personalization": (
        Need(word="training", remedy="leave personalization out"),
        Need(word="one-model", remedy="leave personalization out, or choose protocol: averaging"),
        Need(
            word="whole-model",
            remedy="choose personalization: fedper with home weights of the client's part (client halves of their own, as in SplitFed V3), or none",
        ),
    ),
}


def check_together(techniques: Sequence[Technique]) -> None:
    """Hold the techniques of a job against each other.

    Raises:
        SettingError: naming both sides of the first pair that does not go together, why, and what to write instead.
    """
    for text in unmet(techniques):
        raise SettingError(text)


def unmet(techniques: Sequence[Technique]) -> Iterator[str]:
    """Yield a sentence for each need that nothing meets; one that is about a section which the job lacks is met."""
    for technique in techniques:
        for need in technique.needs:
            for other in techniques:
                if other.section == WORDS[need.word].section and (lack := other.lack(need.word)) is not None:
                    yield sentence(technique, need, other, lack)


def sentence(technique: Technique, need: Need, other: Technique, lack: str) -> str:
    """Return what is said of a pair that does not go together."""
    because = (f", {lack}" if lack else "") + (f": {need.why}" if need.why else "")
    return f"{need.name or technique.name} does not go with {other.name}{because}; {need.remedy}."
