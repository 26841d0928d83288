"""The client half of averaging."""

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from ..learning.client import ClientState
from ..learning.corrections import KEPT, controlled, kept_control, next_control, proximal, without_control
from ..learning.local import LocalTraining
from ..learning.training import Correction
from ..learning.worker import OnStep, Worker
from ..personalization import OWN, Personalization, Turn
from ..records import Fact, Message
from ..tasks.shard import Shard
from ..tensors import Tensors, cast, check_finite, scale, subtract
from .averaging_messages import beside, scale_facts
from .collect import apart
from .evaluation import answer_evaluation, own_of
from .personal import KIND, answer_personal

if TYPE_CHECKING:
    from .averaging import Averaging


@dataclass(frozen=True, kw_only=True)
class AveragingClient:
    """Answers "train" with an update, "evaluate" and "personalize" with figures."""

    protocol: "Averaging"
    worker: Worker
    state: ClientState
    personalization: Personalization
    public: Shard | None = None
    on_step: OnStep | None = None

    def answer(self, message: Message) -> Message:
        """Return the reply to one message."""
        if message.kind == "evaluate":
            return answer_evaluation(self.worker, self.state, message)
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
        facts: dict[str, Fact] = {"version": version, "examples": len(state.train)} | self._validation("before")
        began = time.perf_counter()
        turn = Turn(
            worker=worker,
            state=state,
            shared=shared,
            kept=kept_own,
            version=version,
            local=settings,
            sent=sent,
            rate_factor=rate_factor,
            optimizer={name: value for name, value in without_control(recalled).items() if not name.startswith(OWN)},
            corrections=_corrections(worker, settings, control, own),
            on_step=self.on_step,
        )
        trained, own_weights = self.personalization.train(turn)
        facts |= {
            "seconds": time.perf_counter() - began,
            "targets": trained.targets,
            "tokens": sum(each.tokens for each in turn.done),
            "steps": sum(len(each.losses) for each in turn.done),
            "first_loss": trained.losses[0],
            "last_loss": trained.losses[-1],
        }
        facts |= {"peak_bytes": worker.peak.read()} if measured else {}
        facts |= self._validation("after")
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
        version, shared = int(message.facts["version"]), message.tensors  # type: ignore[arg-type]
        kept = own_of(self.state.recall(version))
        self.worker.load(shared, home=kept if self.worker.home else None)
        turn = Turn(
            worker=self.worker,
            state=self.state,
            shared=shared,
            kept=kept,
            version=version,
            local=self.protocol.local,
            sent=list(shared),
            on_step=self.on_step,
        )
        return answer_personal(self.personalization, turn, public=self.public, generate=bool(message.facts["generate"]))

    def _validation(self, moment: str) -> dict[str, Fact]:
        if not len(self.state.validation):
            return {}
        return {f"validation_{moment}": self.worker.evaluate(self.state.validation, generate=False).figures["loss"]}


def _corrections(worker: Worker, settings: LocalTraining, control: Tensors, own: Tensors) -> list[Correction]:
    """Return what changes gradients in local training, in order."""
    corrections = [controlled(control, own)] if control else []
    received = {name: param for name, param in worker.params.items() if name not in worker.home}
    return corrections + ([proximal(received, settings.proximal)] if settings.proximal else [])
