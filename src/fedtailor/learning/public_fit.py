"""How well public examples fit a client's own: one number, found at the client."""

import numpy as np
import torch

from ..chance import stream
from ..models.heads import logits_at
from ..records import ClientId
from ..tasks import evaluation_batches, select
from ..tasks.generate import evaluating
from ..tasks.shard import Shard
from .worker import Worker

MOST_ROWS = 500  # of each side: AUC is then good to about 0.02
LEAST_ROWS = 8  # of each side, below which nothing is told
PENALTY = 0.01  # scikit-learn's C: as many features as rows need a firm hand


def told_apart(worker: Worker, own: Shard, public: Shard, *, client: ClientId) -> tuple[float | None, int]:
    """Return how well a small classifier tells a client's examples from public ones, and the tokens that this took.

    Logistic regression on the last hidden states of the weights in place, averaged over tokens and standardized; fitted on one half, judged on
    the other by the area under the ROC curve, and the other way round. 0.5: they look the same; 1: nothing in common. None if
    there are too few rows. In the manner of the domain classifier of Ben-David et al., 2010, Machine Learning 79; AUC in place of
    their error is our choice.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score

    if min(len(own), len(public)) < LEAST_ROWS:
        return None, 0
    draw = stream(worker.seed, "public-fit", 0, client)
    chosen = [select(side, draw.permutation(len(side))[:MOST_ROWS].tolist()) for side in (own, public)]
    features = [pooled(worker, side) for side in chosen]
    halves = [
        (np.concatenate([f[i::2] for f in features]), np.concatenate([[n] * len(f[i::2]) for n, f in enumerate(features)]))
        for i in (0, 1)
    ]
    areas = []
    for (seen, sides), (unseen, truth) in (halves, halves[::-1]):
        centre, spread = seen.mean(0), seen.std(0) + 1e-6
        model = LogisticRegression(C=PENALTY, class_weight="balanced", max_iter=1000).fit((seen - centre) / spread, sides)
        areas.append(roc_auc_score(truth, model.decision_function((unseen - centre) / spread)))
    return float(np.mean(areas)), sum(len(side.tokens_T) for side in chosen)


def pooled(worker: Worker, shard: Shard) -> np.ndarray:
    """Return the last hidden states of the weights in place, averaged over each example's tokens: float64 [N, H]."""
    rows_NH: list[np.ndarray] = [np.zeros(0)] * len(shard)
    with torch.no_grad(), evaluating(worker.model):
        for rows in evaluation_batches(shard.lengths_N.tolist(), worker.evaluation.batch_size):
            for row, vector in zip(rows, _hidden_means(worker, shard, rows), strict=True):
                rows_NH[row] = vector
    return np.stack(rows_NH)


def _hidden_means(worker: Worker, shard: Shard, rows: list[int]) -> np.ndarray:
    batch = worker.batch(shard, rows)
    given = {"input_ids": batch.input_ids_BL, "attention_mask": batch.attention_mask_BL, "output_hidden_states": True}
    with worker.precision():
        if worker.task.backbone_kind == "causal":
            with logits_at(worker.model, torch.zeros_like(batch.target_BL)):  # no logits: a vocabulary costs more than the body
                output = worker.model(**given)
        else:
            output = worker.model(**given)
    hidden_BLH = output.hidden_states[-1][
        :, -batch.input_ids_BL.shape[1] :
    ].float()  # places that a prompt puts in front are left out
    mask_BL = batch.attention_mask_BL
    weight_BL1 = (torch.ones_like(batch.input_ids_BL) if mask_BL is None else mask_BL).unsqueeze(-1).float()
    means: np.ndarray = ((hidden_BLH * weight_BL1).sum(1) / weight_BL1.sum(1)).double().cpu().numpy()
    return means
