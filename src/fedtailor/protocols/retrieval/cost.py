"""What a block of questions costs a client, estimated."""

from collections.abc import Sequence

from ...ledger import Sizes, forward_flops
from ...messages import Call
from ...records import Cost
from ...retrieval.messages import Ask, Fetch, Fetched, Scored
from ...retrieval.share import ANSWER, SNIPPET
from .settings import Retrieval

CHARACTERS = 4  # of a token of English
SOURCE = 40  # characters of a passage's id, file and title together
KEY = 2**62  # a number of usual length


def lengths(settings: Retrieval, calls: Sequence[Call], *, questions: int, characters: int, clients: int) -> tuple[int, int]:
    """Return the bytes of what one client sends and gets in a block, if the winners are spread evenly.

    Args:
        questions: of the block.
        characters: of all of them.
        clients: that are asked.
    """
    by_question = {call.question: call for call in calls}
    if Ask not in by_question:
        return 0, 0
    most = questions * max(settings.top_k, settings.fetch)
    call = by_question[Ask].sized({"questions": questions, "candidates": most})
    texts = {"questions": ["x" * (characters // max(1, questions))] * questions} if settings.question.has_text else {}
    down = call.length(Ask, **texts)
    up = call.length(Scored, counts=[most // max(1, questions)] * questions, keys=[KEY] * most)
    won = most // max(1, clients)
    if Fetch in by_question and won:
        fetch, size = by_question[Fetch], SNIPPET if settings.share == "snippets" else settings.chunk.tokens * CHARACTERS
        down += fetch.length(Fetch, questions=[questions] * won, places=[1] * won, whole=[1] * won)
        names, places = ["x" * SOURCE] * won, [size] * won
        up += fetch.length(
            Fetched,
            texts=["x" * size] * won,
            ids=names,
            files=names,
            documents=names,
            titles=names,
            pages=places,
            begins=places,
            ends=places,
        )
    return up + (ANSWER * questions // max(1, clients) if settings.share == "answers" else 0), down


def round_cost(sizes: Sizes, *, questions: int, characters: int) -> Cost:
    """Return what one client spends on a block: the server embeds the questions, and a client that shares sentences or answers embeds these."""
    return Cost(
        up_bytes=sizes.up_bytes,
        down_bytes=sizes.down_bytes,
        train_flops=forward_flops(characters // CHARACTERS, sizes),
        memory_bytes=sizes.backbone_bytes,
    )
