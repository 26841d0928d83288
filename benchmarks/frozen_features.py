"""What a linear classifier reaches on Banking77 from MiniLM as it comes, by the vector that stands for a text.

Three vectors of the last layer: that of [CLS]; this through BERT's pooler, a dense layer with tanh, which is what a classifier of transformers
gets, and which MiniLM's training as a sentence encoder has not used; and the mean over tokens, which it has. All pooled rows in one place; logistic
regression, standardized, its C taken on a tenth of the training rows.

Usage: frozen_features.py --data DATA [--rows 5001] [--seeds 0 1 42]. DATA holds banking77/. About 5 minutes.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from timing import write
from transformers import AutoModel, AutoTokenizer

from fedtailor.models.packaged import packaged_source

STRENGTHS = (0.01, 0.03, 0.1, 0.3)
BATCH = 64

Rows = tuple[np.ndarray, np.ndarray]  # vectors [N, 384] and labels [N]


def main() -> None:
    """Compute the vectors once, fit on each seed's draw of rows, and write the accuracies."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=5001)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 42])
    args = parser.parse_args()
    train, test = (pd.read_parquet(args.data / "banking77" / f"{part}.parquet") for part in ("train", "test"))
    known, asked = vectors(train["text"].tolist()), vectors(test["text"].tolist())
    draws = [np.random.default_rng(seed).permutation(len(train))[: args.rows] for seed in args.seeds]
    found = {}
    for name in known:
        rows, questions = (known[name], train["label"].to_numpy()), (asked[name], test["label"].to_numpy())
        found[name] = [accuracy(rows, questions, drawn) for drawn in draws]
        print(name, found[name], flush=True)
    write("frozen_features", {"rows": args.rows, "seeds": args.seeds, "accuracy": found})


@torch.inference_mode()
def vectors(texts: list[str]) -> dict[str, np.ndarray]:
    """Return a row a text [N, 384] for each kind of vector, float32."""
    source = packaged_source("minilm-l6")
    tokenizer = AutoTokenizer.from_pretrained(source, local_files_only=True)
    model = AutoModel.from_pretrained(source, local_files_only=True, use_safetensors=True, dtype=torch.float32).eval()
    found = {name: np.zeros((len(texts), model.config.hidden_size), np.float32) for name in ("[CLS]", "pooler", "mean")}
    order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
    for begin in range(0, len(order), BATCH):
        rows = order[begin : begin + BATCH]
        batch = tokenizer([texts[row] for row in rows], padding=True, truncation=True, max_length=48, return_tensors="pt")
        given = model(**batch)
        mask_BL1 = batch["attention_mask"].unsqueeze(-1)
        found["[CLS]"][rows] = given.last_hidden_state[:, 0]
        found["pooler"][rows] = given.pooler_output
        found["mean"][rows] = (given.last_hidden_state * mask_BL1).sum(1) / mask_BL1.sum(1)
    return found


def accuracy(rows: Rows, questions: Rows, drawn: np.ndarray) -> float:
    """Return the share of questions that a classifier fitted on the drawn rows names rightly."""
    fitted, held_out = drawn[len(drawn) // 10 :], drawn[: len(drawn) // 10]
    best = max(STRENGTHS, key=lambda c: _share_right(_fit(rows, fitted, c), rows, held_out))
    return _share_right(_fit(rows, drawn, best), questions, np.arange(len(questions[1])))


def _fit(rows: Rows, drawn: np.ndarray, c: float) -> Pipeline:
    vectors_NH, labels_N = rows
    return make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=1000)).fit(vectors_NH[drawn], labels_N[drawn])


def _share_right(model: Pipeline, rows: Rows, chosen: np.ndarray) -> float:
    vectors_NH, labels_N = rows
    return float(model.score(vectors_NH[chosen], labels_N[chosen]))


if __name__ == "__main__":
    main()
