"""General text, measured before a run and after it: what customization forgets shows in its loss."""

from copy import copy
from dataclasses import dataclass

from ..tasks import Task
from ..tasks.evaluation import Evaluation
from ..tasks.shard import TokenShard
from .worker import Worker


@dataclass(frozen=True, kw_only=True)
class Retained:
    """Text that no client trains on, as its language model reads it."""

    task: Task  # of language modeling, whatever the job's is
    shard: TokenShard
    texts: int  # rows of the file that it is of

    @property
    def counted(self) -> int:
        """Tokens that the loss is a mean over."""
        return int(self.shard.target_T.sum())

    def loss(self, worker: Worker) -> float:
        """Return the mean loss, in nats a token, of the weights in place in the worker's model."""
        reader = copy(worker)
        reader.task, reader.evaluation = self.task, Evaluation(batch_size=worker.evaluation.batch_size, metrics=["loss"])
        found = reader.evaluate(self.shard, generate=False).figures["loss"]
        worker.evaluation_seconds = reader.evaluation_seconds
        return found
