"""What several features ask of a client and hear of its work: the declarations that they share."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from ..metrics.figure import LOSS_AFTER, LOSS_BEFORE
from .facts import PEAK, Part, loss, metrics, seconds, whole
from .record import Figures, Record, fact, figures
from .specs import FactSpec

PARTS: Mapping[Part, str] = {
    "validation": "on the client's own validation part",
    "test": "on the client's own test part",
    "public": "on the public test set",
}
RETAINED: Part = "retained"  # the part that is general text: its loss alone is reported
EVALUATION_SECONDS = replace(seconds("time that evaluations took"), optional=True)

# Of clients that have a validation part, where what local training gains is measured.
LOSSES = FactSpec(
    type="list[str]",
    purpose="validation losses that are wanted: before, after local training",
    reveals="nothing",
    most_characters=11,
    optional=True,
)
VALIDATION_BEFORE = loss("loss on the client's validation part before local training, where it is not known", over="validation")
VALIDATION_AFTER = loss("loss on the client's validation part after local training", over="validation")
LOSSES_SECONDS = replace(seconds("time that measuring these losses took"), optional=True)
GAIN = ("losses", LOSS_BEFORE, LOSS_AFTER, "evaluation_seconds")  # the fields of rounds that these are
MEMORY = ("free_bytes",)  # the field of rounds that is FREE, see `facts`


@dataclass(frozen=True, kw_only=True)
class Work(Record):
    """What training beside the rounds took, and what came of it."""

    steps: int = fact(whole("optimizer steps taken"))
    tokens: int = fact(whole("tokens seen: operations are counted from it"))
    seconds: float = fact(seconds("time that training for itself took"))
    evaluation_seconds: float | None = fact(EVALUATION_SECONDS)
    peak_bytes: int | None = fact(PEAK)
    measured: Figures = figures()


def figure_specs(figures: Iterable[str], whose: str, *, retained: bool = False) -> dict[str, FactSpec]:
    """Return the specs of what a client may measure on PARTS; `whose` weights goes into their purpose.

    Args:
        retained: whether clients measure the loss on general text besides.
    """
    names = list(figures)
    found = {name: spec for part, where in PARTS.items() for name, spec in metrics(names, part, f"{whose} {where}").items()}
    return found | metrics(("loss",), RETAINED, f"{whose} on general text") if retained else found
