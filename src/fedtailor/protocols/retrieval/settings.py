"""Retrieval: each client indexes its own documents; a question goes out, scores come back, then the winning passages.

Nobody trains. The router follows RAGRoute (arXiv:2502.19280) in asking few clients, with centroids in the place of a trained network;
`verify` answers Routing Hijacking (arXiv:2605.28112).
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from ...errors import SettingError
from ...limits import Few, Number
from ...pairs import Need
from ...retrieval.asking import check_top_k
from ...retrieval.passages import Chunks
from ...retrieval.question import SentQuestion
from ...retrieval.router import Router
from ...retrieval.search import Score
from ...retrieval.share import LETS_OUT, REVEALS, Share, check_fetch, check_share
from ...text_files import expanded
from ..usual_settings import UsualSettings, one_task


def apart_line(clients: Sequence[str], top_k: int) -> str:
    """Return what clients of other embedders mean, in one line."""
    return (
        f"of {', '.join(clients[:5])}{' ...' if len(clients) > 5 else ''} others than the server's: each is asked in its own space, and up to {top_k} "
        "passages of each leave it for each question, to be scored at the server"
    )


@dataclass(frozen=True, kw_only=True)
class Retrieval(UsualSettings):
    """Clients index documents of their own, and answer questions with scores first and with the passages that won afterwards."""

    needs: ClassVar[Sequence[Need]] = (one_task("all clients answer questions alike"),)
    gives: ClassVar[Mapping[str, bool | str]] = {
        "training": "which trains no weight",
        "updates": False,
        "prompts": "which searches for no prompt",
        "documents": True,
    }
    reveals_one_of: ClassVar[Sequence[str]] = ("scores", "embeddings")
    in_rounds: ClassVar[bool] = False
    usual: ClassVar[Mapping[str, str]] = {"backbone": "minilm-l6", "tuning": "frozen", "precision": "float32"}
    kind: Literal["retrieval"] = "retrieval"
    top_k: Few = 5  # passages of a question
    score: Score = field(default_factory=Score)
    question: SentQuestion = field(default_factory=SentQuestion)  # what clients get of a question: text, vector or noised
    fetch: Few = 0  # passages that are fetched and scored at the server before top_k are left; 0: top_k, as clients score them
    query: str | None = None  # folder of a run of task: retrieval, which embeds the questions; null: the backbone does
    share: Share = (
        "passages"  # what leaves a client: passages, snippets, answers, scores, embeddings; its own file may allow less
    )
    router: Router | None = None  # null: every client is asked
    verify: bool = False  # the server embeds what came back, and leaves out clients that stated other scores
    shared_statistics: bool = (
        False  # words are weighed by their counts over all clients, which clients then say for each question
    )
    chunk: Chunks = field(default_factory=Chunks)
    timeout_s: Number = 10.0  # that an answer is waited for
    open_s: Number = (
        0.0  # on a network: that a run stays open for questions of `rag ask` after the last one; 0: it ends with its own
    )

    def __post_init__(self) -> None:
        check_top_k(self.top_k)
        check_share(self.share)
        self.question.check(score=self.score.kind, share=self.share, shared_statistics=self.shared_statistics)
        check_fetch(self.fetch, self.share)
        if 0 < self.fetch < self.top_k:
            raise SettingError(f"fetch is at least top_k, {self.top_k}, or 0; got {self.fetch}")
        if not self.timeout_s > 0:
            raise SettingError(f"timeout_s is the seconds that an answer is waited for, above 0; got {self.timeout_s!r}")
        if self.open_s < 0:
            raise SettingError(f"open_s is the seconds that a run stays open, 0 or more; got {self.open_s!r}")
        if self.verify and self.share != "passages":
            raise SettingError(
                f"verify embeds whole passages, and share: {self.share} lets none out; choose share: passages, or leave verify out"
            )
        if self.share == "embeddings" and (self.score.kind != "dense" or self.router):
            raise SettingError(
                "share: embeddings searches vectors at the server, where there are no words, and no client is asked; set score: {kind: dense}, and "
                "leave router out"
            )

    @property
    def reveals(self) -> Collection[str]:
        """What its level of sharing lets out, and what router and common statistics of words take beside it."""
        beside = [("centroids", self.router is not None), ("term-counts", self.shared_statistics)]
        return [*REVEALS[self.share], *(word for word, revealed in beside if revealed)]

    @property
    def apart(self) -> bool:
        """Whether clients may have other embedders: each is asked in its own space, and what it gives is scored at the server."""
        return True

    def inlined(self, base: Path) -> Mapping[str, Any]:
        """Return the run that is named with a whole path: it is the server's."""
        return {} if self.query is None else {"query": str(expanded(base, self.query, "protocol.query"))}

    def for_sites(self, plain: Mapping[str, Any], *, sent: str) -> Mapping[str, Any]:
        """Return the settings without the run that embeds questions: their vectors come with the messages."""
        return {**plain, "query": None}

    @property
    def lets_out(self) -> str:
        """What leaves a client, in one line."""
        more = "; how often each word of a question occurs there, too" if self.shared_statistics else ""
        return (
            LETS_OUT[self.share].replace("at most top_k a question", f"at most {max(self.fetch, self.top_k)} a question") + more
        )
