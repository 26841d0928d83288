"""The messages of averaging: which tensors and facts they carry, and how these are read."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from torch import Tensor

from ...aggregation.factors.lowrank import modules_of
from ...messages import FactSpec, MessageSpec, length_of, specs_of, usual_facts
from ...messages.facts import PEAK, asked, examples, loss, seconds, share, whole
from ...records import Fact, Facts
from ...tensors import Tensors
from ..rounds.collect import EXTRA

MOST_SCALE = 1e6  # alpha / rank
TRAIN_FACTS = {
    "version": asked("the version of the shared weights that the update starts from"),
    "examples": examples("training examples of the client: its weight in the average"),
    "targets": whole("targets counted by the loss in this round: its weight if the job says so"),
    "tokens": whole("tokens seen in this round: operations are counted from it"),
    "steps": whole("optimizer steps taken"),
    "first_loss": loss("training loss of the first step", over="step"),
    "last_loss": loss("training loss of the last step", over="step"),
    "seconds": seconds("time that local training took"),
    "peak_bytes": PEAK,
    "scale": FactSpec(
        type="list[float]",
        purpose="alpha / rank of each LoRA module, in the order of names",
        reveals="nothing",
        least=0.0,
        most=MOST_SCALE,
        optional=True,
    ),
}
DOWN_FACTS = {
    "version": asked("rounds behind the shared weights"),
    "rate_factor": share("share of the learning rate in this round"),
}
GAIN_FACTS = {  # of clients that have a validation part, where what local training gains is measured
    "validation_before": loss(
        "loss on the client's validation part before local training, where it is not known", over="validation"
    ),
    "validation_after": loss("loss on the client's validation part after local training", over="validation"),
    "evaluation_seconds": replace(seconds("time that measuring these losses took"), optional=True),
}
LOSSES = "losses"  # the fact that says which of them are wanted
LOSSES_FACT = {
    LOSSES: FactSpec(
        type="list[str]",
        purpose="validation losses that are wanted: before, after local training",
        reveals="nothing",
        most_characters=11,
        optional=True,
    )
}
CLIENTS_FACT = {"clients": asked("clients in all: each counts one part of so many")}


def training_specs(
    shared: Tensors, *, dtype: str, sent: Sequence[Sequence[str]], control: bool, clients: bool, gain: bool = False
) -> tuple[MessageSpec, MessageSpec]:
    """Return what training may send up and down.

    Args:
        shared: the exchanged tensors.
        dtype: of all tensors on the wire.
        sent: names of the tensors that clients send, for each round of the run; those sent in none are not listed, and those not
            sent in all are optional.
        control: whether control variates travel beside the tensors, both ways.
        clients: whether clients are told how many they are.
        gain: whether clients measure what their local training gains.
    """
    some, always = set().union(*sent), set(sent[0]).intersection(*sent)
    up = specs_of({name: tensor for name, tensor in shared.items() if name in some}, dtype)
    up = {name: replace(spec, optional=name not in always) for name, spec in up.items()}
    extra = specs_of(beside(shared), dtype) if control else {}
    return (
        MessageSpec(tensors=up | extra, facts=TRAIN_FACTS | (GAIN_FACTS if gain else {})),
        MessageSpec(
            tensors=specs_of(shared, dtype) | extra,
            facts=DOWN_FACTS | (CLIENTS_FACT if clients else {}) | (LOSSES_FACT if gain else {}),
            trains="round",
        ),
    )


def training_lengths(
    shared: Tensors, *, dtype: str, sent: Sequence[Sequence[str]], control: bool, clients: bool, gain: bool
) -> tuple[int, int]:
    """Return the bytes of what one client sends and gets in a round, foretold, on average over rounds.

    They are those of encoded messages, but for the digits of numbers. Arguments are those of `training_specs`; with `gain` clients have
    validation parts, and each round is evaluated.
    """
    up, down = training_specs(shared, dtype=dtype, sent=sent, control=control, clients=clients)
    losses = (
        [] if not gain else ["after"] if dtype == "float32" else ["before", "after"]
    )  # those as received are known, or were rounded
    told = usual_facts(TRAIN_FACTS | {name: fact for name, fact in GAIN_FACTS.items() if gain and _is_told(name, losses)})
    told |= scale_facts(shared, dict.fromkeys(modules_of(shared), 2.0))
    total = 0
    for names, rounds in Counter(map(frozenset, sent)).items():
        tensors = {name: spec for name, spec in up.tensors.items() if name in names or name.startswith(EXTRA)}
        total += rounds * length_of("train", tensors, told)
    asked: dict[str, Fact] = {"version": 10, "rate_factor": 1.0, **({"clients": 10} if clients else {})}
    asked |= losses_wanted(losses)
    return round(total / len(sent)), length_of("train", down.tensors, asked)


def losses_wanted(names: Sequence[str]) -> dict[str, Fact]:
    """Return the fact that asks for validation losses, or nothing where none are wanted."""
    return {LOSSES: list(names)} if names else {}


def _is_told(name: str, losses: Sequence[str]) -> bool:
    return not name.startswith("validation_") or name.removeprefix("validation_") in losses


def beside(tensors: Tensors) -> dict[str, Tensor]:
    """Return tensors under the names that keep them apart from weights in a message."""
    return {f"{EXTRA}{name}": value for name, value in tensors.items()}


def scale_facts(shared: Tensors, scale: Mapping[str, float]) -> Mapping[str, list[float]]:
    """Return the fact that tells alpha / r of each LoRA module among `shared`, or nothing where there is none."""
    modules = modules_of(shared)
    return {"scale": [scale.get(module, 1.0) for module in modules]} if modules and scale else {}


def scale_reader(shared: Tensors) -> Callable[[Facts], Mapping[str, float]]:
    """Return what reads alpha / r per module from a client's facts; a list of another length raises ValueError."""
    modules = modules_of(shared)
    return lambda facts: dict(zip(modules, facts["scale"], strict=True)) if "scale" in facts else {}  # type: ignore[arg-type]
