"""How an example is phrased, batched and scored."""

from collections.abc import Mapping

from .classification import Classification
from .generation import Generation
from .language_modeling import LanguageModeling
from .shard import Batch, Shard, collate, counted_targets, evaluation_batches, select, training_batches
from .task import LogitsAt, Scores, Task, Writes, pooling_of
from .text.generate import Decoding

TASKS: Mapping[str, type] = {
    "generation": Generation,
    "language-modeling": LanguageModeling,
    "classification": Classification,
}

__all__ = [
    "TASKS",
    "Batch",
    "Classification",
    "Decoding",
    "Generation",
    "LanguageModeling",
    "LogitsAt",
    "Scores",
    "Shard",
    "Task",
    "Writes",
    "collate",
    "counted_targets",
    "evaluation_batches",
    "pooling_of",
    "select",
    "training_batches",
]
