import io
import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

CIFAR = "airplane automobile bird cat deer dog frog horse ship truck".split()
PLACES = ("river", "park", "station", "museum")


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """Return a folder of data with the columns of the real ones, 160 training rows each."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "cifar10").mkdir()
    (folder / "cifar10" / "labels.json").write_text(json.dumps(CIFAR))
    draw = np.random.default_rng(0)
    for part, count in (("train", 200), ("test", 20)):
        pixels = draw.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
        rows = [{"image": {"bytes": png(one), "path": None}, "label": number % 10} for number, one in enumerate(pixels)]
        pd.DataFrame(rows).to_parquet(folder / "cifar10" / f"{part}.parquet")
    for name in ("e2e", "dart", "ptb", "banking77", "clinc150", "wikitext2"):
        (folder / name).mkdir()
        (folder / name / "labels.json").write_text(json.dumps(PLACES))
        for part, count in (("train", 160), ("validation", 6), ("test", 6)):
            rows = [row_of(name, place, part) for place in range(count)]
            pd.DataFrame(rows).to_parquet(folder / name / f"{part}.parquet")
    write_pubmedqa(folder / "pubmedqa")
    write_rag(folder / "rag")
    return folder


def png(pixels):
    to = io.BytesIO()
    Image.fromarray(pixels).save(to, format="PNG")
    return to.getvalue()


def write_pubmedqa(folder):
    folder.mkdir()
    numbers = range(160)
    questions = [
        {
            "question": f"Is the shop {n} near?",
            "passage_id": f"p{n}",
            "answer": ("yes", "no", "maybe")[n % 3],
            "long_answer": f"The shop {n} is.",
        }
        for n in numbers
    ]
    pd.DataFrame(questions).assign(split=["train", "test"] * 80).to_parquet(folder / "questions.parquet")
    passages = [{"id": f"p{n}", "text": f"The shop {n} is near the {PLACES[n % 4]}.", "year": str(2010 + n % 5)} for n in numbers]
    pd.DataFrame(passages).to_parquet(folder / "passages.parquet")


def write_rag(folder):
    """Write 80 passages of 8 titles and a question about each; every tenth passage has over 110 words."""
    folder.mkdir()
    texts = [f"Shop {n} is near the {PLACES[n % 4]}." + " It is open." * (40 if n % 10 == 9 else 1) for n in range(80)]
    passages = [{"id": f"p{n}", "title": f"Title {n % 8}", "text": text, "source": "s"} for n, text in enumerate(texts)]
    pd.DataFrame(passages).to_parquet(folder / "passages.parquet")
    answers = [PLACES[n % 4] for n in range(80)]
    questions = [
        {"id": f"q{n}", "question": f"What is shop {n} near?", "passage_id": f"p{n}", "answer": answer, "answers": [answer]}
        for n, answer in enumerate(answers)
    ]
    pd.DataFrame(questions).to_parquet(folder / "questions.parquet")


def row_of(name, place, part):
    text = f"the {part} shop {place} is near the {PLACES[place % 4]}"
    if name in ("banking77", "clinc150"):
        return {"text": text, "label": PLACES[place % 4], "domain": f"domain {place % 6}"}
    if name in ("ptb", "wikitext2"):
        return {"text": text}
    kind = ("pub", "coffee shop", "restaurant")[place % 3]
    row = {"input": f"name[{part} {place}], eatType[{kind}]", "target": text} | ({"source": kind} if name == "dart" else {})
    return row if part == "train" else row | {"references": [text, f"near the {PLACES[place % 4]}: {place}"]}
