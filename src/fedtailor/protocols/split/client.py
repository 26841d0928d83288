"""The client half of split learning."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import repeat
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...chance import stream
from ...errors import NotFinite, OffManifest
from ...learning.client import ClientState
from ...learning.worker import OnStep, Worker
from ...ledger import free_memory
from ...models.cut import Part
from ...personalization import OWN, Personalization, Turn
from ...records import Fact, Message
from ...tasks.shard import Batch, Shard, training_batches
from ...tensors import add, check_finite
from ..evaluation import answer_evaluation, own_of
from ..personal import KIND, answer_personal
from .cuts import moved
from .layout import labels_of, lengths_of, rows_of, table_of
from .messages import ACTIVATIONS, BEGIN, END, FREE, GRADIENT, HIDDEN, LOSS_GRADIENT, MOMENTS, check_part, expect, set_apart
from .reuse import mark_of
from .side import Line, Side, dropout_draws, line_seed
from .wire import read_table

if TYPE_CHECKING:
    from .bound import BoundSplit

LOST = f"lost/{LOSS_GRADIENT}"  # what a code lost of the gradients that this client sent


@dataclass(kw_only=True)
class SplitClient:
    """Answers the messages of a round one by one, "evaluate" and "personalize" with figures."""

    protocol: "BoundSplit"
    worker: Worker
    state: ClientState
    personalization: Personalization
    public: Shard | None = None
    on_step: OnStep | None = None
    sent: set[int] = field(default_factory=set, init=False)  # examples whose activations the server keeps
    _turn: "ClientTurn | None" = field(default=None, init=False)

    def answer(self, message: Message) -> Message:
        """Return the reply to one message."""
        if message.kind == "evaluate":
            return answer_evaluation(self.worker, self.state, message)
        if message.kind == KIND:
            return self._personalize(message)
        if message.kind == BEGIN:  # of a new round, or of one that is tried again: what was open is not gone on with
            self._turn = ClientTurn(self, message)
        if self._turn is None:
            raise OffManifest(f"message {message.kind!r} came before {BEGIN!r}")
        turn = self._turn
        self._turn = None  # a fault ends the conversation
        reply = turn.answer(message)
        self._turn = None if reply.kind == END else turn
        return reply

    def _personalize(self, message: Message) -> Message:
        version = int(message.facts["version"])  # type: ignore[arg-type]
        kept = own_of(self.state.recall(version))
        self.worker.load(message.tensors, home=kept if self.worker.home else None)
        turn = Turn(
            worker=self.worker,
            state=self.state,
            shared=message.tensors,
            kept=kept,
            version=version,
            local=self.protocol.local,
            sent=list(message.tensors),
        )
        return answer_personal(self.personalization, turn, public=self.public, generate=bool(message.facts["generate"]))


class ClientTurn:
    """One client's part in one round: step by step, with what is between a forward pass and its backward pass."""

    def __init__(self, client: SplitClient, begin: Message) -> None:
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
        self._side = Side({**weights, **self._home}, self._local, self._worker.device, moments=moments)
        draws = [line_seed(self._worker.seed, kind, self._round, self._state.id) for kind in (ACTIVATIONS, LOSS_GRADIENT)]
        self._activations = Line(protocol.wire, draws[0])
        self._gradients = Line(protocol.gradient_wire, draws[1], lost_H=recalled.get(LOST), feedback=protocol.feedback)
        self._steps = self._local.steps_per_round(len(self._state.train))
        self._reuse = "kept" in begin.facts
        if self._reuse and begin.facts["kept"] != mark_of(client.sent):
            client.sent.clear()  # one of the two lost its memory: what is needed is sent anew
        self._batches = _batches(self._worker, self._state, self._local.batch_size, self._round)
        self._step, self._losses, self._tokens, self._targets, self._seconds = 0, list[float](), 0, 0, 0.0
        self._batch: Batch
        self._front_BLH: Tensor

    def answer(self, message: Message) -> Message:
        """Return the reply to one message of the round."""
        began = time.perf_counter()
        self._worker.model.train()
        try:
            if message.kind == BEGIN:
                return self._forward()
            if message.kind == HIDDEN:
                return self._loss(expect(message, HIDDEN, self._step))
            return self._backward(expect(message, GRADIENT, self._step))
        finally:
            self._seconds += time.perf_counter() - began

    def _forward(self) -> Message:
        """Compute up to the cut, and send that."""
        rows = next(self._batches)
        self._batch = self._worker.batch(self._state.train, rows)
        if self._reuse:
            return self._forward_once(rows)
        lengths = lengths_of(self._batch)
        with torch.set_grad_enabled(self._layout.learns_in_front):
            front = self._run(self._layout.front)
        assert isinstance(front, Tensor)
        self._front_BLH = front
        tensors = self._activations.write(rows_of(front, lengths), self._step, "activations")
        if self._layout.labels == "with-server":
            tensors |= labels_of(self._batch)
        if self._step == 0:  # moments of weights that are the server's now
            tensors |= {f"{MOMENTS}{name}": value for name, value in self._leaving.items()}
        return Message(kind=ACTIVATIONS, tensors=tensors, facts={"step": self._step, "lengths": lengths})

    def _forward_once(self, rows: list[int]) -> Message:
        """Compute up to the cut what the server does not have yet, each example alone, and send that."""
        fresh, tensors = [row for row in rows if row not in self._client.sent], dict[str, Tensor]()
        if fresh:
            values_NH = torch.cat([self._front_of(row) for row in fresh])
            tensors = self._activations.write(values_NH, self._step, "activations")
            if self._layout.labels == "with-server":
                tensors |= labels_of(self._worker.batch(self._state.train, fresh))
        told = self._state.train.lengths_N.tolist()
        lengths = [0 if row in self._client.sent else int(told[row]) for row in rows]
        self._client.sent.update(fresh)
        return Message(kind=ACTIVATIONS, tensors=tensors, facts={"step": self._step, "lengths": lengths, "rows": rows})

    def _front_of(self, row: int) -> Tensor:
        """Return what the client's blocks make of one example, float32 [N, H] on the CPU."""
        batch = self._worker.batch(self._state.train, [row])
        with torch.no_grad():
            front = self._run(self._layout.front, batch=batch)
        assert isinstance(front, Tensor)
        return rows_of(front, lengths_of(batch))

    def _loss(self, message: Message) -> Message:
        """Compute from the last block to the loss, and send the loss's gradient."""
        lengths = lengths_of(self._batch)
        hidden_NH = read_table(self._protocol.wire, message.tensors, self._layout.cut_model.width, sum(lengths))
        hidden_BLH = table_of(hidden_NH, lengths, self._worker.device).requires_grad_()
        done = self._run(self._layout.tail, hidden_BLH)
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
        if self._layout.learns_in_front:
            lengths, wire = lengths_of(self._batch), self._protocol.gradient_wire
            gradient_NH = read_table(wire, message.tensors, self._layout.cut_model.width, sum(lengths))
            table_BLH = table_of(gradient_NH, lengths, self._worker.device)
            self._front_BLH.backward(table_BLH.to(self._front_BLH.dtype))  # type: ignore[no-untyped-call]
        self._side.step(self._protocol.rate(self._round, self._step, self._steps, self._rate_factor))
        self._tokens += self._batch.tokens
        self._targets += _counted(self._batch)
        self._step += 1
        if self._client.on_step:
            self._client.on_step(self._step, self._steps, self._losses[-1])
        return self._forward() if self._step < self._steps else self._end()

    def _end(self) -> Message:
        """Send what changed in the client's part, and keep what stays home."""
        delta = self._side.delta()
        check_finite(delta, "weights after training")
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

    def _run(self, part: Part, received_BLH: Tensor | None = None, *, batch: Batch | None = None) -> Tensor | tuple[Tensor, int]:
        return self._protocol.run(
            part,
            batch or self._batch,
            self._side.params,
            received_BLH,
            dropout_draws(self._worker.seed, self._round, self._state.id, self._step),
        )

    def _note(self, loss: float) -> None:
        if not torch.isfinite(torch.tensor(loss)):
            raise NotFinite(
                f"the loss became {loss} in step {self._step + 1} of round {self._round}; try a smaller learning_rate"
            )
        self._losses.append(loss)


def _batches(worker: Worker, state: ClientState, batch_size: int, round: int) -> Iterator[list[int]]:
    """Yield the rows of one batch after the other, epoch after epoch, drawn as in all local training."""
    draw, lengths = stream(worker.seed, "batches", round, state.id), state.train.lengths_N.tolist()
    for _ in repeat(None):
        yield from training_batches(lengths, batch_size, draw)


def _counted(batch: Batch) -> int:
    """Return how many targets the loss counts."""
    return len(batch.labels_B) if batch.labels_B is not None else int(batch.target_BL[:, 1:].sum())
