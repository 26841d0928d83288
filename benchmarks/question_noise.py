"""What noise on a question's vector costs, and what it hides: recall beside the share of questions that are identified.

Usage: question_noise.py COLLECTION QUESTIONS [--epsilons 1000 400 300 200 100 50] [--fetch 0 50] [--seeds 0 1 2]. COLLECTION is what
`fedtailor rag index` made, QUESTIONS a table with question and passage_id. Scores are dense. Writes benchmarks/out/question_noise.json.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import numpy as np
from timing import write

from fedtailor.retrieval import Score, SentQuestion, evaluate, open_collection, question
from fedtailor.retrieval.embedder import MiniLm, Remembering
from fedtailor.retrieval.evaluate import read_questions


@dataclass(frozen=True, kw_only=True)
class Row:
    """Means over questions."""

    epsilon: float | None  # None: the vector without noise
    fetch: int
    seed: int
    recall_1: float
    recall_5: float
    identified: float


def main() -> None:
    """Print a row for each epsilon, number of fetched passages and seed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("collection", type=Path)
    parser.add_argument("questions", type=Path)
    parser.add_argument("--epsilons", type=float, nargs="*", default=[1000, 400, 300, 200, 100, 50])
    parser.add_argument("--fetch", type=int, nargs="*", default=[0, 50])
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    given = parser.parse_args()
    known, embedder, rows = read_questions(given.questions), Remembering(MiniLm()), []
    for epsilon in [None, *given.epsilons]:
        sent = SentQuestion(kind="vector") if epsilon is None else SentQuestion(kind="noised", epsilon=epsilon)
        for fetch in given.fetch:
            for seed in given.seeds[:1] if epsilon is None else given.seeds:
                with mock.patch.object(question.SentQuestion.vectors, "__defaults__", (np.random.default_rng(seed).bytes,)):
                    federation = open_collection(
                        given.collection, embedder=embedder, score=Score(kind="dense"), question=sent, fetch=fetch
                    )
                    found = evaluate(federation, known, top_k=5).metrics
                rows.append(
                    Row(
                        epsilon=epsilon,
                        fetch=fetch,
                        seed=seed,
                        recall_1=found["recall@1"],
                        recall_5=found["recall@5"],
                        identified=found["identified"],
                    )
                )
                print(rows[-1], flush=True)
    write("question_noise", [vars(row) for row in rows])


if __name__ == "__main__":
    main()
