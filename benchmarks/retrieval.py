"""Federated retrieval against one index of the same passages: ranking, weight of BM25, router, a client that lies, levels of sharing.

Usage: retrieval.py DATA --work FOLDER [--questions 1000] [--answers 300] [--seeds 0 1 2] [--only ranking sharing ...]. DATA holds passages.parquet (id, title, text)
and questions.parquet (question, passage_id, answers). Titles are dealt to clients by seed so that each has about as many passages; the
weight of BM25 is chosen on the questions of seven titles, and figures are of the others. Vectors are kept in FOLDER, so a second start
begins at once. Writes benchmarks/out/retrieval.json.
"""

import argparse
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from timing import write

from fedtailor.messages import Record
from fedtailor.retrieval import Federation, Score, evaluate
from fedtailor.retrieval.client import RetrievalClient
from fedtailor.retrieval.documents import Document, Reading, SourceFile
from fedtailor.retrieval.embedder import MiniLm
from fedtailor.retrieval.evaluate import evaluate_alone, read_questions
from fedtailor.retrieval.index import Index, open_index
from fedtailor.retrieval.messages import Ask, Catalogue, Fetch
from fedtailor.retrieval.readers import BestSentence
from fedtailor.retrieval.router import Router
from fedtailor.retrieval.share import LETS_OUT
from fedtailor.retrieval.tally import Known
from fedtailor.retrieval.update import update_index

WEIGHTS = (0.01, 0.02, 0.03, 0.05, 0.1)
VALIDATION_TITLES = 7
TOP_K = 10


