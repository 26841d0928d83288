"""The messages of a relay."""

from dataclasses import dataclass

from ...messages import Call, Record, specs_of
from ...messages.facts import asked, examples, seconds, share, whole
from ...messages.record import fact, tensors
from ...tensors import Tensors


@dataclass(frozen=True, kw_only=True)
class Leg(Record, kind="leg"):
    """Weights to train from."""

    version: int = fact(asked("rounds behind the weights"))
    rate_factor: float = fact(share("share of the learning rate in this round"))
    shared: Tensors = tensors()


@dataclass(frozen=True, kw_only=True)
class Run(Record, kind="run"):
    """What it came to."""

    examples: int = fact(examples("training examples of the client"))
    steps: int = fact(whole("optimizer steps taken"))
    tokens: int = fact(whole("tokens seen"))
    seconds: float = fact(seconds("time that training took"))
    delta: Tensors = tensors(reveals="update")


def relay_call(shared: Tensors) -> Call:
    """Return the call of one leg."""
    forms = specs_of(shared)
    return Call(question=Leg, answers=(Run,), forms={"shared": forms, "delta": forms}, trains="round")
