"""The server half of one client's conversation in one round."""

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...diverged import check_loss
from ...errors import OffManifest
from ...messages.wires.table import read_table
from ...records import ClientId, Fact, Message
from ...tensors import Tensors, check_finite
from .layout import CLASSES, TARGETS, blank_batch, rows_of, table_of
from .messages import (
    ACTIVATIONS,
    AHEAD,
    BEGIN,
    DRAINED,
    END,
    GRADIENT,
    HIDDEN,
    LOSS_GRADIENT,
    MOMENTS,
    check_part,
    expect,
    set_apart,
)
from .reuse import Kept, Spared, mark_of
from .side import Line, Side, dropout_draws, line_seed

if TYPE_CHECKING:
    from .bound import BoundSplit


class ServerTurn:
    """Computes the server's blocks for one client, step by step."""

    def __init__(
        self,
        protocol: "BoundSplit",
        client: ClientId,
        side: Side,
        begin: Message,
        *,
        steps: int,
        lost_H: Tensor | None,
        kept: Kept | None = None,
    ) -> None:
        """Take what the round starts from.

        Args:
            side: the server's weights: this client's own copy, or those of all, which it learns in turn.
            begin: the message that opens the conversation.
            steps: that the client takes in a round.
            lost_H: what error feedback kept of the gradients sent to it.
            kept: its activations that the server has, if it sends them once; more are added.
        """
        self.side, self.seconds, self.spared = side, 0.0, Spared()
        self._protocol, self._layout, self._worker = protocol, protocol.layout, protocol.worker
        self._client, self._steps, self._step, self._kept = client, steps, 0, kept
        self._round, self._rate_factor = int(begin.facts["version"]) + 1, float(begin.facts["rate_factor"])  # type: ignore[arg-type]
        seeds = [line_seed(self._worker.seed, kind, self._round, client) for kind in (HIDDEN, GRADIENT)]
        self._hidden = Line(protocol.wire, seeds[0])
        self._gradients = Line(protocol.gradient_wire, seeds[1], lost_H=lost_H, feedback=protocol.feedback)
        self._lengths: list[int] = []
        self._due = ACTIVATIONS
        self._waiting: Message | None = None  # pipelined: activations that are here, and not computed with yet
        self._ready: Message | None = None  # pipelined: what the client gets next
        self._received_BLH: Tensor
        self._hidden_BLH: Tensor

    @property
    def lost_H(self) -> Tensor | None:
        """What the code has lost of the gradients sent so far."""
        return self._gradients.lost_H

    def answer(self, message: Message) -> Message | None:
        """Return what the client gets for its message; None if that was its last one.

        Raises:
            OffManifest: if another message was due, or its tensors do not fit together.
            NotFinite: if what follows from it holds NaN or infinity.
        """
        began = time.perf_counter()
        self._worker.model.train()
        try:
            if message.kind == END and self._ready is None:
                expect(message, END if self._step == self._steps else self._due)
                check_part(message.tensors, self._layout, self._worker.home)
                check_finite(self.side.delta(), f"the server's part after training with {self._client}")
                return None
            if self._protocol.settings.pipelined:
                return self._ready_for(message)
            if message.kind == LOSS_GRADIENT:
                return self._backward(expect(message, self._due, self._step))
            return self._forward(expect(message, self._due, self._step))
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

    def _ready_for(self, message: Message) -> Message:
        """Return what is ready for a client that sent its next activations, or has none left to send."""
        ready = self._ready
        if self._step == self._steps or message.kind == DRAINED:
            expect(message, DRAINED if ready is not None and self._step == self._steps else self._due, self._step - 1)
        else:
            self._waiting = expect(message, ACTIVATIONS, self._step)
        self._ready = None
        return ready or Message(kind=AHEAD, facts={"step": self._step})

    def _forward(self, message: Message) -> Message:
        """Compute the server's blocks, and with them the loss if the labels came along."""
        if self._step == self._steps:
            raise OffManifest(f"more than the {self._steps} steps came that this client's examples are good for")
        message = self._without_moments(message)
        self._lengths, values_NH, labels = self._read(message) if self._kept is None else self._joined(message, self._kept)
        self._received_BLH = table_of(values_NH, self._lengths, self._worker.device).requires_grad_(self._layout.learns_in_front)
        batch = blank_batch(self._worker, self._lengths, labels=labels)
        done = self._protocol.run(
            self._layout.middle,
            batch,
            self.side.params,
            self._received_BLH,
            dropout_draws(self._worker.seed, self._round, self._client, self._step),
        )
        if isinstance(done, Tensor):
            self._hidden_BLH, self._due = done, LOSS_GRADIENT
            tensors = self._hidden.write(rows_of(done, self._lengths), self._step, "hidden states")
            return Message(kind=HIDDEN, tensors=tensors, facts={"step": self._step})
        loss, counted = done
        mean = loss / max(1, counted)
        check_loss("training loss", mean.item(), step=self._step + 1)
        if mean.requires_grad:
            mean.backward()  # type: ignore[no-untyped-call]
        return self._learned({"loss": mean.item()})

    def _backward(self, message: Message) -> Message:
        gradient_NH = read_table(self._protocol.gradient_wire, message.tensors, self._layout.cut_model.width, sum(self._lengths))
        if self._hidden_BLH.requires_grad:
            table_BLH = table_of(gradient_NH, self._lengths, self._worker.device)
            self._hidden_BLH.backward(table_BLH.to(self._hidden_BLH.dtype))  # type: ignore[no-untyped-call]
        return self._learned({})

    def _learned(self, facts: dict[str, float]) -> Message:
        """Take a step with the gradients that are there, and send the one of the activations."""
        self.side.step(self._protocol.rate(self._round, self._step, self._steps, self._rate_factor))
        tensors: Tensors = {}
        if self._layout.learns_in_front:
            assert self._received_BLH.grad is not None
            rows_NH = rows_of(self._received_BLH.grad, self._lengths)
            tensors = self._gradients.write(rows_NH, self._step, "the gradient of the activations")
        self._step, self._due = self._step + 1, ACTIVATIONS
        return Message(kind=GRADIENT, tensors=tensors, facts={"step": self._step - 1, **facts})

    def _without_moments(self, message: Message) -> Message:
        """Take over the optimizer's moments of weights that were the client's before, and return the message without them."""
        moments, others = set_apart(message.tensors)
        strange = sorted(name for name in moments if self._step or name.split("/", 1)[1] not in self.side.params)
        if strange:
            raise OffManifest(f"moments {strange[0]!r} came, of a weight that did not change its owner")
        self.side.restore(moments)
        return replace(message, tensors=others)

    def _read(self, message: Message) -> tuple[list[int], Tensor, Tensors]:
        """Return lengths of the sequences in a message, their activations [N, H], and their labels if these come up."""
        lengths = self._checked_lengths(message)
        values_NH = read_table(self._protocol.wire, message.tensors, self._layout.cut_model.width, sum(lengths))
        u_shaped = self._layout.labels == "u-shaped"
        return lengths, values_NH, {} if u_shaped else self._checked_labels(message.tensors, lengths)

    def _joined(self, message: Message, kept: Kept) -> tuple[list[int], Tensor, Tensors]:
        """Return the same of a whole batch, part of which the server may have, and keep what is new."""
        rows: list[int] = list(message.facts["rows"])  # type: ignore[arg-type]
        lengths: list[int] = list(message.facts["lengths"])  # type: ignore[arg-type]
        kept.check(rows, lengths)
        if len(rows) > self._protocol.local.batch_size:
            raise OffManifest(f"a batch of {len(rows)} examples came; at most {self._protocol.local.batch_size} were due")
        for row, length in zip(rows, lengths, strict=True):
            if not length:
                self.spared.add(kept.known[row])
        fresh = [row for row, length in zip(rows, lengths, strict=True) if length]
        if fresh:
            sizes, values_NH, labels = self._read(message)
            kept.add(fresh, sizes, values_NH, labels, sum(tensor.nbytes for tensor in message.tensors.values()))
        return kept.batch(rows)

    def _checked_lengths(self, message: Message) -> list[int]:
        lengths: list[int] = list(message.facts["lengths"])  # type: ignore[arg-type]
        if self._kept is not None:
            lengths = [length for length in lengths if length]  # the others are there already
        most = self._protocol.local.batch_size
        if not lengths or len(lengths) > most or min(lengths) < 1:
            raise OffManifest(f"sequences of {lengths} tokens came; at most {most} were due, of a token or more each")
        if max(lengths) > self._protocol.longest:
            raise OffManifest(f"a sequence has {max(lengths)} tokens, the job allows {self._protocol.longest}")
        return lengths

    def _checked_labels(self, tensors: Tensors, lengths: list[int]) -> Tensors:
        of_texts = self._protocol.form.classes
        name, count = (CLASSES, len(lengths)) if of_texts else (TARGETS, sum(lengths))
        numbers = tensors.get(name, torch.empty(0))
        least, most = (0, self._protocol.classes) if of_texts else (-1, self._protocol.vocabulary)
        if len(numbers) != count or int(numbers.min()) < least or int(numbers.max()) >= most:
            raise OffManifest(f"{count} {name} from {least} to {most - 1} were due; {len(numbers)} came, or others")
        return {name: numbers}


def opened(protocol: "BoundSplit", train: Message, *, kept: Kept | None = None, moments: Tensors | None = None) -> Message:
    """Return the message that opens a conversation: the client's part of the shared weights.

    Args:
        protocol: cut as the round will be.
        kept: what the server keeps of the client's activations.
        moments: of weights that become the client's.
    """
    mine = {name: train.tensors[name].float() for name in protocol.layout.trained_by("client") if name in train.tensors}
    mark: dict[str, Fact] = {} if kept is None else {"kept": mark_of(kept.known)}
    mine |= {f"{MOMENTS}{name}": value for name, value in (moments or {}).items()}
    return Message(kind=BEGIN, tensors=mine, facts={**train.facts, "cut": protocol.layout.cut, **mark})
