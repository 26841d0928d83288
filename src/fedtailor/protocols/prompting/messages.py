"""What prompting sends: prompts down, sums of scores up."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from ...diverged import MOST_LOSS
from ...messages import Call, FactSpec, Record, TensorSpec
from ...messages.facts import MOST_COUNT, PEAK, asked, seconds, whole
from ...messages.record import fact, tensor
from ...prompting import Prompt, prompt_from_json
from ...prompting.prompt import MOST_CHARACTERS
from ...prompting.scrub import MOST_CHARACTERS as SCRUBBED

TRAINING, VALIDATION = 0, 1  # the client's parts
MOST_CANDIDATES = 256  # of one rung: what a message may hold
MOST_TEXT = 2 * MOST_CHARACTERS  # characters of one prompt as it is written in a message
PROMPT_BYTES = "prompt bytes"  # the size of an evaluated prompt, in a manifest
MOST_BYTES = 2**22  # the vectors of a soft prompt are written in it
MOST_POINT = 1e4  # of a coordinate


@dataclass(frozen=True, kw_only=True)
class Score(Record, kind="score"):
    """Prompts to score on the same examples of a client."""

    version: int = fact(asked("rungs behind the run"))
    part: int = fact(whole("0: the client's training part, 1: its validation part", reveals="nothing", most=VALIDATION))
    most: int = fact(asked("most examples of the client that count"))
    prompts: list[str] = fact(
        FactSpec(
            type="list[str]",
            purpose="prompts to score, as the text of prompt.json without labels",
            reveals="nothing",
            most_characters=MOST_CANDIDATES * MOST_TEXT,
            most_items=MOST_CANDIDATES,
        )
    )


@dataclass(frozen=True, kw_only=True)
class ScorePoints(Record, kind="score-points"):
    """Points of the subspace whose vectors are to be scored on the same examples of a client."""

    version: int = fact(asked("rounds behind the run"))
    most: int = fact(asked("most examples of the client that count"))
    points: Tensor | None = tensor("points")


@dataclass(frozen=True, kw_only=True)
class Scored(Record, kind="scored"):
    """How well each prompt fits a client's examples."""

    version: int = fact(asked("rungs behind the run"))
    scored: int = fact(replace(whole("examples that the sums are over; 0: the client has fewer than `few`"), of_examples=True))
    loss_sums: list[float] | None = fact(
        FactSpec(
            type="list[float]",
            purpose="for each prompt the sum over these examples of the loss",
            reveals="prompt-scores",
            over="rung",
            least=0.0,
            most=MOST_LOSS * 1000,
            most_items=MOST_CANDIDATES,
            optional=True,
        )
    )
    right: list[int] | None = fact(
        FactSpec(
            type="list[int]",
            purpose="for each prompt how many of these examples it names rightly",
            reveals="prompt-scores",
            over="rung",
            least=0,
            most=MOST_COUNT,
            most_items=MOST_CANDIDATES,
            optional=True,
        )
    )
    forward_tokens: int = fact(whole("tokens computed: operations are counted from it"))
    seconds: float = fact(seconds("time that scoring took"))
    peak_bytes: int | None = fact(PEAK)


@dataclass(frozen=True, kw_only=True)
class Criticise(Record, kind="criticise"):
    """A prompt that the client's own model is to criticise."""

    version: int = fact(asked("rounds behind the run"))
    most: int = fact(asked("most examples of the client that its model sees"))
    prompt: str = fact(
        FactSpec(type="str", purpose="the prompt, as the text of prompt.json", reveals="nothing", most_characters=MOST_TEXT)
    )


@dataclass(frozen=True, kw_only=True)
class Critique(Record, kind="critique"):
    """What the client's own model finds wrong with it; nothing if it has none, or if it would repeat its examples."""

    version: int = fact(asked("rounds behind the run"))
    critique: str | None = fact(
        FactSpec(
            type="str",
            purpose="what its model finds wrong with the prompt, without spans of the client's examples",
            reveals="critiques",
            over="rung",
            most_characters=SCRUBBED,
            optional=True,
        )
    )


def scoring_call() -> Call:
    """Return the call of a rung; a site counts it as it counts rounds of training."""
    return Call(question=Score, answers=(Scored,), trains="round")


def points_call(population: int, dimensions: int) -> Call:
    """Return the call of a round in which soft prompts are scored."""
    points = TensorSpec(dtype="float16", shape=(population, dimensions), most=MOST_POINT)
    return Call(question=ScorePoints, answers=(Scored,), forms={"points": {"points": points}}, trains="round")


def any_prompt(call: Call) -> Call:
    """Return a call whose shared tensor is the text of a prompt, of any length up to MOST_BYTES."""
    return call.shaped(lambda name, spec: replace(spec, shape=(PROMPT_BYTES,)), {PROMPT_BYTES: MOST_BYTES})


def written(prompts: Sequence[Prompt]) -> list[str]:
    """Return prompts as a message has them: labels are left out, as every client has the task's."""
    return [replace(prompt, labels=()).to_json(indent=None) for prompt in prompts]


def prompts_in(texts: Sequence[str], labels: Sequence[str]) -> list[Prompt]:
    """Return the prompts of a message, for the task's own labels.

    Raises:
        SettingError: if one is no prompt, or too long.
    """
    return [replace(prompt_from_json(text, "a prompt that came"), labels=tuple(labels)) for text in texts]
