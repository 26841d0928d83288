"""One client's part in one round of split learning: step by step, with what is between a forward pass and its backward pass."""

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import repeat
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...chance import stream
from ...diverged import check_loss
from ...errors import OffManifest
from ...learning.client import ClientState
from ...learning.training import check_trained
from ...learning.worker import Worker
from ...ledger import free_memory
from ...messages.wires.table import read_table
from ...models.cut import Part
from ...personalization import OWN
from ...records import Fact, Message
from ...tasks.shard import Batch, training_batches
from ...tensors import Tensors, add
from ..evaluation import own_of
from .cuts import moved
from .layout import labels_of, lengths_of, rows_of, table_of
from .messages import (
    ACTIVATIONS,
    AHEAD,
    BEGIN,
    DRAINED,
    END,
    FREE,
    GRADIENT,
    HIDDEN,
    LOSS_GRADIENT,
    MOMENTS,
    check_part,
    expect,
    set_apart,
)
from .reuse import mark_of
from .side import Line, Side, dropout_draws, line_seed

if TYPE_CHECKING:
    from .client import SplitClient

LOST = f"lost/{LOSS_GRADIENT}"  # what a code lost of the gradients that this client sent


@dataclass(frozen=True, kw_only=True)
class UnderWay:
    """A step whose forward pass is done, and whose gradient has not come yet."""

    step: int
    batch: Batch
    params: Tensors  # that its forward pass was computed with
    front_BLH: Tensor | None = None  # None where nobody needs its gradient


