"""The calls of retrieval: of the records that questions travel in, those that its settings need and no others."""

from ...messages import Call, TensorSpec
from ...retrieval.messages import (
    MOST_ITEMS,
    MOST_QUESTIONS,
    Answered,
    Ask,
    Catalogue,
    Count,
    Counted,
    Describe,
    Fetch,
    Fetched,
    Read,
    Scored,
)
from .settings import Retrieval

MOST_PASSAGES = 10_000_000  # of one client
MOST_COSINE = 1.001  # of vectors of length 1, in float32
MOST_BM25 = 1e5  # far beyond what 2,000 characters of a question can reach


def calls_of(settings: Retrieval, width: int) -> list[Call]:
    """Return what is sent: a level of sharing has no call for what it does not let out.

    Args:
        width: numbers of a vector.
    """
    found = [_describe(settings, width)]
    if settings.share == "embeddings":
        return found
    if settings.shared_statistics:
        found.append(Call(question=Count, answers=(Counted,)))
    scores = {"cosines": {"cosines": TensorSpec(dtype="float64", shape=("candidates",), most=MOST_COSINE)}}
    if settings.score.kind != "dense":
        scores["bm25"] = {"bm25": TensorSpec(dtype="float64", shape=("candidates",), most=MOST_BM25)}
    found.append(
        Call(
            question=Ask,
            answers=(Scored,),
            forms={**scores, "vectors": {"vectors": TensorSpec(dtype="float32", shape=("questions", width), optional=True)}},
            sizes={"questions": MOST_QUESTIONS, "candidates": MOST_ITEMS},
            without=frozenset() if settings.question.has_text else frozenset({"questions"}),
        )
    )
    if settings.share in ("passages", "snippets"):
        found.append(Call(question=Fetch, answers=(Fetched,)))
    if settings.share == "answers":
        found.append(Call(question=Read, answers=(Answered,)))
    return found


def _describe(settings: Retrieval, width: int) -> Call:
    forms = {}
    sizes = {}
    if settings.router is not None:
        forms["centroids"] = {
            "centroids": TensorSpec(dtype="float16", shape=("centroids", width), most=MOST_COSINE, optional=True)
        }
        sizes["centroids"] = settings.router.count
    if settings.share == "embeddings":
        forms["vectors"] = {"vectors": TensorSpec(dtype="float16", shape=("passages", width), most=MOST_COSINE)}
        sizes["passages"] = MOST_PASSAGES
    without = frozenset() if settings.router else frozenset({"sizes"})
    return Call(question=Describe, answers=(Catalogue,), forms=forms, sizes=sizes, without=without)
