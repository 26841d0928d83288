"""How good the shared weights are: on the public sets at the server, and at each client on its own parts."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Any, TypeAlias

from ..assembly import Parts
from ..diverged import advice, wording
from ..errors import RunError
from ..interfaces import Federation
from ..learning.over_clients import numbers, pool, pooled_counts, summarize_clients
from ..learning.sheets import write_sheet, writes_sheet
from ..protocols.evaluation import ClientFigures, ask_evaluation, evaluation_request
from ..records import ClientId, Message
from ..tensors import Tensors
from .folder import RunFolder
from .progress import Progress

Notify = Callable[..., None]
MADE = ("texts", "samples")  # figures that say that texts were written, or pictures made
Known: TypeAlias = Mapping[str, dict[str, dict[str, Any]]]  # figures by scope and client, see `Progress.known`


@dataclass(frozen=True, kw_only=True)
class Moment:
    """All figures of one evaluation."""

    test: Mapping[str, float]  # on the public test set; where there is none, on the clients' test parts; else on validation
    over: str  # which of these: "test set", "clients" or "validation"
    validation_loss: float | None  # what stopping and the choice of the best round go by
    clients: Mapping[ClientId, Mapping[str, Any]]  # on each client's own test part
    round: int  # that the weights are of
    failed: Sequence[ClientId]  # clients that could not report their figures, which therefore are not among `clients`
    counts: Mapping[str, list[int]] = field(default_factory=dict)  # that metrics of `test` are made of which are no means
    directions: Mapping[str, bool] = field(default_factory=dict)  # whether more is better, for metrics of the user's own

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for checkpoints and summary.json."""
        clients = summarize_clients(self.clients, self.directions)
        return {"test": dict(self.test), "validation_loss": self.validation_loss, "clients": clients, "counts": dict(self.counts)}


