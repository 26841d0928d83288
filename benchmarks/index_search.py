"""Exact search of an index beside faiss Flat on the same vectors: milliseconds a question, and whether both find the same.

python benchmarks/index_search.py --passages 100000

Vectors are random directions of 384 numbers in float32, in memory and memory-mapped as an index has them; one thread, top 10, questions one after another.
faiss is left out, with a line that says so, where it is not installed.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import torch

from fedtailor.retrieval.index import Index, Meta
from fedtailor.retrieval.search import Question, Score, best_of_client

WIDTH, TOP = 384, 10


def main() -> None:
    """Search, and print a line each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--passages", type=int, default=100_000)
    parser.add_argument("--questions", type=int, default=200)
    given = parser.parse_args()
    torch.set_num_threads(1)
    draw = np.random.default_rng(0)
    passages, questions = (
        unit(draw.standard_normal((count, WIDTH), dtype=np.float32)) for count in (given.passages, given.questions)
    )
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "vectors.npy", passages)
        mapped = np.load(Path(folder) / "vectors.npy", mmap_mode="r", allow_pickle=False)
        index = index_of(mapped)
        exact = measure("exact, memory-mapped", lambda question: rows_of(index, question), questions)
        try:
            import faiss
        except ImportError:
            print("faiss Flat: left out, faiss is not installed: pip install faiss-cpu")
            return
        faiss.omp_set_num_threads(1)
        flat = faiss.IndexFlatIP(WIDTH)
        flat.add(passages)
        other = measure("faiss Flat", lambda question: flat.search(question[None], TOP)[1][0], questions)
    same = np.mean([len(set(one) & set(two)) / TOP for one, two in zip(exact[1], other[1], strict=True)])
    ratios = [own / theirs for own, theirs in zip(exact[0], other[0], strict=True)]
    print(
        f"exact / faiss: p50 {ratios[0]:.2f}, p95 {ratios[1]:.2f}, processor {ratios[2]:.2f}; recall@{TOP} of each other {same:.3f}"
    )


def unit(vectors: np.ndarray) -> np.ndarray:
    """Return the vectors with length 1."""
    found: np.ndarray = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return found


def index_of(vectors: np.ndarray) -> Index:
    """Return an index with these vectors; its passages have ids alone."""
    count = len(vectors)
    meta = Meta(
        format=1,
        version="v000001",
        embedder="random",
        embedder_sha256="",
        width=WIDTH,
        tokens=200,
        overlap=40,
        passages=count,
        documents=count,
        sizes={},
    )
    keys = np.random.default_rng(1).integers(0, 256, size=(count, 32), dtype=np.uint8)
    passages = pyarrow.table({"id": [str(row) for row in range(count)]})
    nothing: Any = None
    return Index(client="c", meta=meta, passages=passages, keys=keys, vectors=vectors, terms=nothing, files={})


def rows_of(index: Index, question: np.ndarray) -> list[int]:
    """Return the rows of the best passages, as a client finds them."""
    (found,) = best_of_client(index, [Question(text="", vector=question)], TOP, Score(kind="dense"))
    return [one.row for one in found]


def measure(
    name: str, search: Callable[[np.ndarray], Any], questions: np.ndarray
) -> tuple[tuple[float, float, float], list[Any]]:
    """Return the median and 95th percentile of milliseconds a question, the mean of the processor's, and what was found."""
    for question in questions[:5]:
        search(question)
    times, found, began = [], [], time.process_time()
    for question in questions:
        start = time.perf_counter()
        found.append(search(question))
        times.append((time.perf_counter() - start) * 1000)
    processor = (time.process_time() - began) * 1000 / len(questions)
    low, high = (float(value) for value in np.percentile(times, [50, 95]))
    print(f"{name}: p50 {low:.1f} ms, p95 {high:.1f} ms, processor {processor:.1f} ms a question", flush=True)
    return (low, high, processor), found


if __name__ == "__main__":
    main()
