"""What a round of distillation costs a client, estimated."""

from collections.abc import Collection

from ...learning.public_fit import LEAST_ROWS, MOST_ROWS
from ...ledger import Sizes, client_memory, forward_flops, train_flops
from ...messages import Call
from ...records import Cost
from ...tensors import Tensors
from .messages import BEFORE, MARKED, NOW, PLACES, SCORED, SCORES, Align, Learn, Said, calls_of
from .terms import Terms


def round_cost(terms: Terms, sizes: Sizes, *, examples: int, tokens_per_example: float) -> Cost:
    """Return what one client with so many examples spends in one round, on average over rounds. The alignment that the first round lacks
    stands for the one after the last."""
    local, align, public = terms.local, terms.settings.align, terms.public
    fit = fit_tokens(terms, examples, tokens_per_example) / sizes.rounds
    seen = examples * local.epochs if local.steps is None else local.steps * local.batch_size * local.accumulate
    passes = align.epochs if align.steps is None else align.steps * align.batch_size / len(public.rows(1))
    aligned = 0.0 if terms.sends_weights else passes * public.mean_tokens
    scored = scored_tokens(terms, examples * tokens_per_example)
    return Cost(
        up_bytes=sizes.up_bytes + _more_digits(terms, examples),
        down_bytes=sizes.down_bytes,
        train_flops=train_flops(int(seen * tokens_per_example + aligned), sizes)
        + forward_flops(int(public.mean_tokens + fit) + scored, sizes),
        memory_bytes=client_memory(sizes, moments=2 if local.optimizer == "adamw" else int(local.momentum > 0)),
    )


def round_lengths(terms: Terms, shared: Tensors, *, rounds: int, validated: bool) -> tuple[int, int]:
    """Return the bytes of what one client sends and gets in a round, on average over so many.

    Logits come down from the second round on, weights in each; scores go up where the settings say so, and marks of the rows drawn by
    them come down: of the round from the second on, of the one before from the third on. The lengths are those of encoded messages, but
    for the digits of numbers. `validated`: whether clients have validation parts, and report losses on them.
    """
    learn, _ = _sized(terms, shared)
    lessons = [_names(terms, learn, index) for index in range(1, min(rounds, 3) + 1)]
    down = [learn.length_of(Learn(version=10, rate_factor=1.0), only=names) for names in lessons]
    every = sum(down) + max(0, rounds - 3) * down[-1]
    counts, clipped = [0] * terms.wire.classes, None if terms.settings.local.clip_norm is None else 0.5

    def up(names: Collection[str]) -> int:
        return learn.length(
            Said, only=names, clipped=clipped, label_counts=counts, validation_before=None, evaluation_seconds=None
        )

    said = learn.spec(Said).tensors.keys()
    plain, asked = up(said - {SCORES}), up(said)
    scored = sum(map(terms.settings.scores_in, range(1, rounds + 1)))
    return round((scored * asked + (rounds - scored) * plain) / rounds), round(every / rounds)


def last_length(terms: Terms, shared: Tensors, *, rounds: int) -> int:
    """Return the bytes of what one client gets after the last of so many rounds, for its last alignment."""
    _, align = _sized(terms, shared)
    return align.length_of(Align(version=rounds, generate=0), only=_names(terms, align, rounds + 1))


def _sized(terms: Terms, shared: Tensors) -> list[Call]:
    """Return the calls with sizes that are numbers: those of a round of usual length."""
    public = terms.public
    sizes = {PLACES: round(public.mean_places), SCORED: len(public.shard), MARKED: public.marks_size}
    return [call.sized(sizes) for call in calls_of(terms, shared, ())]


def _names(terms: Terms, call: Call, index: int) -> set[str]:
    """Return the names of the tensors that go down for round `index`: logits from the second round on, weights in each; of marks one in the
    second round, two later."""
    names = call.spec(call.question).tensors.keys() - {NOW, BEFORE}
    return {*(names if index > 1 or terms.sends_weights else ()), *(NOW, BEFORE)[: index - 1]}


def fit_tokens(terms: Terms, examples: int, tokens_per_example: float) -> float:
    """Return the tokens of forward passes by which a client finds, once in a run, how well the public set fits."""
    count = len(terms.public.shard)
    if not terms.settings.public_fit or min(examples, count) < LEAST_ROWS:
        return 0.0
    public_tokens = float(terms.public.shard.sizes_N.float().mean())
    return min(examples, MOST_ROWS) * tokens_per_example + min(count, MOST_ROWS) * public_tokens


def scored_tokens(terms: Terms, own_tokens: float) -> int:
    """Return the tokens of forward passes that scoring the public rows costs a client in a round, on average."""
    if not terms.settings.refine:
        return 0
    return round((int(terms.public.shard.sizes_N.sum()) + own_tokens) / terms.settings.refine_every)


def _more_digits(terms: Terms, examples: int) -> int:
    """Return the digits of a client's label counts beyond the first of each, as if it had as many examples of every label."""
    if not terms.settings.label_counts:
        return 0
    return terms.wire.classes * (len(str(round(examples / terms.wire.classes))) - 1)
