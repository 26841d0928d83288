"""How far does a soft prompt come by scores alone, and how far by gradients, at equal forward passes? A few intents of Banking77.

Usage: python benchmarks/black_box.py --data DATA --way full|diagonal|none|gradient [--seed 0] [--intents 3] [--evaluations 400]
DATA holds banking77/train.parquet, test.parquet (text, label) and labels.json. The seed draws the intents, the texts and the division among 2 clients.
Both ways search 8 vectors behind the same texts by the same loss, the cross-entropy over calibrated labels; an evaluation is one forward pass over all
scored texts, and a backward pass counts as two. Printed: loss and accuracy on the scored and the held-out texts as evaluations grow.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from intents import rows

from fedtailor.assembly import assemble
from fedtailor.federation import LocalFederation
from fedtailor.job import Job
from fedtailor.prompting import prompt_from_json
from fedtailor.prompting.score import Behind
from fedtailor.prompting.vectors import vectors_of
from fedtailor.protection import Gate
from fedtailor.protocols.prompting.client import Scoring
from fedtailor.tuning import tensor_text

POPULATION, EXAMPLES, RATE = 20, 5, 0.01
TEST = 6  # held-out texts of each intent


def job_of(seed: int, covariance: str, evaluations: int, precision: str) -> Job:
    """Return the job of one search."""
    method = {"kind": "black-box", "population": POPULATION, "examples": EXAMPLES, "covariance": covariance}
    return Job.from_dict(
        {
            "name": f"black-box-{covariance}",
            "backbone": "smollm2-135m",
            "task": {"kind": "label-likelihood", "max_tokens": 48},
            "data": {"train": "given"},
            "clients": {"count": 2, "validation_share": 0.2, "test_share": 0.0, "min_examples": 6},
            "protocol": {"kind": "prompting", "method": method},
            "evaluation": {"every": 1000},
            "stop": {"rounds": max(1, evaluations // POPULATION), "patience": None, "keep": "last"},
            "precision": precision,
            "threads": 1,
            "seed": seed,
        }
    )


def measure(read: Behind, vectors: torch.Tensor) -> tuple[float, float]:
    """Return loss and accuracy behind these vectors."""
    score = read.score(vectors)
    return score.loss, score.right / score.examples


def main() -> None:
    """Print a line now and then."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--way", choices=["full", "diagonal", "none", "gradient"], required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--intents", type=int, default=3)
    parser.add_argument("--evaluations", type=int, default=400)
    parser.add_argument("--precision", default="bfloat16")
    given = parser.parse_args()
    draw = np.random.default_rng(given.seed)
    chosen = sorted(draw.choice(77, given.intents, replace=False).tolist())
    data = {
        "train": rows(given.data, "train", chosen, 8, draw),
        "test": rows(given.data, "test", chosen, TEST, draw),
    }
    job = job_of(given.seed, "full" if given.way == "gradient" else given.way, given.evaluations, given.precision)
    parts = assemble(job, given=data)
    method, worker = parts.protocol.method, parts.worker
    reading = worker.prompts.read(method.prompt, calibrate=True)
    scored = [pair for own in parts.clients.values() for pair in Scoring(task=worker.task, client=own, few=1).examples(EXAMPLES)]
    held = worker.task.pairs(parts.server_test, range(len(parts.server_test)))
    train, test = reading.behind(scored), reading.behind(held)
    began = time.perf_counter()

    def say(evaluations: int, vectors: torch.Tensor) -> None:
        losses = [
            f"{part} loss {loss:.3f} accuracy {share:.3f}"
            for part, (loss, share) in (("scored", measure(train, vectors)), ("held-out", measure(test, vectors)))
        ]
        print(
            f"{given.way} seed {given.seed} after {evaluations:>5} evaluations: {'; '.join(losses)}; {time.perf_counter() - began:.0f} s",
            flush=True,
        )

    say(0, method.subspace.start)
    if given.way == "gradient":
        vectors = method.subspace.start.clone().requires_grad_()
        optimizer = torch.optim.Adam([vectors], lr=RATE)
        for step in range(1, given.evaluations // 3 + 1):
            optimizer.zero_grad()
            train.losses(vectors)[0].mean().backward()
            optimizer.step()
            if step in (10, 25, 50) or step % 100 == 0 or step == given.evaluations // 3:
                say(3 * step, vectors.detach())
        return
    clients = {name: parts.protocol.client(own) for name, own in parts.clients.items()}
    federation = LocalFederation(clients, parts.sampler.clients, Gate(manifest=parts.manifest), lambda client, fault: None)
    width = worker.model.get_input_embeddings().embedding_dim
    for round in parts.protocol.serve(federation, parts.protocol.start(worker), parts.sampler, rounds=job.stop.rounds):
        if round.index in (1, 5) or round.index % 10 == 0:
            found = prompt_from_json(tensor_text(round.state.shared["prompt"]))
            say(POPULATION * round.index, vectors_of(found.vectors, width))
        if round.index == job.stop.rounds:
            break


main()
