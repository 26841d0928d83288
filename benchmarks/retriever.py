"""A retriever trained federated: LoRA on the question's side, 8 clients by title, against none; recall over the whole index, paired by question.

python benchmarks/retriever.py --data DATA --seeds 0 1 2

Titles with questions are dealt to test (9), validation (3) and training; settings were not chosen on test titles. Intervals: 2,000 bootstrap draws of
titles, then of their questions, of the difference to the untrained retriever.
"""

import argparse
import json
import tempfile
import time
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from fedtailor import Job, run
from fedtailor.learning import vectors
from fedtailor.models import choose_device, load_backbone
from fedtailor.protocols.retrieval import index_examples
from fedtailor.records import Example
from fedtailor.retrieval.embedder import Remembering, embedder_of
from fedtailor.retrieval.passages import Chunks
from fedtailor.retrieval.search import Question, Score, best_of_client
from fedtailor.tuning import attach_saved

TEST, VALIDATION, DRAWS, TOP = 9, 3, 2000, 5


def main() -> None:
    """Train with each seed, and set the recall beside that of the untrained retriever."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--questions", type=int, default=1000, help="for training, of all clients")
    parser.add_argument("--learning-rates", type=float, nargs="+", default=[1e-3])
    parser.add_argument(
        "--scales", type=float, nargs="+", default=[20.0], help="that cosines are multiplied with before the softmax"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tested", type=int, default=700, help="questions of test titles")
    given = parser.parse_args()
    torch.set_num_threads(1)
    base = Path(tempfile.mkdtemp(prefix="retriever-"))
    passages, test = write_parts(given.data / "rag", base, given.tested)
    began = time.perf_counter()
    embedder = Remembering(bare())
    index, _ = index_examples(
        [Example(id=row.id, fields={"id": row.id, "title": row.title, "text": row.text}) for row in passages.itertuples()],
        base / "index",
        embedder,
        Chunks(),
    )
    print(f"{index.size} passages embedded in {time.perf_counter() - began:.0f} s", flush=True)
    share_vectors()
    before = ranks(index, test, embedder)
    say("none", before, before, test)
    for place, (rate, scale, seed) in enumerate(product(given.learning_rates, given.scales, given.seeds)):
        began = time.perf_counter()
        done = run(job(base, given, rate, scale, seed), out=base / f"run-{place}")
        seconds = time.perf_counter() - began
        folder = done.folder / "adapter"
        after = ranks(index, test, embedder_of_adapter(folder))
        size = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
        print(
            f"learning rate {rate:g}, scale {scale:g}, seed {seed}: {seconds:.0f} s, adapter of {size:,} bytes, {done.summary['traffic']['up_bytes']:,} bytes up",
            flush=True,
        )
        columns = [name for name in done.history.columns if name == "round" or name.startswith("validation")]
        print(done.history[columns].to_string(index=False), flush=True)
        print("best round", done.summary["best_round"], flush=True)
        say(f"learning rate {rate:g}, scale {scale:g}, seed {seed}", after, before, test)


def write_parts(data: Path, base: Path, tested: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Write train, validation and test, each of titles of its own; return all passages, and the questions of test titles."""
    passages = pd.read_parquet(data / "passages.parquet")
    rows = pd.read_parquet(data / "questions.parquet").merge(passages, left_on="passage_id", right_on="id", suffixes=("", "_p"))
    titles = np.random.default_rng(0).permutation(sorted(rows.title.unique()))
    parts = {"test": titles[:TEST], "validation": titles[TEST : TEST + VALIDATION], "train": titles[TEST + VALIDATION :]}
    for part, own in parts.items():
        some = rows[rows.title.isin(own)][["question", "text", "title", "passage_id"]]
        some.to_json(base / f"{part}.jsonl", orient="records", lines=True)
    test = rows[rows.title.isin(parts["test"])]
    return passages, test.sample(min(tested, len(test)), random_state=0)


def job(base: Path, given: argparse.Namespace, rate: float, scale: float, seed: int) -> Job:
    """Return the job."""
    return Job(
        name="retriever",
        base=base,
        backbone="minilm-l6",
        task={"kind": "retrieval", "scale": scale},
        data={"train": "train.jsonl", "validation": "validation.jsonl", "limit": {"train": given.questions, "validation": 200}},
        clients={"count": 8, "partition": {"kind": "natural", "by": "title", "deal": True}, "test_share": 0.0},
        protocol={"kind": "averaging", "local": {"learning_rate": rate, "batch_size": 16}},
        tuning={"kind": "lora", "rank": 8, "alpha": 16},
        stop={"rounds": given.rounds, "patience": None},
        precision="float32",
        threads=1,
        seed=seed,
    )


def bare() -> Any:
    """Return MiniLM as an embedder."""
    loaded = load_backbone("minilm-l6", kind="embedder", device=choose_device("cpu"), base=Path(), seed=0, trust_times=True)
    return embedder_of(loaded.model, loaded.processor)


def embedder_of_adapter(folder: Path) -> Any:
    """Return MiniLM with a run's adapter."""
    loaded = load_backbone("minilm-l6", kind="embedder", device=choose_device("cpu"), base=Path(), seed=0, trust_times=True)
    found = embedder_of(loaded.model, loaded.processor)
    attach_saved(loaded.model, folder).eval()  # PEFT puts its layers into the model itself
    return found


def share_vectors() -> None:
    """Let all runs of this process embed a passage once."""
    known: dict[str, np.ndarray] = {}
    make = vectors.Vectors.__init__

    def shared(self: vectors.Vectors, model: Any, tokenizer: Any) -> None:
        make(self, model, tokenizer)
        self._frozen = known

    vectors.Vectors.__init__ = shared  # type: ignore[method-assign]


def ranks(index: Any, test: pd.DataFrame, embedder: Any) -> dict[str, np.ndarray]:
    """Return, for dense and hybrid, the place of the right passage among the first TOP from 0; TOP: it is not there."""
    texts = test.question.tolist()
    asked = [Question(text=text, vector=vector) for text, vector in zip(texts, embedder.embed(texts), strict=True)]
    documents = index.passages.column("document").to_pylist()
    found = {}
    for kind in ("dense", "hybrid"):
        best = best_of_client(index, asked, TOP, Score(kind=kind))
        places = []
        for some, right in zip(best, test.passage_id, strict=True):
            names = [documents[one.row] for one in some]
            places.append(names.index(right) if right in names else TOP)
        found[kind] = np.array(places)
    return found


def say(name: str, after: dict[str, np.ndarray], before: dict[str, np.ndarray], test: pd.DataFrame) -> None:
    """Print recall, and its difference to the untrained retriever with its interval."""
    for kind in after:
        for k in (1, TOP):
            now, then = ((places[kind] < k).astype(float) for places in (after, before))
            low, high = interval(now - then, test.title.to_numpy())
            print(
                json.dumps(
                    {"who": name, "score": kind, f"recall@{k}": round(now.mean(), 4), "gain": round((now - then).mean(), 4)}
                    | {"interval": [round(low, 4), round(high, 4)], "questions": len(now)}
                ),
                flush=True,
            )


def interval(differences: np.ndarray, titles: np.ndarray) -> tuple[float, float]:
    """Return the middle 95 % of the mean over bootstrap draws of titles and of their questions."""
    draw, groups = np.random.default_rng(0), [differences[titles == title] for title in np.unique(titles)]
    means = []
    for _ in range(DRAWS):
        chosen = [groups[k] for k in draw.integers(len(groups), size=len(groups))]
        means.append(np.concatenate([draw.choice(some, len(some)) for some in chosen]).mean())
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


if __name__ == "__main__":
    main()
