"""Membership: whether an example was trained on, judged by what the model gives its targets.

Scores: the mean log-probability of the targets; the same less the backbone's (the ratio of Carlini et al., 2021, arXiv:2012.07805, with the backbone in the place of
a smaller model); and min-k %++ (Zhang et al., 2024, arXiv:2404.02936): the mean over the lowest 20 % of (log p - mu) / sigma, with mu and sigma of log p over the
vocabulary under the model itself. Members are clients' training examples, others their test parts, which were divided by input.

Beside them the blind baseline: a classifier that sees no model, only words. Where it does better than 1/2 the two groups differ by themselves, and so may the scores.
"""

import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..chance import stream
from ..errors import SettingError
from ..records import Example
from ..tasks.shard import Shard
from ..tasks.task import Scores
from .finding import Finding
from .opened import Opened

NAME = "membership"
MOST = 2_000  # examples of each group that are scored
LEAST_FOR_RATE = 500  # others, from which on the rate at 1 % false alarms is given
LOWEST = 0.2  # share of the targets that min-k %++ looks at
DRAWS = 500  # of the bootstrap
FOLDS, BUCKETS = 5, 4_096  # of the blind baseline

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Scored:
    """Two scores of each example."""

    mean: Floats  # log-probability of a target
    lowest: Floats  # min-k %++


def membership(run: Opened) -> Iterator[Finding]:
    """Yield how well each score distinguishes members from others, and by the words alone.

    Raises:
        SettingError: if the task gives no probabilities, or there are no other examples to compare with.
    """
    task = run.worker.task
    if not isinstance(task, Scores):
        raise SettingError(f"the attack {NAME} is for tasks of texts, whose models give probabilities; leave it out (--only)")
    states = [run.parts.clients[client] for client in sorted(run.parts.clients)]
    inside = [state.train for state in states if len(state.train)]
    outside = [state.test for state in states if len(state.test)] or [run.parts.server_test]
    if not sum(map(len, outside)):
        raise SettingError(
            f"the attack {NAME} compares training examples with others, and there are no test examples; leave it out (--only)"
        )
    after = [_scored(run, shards) for shards in (inside, outside)]
    with run.weights(run.start), run.worker.untrained() as plain:
        before = [_scored(run, shards, plain=plain) for shards in (inside, outside)]
    counts = f"{len(after[0].mean):,} members, {len(after[1].mean):,} others"
    yield _finding("log-probability", after[0].mean, after[1].mean, counts)
    yield _finding("log-probability less the backbone's", after[0].mean - before[0].mean, after[1].mean - before[1].mean, counts)
    yield _finding("min-k %++", after[0].lowest, after[1].lowest, counts)
    texts = [_texts(run, "train"), _texts(run, "test")]
    if all(texts):
        blind = _blind(*texts)
        yield _finding("words alone, without a model (blind baseline)", *blind, "above 0.5 the groups differ by themselves")


def auc(members: Floats, others: Floats) -> float:
    """Return the probability that a member scores higher than another example, ties counting half."""
    order = np.concatenate([members, others])
    _, inverse, count = np.unique(order, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(count) - (count - 1) / 2)[inverse]
    return float((ranks[: len(members)].sum() - len(members) * (len(members) + 1) / 2) / (len(members) * len(others)))


def rate_at(members: Floats, others: Floats, alarms: float) -> float:
    """Return the share of members above the score that a share of at most `alarms` of the others exceeds."""
    threshold = np.sort(others)[::-1][int(alarms * len(others))]
    return float((members > threshold).mean())


def _finding(name: str, members: Floats, others: Floats, note: str) -> Finding:
    draw = stream(0, "audit")
    draws = sorted(auc(draw.choice(members, len(members)), draw.choice(others, len(others))) for _ in range(DRAWS))
    if len(others) >= LEAST_FOR_RATE:
        note = f"{note}; {rate_at(members, others, 0.01):.1%} of members at 1 % false alarms"
    low, high = draws[int(0.025 * DRAWS)], draws[int(0.975 * DRAWS)]
    return Finding(
        attack=NAME,
        target="the model",
        figure=f"AUC: {name}",
        value=auc(members, others),
        floor=0.5,
        low=low,
        high=high,
        note=note,
    )


def _scored(run: Opened, shards: Sequence[Shard], plain: object = None) -> Scored:
    """Return the scores of examples under the weights in place; of shards, the first of each until there are MOST together."""
    bench: Any = run.worker if plain is None else plain
    found, left = [], MOST
    for shard in shards:
        for row in range(min(len(shard), max(1, MOST // len(shards)), left)):
            found.append(_score(bench, shard, row))
        left = MOST - len(found)
    return Scored(mean=np.array([mean for mean, _ in found]), lowest=np.array([lowest for _, lowest in found]))


@torch.inference_mode()
def _score(worker: Any, shard: Shard, row: int) -> tuple[float, float]:
    batch = worker.task.batch(worker, shard, [row])
    with worker.precision():
        logits_NC, target_N = worker.task.scores(worker.model.eval(), batch, worker.logits_at)
    log_NC = logits_NC.float().log_softmax(-1)
    given_N = log_NC.gather(1, target_N[:, None]).squeeze(1)
    probability_NC = log_NC.exp()
    mean_N = (probability_NC * log_NC).sum(1)
    spread_N = ((probability_NC * log_NC.square()).sum(1) - mean_N.square()).clamp(min=1e-12).sqrt()
    z_N = ((given_N - mean_N) / spread_N).sort().values
    return float(given_N.mean()), float(z_N[: max(1, int(LOWEST * len(z_N)))].mean())


def _texts(run: Opened, part: str) -> list[str]:
    divided = run.parts.divided
    examples: Sequence[Example] = [each for own in getattr(divided, part).values() for each in own]
    if part == "test" and not examples:
        examples = divided.server_test
    names = run.worker.task.required
    return [" ".join(str(example.fields.get(name, "")) for name in names) for example in examples[:MOST]]


def _blind(members: Sequence[str], others: Sequence[str]) -> tuple[Floats, Floats]:
    """Return held-out scores of naive Bayes over hashed words, by five folds."""
    words = [np.unique([_bucket(word) for word in re.findall(r"\w+", text.lower())]) for text in (*members, *others)]
    label = np.array([1] * len(members) + [0] * len(others))
    fold, scores = stream(0, "blind").integers(FOLDS, size=len(words)), np.zeros(len(words))
    for out in range(FOLDS):
        counts = np.ones((2, BUCKETS))
        for row in np.flatnonzero(fold != out):
            counts[label[row], words[row].astype(int)] += 1
        sides = [max(1, int((label[fold != out] == side).sum())) + 2 for side in (0, 1)]
        weight = np.log(counts[1] / sides[1]) - np.log(counts[0] / sides[0])
        for row in np.flatnonzero(fold == out):
            scores[row] = weight[words[row].astype(int)].sum()
    return scores[: len(members)], scores[len(members) :]


def _bucket(word: str) -> int:
    return zlib.crc32(word.encode()) % BUCKETS
