"""How good the shared weights are: on the public sets at the server, and at each client on its own parts."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import count
from typing import Any

from ..assemble import Parts
from ..errors import RunError
from ..interfaces import Federation
from ..learning.evaluate import Evaluated, summarize_clients
from ..protocols.evaluation import BEFORE, ClientFigures, ask_evaluation, evaluation_request
from ..records import ClientId, Message
from ..tasks.metrics import perplexity
from ..tasks.shard import Shard
from ..tensors import Tensors
from .folder import RunFolder
from .progress import Progress

Notify = Callable[..., None]
COUNTS = ("examples", "tokens", "words", "texts")  # figures that are numbers of things
TEXT_METRICS = ("bleu", "chrf", "rougeL")


@dataclass(frozen=True, kw_only=True)
class Moment:
    """All figures of one evaluation."""

    test: Mapping[str, float]  # on the public test set; where there is none, on the clients' test parts; else on validation
    over: str  # which of these: "test set", "clients" or "validation"
    validation_loss: float | None  # what stopping and the choice of the best round go by
    clients: Mapping[ClientId, Mapping[str, float]]  # on each client's own test part
    failed: Sequence[ClientId]  # clients that could not tell their figures, which therefore are not among `clients`

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

    def measure(self, progress: Progress, shared: Tensors, *, round: int, name: str, generate: bool, own: bool = False) -> Moment:
        """Return the figures of `shared`; rows, traffic and seconds are added to `progress`.

        Where clients have models of their own, `shared` is the server's, and figures on a client's parts are those of the client's.

        Args:
            name: of the moment: "before" (of the backbone alone, if the tuning begins elsewhere), "after" or "round-N"; names the files of texts.
            generate: whether metrics that need generated text are wanted.
            own: whether each client's own weights take part, if there are any that go with the round.
        """
        began = time.perf_counter()
        validation_loss = None
        test: Mapping[str, float] = {}
        held_out: Mapping[str, float] = {}
        if len(self.parts.server_validation):
            self.notify("evaluating", what="validation", done=0, of=1)
            found = self._evaluate(shared, self.parts.server_validation, name=name, generate=False).figures
            validation_loss, held_out = found["loss"], found
            progress.note_figures(round, "validation", "", found)
        if len(self.parts.server_test):
            self.notify("evaluating", what="test", done=0, of=1)
            result = self._evaluate(shared, self.parts.server_test, name=name, generate=generate)
            test = result.figures
            progress.note_figures(round, "test", "", test)
            progress.figures["bleu_signature"] = result.bleu_signature or progress.figures.get("bleu_signature")
            if result.texts:
                self.folder.write_lines(f"generations/{name}.jsonl", result.texts)
        apart = self.parts.protocol.own_models  # each client then measures its own model, and no weights go down
        own_version = progress.state.version if apart or (own and self.parts.goes_with_last_round) else None
        request = evaluation_request(
            {} if apart else shared, name=name, generate=generate, own_version=own_version, clients=len(self.federation.clients)
        )
        clients = self._ask_clients(progress, request, round=round)
        over = "test set" if test else "clients" if clients.test else "validation"
        test = test or pool(clients.test.values()) or held_out or pool(clients.validation.values())
        if validation_loss is None and clients.validation:
            validation_loss = pool(clients.validation.values())["loss"]
        progress.note_peak(self.parts.worker.peak.read())
        progress.figures["seconds"]["evaluate"] += time.perf_counter() - began
        self.notify("evaluated", round=round, figures=dict(test), validation_loss=validation_loss, clients=len(clients.test))
        return Moment(
            test=test, over=over, validation_loss=validation_loss, clients=clients.test, failed=sorted(clients.failures)
        )

    def _evaluate(self, shared: Tensors, shard: Shard, *, name: str, generate: bool) -> Evaluated:
        """Return the figures of `shared` at the server; before round 1, those of the backbone alone."""
        worker = self.parts.worker
        worker.load(shared)
        with worker.untrained() if name == BEFORE else nullcontext(worker) as evaluates:
            return evaluates.evaluate(shard, generate=generate)

    def _ask_clients(self, progress: Progress, request: Message, *, round: int) -> ClientFigures:
        asked = self.parts.measured
        replies = count(1)
        found = ask_evaluation(
            self.federation,
            asked,
            request,
            lambda client: self.notify("evaluating", what=client, done=next(replies), of=len(asked)),
        )
        for client, failure in found.failures.items():
            self.notify("failure", client=client, text=f"evaluation {failure.kind}: {failure.mark}; see its log.txt")
        name = "personal" if "own_version" in request.facts and not self.parts.protocol.own_models else "client"
        for scope, figures in ((f"{name}-validation", found.validation), (name, found.test)):
            for client, values in figures.items():
                progress.note_figures(round, scope, client, values)
        if asked and len(found.failures) == len(asked):
            kinds = sorted({f"{failure.kind} ({failure.mark})" for failure in found.failures.values()})
            raise RunError(
                f"none of {len(asked)} clients could evaluate the shared weights: {', '.join(kinds)}; see clients/ID/log.txt"
            )
        progress.add_traffic("evaluate", found.traffic.up_bytes, found.traffic.down_bytes, found.traffic.seconds)
        return found


def pool(sets: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Return the figures of several sets as if they were one.

    Counts are added; a loss is weighted by the targets it counts; perplexities follow from the pooled loss; metrics of
    generated texts are weighted by texts, others by examples (so a pooled BLEU is a mean of BLEUs, not the BLEU of all).
    """
    rows = list(sets)
    totals = {name: sum(row.get(name, 0) for row in rows) for name in COUNTS if any(name in row for row in rows)}
    pooled: dict[str, float] = {}
    for name in dict.fromkeys(name for row in rows for name in row):
        unit = "tokens" if name == "loss" else "texts" if name in TEXT_METRICS else "examples"
        having = [row for row in rows if name in row and row.get(unit, row["examples"])]
        weight = sum(row.get(unit, row["examples"]) for row in having)
        if name not in COUNTS and weight:
            pooled[name] = sum(row[name] * row.get(unit, row["examples"]) for row in having) / weight
    if "perplexity" in pooled:
        pooled["perplexity"] = perplexity(pooled["loss"], 1)
    if "perplexity_word" in pooled:
        pooled["perplexity_word"] = perplexity(pooled["loss"] * totals["tokens"], int(totals["words"]))
    return pooled | totals
