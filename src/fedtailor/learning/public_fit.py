"""How well public examples fit a client's own: one number, found at the client."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from ..chance import stream
from ..models.heads import logits_at
from ..models.kinds import kind_of
from ..models.pooling import mean_over_tokens
from ..records import ClientId
from ..tasks import evaluation_batches
from ..tasks.shard import Shard
from ..tasks.text.generate import evaluating
from .worker import Worker

MOST_ROWS = 500  # of each side: AUC is then good to about 0.02
LEAST_ROWS = 8  # of each side, below which nothing is reported
STEPS = 256  # of a row's score
PENALTY = 0.01  # scikit-learn's C: as many features as rows need a firm hand


def separability(worker: Worker, own: Shard, public: Shard, *, client: ClientId) -> tuple[float | None, int]:
    """Return how well a small classifier distinguishes a client's examples from public ones, and the tokens that this took.

    Logistic regression on the last hidden states of the weights in place, averaged over tokens and standardized; fitted on one half, judged on
    the other by the area under the ROC curve, and the other way round. 0.5: they look the same; 1: nothing in common. None if
    there are too few rows. In the manner of the domain classifier of Ben-David et al., 2010, Machine Learning 79; AUC in place of
    their error is our choice.
    """
    from sklearn.metrics import roc_auc_score

    if min(len(own), len(public)) < LEAST_ROWS:
        return None, 0
    draw = stream(worker.seed, "public-fit", 0, client)
    chosen = [side.select(draw.permutation(len(side))[:MOST_ROWS].tolist()) for side in (own, public)]
    mine_NH, theirs_NH = (pooled(worker, side) for side in chosen)
    areas = []
    for half in (0, 1):
        likeness = fit_likeness(mine_NH[half::2], theirs_NH[half::2])
        unseen_NH = np.concatenate([mine_NH[1 - half :: 2], theirs_NH[1 - half :: 2]])
        truth_N = [1] * len(mine_NH[1 - half :: 2]) + [0] * len(theirs_NH[1 - half :: 2])
        areas.append(roc_auc_score(truth_N, likeness(unseen_NH)))
    return float(np.mean(areas)), sum(int(side.sizes_N.sum()) for side in chosen)


def row_scores(worker: Worker, own: Shard, public: Shard, *, round: int, client: ClientId) -> tuple[Tensor | None, int]:
    """Return how like the client's own examples each public row looks, as uint8 [N], and the tokens that this took.

    The classifier of `separability`, fitted twice on halves of at most MOST_ROWS rows of each side: a row has its probability to be the client's
    from the fit that has not seen it, or the mean of both; 128 is even. Rounded to 256 steps. None if there are too few rows.
    """
    if min(len(own), len(public)) < LEAST_ROWS:
        return None, 0
    draw = stream(worker.seed, "row-scores", round, client)
    mine = own.select(draw.permutation(len(own))[:MOST_ROWS].tolist())
    mine_NH, public_NH = pooled(worker, mine), pooled(worker, public)
    fitted = draw.permutation(len(public))[:MOST_ROWS]
    found = np.empty((2, len(public)))
    for half in (0, 1):
        likeness = fit_likeness(mine_NH[half::2], public_NH[fitted[half::2]])
        found[half] = 1 / (1 + np.exp(-likeness(public_NH)))
    chance_N = found.mean(0)
    for half in (0, 1):
        chance_N[fitted[half::2]] = found[1 - half, fitted[half::2]]
    scores_N = torch.from_numpy((chance_N * STEPS).clip(0, STEPS - 1).astype(np.uint8))
    return scores_N, int(mine.sizes_N.sum() + public.sizes_N.sum())


def fit_likeness(mine_NH: np.ndarray, public_NH: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Return what gives the log-odds that rows are the client's and not public, both sides taken as equally likely beforehand."""
    from sklearn.linear_model import LogisticRegression

    seen_NH = np.concatenate([mine_NH, public_NH])
    centre_H, spread_H = seen_NH.mean(0), seen_NH.std(0) + 1e-6
    model = LogisticRegression(C=PENALTY, class_weight="balanced", max_iter=1000)
    model.fit((seen_NH - centre_H) / spread_H, [1] * len(mine_NH) + [0] * len(public_NH))
    return lambda rows_NH: np.asarray(model.decision_function((rows_NH - centre_H) / spread_H))


def pooled(worker: Worker, shard: Shard) -> np.ndarray:
    """Return the last hidden states of the weights in place, averaged over each example's tokens: float64 [N, H]."""
    rows_NH: list[np.ndarray] = [np.zeros(0)] * len(shard)
    with torch.no_grad(), evaluating(worker.model):
        for rows in evaluation_batches(shard.sizes_N.tolist(), worker.evaluation.batch_size):
            for row, vector in zip(rows, _hidden_means(worker, shard, rows), strict=True):
                rows_NH[row] = vector
    return np.stack(rows_NH)


def _hidden_means(worker: Worker, shard: Shard, rows: list[int]) -> np.ndarray:
    batch = worker.batch(shard, rows)
    given = {"input_ids": batch.input_ids_BL, "attention_mask": batch.attention_mask_BL, "output_hidden_states": True}
    with worker.precision():
        if kind_of(worker.task.backbone).causal:
            with logits_at(worker.model, torch.zeros_like(batch.target_BL)):  # no logits: a vocabulary costs more than the body
                output = worker.model(**given)
        else:
            output = worker.model(**given)
    hidden_BLH = output.hidden_states[-1][:, -batch.input_ids_BL.shape[1] :]  # places that a prompt puts in front are left out
    means: np.ndarray = mean_over_tokens(hidden_BLH, batch.attention_mask_BL).double().cpu().numpy()
    return means
