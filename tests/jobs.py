"""A whole job that ends in seconds."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

NAMES = "Eagle Mill Vaults Punter Cotto Phoenix Wrestlers Plough".split()
FOODS = "French Indian Chinese English Italian Thai".split()


def tiny_rows() -> list[dict[str, str]]:
    """Return 48 examples in the manner of E2E."""
    return [
        {"input": f"name[The {n}], food[{f}]", "target": f"The {n} serves {f} food.", "food": f} for n in NAMES for f in FOODS
    ]


def tiny_job(backbone: Any, **changes: Any) -> Any:
    """Return a job of 4 clients on a tiny random Llama; `changes` are dotted settings with _ for the dots' place taken by __."""
    from fedtailor.job import Job

    job = Job.from_dict(
        {
            "name": "tiny",
            "backbone": str(backbone),
            "task": {"kind": "generation"},
            "data": {"train": "given-in-memory.jsonl"},
            "clients": {"count": 4, "min_examples": 4, "validation_share": 0.2, "test_share": 0.2},
            "tuning": {"kind": "lora", "rank": 2, "alpha": 4, "dropout": 0.1},
            "protocol": {"kind": "averaging", "local": {"learning_rate": 0.02, "batch_size": 4}},
            "evaluation": {"generate": {"max_new_tokens": 4}},
            "stop": {"rounds": 3, "patience": None},
            "precision": "float32",
            "threads": 1,
        }
    )
    for name, value in changes.items():
        job = job.replace(name.replace("__", "."), value)
    return job


@pytest.fixture
def make_job(tiny_backbone_folder):
    """Return a maker of tiny jobs: make_job(stop__rounds=2)."""
    return lambda **changes: tiny_job(tiny_backbone_folder, **changes)


@pytest.fixture
def rows():
    return tiny_rows()


def adapter(folder: Path) -> dict[str, torch.Tensor]:
    """Return the weights of the adapter that a run made."""
    return load_file(folder / "adapter" / "adapter_model.safetensors")


def assert_same_adapter(one: Path, other: Path) -> None:
    left, right = adapter(one), adapter(other)
    assert left.keys() == right.keys()
    assert all(torch.equal(left[name], right[name]) for name in left)
