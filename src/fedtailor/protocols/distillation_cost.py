"""What distillation costs a client, foretold."""

from typing import TYPE_CHECKING

from ..ledger import Sizes, client_memory, forward_flops, message_bytes, train_flops
from ..records import Cost

if TYPE_CHECKING:
    from .distillation_server import DistillationRun


def round_cost(run: "DistillationRun", sizes: Sizes, *, examples: int, tokens_per_example: float) -> Cost:
    """Return what one client with so many examples spends in one round, on average over rounds but for the first, in which nothing comes down."""
    local, align, public = run.local, run.settings.align, run.public
    logits = run.wire.size_bytes(round(public.mean_places))
    beside = message_bytes(sizes.shared, sizes.tensors, 4) if run.sends_weights else 0
    seen = examples * local.epochs if local.steps is None else local.steps * local.batch_size * local.accumulate
    passes = align.epochs if align.steps is None else align.steps * align.batch_size / len(public.rows(1))
    aligned = 0.0 if run.sends_weights else passes * public.mean_tokens
    head = message_bytes(0, len(run.wire.specs(1)), 1)
    scores, marks, scored_tokens = refining_cost(run, examples * tokens_per_example)
    return Cost(
        up_bytes=logits + beside + head + scores,
        down_bytes=(beside or logits) + head + marks,
        train_flops=train_flops(int(seen * tokens_per_example + aligned), sizes)
        + forward_flops(int(public.mean_tokens) + scored_tokens, sizes),
        memory_bytes=client_memory(sizes, moments=2 if local.optimizer == "adamw" else int(local.momentum > 0)),
    )


def refining_cost(run: "DistillationRun", own_tokens: float) -> tuple[int, int, int]:
    """Return the bytes up and down and the tokens of forward passes that drawing fitting rows costs a client in a round, on average."""
    if not run.settings.refine:
        return 0, 0, 0
    every, rows = run.settings.refine_every, len(run.public.shard)
    header = message_bytes(0, 1, 1) - message_bytes(0, 0, 1)
    tokens = len(run.public.shard.tokens_T) + own_tokens
    return round((rows + header) / every), 2 * (run.public.marks_size + header), round(tokens / every)
