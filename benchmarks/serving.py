"""How long does an answer of `rag serve` take, and how much of it is the service's own? The rag set dealt to 8 clients, by title.

Usage: python benchmarks/serving.py --data DATA [--passages 200] [--questions 200]
DATA holds rag/passages.parquet and rag/questions.parquet. Questions are asked one after another over the socket and over loopback, with MiniLM as embedder
and the best sentence as reader. Printed: p50 and p95 of a whole request, of what the service spends on it, and of the difference, its own overhead; then with
one client stopped.
"""

import argparse
import http.client
import json
import socket
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from threading import Thread

import numpy as np
import pandas as pd

from fedtailor.job import Job
from fedtailor.retrieval.readers import BestSentence
from fedtailor.retrieval.service import Service
from fedtailor.retrieval.serving import local_socket, loopback
from fedtailor.running.retrieving import connect, index

CLIENTS = 8


def measure(way: str, connection: Callable[[], http.client.HTTPConnection], questions: list[str]) -> None:
    """Ask the questions one after another and print what they took."""
    whole, inside = [], []
    opened = connection()
    for question in questions:
        began = time.perf_counter()
        opened.request("POST", "/ask", json.dumps({"question": question}), {"Content-Type": "application/json"})
        found = json.loads(opened.getresponse().read())
        whole.append(time.perf_counter() - began)
        inside.append(found["seconds"])
    opened.close()
    parts = {"request": np.array(whole), "in the service": np.array(inside), "overhead": np.array(whole) - np.array(inside)}
    figures = ", ".join(f"{name} {np.median(a) * 1e3:.1f} / {np.quantile(a, 0.95) * 1e3:.1f}" for name, a in parts.items())
    print(f"{way}: {len(questions)} questions, ms p50 / p95: {figures}", flush=True)


def main() -> None:
    """Index, serve, ask."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--passages", type=int, default=200)
    parser.add_argument("--questions", type=int, default=200)
    given = parser.parse_args()
    base = Path(tempfile.mkdtemp(prefix="serving-"))
    table = pd.read_parquet(given.data / "rag/passages.parquet")
    table.sample(given.passages, random_state=0).to_parquet(base / "passages.parquet")
    questions = pd.read_parquet(given.data / "rag/questions.parquet").question.sample(given.questions, random_state=0).tolist()
    job = Job(
        name="serving",
        base=base,
        task={"kind": "question-answering"},
        data={"train": "passages.parquet"},
        clients={"count": CLIENTS, "partition": {"kind": "natural", "by": "title"}},
        protocol={"kind": "retrieval", "verify": True},
    )
    began = time.perf_counter()
    index(job)
    print(f"{given.passages} passages indexed in {time.perf_counter() - began:.0f} s", flush=True)
    federation = connect(job)
    service = Service(federation=federation, top_k=5, reader=BestSentence(embedder=federation.embedder))
    place = base / "ask.sock"

    def over_socket() -> http.client.HTTPConnection:
        found = http.client.HTTPConnection("localhost")
        found.sock = socket.socket(socket.AF_UNIX)
        found.sock.connect(str(place))
        return found

    with local_socket(service, place) as local, loopback(service, "127.0.0.1:0") as here:
        for server in (local, here):
            Thread(target=server.serve_forever, daemon=True).start()
        measure("warm-up", over_socket, questions[:5])
        measure("socket", over_socket, questions)
        measure("loopback", lambda: http.client.HTTPConnection("127.0.0.1", here.server_address[1]), questions)
        name = next(iter(federation.halves))
        federation.halves[name].answer = lambda asked: 1 / 0  # type: ignore[method-assign]
        measure("socket, one client stopped", over_socket, questions[: given.questions // 4])
        for server in (local, here):
            server.shutdown()


main()
