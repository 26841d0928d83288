"""One client's part in one round of split learning: step by step, with what is between a forward pass and its backward pass."""

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import repeat

import torch
from torch import Tensor

from ...chance import stream
from ...diverged import check_loss
from ...errors import OffManifest
from ...learning.client import Client
from ...learning.training import check_trained
from ...learning.worker import OnStep
from ...ledger import free_memory
from ...messages import state_of, tensors_of
from ...messages.wires.table import read_table
from ...models.cut import Part
from ...tasks.shard import Batch, training_batches
from ...tensors import Tensors, add
from .layout import check_part, labels_of, lengths_of, rows_of, table_of
from .messages import Activations, Ahead, Begin, Drained, End, Gradient, Hidden, LossGradient, ToClient, ToServer, expect
from .reuse import mark_of
from .side import Line, Side, dropout_draws, line_seed, moved
from .state import Kept
from .terms import Terms


@dataclass(frozen=True, kw_only=True)
class UnderWay:
    """A step whose forward pass is done, and whose gradient has not come yet."""

    step: int
    batch: Batch
    params: Tensors  # that its forward pass was computed with
    front_BLH: Tensor | None = None  # None where nobody needs its gradient


class ClientTurn:
    """One client's part in one round."""

    def __init__(self, terms: Terms, client: Client, begin: Begin, *, sent: set[int], on_step: OnStep | None = None) -> None:
        """Take what the client has, and the message that began the round.

        Args:
            terms: as the job has them; the round is cut as `begin` says.
            sent: examples whose activations the server keeps; more are added.
        """
        worker = client.worker
        terms.check_allowed(client.id, begin.cut)
        self._terms = terms = terms.at_cut(begin.cut)
        self._worker, self._client, self._local, self._layout = worker, client, terms.local, terms.layout
        self._sent, self._on_step = sent, on_step
        self._version, self._round, self._rate_factor = begin.version, begin.version + 1, begin.rate_factor
        recalled = state_of(Kept, client.store.recall(begin.version))
        self._home = recalled.own or worker.drawn
        check_part(begin.weights, self._layout, worker.home)
        mine, self._leaving = moved(recalled.moments, set(self._layout.trained_by("client")))
        weights, moments = {**begin.weights, **self._home}, {**mine, **begin.moments}
        self._side = Side(weights, self._local, worker.device, moments=moments, heads=worker.heads)
        draws = [line_seed(worker.seed, form.kind, self._round, client.id) for form in (Activations, LossGradient)]
        self._activations = Line(terms.wire, draws[0])
        self._gradients = Line(terms.gradient_wire, draws[1], lost_H=recalled.lost_H, feedback=terms.settings.feedback)
        self._steps = self._local.steps_per_round(len(client.train))
        self._reuse = begin.kept is not None
        if self._reuse and begin.kept != mark_of(sent):
            sent.clear()  # one of the two lost its memory: what is needed is sent again
        self._batches = _batches(client, self._local.batch_size, self._round)
        self._step, self._losses, self._tokens, self._targets, self._seconds = 0, list[float](), 0, 0, 0.0
        self._begun, self._pipelined = 0, terms.settings.pipelined  # steps whose forward pass is done
        self._under_way: deque[UnderWay] = deque()

    def answer(self, asked: ToClient) -> ToServer:
        """Return the reply to one message of the round.

        Raises:
            OffManifest: if another message was due.
            Diverged: if the loss is not finite.
        """
        began = time.perf_counter()
        self._worker.model.train()
        try:
            if isinstance(asked, Ahead) and self._begun != 1:
                raise OffManifest(f"the server asks for more than one step ahead: {self._begun} are begun, {self._step} are done")
            if isinstance(asked, Begin | Ahead):
                return self._next()
            if isinstance(asked, Hidden):
                return self._loss(expect(asked, Hidden, self._step))
            return self._backward(expect(asked, Gradient, self._step))
        finally:
            self._seconds += time.perf_counter() - began

    def _next(self) -> ToServer:
        """Begin the next step; without one, say that all are under way, or that the round is over."""
        if self._begun == self._steps:
            return Drained(step=self._step) if self._under_way else self._end()
        step, rows = self._begun, next(self._batches)
        self._begun += 1
        params = self._side.stash() if self._pipelined else self._side.params
        now = UnderWay(step=step, batch=self._worker.batch(self._client.train, rows), params=params)
        if self._reuse:
            self._under_way.append(now)
            return self._forward_once(now, rows)
        return self._forward(now)

    def _forward(self, now: UnderWay) -> Activations:
        """Compute up to the cut, and send that."""
        lengths = lengths_of(now.batch)
        with torch.set_grad_enabled(self._layout.learns_in_front):
            front = self._run(now, self._layout.front)
        assert isinstance(front, Tensor)
        self._under_way.append(replace(now, front_BLH=front if self._layout.learns_in_front else None))
        return Activations(
            step=now.step,
            lengths=lengths,
            activations=self._activations.write(rows_of(front, lengths), now.step, "activations"),
            labels={} if self._terms.u_shaped else labels_of(now.batch),
            moments={} if now.step else self._leaving,
        )

    def _forward_once(self, now: UnderWay, rows: list[int]) -> Activations:
        """Compute up to the cut what the server does not have yet, each example alone, and send that."""
        fresh = [row for row in rows if row not in self._sent]
        sizes = self._client.train.sizes_N.tolist()
        lengths = [int(sizes[row]) if row in fresh else 0 for row in rows]
        activations, labels = dict[str, Tensor](), dict[str, Tensor]()
        if fresh:
            values_NH = torch.cat([self._front_of(now, row) for row in fresh])
            activations = self._activations.write(values_NH, now.step, "activations")
            labels = {} if self._terms.u_shaped else labels_of(self._worker.batch(self._client.train, fresh))
        self._sent.update(fresh)
        return Activations(step=now.step, lengths=lengths, rows=rows, activations=activations, labels=labels)

    def _front_of(self, now: UnderWay, row: int) -> Tensor:
        """Return what the client's blocks make of one example, float32 [N, H] on the CPU."""
        batch = self._worker.batch(self._client.train, [row])
        with torch.no_grad():
            front = self._run(replace(now, batch=batch), self._layout.front)
        assert isinstance(front, Tensor)
        return rows_of(front, lengths_of(batch))

    def _loss(self, asked: Hidden) -> LossGradient:
        """Compute from the last block to the loss, and send the loss's gradient."""
        now = self._under_way[0]
        lengths = lengths_of(now.batch)
        hidden_NH = read_table(self._terms.wire, asked.hidden, self._layout.cut_model.width, sum(lengths))
        hidden_BLH = table_of(hidden_NH, lengths, self._worker.device).requires_grad_()
        done = self._run(now, self._layout.tail, hidden_BLH)
        assert isinstance(done, tuple)
        loss, counted = done
        mean = loss / counted
        mean.backward()  # type: ignore[no-untyped-call]
        self._note(mean.item())
        assert hidden_BLH.grad is not None
        tensors = self._gradients.write(rows_of(hidden_BLH.grad, lengths), self._step, "the loss's gradient")
        return LossGradient(step=self._step, loss_gradient=tensors)

    def _backward(self, asked: Gradient) -> ToServer:
        """Learn from the gradient of the activations, and continue with the next step."""
        if asked.loss is not None:
            self._note(asked.loss)
        now = self._under_way.popleft()
        if now.front_BLH is not None:
            lengths, wire = lengths_of(now.batch), self._terms.gradient_wire
            gradient_NH = read_table(wire, asked.gradient, self._layout.cut_model.width, sum(lengths))
            table_BLH = table_of(gradient_NH, lengths, self._worker.device)
            now.front_BLH.backward(table_BLH.to(now.front_BLH.dtype))  # type: ignore[no-untyped-call]
        if self._pipelined:
            self._side.take_gradients(now.params)
        self._side.step(self._terms.rate(self._round, self._step, self._steps, self._rate_factor))
        self._tokens += now.batch.tokens
        self._targets += _counted(now.batch)
        self._step += 1
        if self._on_step:
            self._on_step(self._step, self._steps, self._losses[-1])
        return self._next()

    def _end(self) -> End:
        """Send what changed in the client's part, and keep what stays home."""
        delta = self._side.delta()
        check_trained(delta, round=self._round, step=self._step)
        home = add(self._home, {name: delta.pop(name) for name in self._home})
        moments = self._side.moments() if self._local.keep_optimizer else {}
        kept = tensors_of(Kept(own=home, moments=moments, lost_H=self._gradients.lost_H))
        if kept:
            self._client.store.keep(self._version + 1, kept)
        return End(
            version=self._version,
            examples=len(self._client.train),
            targets=self._targets,
            tokens=self._tokens,
            steps=self._step,
            first_loss=self._losses[0],
            last_loss=self._losses[-1],
            seconds=self._seconds,
            wire_error=self._activations.error,
            gradient_error=self._gradients.error,
            free_bytes=free_memory(self._worker.device) if self._terms.auto else None,
            delta=delta,
        )

    def _run(self, now: UnderWay, part: Part, received_BLH: Tensor | None = None) -> Tensor | tuple[Tensor, int]:
        draws = dropout_draws(self._worker.seed, self._round, self._client.id, now.step)
        return self._terms.run(part, now.batch, now.params, received_BLH, draws)

    def _note(self, loss: float) -> None:
        check_loss("training loss", loss, round=self._round, step=self._step + 1)
        self._losses.append(loss)


def _batches(client: Client, batch_size: int, round: int) -> Iterator[list[int]]:
    """Yield the rows of one batch after the other, epoch after epoch, drawn as in all local training."""
    draw, lengths = stream(client.worker.seed, "batches", round, client.id), client.train.sizes_N.tolist()
    for _ in repeat(None):
        yield from training_batches(lengths, batch_size, draw)


def _counted(batch: Batch) -> int:
    """Return how many targets the loss counts."""
    return len(batch.labels_B) if batch.labels_B is not None else int(batch.target_BL[:, 1:].sum())
