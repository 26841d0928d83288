"""The rows of a classifier's head, matched with a job's classes by name."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..errors import BackboneError
from ..text_files import shown

GENERIC = "LABEL_"  # what transformers calls classes that nobody named, with their numbers behind


@dataclass(frozen=True, kw_only=True)
class HeadPlan:
    """What becomes of the head in a backbone's folder."""

    names: tuple[str, ...]  # of its rows, in their order
    labels: tuple[str, ...]  # of the job
    rows: tuple[int, ...] | None  # the row of each of the job's classes; None: the names do not fit, so none is used

    @property
    def loads_as(self) -> tuple[str, ...]:
        """The classes to load the head with: its own if rows are picked or moved, else those of the job."""
        return self.labels if self.rows is None or self.rows == tuple(range(len(self.names))) else self.names


def plan_head(config: Any, labels: Sequence[str], folder: Path) -> HeadPlan:
    """Return which row of the head in `folder` belongs to each of the job's classes.

    Names are compared as they stand. A class that nobody named is its number: LABEL_1 is the job's class "1".
    """
    names = head_names(config, folder)
    rows = rows_by_name(names, labels)
    if rows is None:
        rows = rows_by_name([name.removeprefix(GENERIC) for name in names], labels)
    return HeadPlan(names=names, labels=tuple(labels), rows=rows)


def head_names(config: Any, folder: Path) -> tuple[str, ...]:
    """Return the names of the classes that a model's configuration gives, in the order of the head's rows."""
    named = {int(number): str(name) for number, name in (config.id2label or {}).items()}
    if sorted(named) != list(range(len(named))):
        return ()
    names = tuple(named[number] for number in range(len(named)))
    if not all(name == f"{GENERIC}{number}" for number, name in enumerate(names)):
        return names
    return _by_label2id(folder) or names


def _by_label2id(folder: Path) -> tuple[str, ...]:
    """Return the names of a config.json that has them in label2id alone, which transformers then replaces by LABEL_0, LABEL_1, ..."""
    content = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    numbers = content.get("label2id")
    if content.get("id2label") or not isinstance(numbers, dict) or sorted(map(str, numbers.values())) != sorted(
        map(str, range(len(numbers)))
    ):  # fmt: skip
        return ()
    return tuple(sorted(numbers, key=lambda name: int(numbers[name])))


def rows_by_name(names: Sequence[str], labels: Sequence[str]) -> tuple[int, ...] | None:
    """Return the place among `names` of each of `labels`, or None if one is missing or a name stands twice."""
    places = {name: place for place, name in enumerate(names)}
    if len(places) < len(names) or not set(labels) <= places.keys():
        return None
    return tuple(places[label] for label in labels)


def class_layer(model: nn.Module) -> tuple[str, Any]:
    """Return name and module of the layer whose rows are the classes: the last linear one outside the body with as many outputs.

    Raises:
        BackboneError: if there is none.
    """
    classifier: Any = model
    classes, body = classifier.config.num_labels, f"{classifier.base_model_prefix}."
    found = [
        (name, module)
        for name, module in classifier.named_modules()
        if isinstance(module, nn.Linear) and module.out_features == classes and not name.startswith(body)
    ]
    if not found:
        raise BackboneError(
            f"a {type(model).__name__} has no linear layer with a row for each of {classes} classes outside its body, so the rows of its head "
            "cannot be matched with labels; choose another backbone"
        )
    return found[-1]


def follow(
    plan: HeadPlan, model: nn.Module, *, lacking: Sequence[str], mismatched: Sequence[str]
) -> tuple[str | None, str | None]:
    """Put the rows of a loaded head in the order of the job's classes, or draw them at random where names do not fit.

    Args:
        model: loaded with the classes `plan.loads_as`.
        lacking: names of weights that the folder had not.
        mismatched: names of weights that the folder had in another shape.

    Returns:
        The name of the layer that was drawn at random here, if any, and what to say of it.
    """
    classifier: Any = model
    name, layer = class_layer(model)
    if plan.loads_as != plan.labels:
        pick_rows(layer, plan.rows or ())
    weights = {f"{name}.weight", f"{name}.bias"}
    if weights & set(lacking):  # the folder is of a body alone: nothing was trained that could be lost
        return None, None
    if weights & set(mismatched):
        return None, _unused(plan)
    if plan.rows is None:
        nn.init.normal_(layer.weight, std=getattr(classifier.config, "initializer_range", 0.02))
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
        return name, _unused(plan)
    if plan.loads_as == plan.labels:
        return None, None
    return None, (
        f"the head of the backbone names its classes {some_names(plan.names)}; its rows are put in the job's order by name: {some_names(plan.labels)}"
    )


def pick_rows(layer: Any, rows: Sequence[int]) -> None:
    """Let a linear layer give these of its outputs, in this order."""
    picked = torch.tensor(rows, device=layer.weight.device)
    layer.weight = nn.Parameter(layer.weight.detach().index_select(0, picked))
    if layer.bias is not None:
        layer.bias = nn.Parameter(layer.bias.detach().index_select(0, picked))
    layer.out_features = len(rows)


def _unused(plan: HeadPlan) -> str:
    return (
        f"the head of the backbone is for the classes {some_names(plan.names)}, the job's are {some_names(plan.labels)}: its rows are not used and a new head is "
        "drawn; where they mean the same, give task.labels the names of the backbone's config.json (id2label), in any order"
    )


def some_names(names: Sequence[str]) -> str:
    """Return the first five names, each shortened, and how many there are."""
    return ", ".join(shown(name, 60) for name in names[:5]) + (f", ... ({len(names)} in all)" if len(names) > 5 else "")
