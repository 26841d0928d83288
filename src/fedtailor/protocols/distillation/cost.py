"""What a round of distillation costs a client, foretold."""

from typing import TYPE_CHECKING

from ...learning.public_fit import LEAST_ROWS, MOST_ROWS
from ...ledger import Sizes, client_memory, forward_flops, train_flops
from ...messages import TensorSpec, length_of, specs_of, usual_facts
from ...records import Cost, Fact
from ...tensors import Tensors
from .messages import ALIGN, BEFORE, FIT_FACT, LOCAL_FACTS, NOW, SCORES, TRAIN, with_mark

if TYPE_CHECKING:
    from .server import DistillationRun


def round_cost(run: "DistillationRun", sizes: Sizes, *, examples: int, tokens_per_example: float) -> Cost:
    """Return what one client with so many examples spends in one round, on average over rounds. The alignment that the first round lacks
    stands for the one after the last."""
    local, align, public = run.local, run.settings.align, run.public
    fit = fit_tokens(run, examples, tokens_per_example) / sizes.rounds
    seen = examples * local.epochs if local.steps is None else local.steps * local.batch_size * local.accumulate
    passes = align.epochs if align.steps is None else align.steps * align.batch_size / len(public.rows(1))
    aligned = 0.0 if run.sends_weights else passes * public.mean_tokens
    scored = scored_tokens(run, examples * tokens_per_example)
    return Cost(
        up_bytes=sizes.up_bytes + _more_digits(run, examples),
        down_bytes=sizes.down_bytes,
        train_flops=train_flops(int(seen * tokens_per_example + aligned), sizes)
        + forward_flops(int(public.mean_tokens + fit) + scored, sizes),
        memory_bytes=client_memory(sizes, moments=2 if local.optimizer == "adamw" else int(local.momentum > 0)),
    )


def round_lengths(run: "DistillationRun", shared: Tensors, *, rounds: int, validated: bool) -> tuple[int, int]:
    """Return the bytes of what one client sends and gets in a round, on average over so many.

    Logits come down from the second round on, weights in each; scores go up where the settings say so, and marks of the rows drawn by
    them come down: of the round from the second on, of the one before from the third on. The lengths are those of encoded messages, but
    for the digits of numbers. `validated`: whether clients have validation parts, and tell losses on them.
    """
    logits = run.wire.specs(round(run.public.mean_places))
    weights = specs_of(with_mark(shared)) if run.sends_weights else {}
    scores, marks = _refining(run)
    down = []
    for index in range(1, min(rounds, 3) + 1):
        told = weights or (logits if index > 1 else {})
        seen = dict(list(marks.items())[: index - 1])
        down.append(length_of(TRAIN, {**told, **seen}, {"version": 10, "rate_factor": 1.0}))
    every = sum(down) + max(0, rounds - 3) * down[-1]
    plain, asked = (length_of(TRAIN, {**logits, **weights, **more}, _facts(run, validated)) for more in ({}, scores))
    scored = sum(map(run.settings.scores_in, range(1, rounds + 1)))
    return round((scored * asked + (rounds - scored) * plain) / rounds), round(every / rounds)


def last_length(run: "DistillationRun", shared: Tensors, *, rounds: int) -> int:
    """Return the bytes of what one client gets after the last of so many rounds, for its last alignment."""
    told = specs_of(with_mark(shared)) if run.sends_weights else run.wire.specs(round(run.public.mean_places))
    marks = dict(list(_refining(run)[1].items())[:rounds])
    return length_of(ALIGN, {**told, **marks}, {"version": rounds, "generate": 0})


def fit_tokens(run: "DistillationRun", examples: int, tokens_per_example: float) -> float:
    """Return the tokens of forward passes by which a client finds, once in a run, how well the public set fits."""
    count = len(run.public.shard)
    if not run.settings.public_fit or min(examples, count) < LEAST_ROWS:
        return 0.0
    public_tokens = float(run.public.shard.sizes_N.float().mean())
    return min(examples, MOST_ROWS) * tokens_per_example + min(count, MOST_ROWS) * public_tokens


def scored_tokens(run: "DistillationRun", own_tokens: float) -> int:
    """Return the tokens of forward passes that scoring the public rows costs a client in a round, on average."""
    if not run.settings.refine:
        return 0
    return round((int(run.public.shard.sizes_N.sum()) + own_tokens) / run.settings.refine_every)


def _refining(run: "DistillationRun") -> tuple[dict[str, TensorSpec], dict[str, TensorSpec]]:
    """Return the forms of scores and of marks, where public rows are drawn by them; of marks in the order in which they come up."""
    if not run.settings.refine:
        return {}, {}
    scores = TensorSpec(dtype="uint8", shape=(len(run.public.shard),))
    mark = TensorSpec(dtype="uint8", shape=(run.public.marks_size,))
    return {SCORES: scores}, {NOW: mark, BEFORE: mark}


def _facts(run: "DistillationRun", validated: bool) -> dict[str, Fact]:
    """Return facts of usual length, as a client tells them."""
    facts = usual_facts(LOCAL_FACTS)
    facts |= usual_facts({"public_fit": FIT_FACT}) if run.settings.public_fit else {}
    return facts | ({"label_counts": [0] * run.wire.classes} if run.settings.label_counts else {})


def _more_digits(run: "DistillationRun", examples: int) -> int:
    """Return the digits of a client's label counts beyond the first of each, as if it had as many examples of every label."""
    if not run.settings.label_counts:
        return 0
    return run.wire.classes * (len(str(round(examples / run.wire.classes))) - 1)
