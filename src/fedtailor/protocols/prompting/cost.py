"""What a rung of prompting costs a client, estimated."""

from collections.abc import Iterator, Sequence
from itertools import islice
from statistics import fmean

from ...ledger import Sizes, forward_flops
from ...prompting import Halving, Prompt, advance, begin
from ...prompting import Score as Sums
from ...prompting.halving import rungs, training_rungs
from ...records import Cost
from .messages import TRAINING, Score, Scored, scoring_call, written


def lengths(halving: Halving, pool: Sequence[Prompt], *, rounds: int) -> tuple[int, int]:
    """Return the bytes of what one client sends and gets in a rung, on average over the first `rounds` of them.

    Which prompts a search keeps and edits hangs on their scores: it is the mean of two, in which the first ones always win, and the last ones.
    """
    call, up, down = scoring_call(), [], []
    for sign in (1.0, -1.0):
        for prompts in islice(_rungs(halving, pool, sign), rounds):
            up.append(call.length(Scored, loss_sums=[123.12345678901234] * len(prompts), right=[10] * len(prompts)))
            down.append(call.length_of(Score(version=1, part=TRAINING, most=halving.start, prompts=prompts)))
    return round(fmean(up)), round(fmean(down))


def _rungs(halving: Halving, pool: Sequence[Prompt], sign: float) -> Iterator[list[str]]:
    """Yield the prompts of each rung of a search in which losses are as the places of prompts, times `sign`."""
    search = begin(pool)
    while search.part in ("train", "validation"):
        yield written(search.candidates)
        scores = [Sums(loss_sum=sign * place, right=0, examples=1) for place in range(len(search.candidates))]
        search = advance(halving, search, scores, seed=0)


def candidate_scores(halving: Halving, pool: int) -> tuple[int, int]:
    """Return over all rungs: how often a client reads a prompt, and how many texts it scores, the validation of finalists apart."""
    found = training_rungs(halving, pool)
    return sum(candidates for candidates, _ in found), sum(candidates * texts for candidates, texts in found)


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
