"""The messages of averaging."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from ...aggregation.factors.lowrank import modules_of
from ...messages import Call, Record, specs_of
from ...messages.facts import CLIPPED, FREE, GRADIENT_NORM, PEAK, SCALE, asked, examples, loss, seconds, share, spent, whole
from ...messages.record import fact, tensors
from ...messages.work import LOSSES, LOSSES_SECONDS, VALIDATION_AFTER, VALIDATION_BEFORE
from ...tensors import Tensors

EXTRA = "extra/"  # in front of the name of a tensor that is no weight and no delta


@dataclass(frozen=True, kw_only=True)
class Train(Record, kind="train"):
    """The shared weights, to train from."""

    version: int = fact(asked("rounds behind the shared weights"))
    rate_factor: float = fact(share("share of the learning rate in this round"))
    clients: int | None = fact(asked("clients in all: each counts one part of so many"), sometimes=True)
    losses: Sequence[str] | None = fact(LOSSES)
    shared: Tensors = tensors()
    control: Tensors = tensors(prefix=EXTRA)  # the server's control variate


@dataclass(frozen=True, kw_only=True)
class Trained(Record, kind="train"):
    """What local training changed. Its facts are columns of clients.parquet, in this order."""

    version: int = fact(asked("the version of the shared weights that the update starts from"))
    examples: int = fact(examples("training examples of the client: its weight in the average"))
    steps: int = fact(whole("optimizer steps taken"))
    tokens: int = fact(whole("tokens seen in this round: operations are counted from it"))
    targets: int = fact(whole("targets counted by the loss in this round: its weight if the job says so"))
    first_loss: float | None = fact(loss("training loss of the first step", over="step"))
    last_loss: float | None = fact(loss("training loss of the last step", over="step"))
    gradient_norm: float | None = fact(GRADIENT_NORM)
    clipped: float | None = fact(CLIPPED)
    validation_before: float | None = fact(VALIDATION_BEFORE)
    validation_after: float | None = fact(VALIDATION_AFTER)
    seconds: float = fact(seconds("time that local training took"))
    evaluation_seconds: float | None = fact(LOSSES_SECONDS)
    peak_bytes: int | None = fact(PEAK)
    free_bytes: int | None = fact(FREE)
    scale: Sequence[float] | None = fact(SCALE)
    epsilon: float | None = fact(spent("epsilon that the client has spent"), sometimes=True)
    epsilon_next: float | None = fact(spent("epsilon that it will have spent by another round"), sometimes=True)
    delta: Tensors = tensors(reveals="update")  # trained minus received
    control: Tensors = tensors(reveals="update", prefix=EXTRA)  # change of its control variate


def training_call(
    shared: Tensors, *, dtype: str, sent: Sequence[Sequence[str]], control: bool, clients: bool, private: bool = False
) -> Call:
    """Return the call of a round.

    Args:
        shared: the exchanged tensors.
        dtype: of all tensors on the wire.
        sent: names of the tensors that clients send, for each round of the run; those sent in none are not listed, and those not
            sent in all are optional.
        control: whether control variates travel beside the tensors, both ways.
        clients: whether clients know how many they are.
        private: whether clients spend a privacy budget of their own.
    """
    some, always = set().union(*sent), set(sent[0]).intersection(*sent)
    whole = specs_of(shared, dtype)
    delta = {name: replace(spec, optional=name not in always) for name, spec in whole.items() if name in some}
    return Call(
        question=Train,
        answers=(Trained,),
        forms={"shared": whole, "delta": delta, "control": whole if control else {}},
        without=frozenset((*(() if clients else ("clients",)), *(() if private else ("epsilon", "epsilon_next")))),
        trains="round",
    )


def scales_of(shared: Tensors, scale: Mapping[str, float]) -> list[float]:
    """Return alpha / r of each LoRA module among `shared`, in the order of names; empty where there is none."""
    modules = modules_of(shared)
    return [scale.get(module, 1.0) for module in modules] if modules and scale else []


def scale_reader(shared: Tensors) -> Callable[[Trained], Mapping[str, float]]:
    """Return what reads alpha / r per module from a client's answer; a list of another length raises ValueError."""
    modules = modules_of(shared)
    return lambda trained: {} if trained.scale is None else dict(zip(modules, trained.scale, strict=True))
