"""How good the shared weights are: on the public sets at the server, and at each client on its own parts."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any

from ..assemble import Parts
from ..interfaces import Federation
from ..learning.evaluate import pool, summarize_clients
from ..protocols.evaluation import ClientFigures, ask_evaluation, evaluation_request
from ..records import ClientId
from ..tensors import Tensors
from .folder import RunFolder
from .progress import Progress

Notify = Callable[..., None]


@dataclass(frozen=True, kw_only=True)
class Moment:
    """All figures of one evaluation."""

    test: Mapping[str, float]  # on the public test set, or pooled over the clients' test parts where there is none
    validation_loss: float | None  # what stopping and the choice of the best round go by
    clients: Mapping[ClientId, Mapping[str, float]]  # on each client's own test part

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for checkpoints and summary.json."""
        return {"test": dict(self.test), "validation_loss": self.validation_loss, "clients": summarize_clients(self.clients)}


@dataclass(frozen=True, kw_only=True)
class Evaluator:
    """Evaluates shared weights on everything that the job names, whole, and notes a row for each figure."""

    parts: Parts
    federation: Federation
    folder: RunFolder
    notify: Notify

    def measure(self, progress: Progress, shared: Tensors, *, round: int, name: str, generate: bool) -> Moment:
        """Return the figures of `shared`; rows, traffic and seconds are added to `progress`.

        Args:
            name: of the moment: "before", "after" or "round-N"; names the files of texts.
            generate: whether metrics that need generated text are wanted.
        """
        began = time.perf_counter()
        validation_loss = None
        test: Mapping[str, float] = {}
        if len(self.parts.server_validation):
            self.notify("evaluating", what="validation", done=0, of=1)
            self.parts.worker.load(shared)
            found = self.parts.worker.evaluate(self.parts.server_validation, generate=False).figures
            validation_loss = found["loss"]
            progress.note_figures(round, "validation", "", found)
        if len(self.parts.server_test):
            self.notify("evaluating", what="test", done=0, of=1)
            self.parts.worker.load(shared)
            result = self.parts.worker.evaluate(self.parts.server_test, generate=generate)
            test = result.figures
            progress.note_figures(round, "test", "", test)
            if result.texts:
                self.folder.write_lines(f"generations/{name}.jsonl", result.texts)
        clients = self._ask_clients(progress, shared, round=round, name=name, generate=generate)
        test = test or pool(clients.test.values())
        if validation_loss is None and clients.validation:
            validation_loss = pool(clients.validation.values())["loss"]
        progress.note_peak(self.parts.worker.peak.read())
        progress.figures["seconds"]["evaluate"] += time.perf_counter() - began
        return Moment(test=test, validation_loss=validation_loss, clients=clients.test)

    def _ask_clients(self, progress: Progress, shared: Tensors, *, round: int, name: str, generate: bool) -> ClientFigures:
        asked = [c for c, state in self.parts.states.items() if len(state.test) or len(state.validation)]
        replies = count(1)
        found = ask_evaluation(
            self.federation,
            asked,
            evaluation_request(shared, name=name, generate=generate),
            lambda client: self.notify("evaluating", what=client, done=next(replies), of=len(asked)),
        )
        for client, failure in found.failures.items():
            self.notify("failure", client=client, text=f"evaluation {failure.kind}: {failure.mark}; see its log.txt")
        for scope, figures in (("client-validation", found.validation), ("client", found.test)):
            for client, values in figures.items():
                progress.note_figures(round, scope, client, values)
        progress.add_traffic("evaluate", found.traffic.up_bytes, found.traffic.down_bytes, found.traffic.seconds)
        return found
