"""The rounds of a run: each is carried out, looked at, evaluated and saved, until something ends them."""

from collections.abc import Generator, Mapping
from dataclasses import replace
from typing import Any

from ..assembly import Parts
from ..diverged import advice, wording
from ..errors import NotFinite, RunError, TooFewClients
from ..job import Job
from ..ledger import train_flops
from ..messages.rows import worked
from ..metrics import COUNTS
from ..protocols.rounds.shares import who_counts_less
from ..records import Round
from ..tensors import check_finite, count
from ..tuning import written
from .clock import Clock
from .gain import fill_gain, wanted_in
from .measure import Evaluator, Notify
from .planned import Planned
from .progress import Progress
from .summary import not_fallen


def carry_out_rounds(parts: Parts, evaluator: Evaluator, progress: Progress, clock: Clock, planned: Planned) -> str:
    """Carry out the rounds that are left, each evaluated and saved; return why there are no more."""
    job, notify = parts.job, evaluator.notify
    rounds = parts.protocol.serve(
        evaluator.federation,
        progress.state,
        parts.sampler,
        rounds=progress.figures["planned_rounds"],
        worker=parts.worker,
        wanted=wanted_in(parts, progress),
    )
    while (stopped_by := _stopped(parts, progress)) is None:
        round = _next_round(rounds, notify)
        if round is None:
            return "search"
        _check_state(round, job, notify)
        _absorb(progress, round, parts)
        for client, failure in round.failures:
            notify("failure", client=client, round=round.index, text=wording(failure.kind, failure.mark))
        if less := who_counts_less(round.clients):
            notify("counted-less", round=round.index, **less)
        clock.lap(progress, "server")
        if parts.protocol.validated and (round.index % job.evaluation.every == 0 or _stopped(parts, progress)):
            _evaluate_round(evaluator, progress, parts)
        fill_gain(parts, progress, round.index)
        clock.lap(progress, "evaluate")
        notify("round", rounds=parts.protocol.most_rounds(job.stop.rounds), **progress.rows["rounds"][-1])
        planned.look(progress)
        clock.save(progress, evaluator.folder, parts)
    rounds.close()
    return stopped_by


def _absorb(progress: Progress, round: Round, parts: Parts) -> None:
    """Add what one round made, cost, and spent of a privacy budget; the ranks of the next follow from it where they are chosen."""
    chooser = parts.auto_ranks
    if chooser is not None:
        ranks = [chooser.rank(str(row["client"])) for row in round.clients]
        ranked = [_with_rank(row, rank, parts) for row, rank in zip(round.clients, ranks, strict=True)]
        round = replace(round, clients=ranked, figures={**round.figures, "rank": sum(ranks) / max(1, len(ranks))})
    progress.absorb(round, parts.clients.sizes_of, full=written(parts.job.tuning).every_weight)
    if chooser is not None:
        chooser.learn(progress.rows["clients"])
    if parts.budget is not None:
        parts.budget.note(round.clients)
        progress.rows["rounds"][-1]["epsilon"] = parts.budget.epsilon()


def _with_rank(row: Mapping[str, Any], rank: int, parts: Parts) -> dict[str, Any]:
    """Return a client's row with the rank that it trained, and the operations at that rank."""
    work = worked(row)
    if work is None:
        return {**row, "rank": rank}
    sizes = replace(parts.clients.sizes_of(work.client), trained=count(parts.by_rank[rank].params))
    return {"train_flops": train_flops(work.tokens, sizes), **row, "rank": rank}


def _next_round(rounds: Generator[Round, None, None], notify: Notify) -> Round | None:
    """Return the next round; None if the protocol has come to its end by itself."""
    try:
        return next(rounds, None)
    except TooFewClients as stop:
        notify("stopped", text=str(stop))
        raise


def _check_state(round: Round, job: Job, notify: Notify) -> None:
    """Raise RunError if what the server made of the updates is not finite: the checkpoint before it is the last good one."""
    try:
        check_finite(round.state.shared, "the shared weights")
    except NotFinite as fault:
        tip = advice([NotFinite.__name__], rate=job.protocol.local.peak_learning_rate)
        text = f"round {round.index}: every update was finite, and what the server made of them is not ({fault}). The state is saved: {tip}"
        notify("stopped", text=text)
        raise RunError(text) from None


def _evaluate_round(evaluator: Evaluator, progress: Progress, parts: Parts) -> None:
    """Evaluate the shared weights of the last round, and let their validation loss judge them."""
    job, index = parts.job, progress.state.version
    generate = job.evaluation.generate_at == "always"
    moment = evaluator.measure(progress, progress.state.shared, round=index, name=f"round-{index}", generate=generate, own=True)
    progress.judge(moment.validation_loss, index)
    progress.forget_counts()
    row = progress.rows["rounds"][-1]
    row |= {f"test_{name}": value for name, value in moment.test.items() if name not in COUNTS}
    if moment.validation_loss is not None:
        row["validation_loss"] = moment.validation_loss
    if parts.protocol.trains and index == job.evaluation.every and progress.figures["best_round"] == 0:
        evaluator.notify("warning", text=not_fallen(progress, job.protocol.local.peak_learning_rate))


def why_over(parts: Parts, progress: Progress) -> str | None:
    """Return why a run has no round left; None if it has. A protocol that comes to its own end is noticed only where the next round is asked for."""
    ended = progress.state.version >= parts.protocol.most_rounds(parts.job.stop.rounds)
    return _stopped(parts, progress) or ("search" if ended else None)


def _stopped(parts: Parts, progress: Progress) -> str | None:
    """Return why the run is over, or None. It follows from the progress, `stop` and the privacy budget: a resumed run may be given more."""
    job = parts.job
    if job.stop.patience is not None and progress.figures["without_gain"] >= job.stop.patience:
        return "patience"
    if progress.state.version >= job.stop.rounds:
        return "rounds"
    return "privacy budget" if parts.budget is not None and not parts.budget.affords() else None
