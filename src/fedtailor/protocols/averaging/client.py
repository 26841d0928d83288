"""The client half of averaging."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from ...diverged import Diverged
from ...learning.client import ClientState
from ...learning.corrections import KEPT, controlled, kept_control, next_control, proximal, without_control
from ...learning.local import LocalTraining
from ...learning.training import Correction
from ...learning.worker import OnStep, Spent, Worker
from ...personalization import OWN, Dual, Personalization, Turn
from ...records import Fact, Message
from ...tasks.shard import Shard
from ...tensors import Tensors, cast, check_finite, scale, subtract
from .. import alone
from ..evaluation import answer_evaluation, own_of
from ..personal import KIND, answer_personal
from ..rounds.collect import apart
from .messages import LOSSES, beside, scale_facts

if TYPE_CHECKING:
    from .averaging import Averaging


@dataclass(frozen=True, kw_only=True)
class AveragingClient:
    """Answers "train" with an update, all else with figures."""

    protocol: "Averaging"
    worker: Worker
    state: ClientState
    personalization: Personalization
    public: Shard | None = None
    on_step: OnStep | None = None

    def answer(self, message: Message) -> Message:
        """Return the reply to one message."""
        if message.kind == "evaluate":
            with self._placed(message):
                return answer_evaluation(self.worker, self.state, message)
        if message.kind == alone.KIND:
            return alone.answer_alone(self.protocol, self.worker, self.state, message, public=self.public, on_step=self.on_step)
        return self._personalize(message) if message.kind == KIND else self._train(message)

    def _train(self, message: Message) -> Message:
        version, rate_factor = int(message.facts["version"]), float(message.facts["rate_factor"])  # type: ignore[arg-type]
        worker, state, settings = self.worker, self.state, self.protocol.local
        shared, control = apart(message.tensors)
        recalled = state.recall(version)
        own = kept_control(recalled, control)
        sent = self.protocol.sent(shared, version + 1)
        kept_own = own_of(recalled)
        worker.load(shared, home=kept_own if worker.home else None)
        measured = worker.peak.reset()
        wanted = message.facts.get(LOSSES, [])
        measuring = Spent(worker)
        facts: dict[str, Fact] = {"version": version, "examples": len(state.train)} | self._validation("before", wanted)
        training = Spent(worker)
        turn = self._turn(message, shared, kept_own)
        turn.sent, turn.rate_factor = sent, rate_factor
        turn.optimizer = {name: value for name, value in without_control(recalled).items() if not name.startswith(OWN)}
        turn.corrections = _corrections(worker, settings, control, own)
        trained, own_weights = self.personalization.train(turn)
        facts |= {
            "seconds": training.working,
            "targets": trained.targets,
            "tokens": sum(each.tokens for each in turn.done),
            "steps": sum(len(each.losses) for each in turn.done),
            "first_loss": trained.losses[0],
            "last_loss": trained.losses[-1],
        }
        facts |= {"peak_bytes": worker.peak.read()} if measured else {}
        facts |= self._validation("after", wanted)
        facts |= {"evaluation_seconds": measuring.evaluating} if wanted else {}
        facts |= scale_facts(shared, worker.tuning.scale(worker.model))
        tensors, kept = trained.delta, dict(trained.optimizer)
        if control:
            renewed = next_control(control, own, trained.delta, trained.rates)
            kept |= {f"{KEPT}{name}": value for name, value in renewed.items()}
            change = scale(subtract(renewed, own), 1 / int(message.facts["clients"]))  # type: ignore[arg-type]
            tensors = dict(tensors) | beside(change)
        kept |= {f"{OWN}{name}": value for name, value in own_weights.items()}
        if kept:
            for found in (tensors, kept):  # what is not sent must not be kept either
                check_finite(found, "weights after training")
            state.keep(version + 1, kept)
        return Message(kind="train", tensors=cast(tensors, getattr(torch, self.protocol.wire)), facts=facts)

    def _personalize(self, message: Message) -> Message:
        kept = own_of(self.state.recall(int(message.facts["version"])))  # type: ignore[arg-type]
        self.worker.load(message.tensors, home=kept if self.worker.home else None)
        turn = self._turn(message, message.tensors, kept)
        return answer_personal(self.personalization, turn, public=self.public, generate=bool(message.facts["generate"]))

    @contextmanager
    def _placed(self, message: Message) -> Iterator[None]:
        """Let the received weights be in place inside the block, with the client's own of the version that the message names."""
        version = message.facts.get("own_version")
        kept = {} if version is None else own_of(self.state.recall(int(version)))  # type: ignore[arg-type]
        self.worker.load(message.tensors, home=kept if self.worker.home else None)
        if version is None or not isinstance(self.personalization, Dual):
            yield
            return
        with self.personalization.placed(self._turn(message, message.tensors, kept)):
            yield

    def _turn(self, message: Message, shared: Tensors, kept: Tensors) -> Turn:
        facts = message.facts
        return Turn(
            worker=self.worker,
            state=self.state,
            shared=shared,
            kept=kept,
            version=int(facts.get("version", facts.get("own_version", 0))),  # type: ignore[arg-type]
            local=self.protocol.local,
            sent=list(shared),
            clients=int(facts.get("clients", 0)),  # type: ignore[arg-type]
            on_step=self.on_step,
        )

    def _validation(self, moment: str, wanted: Fact) -> dict[str, Fact]:
        """Return the loss of the weights in place on the client's validation part, if it is wanted and they are not but a part of its model."""
        partial = isinstance(self.personalization, Dual) and self.personalization.last_round
        if partial or not len(self.state.validation) or moment not in wanted:  # type: ignore[operator]
            return {}
        loss = self.worker.sample_loss(self.state.validation)
        if not math.isfinite(loss):
            raise Diverged(f"validation loss {moment} training", loss)
        return {f"validation_{moment}": loss}


def _corrections(worker: Worker, settings: LocalTraining, control: Tensors, own: Tensors) -> list[Correction]:
    """Return what changes gradients in local training, in order."""
    corrections = [controlled(control, own)] if control else []
    received = {name: param for name, param in worker.params.items() if name not in worker.home}
    return corrections + ([proximal(received, settings.proximal)] if settings.proximal else [])
