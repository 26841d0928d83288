"""What a round of averaging costs a client, estimated."""

from collections import Counter
from collections.abc import Callable

from ...aggregation.factors.lowrank import modules_of
from ...learning.local import LocalTraining
from ...ledger import Sizes, client_memory, train_flops
from ...messages import Call
from ...messages.work import GAIN, MEMORY
from ...metrics.figure import LOSS_BEFORE
from ...records import Cost
from ...tensors import Tensors
from .messages import EXTRA, Train, Trained
from .settings import Averaging


def lengths(
    settings: Averaging, shared: Tensors, *, rounds: int, validated: bool, shape: Callable[[Call], Call] = lambda call: call
) -> tuple[int, int]:
    """Return the bytes of what one client sends and gets in a round, on average over `rounds`.

    They are those of encoded messages, but for the digits of numbers, and for the free memory of clients whose policy reports it.

    Args:
        validated: whether clients measure losses on validation parts of their own, in each round.
        shape: gives the call as it is under the job's protections.
    """
    call = shape(settings.call(shared, rounds))
    call = call if validated else call.lacking(GAIN)
    known = settings.wire == "float32"  # the losses of what was received are known then: else it was rounded
    absent = dict.fromkeys((*MEMORY, LOSS_BEFORE) if known else MEMORY)
    scale, clipped = [2.0] * len(modules_of(shared)) or None, None if settings.local.clip_norm is None else 0.5
    total = 0
    for names, count in Counter(frozenset(settings.sent(shared, index)) for index in range(1, rounds + 1)).items():
        sent = {*names, *(f"{EXTRA}{name}" for name in shared)}
        total += count * call.length(Trained, only=sent, scale=scale, clipped=clipped, **absent)
    losses = ["after"] if known else ["before", "after"]
    return round(total / rounds), call.length_of(Train(version=10, rate_factor=1.0, clients=10, losses=losses))


def round_cost(local: LocalTraining, sizes: Sizes, *, examples: int, tokens_per_example: float) -> Cost:
    """Return what one client with so many examples spends in one round."""
    seen = examples * local.epochs if local.steps is None else local.steps * local.batch_size * local.accumulate
    tokens = int(seen * tokens_per_example)
    moments = 2 if local.optimizer == "adamw" else int(local.momentum > 0)
    return Cost(
        up_bytes=sizes.up_bytes,
        down_bytes=sizes.down_bytes,
        train_flops=train_flops(tokens, sizes),
        memory_bytes=client_memory(sizes, moments=moments),
    )