@dataclass(frozen=True, kw_only=True)
class Evaluator:
    """Evaluates shared weights on everything that the job names, whole, and notes a row for each figure."""

    parts: Parts
    federation: Federation
    folder: RunFolder
    notify: Notify

    def measure(self, progress: Progress, shared: Tensors, *, round: int, name: str, generate: bool, own: bool = False) -> Moment:
        """Return the figures of `shared`; rows and traffic are added to `progress`. What is known of them is not measured again.

        Where clients have models of their own, `shared` is the server's, and figures on a client's parts are those of the client's.

        Args:
            round: that the weights are of; figures noted under it are theirs.
            name: of the moment: "before" (of the backbone alone, if the tuning begins elsewhere), "after" or "round-N"; names the files of texts.
            generate: whether metrics that need generated text or pictures are wanted, and a sheet of pictures of a model that makes such.
            own: whether each client's own weights take part, if there are any that go with the round.
        """
        known = progress.known(round)
        at_server = generate and self.parts.makes()
        texts = generate and self.parts.made_at_clients
        held_out = self._at_server(progress, shared, known, "validation", round=round, name="")
        test = self._at_server(progress, shared, known, "test", round=round, name=name if at_server else "")
        if generate:
            self._sheet(shared, round=round, name=name)
        apart = self.parts.protocol.own_models  # each client then measures its own model, and no weights go down
        own_version = progress.state.version if apart or (own and self.parts.goes_with_last_round) else None
        scope = "client" if apart or own_version is None else "personal"
        request = partial(
            evaluation_request,
            {} if apart else shared,
            name=name,
            generate=texts,
            own_version=own_version,
            clients=len(self.federation.clients),
        )
        clients = self._at_clients(progress, request, known, round=round, scope=scope, name=name, texts=texts)
        over = "test set" if test else "clients" if clients.test else "validation"
        no_means = self.parts.job.evaluation.no_means
        counted = (
            [test or held_out] if test or (held_out and not clients.test) else [*(clients.test or clients.validation).values()]
        )
        validation = pool(clients.validation.values(), no_means=no_means) if clients.validation else {}
        test = test or pool(clients.test.values(), no_means=no_means) or held_out or validation
        loss = held_out.get("loss", validation.get("loss"))
        progress.note_peak(self.parts.worker.peak.read())
        self.notify("evaluated", round=round, figures=numbers(test), validation_loss=loss, clients=len(clients.test))
        return Moment(
            round=round,
            test=numbers(test),
            counts=pooled_counts(counted),
            over=over,
            validation_loss=loss,
            clients=clients.test,
            failed=sorted(clients.failures),
            directions=self.parts.job.evaluation.directions,
        )

    def _at_server(
        self, progress: Progress, shared: Tensors, known: Known, part: str, *, round: int, name: str
    ) -> Mapping[str, Any]:
        """Return the figures on a public set, empty if there is none; `name` is that of the file of texts, empty where none are wanted."""
        shard = self.parts.server_validation if part == "validation" else self.parts.server_test
        have = known.get(part, {}).get("", {})
        have = have if "examples" in have else {}
        if not len(shard) or (have and not (name and not _was_made(have))):
            if name and have:
                self._copy_made(progress.texts_at("test", round, name), name)
            return have
        self.notify("evaluating", what=part, done=0, of=1)
        self.parts.worker.load(shared)
        with self.parts.worker.untrained() if round == 0 else nullcontext(self.parts.worker) as worker:
            result = worker.evaluate(shard, generate=bool(name), texts_alone=bool(have))
        found = {**result.figures, **{figure: list(counts) for figure, counts in result.counts.items()}}
        progress.note_figures(round, part, "", found)
        progress.figures["bleu_signature"] = result.bleu_signature or progress.figures.get("bleu_signature")
        if result.texts or result.notes:
            progress.texts_at("test", round, name)
        if result.texts:
            self.folder.write_lines(f"generations/{name}.jsonl", result.texts)
        if result.notes:
            self.folder.write_json(f"samples/{name}.json", result.notes)
        return {**have, **found}

    def _copy_made(self, before: str, name: str) -> None:
        """Give what was made at an earlier moment of the same weights this name, too."""
        for pattern in ("generations/{}.jsonl", "samples/{}.json"):
            self.folder.copy_text(pattern.format(before), pattern.format(name))

    def _sheet(self, shared: Tensors, *, round: int, name: str) -> None:
        """Write a sheet of the pictures that the shared weights make, where they make any and the server has them."""
        if self.parts.protocol.own_models or not writes_sheet(self.parts.worker):
            return
        self.parts.worker.load(shared)
        with self.parts.worker.untrained() if round == 0 else nullcontext(self.parts.worker) as worker, self.folder.writing():
            write_sheet(worker, self.parts.server_test, self.folder.path / "samples" / f"{name}.png")

    def _at_clients(
        self,
        progress: Progress,
        request: Callable[..., Message],
        known: Known,
        *,
        round: int,
        scope: str,
        name: str,
        texts: bool,
    ) -> ClientFigures:
        """Return the figures of all clients that measure; only those are asked of whom something is not known yet."""
        found = ClientFigures(validation=known.get(f"{scope}-validation", {}), test=known.get(scope, {}))
        asked = self.parts.measured
        fresh = [client for client in asked if client not in found.validation and client not in found.test]
        silent = [client for client in asked if client in found.test and texts and not _was_made(found.test[client])]
        lacking = [client for client in silent if self.parts.makes(client)]
        requests = dict.fromkeys(fresh, request()) | dict.fromkeys(lacking, request(texts_alone=True))
        if texts:
            progress.texts_at(scope, round, name)
        replies = count(1)
        new = ask_evaluation(
            self.federation,
            requests,
            lambda client: self.notify("evaluating", what=client, done=next(replies), of=len(requests)),
        )
        for client, failure in new.failures.items():
            self.notify("failure", client=client, text=f"in evaluation: {wording(failure.kind, failure.mark)}; see its log.txt")
        for kind, figures, store in (
            (f"{scope}-validation", new.validation, found.validation),
            (scope, new.test, found.test),
        ):
            for client, values in figures.items():
                progress.note_figures(round, kind, client, values)
                store.setdefault(client, {}).update(values)
        found.failures = new.failures
        if fresh and len(new.failures) == len(asked):
            kinds = sorted({wording(failure.kind, failure.mark) for failure in new.failures.values()})
            tip = advice(
                (failure.mark for failure in new.failures.values()), rate=self.parts.job.protocol.local.peak_learning_rate
            )
            raise RunError(
                f"none of {len(asked)} clients could evaluate the shared weights: {', '.join(kinds)}; {tip or 'see clients/ID/log.txt'}"
            )
        if requests:
            progress.add_traffic("evaluate", new.traffic.up_bytes, new.traffic.down_bytes, new.traffic.seconds)
        return found


def _was_made(figures: Mapping[str, Any]) -> bool:
    """Return whether figures are among those that need what the model makes."""
    return any(name in figures for name in MADE)