class Remembered(MiniLm):
    """MiniLM that keeps every vector in two files."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._files = folder / "keys", folder / "vectors"
        for file in self._files:
            file.touch()
        keys = self._files[0].read_bytes()
        vectors = np.fromfile(self._files[1], dtype="<f4").reshape(-1, self.width)[: len(keys) // 32]
        self._known = {keys[32 * n : 32 * n + 32]: vector for n, vector in enumerate(vectors)}

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        keys = [hashlib.sha256(text.encode()).digest() for text in texts]
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in self._known}
        if missing:
            vectors = super().embed(list(missing.values()))
            with self._files[1].open("ab") as file:
                file.write(vectors.astype("<f4").tobytes())
            with self._files[0].open("ab") as file:
                file.write(b"".join(missing))
            self._known |= dict(zip(missing, vectors, strict=True))
        return np.array([self._known[key] for key in keys], dtype=np.float32).reshape(len(texts), self.width)


class Liar(RetrievalClient):
    """States for each passage the cosine of the question itself, and all words that there can be."""

    def _score(self, asked: Ask) -> Any:
        honest = super()._score(asked)
        return replace(honest, cosines=torch.ones_like(honest.cosines), bm25=torch.full_like(honest.bm25, 30.0))


@dataclass(frozen=True, kw_only=True)
class Setting:
    """The passages, the questions, and where indexes are made."""

    passages: pd.DataFrame
    questions: Sequence[Known]
    titles: Mapping[str, str]  # of passages, by id
    embedder: Remembered
    folder: Path

    def indexes(self, groups: Mapping[str, pd.DataFrame], name: str) -> dict[str, Index]:
        """Return an index of each group."""
        found = {}
        for client, rows in groups.items():
            documents = [Document(id=row.id, title=row.title, text=row.text) for row in rows.itertuples()]
            file = SourceFile(
                name="rows", sha256=f"{name}-{len(rows)}", read=lambda some=documents: Reading(documents=some, notes=())
            )
            update_index(self.folder / name / client, [file], self.embedder)
            found[client] = open_index(self.folder / name / client, client)
        return found

    def by_title(self, count: int, seed: int) -> dict[str, Index]:
        """Return clients that hold whole titles, each about as many passages."""
        sizes = self.passages.title.value_counts()
        order = np.random.default_rng(seed).permutation(sizes.index.sort_values().to_numpy())
        order = sorted(order, key=lambda title: -sizes[title])  # stable: those of one size stay as drawn
        owned: dict[str, list[str]] = {f"c{k:02d}": [] for k in range(count)}
        held = dict.fromkeys(owned, 0)
        for title in order:
            client = min(held, key=lambda name: held[name])
            owned[client].append(title)
            held[client] += sizes[title]
        groups = {name: self.passages[self.passages.title.isin(mine)] for name, mine in owned.items()}
        return self.indexes(groups, f"title-{count}-{seed}")

    def at_random(self, count: int, seed: int) -> dict[str, Index]:
        """Return clients that hold passages dealt at random."""
        order = np.random.default_rng(seed).permutation(len(self.passages))
        groups = {f"c{k:02d}": self.passages.iloc[np.sort(order[k::count])] for k in range(count)}
        return self.indexes(groups, f"random-{count}-{seed}")


def figures(federation: Federation, questions: Sequence[Known], reader: Any = None, top_k: int = TOP_K) -> dict[str, float]:
    """Return the figures of an evaluation."""
    found = evaluate(federation, questions, reader, top_k=top_k)
    spent = {"asked": found.asked, "down_bytes": found.down_bytes, "up_bytes": found.up_bytes, "texts": found.texts}
    print("   ", {name: round(value, 4) for name, value in (found.metrics | spent).items()}, *found.notes[:3], flush=True)
    return {**found.metrics, **spent}


def firsts(federation: Federation, questions: Sequence[Known]) -> np.ndarray:
    """Return for each question whether the right passage came first."""
    found = federation.search([one.question for one in questions], 1)
    return np.array([
        bool(one.hits) and one.hits[0].passage.document == known.passage for one, known in zip(found, questions, strict=True)
    ], dtype=float)  # fmt: skip


def interval(gain: np.ndarray, groups: Sequence[str], draws: int = 2000) -> dict[str, float]:
    """Return the mean of paired differences with its 95 % bootstrap interval over groups."""
    sums = pd.DataFrame({"gain": gain, "group": groups}).groupby("group").gain.agg(["sum", "count"]).to_numpy()
    chosen = np.random.default_rng(0).integers(0, len(sums), (draws, len(sums)))
    means = sums[chosen, 0].sum(axis=1) / sums[chosen, 1].sum(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return {"mean": float(gain.mean()), "low": float(low), "high": float(high)}


def ranking(setting: Setting, args: argparse.Namespace) -> dict[str, Any]:
    """Return federated retrieval beside one index, and the weight of BM25 chosen on validation titles."""
    whole = setting.indexes({"all": setting.passages}, "all")
    clients = setting.by_title(8, 0)
    asked = sorted({setting.titles[one.passage] for one in setting.questions})
    chosen = set(np.random.default_rng(0).permutation(asked)[:VALIDATION_TITLES])
    validation = [one for one in setting.questions if setting.titles[one.passage] in chosen]
    test = [one for one in setting.questions if setting.titles[one.passage] not in chosen]
    made = {weight: Federation(clients=clients, embedder=setting.embedder, score=Score(bm25=weight)) for weight in WEIGHTS}
    by_weight = {weight: float(firsts(made[weight], validation).mean()) for weight in WEIGHTS}
    best = max(by_weight, key=lambda weight: by_weight[weight])
    print("weights", by_weight, "->", best, flush=True)
    found: dict[str, Any] = {"validation recall@1 by weight": by_weight, "weight": best, "test questions": len(test)}
    for kind in ("dense", "bm25", "hybrid"):
        score = Score(kind=kind, bm25=best)
        for name, some, more in (
            ("one", whole, {}),
            ("8 clients", clients, {}),
            ("8 clients, shared counts", clients, {"shared_statistics": True}),
        ):
            if not more or kind != "dense":
                print(kind, name)
                federation = Federation(clients=some, embedder=setting.embedder, score=score, **more)
                found[f"{kind}, {name}"] = figures(federation, test)
    dense = firsts(Federation(clients=clients, embedder=setting.embedder, score=Score(kind="dense")), test)
    hybrid = firsts(Federation(clients=clients, embedder=setting.embedder, score=Score(bm25=best)), test)
    found["hybrid - dense"] = interval(hybrid - dense, [setting.titles[one.passage] for one in test])
    return found


def routing(setting: Setting, args: argparse.Namespace) -> dict[str, Any]:
    """Return the share of clients asked, and recall@5 beside that of asking all."""
    found: dict[str, Any] = {}
    questions = setting.questions[:: max(1, len(setting.questions) // args.questions)]
    for name, make, count in (
        ("by title", setting.by_title, 8),
        ("by title", setting.by_title, 24),
        ("at random", setting.at_random, 8),
    ):
        for seed in args.seeds:
            clients = make(count, seed)
            full = figures(Federation(clients=clients, embedder=setting.embedder), questions, top_k=5)
            routing = Router().over(clients, seed=seed)
            routed = figures(Federation(clients=clients, embedder=setting.embedder, routing=routing), questions, top_k=5)
            found[f"{count} {name}, seed {seed}"] = {
                "asked": routed["asked"] / count,
                "recall@5": routed["recall@5"],
                "of full": routed["recall@5"] / full["recall@5"],
            }
            print(count, name, seed, found[f"{count} {name}, seed {seed}"], flush=True)
    return found


def lying(setting: Setting, args: argparse.Namespace) -> dict[str, Any]:
    """Return recall@5 with a client that forges scores and centroids, without `verify` and with it, and without that client."""
    found: dict[str, Any] = {}
    questions = setting.questions[:: max(1, len(setting.questions) // args.questions)]
    for seed in args.seeds:
        clients = setting.by_title(8, seed)
        liar = sorted(clients)[seed % len(clients)]
        routing = Router().over(clients, seed=seed)
        every = np.concatenate([one.vectors for one in routing.centroids.values()])
        forged = replace(routing, centroids={**routing.centroids, liar: replace(routing.centroids[liar], vectors=every)})
        others = {name: index for name, index in clients.items() if name != liar}
        honest = Federation(clients=others, embedder=setting.embedder, routing=Router().over(others, seed=seed))
        rows = {"without that client": figures(honest, questions, top_k=5)["recall@5"]}
        for verified in (False, True):
            federation = Federation(clients=clients, embedder=setting.embedder, routing=forged, verify=verified)
            federation.halves[liar] = Liar(
                index=clients[liar], embedder=setting.embedder, reader=BestSentence(embedder=setting.embedder)
            )
            rows["with verify" if verified else "without verify"] = figures(federation, questions, top_k=5)["recall@5"]
            rows["named"] = liar in " ".join(federation.server.standing.notes())
        share = np.mean([one.passage in set(others_documents(others)) for one in questions])
        rows["without that client"] *= share
        found[f"seed {seed}"] = rows
        print(seed, rows, flush=True)
    return found


def others_documents(clients: Mapping[str, Index]) -> list[str]:
    """Return the ids of all documents of some clients."""
    return [id for index in clients.values() for id in index.passages.column("document").to_pylist()]


def sharing(setting: Setting, args: argparse.Namespace) -> dict[str, Any]:
    """Return recall, F1 of answers, bytes and texts that leave, by level; and the recall of each client alone."""
    clients = setting.by_title(8, 0)
    questions = setting.questions[:: max(1, len(setting.questions) // args.answers)][: args.answers]
    reader = BestSentence(embedder=setting.embedder)
    found: dict[str, Any] = {}
    for share in LETS_OUT:
        print(share)
        score = Score(kind="dense") if share == "embeddings" else Score()
        federation = Federation(clients=clients, embedder=setting.embedder, share=share, score=score)
        found[share] = {**figures(federation, questions, reader, top_k=5), "catalogue bytes": catalogue_bytes(federation)}
    alone = evaluate_alone(Federation(clients=clients, embedder=setting.embedder), questions, top_k=5)
    found["alone"] = {name: {metric: one[metric] for metric in ("recall@1", "recall@5")} for name, one in alone.items()}
    print(found["alone"], flush=True)
    found["one phase, bytes up"] = one_phase(Federation(clients=clients, embedder=setting.embedder), questions)
    return found


def catalogue_bytes(federation: Federation) -> int:
    """Return the bytes that clients have sent once, before the first question."""
    from fedtailor.messages import encode
    from fedtailor.messages import write as written
    from fedtailor.retrieval.messages import Describe

    catalogues: Sequence[Record] = [half.answer(Describe(count=0, smallest=1)) for half in federation.halves.values()]
    assert all(isinstance(one, Catalogue) for one in catalogues)
    return sum(len(encode(written(one))) for one in catalogues)


def one_phase(federation: Federation, questions: Sequence[Known]) -> float:
    """Return the bytes up a question if each client sent the texts of all that it scores, as it would without a second exchange."""
    before = federation.traffic.up
    for one in questions:
        vectors = torch.from_numpy(federation.embedder.embed([one.question]))
        asked = {name: Ask(exchange=-1, most=5, questions=[one.question], vectors=vectors) for name in federation.clients}
        counts = {name: answer.counts[0] for name, answer in federation.send(asked).items()}
        federation.send({
            name: Fetch(exchange=-1, questions=[0] * n, places=list(range(n)), whole=[1] * n) for name, n in counts.items()
        })  # fmt: skip
    return (federation.traffic.up - before) / len(questions)


STUDIES = {"ranking": ranking, "sharing": sharing, "routing": routing, "lying": lying}


def main() -> None:
    """Run the studies and write what they found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--questions", type=int, default=1000)
    parser.add_argument("--answers", type=int, default=300)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", choices=STUDIES, default=list(STUDIES))
    args = parser.parse_args()
    passages = pd.read_parquet(args.data / "passages.parquet")
    setting = Setting(
        passages=passages,
        questions=read_questions(args.data / "questions.parquet"),
        titles=dict(zip(passages.id, passages.title, strict=True)),
        embedder=Remembered(args.work / "vectors"),
        folder=args.work,
    )
    write("retrieval", {name: STUDIES[name](setting, args) for name in args.only})


if __name__ == "__main__":
    main()
