"""BM25: passages found by the words that they share with a question.

Source: Robertson and Zaragoza, 2009, "The Probabilistic Relevance Framework: BM25 and Beyond", equation 3.15.
Difference: idf = log(1 + (N - n + 0.5) / (n + 0.5)), as Lucene has it, which is never negative. No word is left out as too common; its idf says so.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError

# N passages, V words, P postings: pairs of a word and a passage that holds it

K1, B = 1.5, 0.75
RUN = re.compile(r"[^\W_]+")
UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
PIECE = re.compile(f"[{UNSPACED}]|[^{UNSPACED}]+")
FILES = ("words.txt", "starts.npy", "rows.npy", "counts.npy", "lengths.npy")


def words_of(text: str) -> list[str]:
    """Return the words of a text without case; letters in scripts without spaces are a word each."""
    if text.isascii():
        return RUN.findall(text.lower())
    runs = RUN.findall(unicodedata.normalize("NFKC", text).casefold())
    return [piece for run in runs for piece in ([run] if run.isascii() else PIECE.findall(run))]


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """What BM25 knows of a collection; of several clients these add up."""

    passages: int
    words: int  # in all passages, each time that they occur
    holding: Mapping[str, int]  # word -> passages that hold it

    def __add__(self, other: "Statistics") -> "Statistics":
        """Return the statistics of both collections together."""
        return Statistics(
            passages=self.passages + other.passages,
            words=self.words + other.words,
            holding=dict(Counter(self.holding) + Counter(other.holding)),
        )


@dataclass(frozen=True, kw_only=True)
class Terms:
    """Which words stand in which passages, by word."""

    words: Mapping[str, int]  # word -> its number, in the order of words
    starts: np.ndarray  # int64 [V + 1]: where the postings of each word begin
    rows: np.ndarray  # int32 [P]: passages, ascending within a word
    counts: np.ndarray  # float32 [P]: how often the word stands in the passage
    lengths: np.ndarray  # int32 [N]: words of each passage

    def scores(self, question: str, known: Statistics | None = None) -> np.ndarray:
        """Return the BM25 score of each passage, float64 [N]; 0 where it shares no word with the question.

        Args:
            known: statistics to weigh words by, of this collection if left out. Scores of several clients compare exactly where all use the same.
        """
        found = np.zeros(len(self.lengths))
        passages = known.passages if known else len(self.lengths)
        total = known.words if known else int(self.lengths.sum(dtype=np.int64))
        if not total:
            return found
        relative = self.lengths * (passages / total)
        for word in dict.fromkeys(words_of(question)):
            place = self.words.get(word)
            if place is None:
                continue
            begin, end = int(self.starts[place]), int(self.starts[place + 1])
            rows, counts = self.rows[begin:end], self.counts[begin:end].astype(np.float64)
            holding = known.holding.get(word, 0) if known else end - begin
            weight = np.log1p((passages - holding + 0.5) / (holding + 0.5))
            found[rows] += weight * counts * (K1 + 1) / (counts + K1 * (1 - B + B * relative[rows]))
        return found

    def statistics(self, question: str) -> Statistics:
        """Return the statistics of this collection for the words of a question."""
        places = {word: self.words[word] for word in words_of(question) if word in self.words}
        holding = {word: int(self.starts[place + 1] - self.starts[place]) for word, place in places.items()}
        return Statistics(passages=len(self.lengths), words=int(self.lengths.sum(dtype=np.int64)), holding=holding)


def count_terms(texts: Iterable[str]) -> Terms:
    """Return the words of texts."""
    numbers: dict[str, int] = {}
    rows: list[int] = []
    columns: list[int] = []
    counts: list[int] = []
    lengths: list[int] = []
    for row, text in enumerate(texts):
        found = Counter(words_of(text))
        lengths.append(found.total())
        for word, count in found.items():
            rows.append(row)
            columns.append(numbers.setdefault(word, len(numbers)))
            counts.append(count)
    return _ordered(
        numbers, np.array(columns, dtype=np.int64), np.array(rows, dtype=np.int32), np.array(counts), np.array(lengths)
    )


def update_terms(old: Terms, kept: Sequence[int], texts: Iterable[str]) -> Terms:
    """Return the words of passages of which some are kept, in their order, and others are added behind them.

    Only the added texts are read; the result is that of `count_terms` over all of them.

    Args:
        kept: rows of `old`, each once.
    """
    added = count_terms(texts)
    moved = np.full(len(old.lengths), -1, dtype=np.int32)
    moved[np.asarray(kept, dtype=np.int64)] = np.arange(len(kept), dtype=np.int32)
    numbers = dict(old.words)
    renumbered = np.array([numbers.setdefault(word, len(numbers)) for word in added.words], dtype=np.int64)
    stays = moved[old.rows] >= 0
    columns = np.concatenate([_columns(old.starts)[stays], renumbered[_columns(added.starts)]])
    rows = np.concatenate([moved[old.rows[stays]], added.rows + np.int32(len(kept))])
    counts = np.concatenate([old.counts[stays], added.counts])
    lengths = np.concatenate([old.lengths[np.asarray(kept, dtype=np.int64)], added.lengths])
    return _ordered(numbers, columns, rows, counts, lengths)


def _columns(starts: np.ndarray) -> np.ndarray:
    return np.repeat(np.arange(len(starts) - 1), np.diff(starts))


def _ordered(numbers: Mapping[str, int], columns: np.ndarray, rows: np.ndarray, counts: np.ndarray, lengths: np.ndarray) -> Terms:
    """Return postings by word and passage, words in alphabetical order, those that nothing holds left out."""
    present = np.zeros(len(numbers), dtype=bool)
    present[columns] = True
    words = sorted(word for word, number in numbers.items() if present[number])
    place = np.zeros(len(numbers), dtype=np.int64)
    place[[numbers[word] for word in words]] = np.arange(len(words))
    columns = place[columns]
    order = np.lexsort((rows, columns))
    starts = np.zeros(len(words) + 1, dtype=np.int64)
    np.cumsum(np.bincount(columns, minlength=len(words)), out=starts[1:])
    return Terms(
        words={word: number for number, word in enumerate(words)},
        starts=starts,
        rows=rows[order].astype(np.int32),
        counts=counts[order].astype(np.float32),
        lengths=lengths.astype(np.int32),
    )


def save_terms(terms: Terms, folder: Path) -> None:
    """Write the words to the files of a folder."""
    (folder / "words.txt").write_text("".join(f"{word}\n" for word in terms.words), encoding="utf-8")
    for name in FILES[1:]:
        np.save(folder / name, getattr(terms, name.removesuffix(".npy")), allow_pickle=False)


def open_terms(folder: Path, passages: int) -> Terms:
    """Return what `save_terms` wrote; its arrays are memory-mapped.

    Raises:
        DataError: if the files do not fit each other, or the number of passages.
    """
    words = (folder / "words.txt").read_text(encoding="utf-8").split("\n")[:-1]
    found: dict[str, Any] = {
        name.removesuffix(".npy"): np.load(folder / name, mmap_mode="r", allow_pickle=False) for name in FILES[1:]
    }
    sizes = (len(found["starts"]), len(found["rows"]), len(found["counts"]), len(found["lengths"]))
    expected = (len(words) + 1, int(found["starts"][-1]), int(found["starts"][-1]), passages)
    if sizes != expected:
        raise DataError(
            f"the words of the index in {folder} have sizes {sizes}, expected {expected}: a file is damaged; index again"
        )
    return Terms(words={word: number for number, word in enumerate(words)}, **found)
