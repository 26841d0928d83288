"""What split learning costs, estimated."""

import math
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from typing import Any

from torch import nn

from ...learning.local import LocalTraining
from ...messages import Call, Record
from ...messages.wires.table import TOKENS
from ...records import Cost, Fact
from ...tensors import count
from .layout import Layout
from .messages import EXAMPLES, Activations, Ahead, Begin, Drained, End, Gradient, Hidden, LossGradient, calls_of
from .reuse import MARK_CHARACTERS, fresh_share
from .terms import Terms

SIZEABLE = 64  # tokens more, from which the bytes of one token follow


def round_cost(terms: Terms, *, examples: int, tokens_per_example: float, rounds: int) -> Cost:
    """Return what one client with so many examples spends in one round; with reuse, the mean over so many rounds."""
    local = terms.local
    steps = local.steps_per_round(examples)
    seen = _seen(local, examples)
    tokens = seen * tokens_per_example
    up_bytes, down_bytes = round_bytes(terms, examples=seen, tokens=tokens, steps=steps)
    reused = 0.0
    if terms.settings.reuse:
        fresh = fresh_share(examples=examples, seen=seen, rounds=rounds)
        least, _ = round_bytes(terms, examples=seen, tokens=tokens, steps=steps, known=True)
        up_bytes, reused = round(fresh * up_bytes + (1 - fresh) * least), (1 - fresh) * tokens
    return Cost(
        up_bytes=up_bytes,
        down_bytes=down_bytes,
        train_flops=client_flops(terms.layout, round(tokens), reused=round(reused)),
        memory_bytes=client_memory_bytes(terms),
    )


def tokens_per_round(local: LocalTraining, examples: int, tokens_per_example: float) -> float:
    """Return the tokens that a client with so many examples trains on in a round."""
    return _seen(local, examples) * tokens_per_example


def _seen(local: LocalTraining, examples: int) -> float:
    if local.steps is None:
        return examples * local.epochs
    return local.steps * examples / math.ceil(examples / local.batch_size)  # the last batch of an epoch may be short


def exchanges(terms: Terms, steps: int) -> int:
    """Return how often a client waits for an answer of the server in a round of so many steps.

    Once a step, u-shaped twice, and once as the round begins; pipelined once more, to drain what is under way.
    """
    return steps * (2 if terms.u_shaped else 1) + 1 + int(terms.settings.pipelined)


def round_bytes(terms: Terms, *, examples: float, tokens: float, steps: int, known: bool = False) -> tuple[int, int]:
    """Return the bytes that one client sends up and gets down in a round of so many steps.

    They are those of encoded messages of the mean size, but for the digits of numbers. With `known` the server has the activations of
    all examples already.
    """
    worker, settings = terms.worker, terms.settings
    at_this_cut = replace(terms, choices=(terms.layout.cut,), cuts={})
    calls = calls_of(at_this_cut, {name: param for name, param in worker.params.items() if name not in worker.home})
    texts = max(1, round(examples / steps))

    def of_step(form: type[Record], **facts: Fact | None) -> float:
        """Return the bytes of a message whose tensors are as long as a step's tokens."""
        empty = known and form is Activations

        def length(rows: int) -> int:
            sized = [call.sized({TOKENS: rows, EXAMPLES: texts}) for call in calls]
            return _length(sized, form, only=() if empty else None, step=steps // 2, **facts)

        per_step = tokens / steps
        rows = max(1, int(per_step))
        return length(rows) + (per_step - rows) * (length(rows + SIZEABLE) - length(rows)) / SIZEABLE

    lengths: Fact = [0 if known else max(1, round(tokens / examples))] * texts
    up = of_step(Activations, lengths=lengths, rows=[round(examples * 0.6)] * texts if settings.reuse else None)
    down = of_step(Gradient)
    if terms.u_shaped:
        up, down = up + of_step(LossGradient), down + of_step(Hidden)
    mark = "0" * MARK_CHARACTERS
    once_down = _length(calls, Begin, version=10, rate_factor=1.0, cut=terms.layout.cut, kept=mark)
    once_up = _length(calls, End, free_bytes=10**10)
    if settings.pipelined:
        once_up, once_down = (
            total + _length(calls, form, step=steps - 1) for total, form in ((once_up, Drained), (once_down, Ahead))
        )
    return round(steps * up) + once_up, round(steps * down) + once_down


def _length(calls: Iterable[Call], form: type[Record], *, only: Collection[str] | None = None, **facts: Fact | None) -> int:
    call = next(call for call in calls if form in (call.question, *call.answers))
    return call.length(form, only=only, **facts)


def client_flops(layout: Layout, tokens: int, *, reused: int = 0) -> float:
    """Return the operations of a client's training on so many tokens, of which `reused` were computed up to the cut before.

    2 N forward and, where weights before the cut are trained, 2 N for the gradients of activations, N counting the client's frozen
    matrices; 6 for each trained weight. In the u-shaped form what lies behind the blocks is the client's too (and passes gradients on).
    Embeddings, output head and attention scores are not counted, as in `ledger.train_flops`.
    """
    place = layout.cut_model.place
    in_front = _flops(layout, lambda name: place(name) < layout.cut)
    return in_front * (tokens - reused) + tokens * _flops(
        layout, lambda name: place(name) >= layout.cut and layout.owner(name) == "client"
    )


def kept_bytes(layout: Layout, tokens: int) -> int:
    """Return the memory that the server needs to keep the activations of so many tokens, as float32."""
    return tokens * layout.cut_model.width * 4


def server_flops(layout: Layout, tokens: int) -> float:
    """Return the operations of the server's training on so many tokens of clients."""
    return tokens * _flops(layout, lambda name: layout.owner(name) == "server")


def client_memory_bytes(terms: Terms) -> int:
    """Return the bytes of a client's blocks, embeddings and head, of its trained weights, their gradients and moments; activations left out."""
    layout, worker, local = terms.layout, terms.worker, terms.local
    trained = {id(p) for p in worker.params.values()}
    held = {id(p): p for name, p in _used(worker.model) if layout.owner(name) == "client" and id(p) not in trained}
    moments = 2 if local.optimizer == "adamw" else int(local.momentum > 0)
    learned = count({name: worker.params[name] for name in layout.trained_by("client")})
    return sum(p.numel() * p.element_size() for p in held.values()) + learned * 4 * (2 + moments)


def _flops(layout: Layout, counts: Callable[[str], bool]) -> float:
    """Return the operations per token with the parameters that count, by their names in the model."""
    model, place = layout.cut_model.model, layout.cut_model.place
    inner: Any = model
    apart = {id(p) for m in model.modules() if isinstance(m, nn.Embedding) for p in m.parameters()}
    head = inner.get_output_embeddings()
    apart |= set() if head is None else {id(p) for p in head.parameters()}
    trained = set(layout.inner.values())
    total = 0.0
    for name, parameter in _used(model):
        if not counts(name):
            continue
        passes_back = layout.learns_in_front or place(name) >= layout.cut
        if name in trained:
            total += parameter.numel() * 6
        elif id(parameter) not in apart:
            total += parameter.numel() * (4 if passes_back else 2)
    return total


def _used(model: nn.Module) -> list[tuple[str, nn.Parameter]]:
    """Return the parameters by name but for the copies of replaced modules that PEFT keeps."""
    return [(name, p) for name, p in model.named_parameters() if ".original_module." not in name]
