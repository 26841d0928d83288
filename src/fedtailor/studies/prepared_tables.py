"""Tables that recipes make of the data in their folder: joined, parted or renamed."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

ANSWERS = ("yes", "no", "maybe")  # of PubMedQA, in the order of their labels
TITLES_FOR_ONE_OF_TEST = 4  # of questions, in the order of their names


def abstracts(folder: Path, data: Path, count: int) -> None:
    """Write PubMedQA's questions with their abstracts, parted as it is published; `year` is that of the abstract."""
    table = joined_abstracts(data)
    for part in ("train", "test"):
        table[table["split"] == part].drop(columns="split").to_parquet(folder / f"{part}.parquet", index=False)
    (folder / "labels.json").write_text(json.dumps(ANSWERS), encoding="utf-8")


def joined_abstracts(data: Path) -> "pd.DataFrame":
    """Return PubMedQA as text (the abstract and the question behind it), label, the same as input and target, year and split."""
    import pandas as pd

    questions = pd.read_parquet(data / "pubmedqa" / "questions.parquet")
    passages = pd.read_parquet(data / "pubmedqa" / "passages.parquet").set_index("id")
    own = passages.loc[questions["passage_id"]].reset_index(drop=True)
    text = own["text"] + "\nQuestion: " + questions["question"]
    return pd.DataFrame(
        {
            "text": text,
            "label": [ANSWERS.index(answer) for answer in questions["answer"]],
            "input": text,
            "target": questions["answer"],
            "year": own["year"].astype(str),
            "split": questions["split"],
        }
    )


def conclusions(folder: Path, data: Path, count: int) -> None:
    """Write PubMedQA's questions behind their abstracts, with the conclusion of each abstract as the answer, parted as it is published."""
    import pandas as pd

    questions = pd.read_parquet(data / "pubmedqa" / "questions.parquet")
    table = joined_abstracts(data)[["input", "year"]].assign(target=questions["long_answer"], split=questions["split"])
    for part in ("train", "test"):
        table[table["split"] == part].drop(columns="split").to_parquet(folder / f"{part}.parquet", index=False)


def questions(folder: Path, data: Path, words: int) -> None:
    """Write questions about short passages, parted by the titles of these, and the passages in which answers are to be found.

    Args:
        words: that a passage of a question has at most; 0: any number.
    """
    import pandas as pd

    passages = pd.read_parquet(data / "rag" / "passages.parquet")[["id", "title", "text"]]
    asked = pd.read_parquet(data / "rag" / "questions.parquet")[["question", "passage_id", "answer", "answers"]]
    table = asked.merge(passages.rename(columns={"id": "passage_id"}), on="passage_id")
    lengths = table["text"].map(lambda text: len(text.split()))
    table = table[lengths <= (words or lengths.max())].reset_index(drop=True)
    table = table.assign(
        input=table["text"] + "\nQuestion: " + table["question"], target=table["answer"], references=table["answers"]
    )
    held_out = set(sorted(table["title"].unique())[::TITLES_FOR_ONE_OF_TEST])
    is_test = table["title"].isin(held_out)
    for part, rows in (("train", table[~is_test]), ("test", table[is_test])):
        rows.to_parquet(folder / f"{part}.parquet", index=False)
    passages.to_parquet(folder / "documents.parquet", index=False)
    passages[passages["title"].isin(held_out)].to_parquet(folder / "documents-of-test.parquet", index=False)


def tasks(folder: Path, data: Path, count: int) -> None:
    """Write a file for each of three tasks with the columns input and target: descriptions, intents by name, and answers behind abstracts."""
    import pandas as pd

    e2e = pd.read_parquet(data / "e2e" / "train.parquet")[["input", "target"]]
    e2e.drop_duplicates("input").sample(frac=1.0, random_state=0).to_parquet(folder / "e2e.parquet", index=False)
    bank = pd.read_parquet(data / "banking77" / "train.parquet")
    names = json.loads((data / "banking77" / "labels.json").read_text(encoding="utf-8"))
    words = [str(names[label] if isinstance(label, int) else label).replace("_", " ") for label in bank["label"].tolist()]
    pd.DataFrame({"input": bank["text"], "target": words}).to_parquet(folder / "intents.parquet", index=False)
    joined_abstracts(data)[["input", "target"]].to_parquet(folder / "abstracts.parquet", index=False)
