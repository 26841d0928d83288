"""A few intents of Banking77 as rows of text and label."""

import json
from pathlib import Path

import numpy as np
import pandas as pd


def rows(data: Path, part: str, intents: list[int], most: int, draw: np.random.Generator) -> list[dict[str, str]]:
    """Return so many texts of each intent, drawn."""
    names = json.loads((data / "banking77/labels.json").read_text())
    table = pd.read_parquet(data / f"banking77/{part}.parquet")
    found = []
    for intent in intents:
        texts = table.text[table.label == intent].tolist()
        found += [{"text": texts[at], "label": names[intent]} for at in draw.permutation(len(texts))[:most]]
    return found
