"""Jobs that can run, each technique of each family at least once, and the files that they name."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from asked import document_rows, question_rows
from denoisers import LABELS, SIZE, picture_rows
from jobs import tiny_rows
from of_tasks import COLUMNS, INTENT, LINES, of_three
from prompted import LABELS as PLACES
from prompted import METHOD, place_rows
from questioned import pairs

from fedtailor.aggregation import AGGREGATIONS
from fedtailor.aggregation.logits import LOGIT_AGGREGATIONS
from fedtailor.data import PARTITIONS
from fedtailor.interfaces import traits_of
from fedtailor.personalization import PERSONALIZATIONS
from fedtailor.tuning import TUNINGS

NEEDED: dict[str, dict[str, Any]] = {  # settings without a default, or whose default does not fit a model of width 16
    "fed-sb": {"rank": 4},
    "peft": {"type": "IA3"},
    "fedper": {"home": ["*layers.1*"]},
    "fedrep": {"home": ["*layers.1*"]},
    **{kind: {"by": "food"} for kind in ("dirichlet", "natural", "skew", "shards")},
}


def write_data(folder: Path) -> None:
    """Write the files that the jobs name."""
    rows = [{**row, "text": row["input"] + row["target"], "label": row["food"]} for row in tiny_rows()]
    tables = {
        "train": rows,
        "public": [row | {"text": f"public {row['text']}"} for row in rows],
        "places": place_rows(),
        "shots": place_rows(8),
        "documents": document_rows(),
        "questions": question_rows(),
        "pairs": pairs(),
        "spans": [
            {"question": f"where is inn {n}", "text": f"Inn {n} is in the {w}.", "answer": w}
            for n in range(12)
            for w in ("town", "wood")
        ],
        **of_three(),
    }
    for name, table in tables.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in table))
    (folder / "general.txt").write_text("A river runs to the sea, and nobody sells coffee there.\n" * 20)
    pictures = picture_rows(8)
    np.savez(
        folder / "pictures.npz",
        image=np.stack([row["image"] for row in pictures]),
        label=np.array([row["label"] for row in pictures]),
    )


def own_clients(partition: str) -> dict[str, Any]:
    """Return how many clients fit a partition: those that the data name, or two."""
    return {"min_examples": 4} if partition in {"natural", "files"} else {"count": 2}


def text_job(llama: str) -> dict[str, Any]:
    """Return a job that others are made from."""
    return {
        "name": "tiny",
        "backbone": llama,
        "task": {"kind": "generation"},
        "data": {"train": "train.jsonl"},
        "clients": {"count": 4, "min_examples": 2},
        "tuning": {"kind": "lora", "rank": 2},
        "threads": 1,
        "precision": "float32",
    }


def good_jobs(llama: str, bert: str) -> dict[str, dict[str, Any]]:
    """Return jobs that can run: each technique of each family at least once."""
    base = text_job(llama)
    classes = {"backbone": bert, "task": {"kind": "classification"}}
    distilled = {"kind": "distillation", "public": "public.jsonl"}
    changes: dict[str, dict[str, Any]] = {
        "lines": {"task": {"kind": "language-modeling"}},
        "classes": classes,
        "split": {"protocol": {"kind": "split", "cut": 1}},
        "distilled classes": classes | {"protocol": distilled},
        "override": {
            "clients": {"count": 4, "overrides": {"client-00": {"tuning": {"rank": 1}}}},
            "protocol": {"aggregation": {"kind": "flexlora"}},
        },
        **{f"tuning {kind}": {"tuning": {"kind": kind} | NEEDED.get(kind, {})} for kind in set(TUNINGS) - {"head", "frozen"}},
        "tuning head": classes | {"tuning": {"kind": "head"}},
        **{f"personal {kind}": {"personalization": {"kind": kind} | NEEDED.get(kind, {})} for kind in PERSONALIZATIONS},
        **{
            f"rule {kind}": {
                "clients": {"count": max(4, traits_of(rule()).least), "min_examples": 2},
                "protocol": {"aggregation": {"kind": kind}, "local": {"optimizer": "sgd", "learning_rate": 0.1}},
            }
            for kind, rule in AGGREGATIONS.items()
        },
        **{
            f"logits {kind}": classes | {"protocol": distilled | {"aggregation": kind, "label_counts": kind == "label-counts"}}
            for kind in LOGIT_AGGREGATIONS
        },
        **{
            f"partition {kind}": {"clients": own_clients(kind) | {"partition": {"kind": kind} | NEEDED.get(kind, {})}}
            for kind in PARTITIONS
        },
    }
    return {name: base | change for name, change in changes.items()}


def more_jobs(llama: str, bert: str, *, unet: str, dit: str, gan: str) -> dict[str, dict[str, Any]]:
    """Return jobs of pictures, prompts, questions, protections and phases, of ranks that the server chooses, and of several tasks."""
    text = text_job(llama)
    pictures = text | {
        "backbone": unet,
        "task": {"kind": "image-generation", "size": SIZE, "labels": list(LABELS)},
        "data": {"train": "pictures.npz"},
        "precision": "auto",
    }
    measured = {"samples": {"count": 4}, "generate_at": "always"}
    adversarial = {"kind": "image-generation", "size": SIZE, "condition": "none", "objective": "adversarial"}
    generator = pictures | {"backbone": gan, "task": adversarial, "stop": {"rounds": 2, "patience": None, "keep": "last"}}
    prompts = {
        "name": "tiny",
        "backbone": llama,
        "task": {"kind": "label-likelihood", "labels": [label.replace(" ", "_") for label in PLACES], "max_tokens": 40},
        "data": {"train": "places.jsonl"},
        "clients": {"count": 3, "min_examples": 4, "validation_share": 0.3},
        "threads": 1,
        "precision": "float32",
    }
    questions = {
        "name": "tiny",
        "backbone": bert,
        "task": {"kind": "question-answering"},
        "data": {"train": "documents.jsonl", "test": "questions.jsonl"},
        "clients": {"count": 3, "partition": {"kind": "natural", "by": "title"}, "min_examples": 1},
        "threads": 1,
    }

    def searched(**method: Any) -> dict[str, Any]:
        return prompts | {"protocol": {"kind": "prompting", "few": 2, "method": method}}

    def asked(**protocol: Any) -> dict[str, Any]:
        return questions | {"protocol": {"kind": "retrieval", "top_k": 2} | protocol}

    noise = {"clip": 1.0, "epsilon": None, "noise_multiplier": 1.0}
    tasks = {"bank": {"task": INTENT, "columns": COLUMNS}, "prose": {"task": LINES}}
    return {
        "pictures": pictures | {"evaluation": measured},
        "pictures of a DiT": pictures | {"backbone": dit, "tuning": {"kind": "full"}, "personalization": "finetune"},
        "gan": generator,
        "gan averaged": generator | {"task": adversarial | {"discriminator": "averaged"}},
        "search": searched(**METHOD),
        "search with examples": searched(**METHOD, shots="shots.jsonl", shot_counts=[1]),
        "black-box": searched(kind="black-box", length=2, dimensions=6, population=6, examples=4),
        "free text": searched(**METHOD)
        | {"task": {"kind": "reference-likelihood", "max_tokens": 60}, "data": {"train": "train.jsonl"}},
        "retrieval": asked(),
        "retrieval answers": asked(share="answers"),
        "retrieval vectors": asked(share="embeddings", score={"kind": "dense"}),
        "retrieval routed": asked(router={"count": 2, "smallest": 2}, verify=True, shared_statistics=True),
        "trained retrieval": text | {"backbone": bert, "task": {"kind": "retrieval"}, "data": {"train": "pairs.jsonl"}},
        "extraction": text | {"backbone": bert, "task": {"kind": "extraction"}, "data": {"train": "spans.jsonl"}},
        "codec": text | {"protection": [{"kind": "codec", "code": "int8"}]},
        "secure": text | {"protection": [{"kind": "secure-aggregation"}]},
        "dp": text | {"protection": [{"kind": "dp", "force": True} | noise]},
        "dp-sgd": text | {"protocol": {"local": {"privacy": {"kind": "dp-sgd"} | noise, "clip_norm": None}}},
        "after": text | {"after": [{"kind": "phased:GapPhase"}]},
        "auto ranks": text
        | {"tuning": {"kind": "lora", "rank": "auto", "ranks": [1, 2]}, "protocol": {"aggregation": {"kind": "flexlora"}}},
        "several tasks": text
        | {
            "data": {"train": ["menus.jsonl", "bank.jsonl", "prose.jsonl"]},
            "clients": {"partition": {"kind": "files"}, "min_examples": 4, "overrides": tasks},
        },
        "retained": text | {"evaluation": {"retained": "general.txt"}, "personalization": "finetune"},
    }
