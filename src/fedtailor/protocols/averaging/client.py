"""The client's part of averaging."""

from collections.abc import Collection
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch

from ...diverged import check_loss
from ...interfaces import Answer
from ...learning.client import Client
from ...learning.corrections import controlled, next_control, proximal
from ...learning.local import LocalTraining
from ...learning.work import Correction, Working
from ...learning.work import Trained as LocallyTrained
from ...learning.worker import OnStep, Spent, Worker
from ...ledger import free_memory
from ...messages import answer, state_of, tensors_of
from ...personalization import Personalization, Turn, dual_of, goes_with_last_round
from ...records import Message
from ...tasks.shard import Shard
from ...tensors import Tensors, cast, check_finite, scale, subtract, zeros_like
from .. import alone
from ..evaluation import Evaluate, Evaluated, answer_evaluation
from ..personal import Personalize, Personalized, answer_personal
from .messages import Train, Trained, scales_of
from .settings import Averaging
from .state import Kept


@dataclass(frozen=True, kw_only=True)
class AveragingClient:
    """Answers "train" with an update, all else with figures."""

    settings: Averaging
    client: Client
    personalization: Personalization
    public: Shard | None = None
    on_step: OnStep | None = None

    def answer(self, message: Message) -> Answer:
        """Return the reply to one message."""
        return answer(
            message,
            {Train: self._train, Evaluate: self._evaluate, Personalize: self._personalize, alone.TrainAlone: self._train_alone},
        )

    def _train(self, asked: Train) -> Working[Trained]:
        client, local = self.client, self.settings.local
        worker = client.worker
        if client.private is not None:
            client.private.begin()
        recalled = self._recalled(asked.version)
        control = recalled.control or zeros_like(asked.control)
        worker.load(asked.shared, home=recalled.own if worker.home else None)
        measured = worker.peak.reset()
        wanted = asked.losses or ()
        measuring = Spent(worker)
        before = self._validation("before", wanted)
        training = Spent(worker)
        turn = self._turn(asked.shared, recalled.own, asked.version, asked.clients)
        turn.sent, turn.rate_factor = self.settings.sent(asked.shared, asked.version + 1), asked.rate_factor
        turn.optimizer = recalled.moments
        turn.corrections = _corrections(worker, local, asked.control, control)
        trained, own = yield from self.personalization.train(turn)
        seconds, peak = training.working, worker.peak.read() if measured else None
        after = self._validation("after", wanted)
        change, renewed = self._next_control(asked, control, trained)
        kept = tensors_of(Kept(own=own, control=renewed, moments=trained.optimizer))
        if kept:
            for found in (trained.delta, change, kept):  # what is not sent must not be kept either
                check_finite(found, "weights after training")
            client.store.keep(asked.version + 1, kept)
        dtype = getattr(torch, self.settings.wire)
        return Trained(
            version=asked.version,
            examples=len(client.train),
            **(_work(turn, trained) if client.private is None else _private_work(client, turn)),
            steps=sum(len(each.losses) for each in turn.done),
            gradient_norm=trained.gradient_norm,
            clipped=trained.clipped,
            seconds=seconds,
            peak_bytes=peak,
            free_bytes=free_memory(worker.device) if client.reports_memory else None,
            scale=scales_of(asked.shared, worker.tuning.scale(worker.model)) or None,
            validation_before=before,
            validation_after=after,
            evaluation_seconds=measuring.evaluating if wanted else None,
            delta=cast(trained.delta, dtype),
            control=cast(change, dtype),
        )

    def _next_control(self, asked: Train, own: Tensors, trained: LocallyTrained) -> tuple[Tensors, Tensors]:
        """Return the change of the client's control variate, as a share of all clients, and the next one; empty without any."""
        if not asked.control:
            return {}, {}
        assert asked.clients is not None  # what has control variates sends clients how many they are
        renewed = next_control(asked.control, own, trained.delta, trained.rates)
        return scale(subtract(renewed, own), 1 / asked.clients), renewed

    def _evaluate(self, asked: Evaluate) -> Evaluated:
        """Measure the received weights, with the client's own of the version that the request names."""
        version = asked.own_version
        kept = {} if version is None else self._recalled(version).own
        self.client.worker.load(asked.shared, home=kept if self.client.worker.home else None)
        dual = None if version is None else dual_of(self.personalization)
        with nullcontext() if dual is None else dual.placed(self._turn(asked.shared, kept, version or 0, asked.clients)):
            return answer_evaluation(self.client, asked)

    def _personalize(self, asked: Personalize) -> Working[Personalized]:
        kept = self._recalled(asked.version).own
        self.client.worker.load(asked.shared, home=kept if self.client.worker.home else None)
        turn = self._turn(asked.shared, kept, asked.version, asked.clients)
        return (yield from answer_personal(self.personalization, turn, public=self.public, generate=bool(asked.generate)))

    def _train_alone(self, asked: alone.TrainAlone) -> Working[alone.TrainedAlone]:
        return alone.answer_alone(self.settings.local, self.client, asked, public=self.public, on_step=self.on_step)

    def _recalled(self, version: int) -> Kept:
        return state_of(Kept, self.client.store.recall(version))

    def _turn(self, shared: Tensors, kept: Tensors, version: int, clients: int | None) -> Turn:
        return Turn(
            client=self.client,
            shared=shared,
            kept=kept,
            version=version,
            local=self.settings.local,
            sent=list(shared),
            clients=clients or 0,
            on_step=self.on_step,
        )

    def _validation(self, moment: str, wanted: Collection[str]) -> float | None:
        """Return the loss of the weights in place on the client's validation part, if it is wanted and they are not but a part of its model."""
        if goes_with_last_round(self.personalization) or not len(self.client.validation) or moment not in wanted:
            return None
        loss = self.client.worker.sample_loss(self.client.validation)
        check_loss(f"validation loss {moment} training", loss)
        return loss


def _work(turn: Turn, trained: LocallyTrained) -> dict[str, Any]:
    """Return what local training says of its examples."""
    return {
        "targets": trained.targets,
        "tokens": sum(each.tokens for each in turn.done),
        "first_loss": trained.losses[0],
        "last_loss": trained.losses[-1],
    }


def _private_work(client: Client, turn: Turn) -> dict[str, Any]:
    """Return the same where nothing may be said of single examples: what does not depend on which were drawn, and what was spent.

    Tokens are those of as many examples of mean length as steps draw on average, to two digits; losses are left out.
    """
    assert client.private is not None
    schedule, budget = client.private.schedule, client.private.budget
    tokens = float(client.train.sizes_N.double().mean()) * schedule.batch * sum(len(each.losses) for each in turn.done)
    return {
        "targets": schedule.batch * schedule.steps,
        "tokens": int(float(f"{tokens:.1e}")),
        "epsilon": budget.epsilon(),
        "epsilon_next": budget.epsilon(ahead=1),
    }


def _corrections(worker: Worker, settings: LocalTraining, control: Tensors, own: Tensors) -> list[Correction]:
    """Return what changes gradients in local training, in order."""
    corrections = [controlled(control, own)] if control else []
    received = {name: param for name, param in worker.params.items() if name not in worker.home}
    return corrections + ([proximal(received, settings.proximal)] if settings.proximal else [])
