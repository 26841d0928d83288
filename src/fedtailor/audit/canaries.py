"""Canaries: how well training like a client's remembers what was never to be read back.

Random words in the place of an example's target are put among a copy of one client's examples, some once and some more often; the copy is trained as the job trains (its local settings,
its privacy, as many rounds), from where the run began. The exposure of a canary is log2 of how many candidates there are less log2 of its rank among them by loss (Carlini et al., 2019, arXiv:1802.08232); one that
was never seen has about 1.4 bits on average. Nothing of the copy is kept.
"""

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch

from ..chance import stream
from ..errors import SettingError
from ..learning.training import train_locally
from ..learning.work import Training
from ..records import Example
from ..tasks.shard import Shard
from .finding import Finding
from .opened import Opened, privacy_of_copy

NAME = "canaries"
TIMES = (1, 1, 2, 2, 4, 4)  # how often each canary is put in
CANDIDATES = 128  # each canary is ranked among so many
WORDS = 5  # of a canary
MOST_ROUNDS = 20
CHANCE = 1.0 / math.log(2)  # bits: of a rank drawn evenly


def canaries(run: Opened) -> Iterator[Finding]:
    """Yield the exposure of canaries that were put in once, twice and four times.

    Raises:
        SettingError: if the task has no target that words could stand in for.
    """
    task = run.worker.task
    if "target" not in task.required:
        raise SettingError(
            f"the attack {NAME} writes targets of its own, and a {type(task).__name__} has none; leave it out (--only)"
        )
    state = next(state for _, state in sorted(run.parts.clients.items()) if len(state.train))
    own = run.parts.divided.train[state.id]
    candidates = _candidates(own, stream(0, NAME))
    planted = [example for example, times in zip(candidates[: len(TIMES)], TIMES, strict=True) for _ in range(times)]
    shard = task.prepare([*own, *planted], run.worker.processor, keep_examples=False)
    rounds = min(run.job.stop.rounds, MOST_ROUNDS)
    ranked = task.prepare(candidates, run.worker.processor, keep_examples=False)
    with run.weights(run.start):
        before = _losses(run, ranked)
        for round in range(1, rounds + 1):
            train_locally(
                Training(
                    worker=run.worker,
                    shard=shard,
                    settings=run.parts.protocol.local,
                    round=round,
                    client=state.id,
                    purpose="audit-",
                    private=privacy_of_copy(state, len(shard), rounds),
                )
            )
        gained = before - _losses(run, ranked)
    for times in sorted(set(TIMES)):
        places = [place for place, each in enumerate(TIMES) if each == times]
        bits = [_exposure(gained, place) for place in places]
        yield Finding(
            attack=NAME,
            target=f"{rounds} rounds of training on a copy of {state.id}",
            figure=f"exposure in bits, put in {times} times" if times > 1 else "exposure in bits, put in once",
            value=float(np.mean(bits)),
            floor=CHANCE,
            note=f"{len(places)} canaries of {WORDS} words among {CANDIDATES} candidates, at most {math.log2(CANDIDATES):.1f}",
        )


def _candidates(own: list[Example], draw: np.random.Generator) -> list[Example]:
    """Return examples with random words of the client's own in the place of a target, behind inputs of its own."""
    vocabulary = sorted({word for example in own for word in str(example.fields["target"]).split()})
    found = []
    for number in range(CANDIDATES):
        text = " ".join(draw.choice(vocabulary, WORDS).tolist())
        found.append(replace(own[0], id=f"canary-{number}", fields={**own[0].fields, "target": text}))
    return found


@torch.inference_mode()
def _losses(run: Opened, shard: Shard) -> np.ndarray:
    """Return the mean loss of each example under the weights in place, float64 [N]."""
    run.worker.model.eval()
    with run.worker.precision():
        pairs = [run.worker.loss(run.worker.batch(shard, [row])) for row in range(len(shard))]
    return np.array([float(loss) / count for loss, count in pairs])


def _exposure(gained: np.ndarray, place: int) -> float:
    """Return the exposure of a canary by how much its loss fell, among candidates of which the other canaries are left out."""
    others = gained[len(TIMES) :]
    rank = 1 + int((others > gained[place]).sum())
    return math.log2(len(others) + 1) - math.log2(rank)