class ClientTurn:
    """One client's part in one round."""

    def __init__(self, client: "SplitClient", begin: Message) -> None:
        """Take the client and the message that began the round."""
        cut = int(begin.facts["cut"])  # type: ignore[arg-type]
        client.protocol.check_allowed(client.state.id, cut)
        protocol, self._client = client.protocol.at_cut(cut), client
        self._protocol = protocol
        self._worker, self._state, self._local = client.worker, client.state, protocol.local
        self._layout = protocol.layout
        self._version, self._rate_factor = int(begin.facts["version"]), float(begin.facts["rate_factor"])  # type: ignore[arg-type]
        self._round = self._version + 1
        recalled = self._state.recall(self._version)
        self._home = own_of(recalled) or dict(self._worker.drawn)
        received, weights = set_apart(begin.tensors)
        check_part(weights, self._layout, self._worker.home)
        mine = dict.fromkeys(self._layout.trained_by("client"))
        kept_moments, self._leaving = moved(set_apart(recalled)[0], mine)
        moments = {**kept_moments, **received}
        self._side = Side({**weights, **self._home}, self._local, self._worker.device, moments=moments, heads=self._worker.heads)
        draws = [line_seed(self._worker.seed, kind, self._round, self._state.id) for kind in (ACTIVATIONS, LOSS_GRADIENT)]
        self._activations = Line(protocol.wire, draws[0])
        self._gradients = Line(protocol.gradient_wire, draws[1], lost_H=recalled.get(LOST), feedback=protocol.feedback)
        self._steps = self._local.steps_per_round(len(self._state.train))
        self._reuse = "kept" in begin.facts
        if self._reuse and begin.facts["kept"] != mark_of(client.sent):
            client.sent.clear()  # one of the two lost its memory: what is needed is sent anew
        self._batches = _batches(self._worker, self._state, self._local.batch_size, self._round)
        self._step, self._losses, self._tokens, self._targets, self._seconds = 0, list[float](), 0, 0, 0.0
        self._begun, self._pipelined = 0, protocol.settings.pipelined  # steps whose forward pass is done
        self._under_way: deque[UnderWay] = deque()

    def answer(self, message: Message) -> Message:
        """Return the reply to one message of the round."""
        began = time.perf_counter()
        self._worker.model.train()
        try:
            if message.kind == AHEAD and self._begun != 1:
                raise OffManifest(f"the server asks for more than one step ahead: {self._begun} are begun, {self._step} are done")
            if message.kind in (BEGIN, AHEAD):
                return self._go_on()
            if message.kind == HIDDEN:
                return self._loss(expect(message, HIDDEN, self._step))
            return self._backward(expect(message, GRADIENT, self._step))
        finally:
            self._seconds += time.perf_counter() - began

    def _go_on(self) -> Message:
        """Begin the next step; without one, say that all are under way, or that the round is over."""
        if self._begun == self._steps:
            return Message(kind=DRAINED, facts={"step": self._step}) if self._under_way else self._end()
        step, rows = self._begun, next(self._batches)
        self._begun += 1
        params = self._side.stash() if self._pipelined else self._side.params
        now = UnderWay(step=step, batch=self._worker.batch(self._state.train, rows), params=params)
        if self._reuse:
            self._under_way.append(now)
            return self._forward_once(now, rows)
        return self._forward(now)

    def _forward(self, now: UnderWay) -> Message:
        """Compute up to the cut, and send that."""
        lengths = lengths_of(now.batch)
        with torch.set_grad_enabled(self._layout.learns_in_front):
            front = self._run(now, self._layout.front)
        assert isinstance(front, Tensor)
        self._under_way.append(replace(now, front_BLH=front if self._layout.learns_in_front else None))
        tensors = self._activations.write(rows_of(front, lengths), now.step, "activations")
        if self._layout.labels == "with-server":
            tensors |= labels_of(now.batch)
        if now.step == 0:  # moments of weights that are the server's now
            tensors |= {f"{MOMENTS}{name}": value for name, value in self._leaving.items()}
        return Message(kind=ACTIVATIONS, tensors=tensors, facts={"step": now.step, "lengths": lengths})

    def _forward_once(self, now: UnderWay, rows: list[int]) -> Message:
        """Compute up to the cut what the server does not have yet, each example alone, and send that."""
        fresh, tensors = [row for row in rows if row not in self._client.sent], dict[str, Tensor]()
        if fresh:
            values_NH = torch.cat([self._front_of(now, row) for row in fresh])
            tensors = self._activations.write(values_NH, now.step, "activations")
            if self._layout.labels == "with-server":
                tensors |= labels_of(self._worker.batch(self._state.train, fresh))
        told = self._state.train.sizes_N.tolist()
        lengths = [0 if row in self._client.sent else int(told[row]) for row in rows]
        self._client.sent.update(fresh)
        return Message(kind=ACTIVATIONS, tensors=tensors, facts={"step": now.step, "lengths": lengths, "rows": rows})

    def _front_of(self, now: UnderWay, row: int) -> Tensor:
        """Return what the client's blocks make of one example, float32 [N, H] on the CPU."""
        batch = self._worker.batch(self._state.train, [row])
        with torch.no_grad():
            front = self._run(replace(now, batch=batch), self._layout.front)
        assert isinstance(front, Tensor)
        return rows_of(front, lengths_of(batch))

    def _loss(self, message: Message) -> Message:
        """Compute from the last block to the loss, and send the loss's gradient."""
        now = self._under_way[0]
        lengths = lengths_of(now.batch)
        hidden_NH = read_table(self._protocol.wire, message.tensors, self._layout.cut_model.width, sum(lengths))
        hidden_BLH = table_of(hidden_NH, lengths, self._worker.device).requires_grad_()
        done = self._run(now, self._layout.tail, hidden_BLH)
        assert isinstance(done, tuple)
        loss, counted = done
        mean = loss / counted
        mean.backward()  # type: ignore[no-untyped-call]
        self._note(mean.item())
        assert hidden_BLH.grad is not None
        tensors = self._gradients.write(rows_of(hidden_BLH.grad, lengths), self._step, "the loss's gradient")
        return Message(kind=LOSS_GRADIENT, tensors=tensors, facts={"step": self._step})

    def _backward(self, message: Message) -> Message:
        """Learn from the gradient of the activations, and go on with the next step."""
        if "loss" in message.facts:
            self._note(float(message.facts["loss"]))  # type: ignore[arg-type]
        now = self._under_way.popleft()
        if now.front_BLH is not None:
            lengths, wire = lengths_of(now.batch), self._protocol.gradient_wire
            gradient_NH = read_table(wire, message.tensors, self._layout.cut_model.width, sum(lengths))
            table_BLH = table_of(gradient_NH, lengths, self._worker.device)
            now.front_BLH.backward(table_BLH.to(now.front_BLH.dtype))  # type: ignore[no-untyped-call]
        if self._pipelined:
            self._side.take_gradients(now.params)
        self._side.step(self._protocol.rate(self._round, self._step, self._steps, self._rate_factor))
        self._tokens += now.batch.tokens
        self._targets += _counted(now.batch)
        self._step += 1
        if self._client.on_step:
            self._client.on_step(self._step, self._steps, self._losses[-1])
        return self._go_on()

    def _end(self) -> Message:
        """Send what changed in the client's part, and keep what stays home."""
        delta = self._side.delta()
        check_trained(delta, round=self._round, step=self._step)
        home = add(self._home, {name: delta.pop(name) for name in self._home})
        kept = {f"{OWN}{name}": value for name, value in home.items()}
        kept |= {f"{MOMENTS}{name}": value for name, value in self._side.moments().items()} if self._local.keep_optimizer else {}
        kept |= {} if self._gradients.lost_H is None else {LOST: self._gradients.lost_H}
        if kept:
            self._state.keep(self._version + 1, kept)
        facts: dict[str, Fact] = {
            "version": self._version,
            "examples": len(self._state.train),
            "targets": self._targets,
            "tokens": self._tokens,
            "steps": self._step,
            "first_loss": self._losses[0],
            "last_loss": self._losses[-1],
            "seconds": self._seconds,
        }
        facts |= {FREE: free_memory(self._worker.device)} if self._protocol.auto else {}
        return Message(kind=END, tensors=delta, facts=facts)

    def _run(self, now: UnderWay, part: Part, received_BLH: Tensor | None = None) -> Tensor | tuple[Tensor, int]:
        draws = dropout_draws(self._worker.seed, self._round, self._state.id, now.step)
        return self._protocol.run(part, now.batch, now.params, received_BLH, draws)

    def _note(self, loss: float) -> None:
        check_loss("training loss", loss, round=self._round, step=self._step + 1)
        self._losses.append(loss)


def _batches(worker: Worker, state: ClientState, batch_size: int, round: int) -> Iterator[list[int]]:
    """Yield the rows of one batch after the other, epoch after epoch, drawn as in all local training."""
    draw, lengths = stream(worker.seed, "batches", round, state.id), state.train.sizes_N.tolist()
    for _ in repeat(None):
        yield from training_batches(lengths, batch_size, draw)


def _counted(batch: Batch) -> int:
    """Return how many targets the loss counts."""
    return len(batch.labels_B) if batch.labels_B is not None else int(batch.target_BL[:, 1:].sum())
