"""What a rung of prompting costs a client, estimated."""

from collections.abc import Sequence

from ...ledger import Sizes, forward_flops
from ...messages.record import Record
from ...prompting import Halving, Prompt
from ...prompting.halving import rungs
from ...records import Cost
from .messages import Score, Scored, scoring_call, written


def lengths(halving: Halving, pool: Sequence[Prompt]) -> tuple[int, int]:
    """Return the bytes of what one client sends and gets in the first rung, which has about as many prompts as the later ones."""
    call = scoring_call()
    most = max(len(pool), halving.keep + halving.children)
    texts = written(pool)
    texts = (texts * (most // len(texts) + 1))[:most]

    def length(form: type[Record], **given: object) -> int:
        return call.length(form, **given)  # type: ignore[arg-type]

    up = length(Scored, loss_sums=[123.12345678901234] * most, right=[10] * most)
    return up, length(Score, version=1, part=0, most=halving.start, prompts=texts)


def candidate_scores(halving: Halving, pool: int) -> tuple[int, int]:
    """Return over all rungs: how often a client reads a prompt, and how many texts it scores, the validation of finalists apart."""
    reads, texts = 0, 0
    for candidates in [pool, *[halving.keep + halving.children] * (halving.generations - 1)]:
        left, most = candidates, halving.start
        while True:
            reads, texts = reads + left, texts + left * most
            left, most = max(halving.keep, -(-left // halving.factor)), most * halving.factor
            if left <= halving.keep:
                break
    return reads, texts


def round_cost(
    halving: Halving, sizes: Sizes, *, pool: int, examples: int, tokens_per_example: float, read_tokens: float, answer_tokens: int
) -> Cost:
    """Return what one client spends in one rung, on average over those of a search.

    Args:
        tokens_per_example: of a text.
        read_tokens: computed once for a prompt.
        answer_tokens: of all labels together, computed behind each text.
    """
    reads, texts = candidate_scores(halving, pool)
    count = rungs(halving, pool)
    tokens = reads * read_tokens + min(texts, reads * examples) * (tokens_per_example + answer_tokens)
    return Cost(
        up_bytes=sizes.up_bytes,
        down_bytes=sizes.down_bytes,
        train_flops=forward_flops(round(tokens / count), sizes),
        memory_bytes=sizes.backbone_bytes,
    )
