"""What split learning costs, foretold."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from ...learning.local import LocalTraining
from ...messages import encode, usual_facts
from ...messages.length import USUAL
from ...messages.record import spec_of
from ...records import Cost, Fact, Message
from ...tensors import count
from .layout import CLASSES, TARGETS, Layout
from .messages import ACTIVATIONS, AHEAD, BEGIN, DRAINED, END, FREE, GRADIENT, HIDDEN, LOSS_GRADIENT, End
from .reuse import MARK_CHARACTERS, fresh_share

if TYPE_CHECKING:
    from .bound import BoundSplit

SIZEABLE = 64  # tokens more, from which the bytes of one token follow


def round_cost(protocol: "BoundSplit", *, examples: int, tokens_per_example: float, rounds: int) -> Cost:
    """Return what one client with so many examples spends in one round; with reuse, the mean over so many rounds."""
    local = protocol.local
    steps = local.steps_per_round(examples)
    seen = _seen(local, examples)
    tokens = seen * tokens_per_example
    up_bytes, down_bytes = round_bytes(protocol, examples=seen, tokens=tokens, steps=steps)
    reused = 0.0
    if protocol.settings.reuse:
        fresh = fresh_share(examples=examples, seen=seen, rounds=rounds)
        least, _ = round_bytes(protocol, examples=seen, tokens=tokens, steps=steps, known=True)
        up_bytes, reused = round(fresh * up_bytes + (1 - fresh) * least), (1 - fresh) * tokens
    return Cost(
        up_bytes=up_bytes,
        down_bytes=down_bytes,
        train_flops=client_flops(protocol.layout, round(tokens), reused=round(reused)),
        memory_bytes=client_memory_bytes(protocol),
    )


def tokens_per_round(local: LocalTraining, examples: int, tokens_per_example: float) -> float:
    """Return the tokens that a client with so many examples trains on in a round."""
    return _seen(local, examples) * tokens_per_example


def _seen(local: LocalTraining, examples: int) -> float:
    if local.steps is None:
        return examples * local.epochs
    return local.steps * examples / math.ceil(examples / local.batch_size)  # the last batch of an epoch may be short


def exchanges(protocol: "BoundSplit", steps: int) -> int:
    """Return how often a client waits for an answer of the server in a round of so many steps.

    Once a step, u-shaped twice, and once as the round begins; pipelined once more, to drain what is under way.
    """
    return steps * (2 if protocol.form.u_shaped else 1) + 1 + int(protocol.settings.pipelined)


def round_bytes(protocol: "BoundSplit", *, examples: float, tokens: float, steps: int, known: bool = False) -> tuple[int, int]:
    """Return the bytes that one client sends up and gets down in a round of so many steps.

    Messages of the mean size are truly encoded, so that headers count as they are. With `known` the server has the activations of all
    examples already.
    """
    per_step, width = tokens / steps, protocol.layout.cut_model.width
    texts = max(1, round(examples / steps))

    def table(kind: str, code: Any) -> float:
        def length(rows: int) -> int:
            tensors = code.pack(torch.ones(rows, width), 0)
            facts: dict[str, Fact] = {"step": steps // 2}
            if kind == GRADIENT:
                tensors = tensors if protocol.layout.learns_in_front else {}
                facts |= {} if protocol.form.u_shaped else {"loss": USUAL["float"]}
            if kind == ACTIVATIONS:
                facts["lengths"] = [0 if known else max(1, round(tokens / examples))] * texts
                facts |= {"rows": [round(examples * 0.6)] * texts} if protocol.settings.reuse else {}
                tensors = {} if known else {**tensors, **_labels(protocol, rows, texts)}
            return len(encode(Message(kind=kind, tensors=tensors, facts=facts)))

        rows = max(1, int(per_step))
        return length(rows) + (per_step - rows) * (length(rows + SIZEABLE) - length(rows)) / SIZEABLE

    u_shaped = protocol.form.u_shaped
    up = table(ACTIVATIONS, protocol.wire) + (table(LOSS_GRADIENT, protocol.gradient_wire) if u_shaped else 0)
    down = table(GRADIENT, protocol.gradient_wire) + (table(HIDDEN, protocol.wire) if u_shaped else 0)
    mine = {name: protocol.worker.params[name].detach().float().cpu() for name in protocol.layout.trained_by("client")}
    mine = {name: value for name, value in mine.items() if name not in protocol.worker.home}
    mark = {"kept": "0" * MARK_CHARACTERS} if protocol.settings.reuse else {}
    begin = Message(kind=BEGIN, tensors=mine, facts={"version": 10, "rate_factor": 1.0, "cut": protocol.layout.cut, **mark})
    end = Message(
        kind=END, tensors=mine, facts=usual_facts(spec_of(End, without=[FREE]).facts) | ({FREE: 10**10} if protocol.auto else {})
    )
    turned = [
        len(encode(Message(kind=kind, facts={"step": steps - 1}))) if protocol.settings.pipelined else 0
        for kind in (DRAINED, AHEAD)
    ]
    return round(steps * up) + len(encode(end)) + turned[0], round(steps * down) + len(encode(begin)) + turned[1]


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


def client_memory_bytes(protocol: "BoundSplit") -> int:
    """Return the bytes of a client's blocks, embeddings and head, of its trained weights, their gradients and moments; activations left out."""
    layout, worker, local = protocol.layout, protocol.worker, protocol.local
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


def _labels(protocol: "BoundSplit", rows: int, texts: int) -> dict[str, torch.Tensor]:
    if protocol.form.u_shaped:
        return {}
    if protocol.form.classes:
        return {CLASSES: torch.zeros(texts, dtype=torch.int32)}
    return {TARGETS: torch.zeros(rows, dtype=torch.int32)}
