"""Sums over questions whose answers are known: how well passages are found, and questions answered."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..metrics.answers import answer_f1, contains_answer, exact_match, recall_at, reciprocal_rank
from .asking import Found
from .index import key_of
from .passages import Passage
from .readers import Answer
from .search import Hit

RECALL_AT = (1, 5, 10)
ANSWERED = (("exact_match", exact_match), ("f1", answer_f1), ("contains", contains_answer))
Held = Mapping[str, set[bytes]]  # id of a document or passage -> keys of its texts


@dataclass(frozen=True, kw_only=True)
class Known:
    """A question with what is known of its answer."""

    question: str
    answers: Sequence[str]  # none: not known
    passage: str  # id of the document or passage that holds it; empty: not known


@dataclass(kw_only=True)
class Tally:
    """Sums so far; a metric is absent where nothing is known to compute it from."""

    top_k: int
    questions: int = 0
    answerable: int = 0  # whose passage some client holds, as far as is known: recall is over these
    asked: int = 0  # clients, over all questions
    sums: dict[str, float] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)  # questions that a sum is over
    notes: dict[str, int] = field(default_factory=dict)  # what was said of clients -> in how many questions

    def take(
        self,
        known: Known,
        found: Found,
        answer: Answer | None,
        *,
        passages: Sequence[Passage],
        held: Held | None,
        cited: bool,
        identified: bool | None = None,
    ) -> None:
        """Add one question.

        Args:
            passages: of the hits, as far as they are known here.
            held: what clients hold; None: not known here, as on a network.
            cited: whether the answer is held against the sentence that it is from.
            identified: whether the question is identified by what went out; None: its text went out.
        """
        self.questions += 1
        self.asked += len(found.asked)
        self.notes = dict(Counter(self.notes) + Counter(dict.fromkeys(found.notes, 1)))
        if known.passage and (held is None or known.passage in held):
            self.answerable += 1
            if any(passage.id for passage in passages) or not found.hits:
                self._found(known.passage, passages, found.hits, held)
        if identified is not None:
            self._add("identified", float(identified))
        if known.answers and answer is not None:
            for name, metric in ANSWERED:
                self._add(name, metric(answer.text, known.answers))
            if cited:
                self._add("supported", float(answer.supported))

    def metrics(self) -> dict[str, float]:
        """Return the means over questions."""
        return {name: total / self.counts[name] for name, total in self.sums.items()}

    def _found(self, passage: str, passages: Sequence[Passage], hits: Sequence[Hit], held: Held | None) -> None:
        keys = set() if held is None else held[passage]
        is_right = [_is(one, hit, passage, keys) for one, hit in zip(passages, hits, strict=True)]
        names = [passage if right else one.id for right, one in zip(is_right, passages, strict=True)]
        for k in (k for k in RECALL_AT if k <= self.top_k):
            self._add(f"recall@{k}", recall_at(names, {passage}, k))
        self._add("mrr", reciprocal_rank(names, {passage}))

    def _add(self, name: str, value: float) -> None:
        self.sums[name] = self.sums.get(name, 0.0) + value
        self.counts[name] = self.counts.get(name, 0) + 1


def _is(found: Passage, hit: Hit, passage: str, keys: set[bytes]) -> bool:
    """Return whether what was found is a passage or of a document, or has a twin that is."""
    if passage in (found.id, found.document) or (found.text and key_of(found.text) in keys):
        return True
    return any(passage in (id, id.rpartition("#")[0], id.rpartition("#")[0].partition(":")[2]) for _, id in hit.twins)
