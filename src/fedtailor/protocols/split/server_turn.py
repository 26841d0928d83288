"""The server's part of one client's conversation in one round."""

import time

import torch
from torch import Tensor

from ...diverged import check_loss
from ...errors import OffManifest
from ...messages import Record
from ...messages.wires.table import read_table
from ...records import ClientId
from ...tensors import Tensors, check_finite
from .layout import CLASSES, TARGETS, blank_batch, check_part, rows_of, table_of
from .messages import Activations, Ahead, Begin, Drained, End, Gradient, Hidden, LossGradient, OfStep, ToClient, expect
from .reuse import Kept, Spared
from .side import Line, Side, dropout_draws, line_seed
from .terms import Terms


class ServerTurn:
    """Computes the server's blocks for one client, step by step."""

    def __init__(
        self,
        terms: Terms,
        client: ClientId,
        side: Side,
        begin: Begin,
        *,
        steps: int,
        lost_H: Tensor | None,
        kept: Kept | None = None,
    ) -> None:
        """Take what the round starts from.

        Args:
            terms: cut as the round is.
            side: the server's weights: this client's own copy, or those of all, which it learns in turn.
            begin: the message that opens the conversation.
            steps: that the client takes in a round.
            lost_H: what error feedback kept of the gradients sent to it.
            kept: its activations that the server has, if it sends them once; more are added.
        """
        self.side, self.seconds, self.spared = side, 0.0, Spared()
        self._terms, self._layout, self._worker = terms, terms.layout, terms.worker
        self._client, self._steps, self._step, self._kept = client, steps, 0, kept
        self._round, self._rate_factor = begin.version + 1, begin.rate_factor
        seeds = [line_seed(self._worker.seed, form.kind, self._round, client) for form in (Hidden, Gradient)]
        self._hidden = Line(terms.wire, seeds[0])
        self._gradients = Line(terms.gradient_wire, seeds[1], lost_H=lost_H, feedback=terms.settings.feedback)
        self._lengths: list[int] = []
        self._due: type[OfStep] = Activations
        self._waiting: Activations | None = None  # pipelined: activations that are here, and not computed with yet
        self._ready: Hidden | Gradient | None = None  # pipelined: what the client gets next
        self._received_BLH: Tensor
        self._hidden_BLH: Tensor

    @property
    def gradient_error(self) -> float | None:
        """What the code loses of the gradients that this side sends; see `Line.error`."""
        return self._gradients.error

    @property
    def lost_H(self) -> Tensor | None:
        """What the code has lost of the gradients sent so far."""
        return self._gradients.lost_H

    def answer(self, said: Record) -> ToClient | None:
        """Return what the client gets for its message; None if that was its last one.

        Raises:
            OffManifest: if another message was due, or its tensors do not fit together.
            NotFinite: if what follows from it holds NaN or infinity.
        """
        began = time.perf_counter()
        self._worker.model.train()
        try:
            if isinstance(said, End) and self._ready is None and self._step == self._steps:
                check_part(said.delta, self._layout, self._worker.home)
                check_finite(self.side.delta(), f"the server's part after training with {self._client}")
                return None
            if self._terms.settings.pipelined:
                return self._ready_for(said)
            if self._due is LossGradient:
                return self._backward(expect(said, LossGradient, self._step))
            return self._forward(expect(said, Activations, self._step))
        finally:
            self.seconds += time.perf_counter() - began

    def ahead(self) -> None:
        """Pipelined: compute, while the client does, what it will get next; elsewhere there is nothing to do.

        Raises:
            NotFinite, OffManifest: as `answer`.
        """
        if self._waiting is None:
            return
        began = time.perf_counter()
        self._worker.model.train()
        try:
            self._ready, self._waiting = self._forward(self._waiting), None
        finally:
            self.seconds += time.perf_counter() - began

    def _ready_for(self, said: Record) -> ToClient:
        """Return what is ready for a client that sent its next activations, or has none left to send."""
        ready = self._ready
        if ready is not None and self._step == self._steps:
            expect(said, Drained, self._step - 1)
        else:
            self._waiting = expect(said, Activations, self._step)
        self._ready = None
        return ready or Ahead(step=self._step)

    def _forward(self, said: Activations) -> Hidden | Gradient:
        """Compute the server's blocks, and with them the loss if the labels came along."""
        if self._step == self._steps:
            raise OffManifest(f"more than the {self._steps} steps came that this client's examples are good for")
        self._take_moments(said.moments)
        self._lengths, values_NH, labels = self._read(said) if self._kept is None else self._joined(said, self._kept)
        self._received_BLH = table_of(values_NH, self._lengths, self._worker.device).requires_grad_(self._layout.learns_in_front)
        batch = blank_batch(self._worker, self._lengths, labels=labels)
        done = self._terms.run(
            self._layout.middle,
            batch,
            self.side.params,
            self._received_BLH,
            dropout_draws(self._worker.seed, self._round, self._client, self._step),
        )
        if isinstance(done, Tensor):
            self._hidden_BLH, self._due = done, LossGradient
            tensors = self._hidden.write(rows_of(done, self._lengths), self._step, "hidden states")
            return Hidden(step=self._step, hidden=tensors)
        loss, counted = done
        mean = loss / max(1, counted)
        check_loss("training loss", mean.item(), step=self._step + 1)
        if mean.requires_grad:
            mean.backward()  # type: ignore[no-untyped-call]
        return self._learned(mean.item())

    def _backward(self, said: LossGradient) -> Gradient:
        gradient_NH = read_table(self._terms.gradient_wire, said.loss_gradient, self._layout.cut_model.width, sum(self._lengths))
        if self._hidden_BLH.requires_grad:
            table_BLH = table_of(gradient_NH, self._lengths, self._worker.device)
            self._hidden_BLH.backward(table_BLH.to(self._hidden_BLH.dtype))  # type: ignore[no-untyped-call]
        return self._learned()

    def _learned(self, loss: float | None = None) -> Gradient:
        """Take a step with the gradients that are there, and send the one of the activations."""
        self.side.step(self._terms.rate(self._round, self._step, self._steps, self._rate_factor))
        tensors: Tensors = {}
        if self._layout.learns_in_front:
            assert self._received_BLH.grad is not None
            rows_NH = rows_of(self._received_BLH.grad, self._lengths)
            tensors = self._gradients.write(rows_NH, self._step, "the gradient of the activations")
        self._step, self._due = self._step + 1, Activations
        return Gradient(step=self._step - 1, loss=loss, gradient=tensors)

    def _take_moments(self, moments: Tensors) -> None:
        """Take over the optimizer's moments of weights that were the client's before."""
        strange = sorted(name for name in moments if self._step or name.split("/", 1)[1] not in self.side.params)
        if strange:
            raise OffManifest(f"moments {strange[0]!r} came, of a weight that did not change its owner")
        self.side.restore(moments)

    def _read(self, said: Activations) -> tuple[list[int], Tensor, Tensors]:
        """Return lengths of the sequences in a message, their activations [N, H], and their labels if these come up."""
        lengths = self._checked_lengths(said)
        values_NH = read_table(self._terms.wire, said.activations, self._layout.cut_model.width, sum(lengths))
        return lengths, values_NH, {} if self._terms.u_shaped else self._checked_labels(said.labels, lengths)

    def _joined(self, said: Activations, kept: Kept) -> tuple[list[int], Tensor, Tensors]:
        """Return the same of a whole batch, part of which the server may have, and keep what is new."""
        rows, lengths = said.rows or [], said.lengths
        kept.check(rows, lengths)
        if len(rows) > self._terms.local.batch_size:
            raise OffManifest(f"a batch of {len(rows)} examples came; at most {self._terms.local.batch_size} were due")
        for row, length in zip(rows, lengths, strict=True):
            if not length:
                self.spared.add(kept.known[row])
        fresh = [row for row, length in zip(rows, lengths, strict=True) if length]
        if fresh:
            sizes, values_NH, labels = self._read(said)
            size_bytes = sum(tensor.nbytes for sent in (said.activations, said.labels) for tensor in sent.values())
            kept.add(fresh, sizes, values_NH, labels, size_bytes)
        return kept.batch(rows)

    def _checked_lengths(self, said: Activations) -> list[int]:
        lengths = said.lengths
        if self._kept is not None:
            lengths = [length for length in lengths if length]  # the others are there already
        most = self._terms.local.batch_size
        if not lengths or len(lengths) > most or min(lengths) < 1:
            raise OffManifest(f"sequences of {lengths} tokens came; at most {most} were due, of a token or more each")
        if max(lengths) > self._terms.longest:
            raise OffManifest(f"a sequence has {max(lengths)} tokens, the job allows {self._terms.longest}")
        return lengths

    def _checked_labels(self, tensors: Tensors, lengths: list[int]) -> Tensors:
        of_texts = self._terms.of_texts
        name, count = (CLASSES, len(lengths)) if of_texts else (TARGETS, sum(lengths))
        numbers = tensors.get(name, torch.empty(0))
        least, most = (0, self._terms.classes) if of_texts else (-1, self._terms.vocabulary)
        if len(numbers) != count or int(numbers.min()) < least or int(numbers.max()) >= most:
            raise OffManifest(f"{count} {name} from {least} to {most - 1} were due; {len(numbers)} came, or others")
        return {name: numbers}
