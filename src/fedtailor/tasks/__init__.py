"""How an example is phrased, batched and scored."""

from collections.abc import Mapping

from .classification import Classification
from .evaluation import Evaluation
from .extraction import Extraction
from .generation import Generation
from .image_generation import ImageGeneration
from .label_likelihood import LabelLikelihood
from .language_modeling import LanguageModeling
from .question_answering import QuestionAnswering
from .reference_likelihood import ReferenceLikelihood
from .retrieval import PassageRetrieval
from .shard import Batch, Shard, TokenShard, collate, counted_targets, evaluation_batches, training_batches
from .task import LogitsAt, Scores, Task, Writes, pooling_of
from .text.generate import Decoding

TASKS: Mapping[str, type] = {
    "generation": Generation,
    "language-modeling": LanguageModeling,
    "classification": Classification,
    "label-likelihood": LabelLikelihood,
    "reference-likelihood": ReferenceLikelihood,
    "image-generation": ImageGeneration,
    "question-answering": QuestionAnswering,
    "extraction": Extraction,
    "retrieval": PassageRetrieval,
}

__all__ = [
    "TASKS",
    "Batch",
    "Classification",
    "Decoding",
    "Evaluation",
    "Extraction",
    "Generation",
    "ImageGeneration",
    "LabelLikelihood",
    "LanguageModeling",
    "LogitsAt",
    "PassageRetrieval",
    "QuestionAnswering",
    "ReferenceLikelihood",
    "Scores",
    "Shard",
    "Task",
    "TokenShard",
    "Writes",
    "collate",
    "counted_targets",
    "evaluation_batches",
    "pooling_of",
    "training_batches",
]
