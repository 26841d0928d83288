"""What a process owns once: the model with its tuning, the task, and how both are computed with."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from copy import copy
from dataclasses import dataclass, field
from typing import Any, Self

import torch
from torch import nn

from ..errors import ShapeMismatch
from ..interfaces import Exchanging, Tuning
from ..ledger import PeakMemory
from ..models.attention import quick_attention
from ..models.heads import logits_at
from ..prompting import Prompt, PromptReader, ReferenceReading, prompt_from_json
from ..prompting.endpoint_reader import EndpointReader, label_reader
from ..tasks import Task
from ..tasks.evaluate import evaluate
from ..tasks.evaluation import Evaluation, Measured, Pass
from ..tasks.losses import SAMPLE_ROWS
from ..tasks.shard import Shard
from ..tasks.task import LogitsAt
from ..tasks.text.generate import evaluating, first_line, generate
from ..tensors import Tensors, check_same_names, clone, form, is_large
from ..tuning import begins_elsewhere, head_names, prompt_text, untrained
from ..tuning.asked import takes_any_length
from .seen import Seen
from .vectors import Vectors

OnStep = Callable[[int, int, float], None]  # step (from 1), steps, loss


class Spent:
    """Seconds since it was made, evaluations apart."""

    def __init__(self, worker: "Worker") -> None:
        """Begin now."""
        self._worker = worker
        self._began, self._evaluated = time.perf_counter(), worker.evaluation_seconds

    @property
    def evaluating(self) -> float:
        """Seconds of evaluations since then."""
        return self._worker.evaluation_seconds - self._evaluated

    @property
    def working(self) -> float:
        """Seconds of all else."""
        return time.perf_counter() - self._began - self.evaluating


@dataclass(kw_only=True)
class Worker:
    """One model in memory; to be another client is to copy that client's trained weights into place."""

    model: nn.Module  # with the tuning attached
    processor: Any  # what makes the model's inputs of data: a tokenizer for texts
    task: Task
    tuning: Tuning
    evaluation: Evaluation
    device: torch.device
    bfloat16: bool  # compute in bfloat16; trained weights, their gradients and the loss stay float32
    seed: int
    home: frozenset[str] = frozenset()  # names of weights that stay with each client: they are not among what is exchanged
    plain: bool = False  # the model is the backbone below the tuning: what it scores is not of the weights in place
    remember: bool = False  # keep a copy of what is exchanged, as it was when the tuning was attached
    start: Tensors = field(init=False, default_factory=dict)  # that copy
    params: dict[str, nn.Parameter] = field(init=False)
    heads: frozenset[str] = field(init=False)  # names of the trained weights of a classifier's head
    peak: PeakMemory = field(init=False)
    evaluation_seconds: float = field(init=False, default=0.0)  # spent on evaluations so far
    vectors: Vectors = field(init=False)  # of texts
    prompts: PromptReader | EndpointReader = field(init=False)  # what the model has read, where its weights stay as they are
    _seen: Seen | None = field(init=False, default=None)
    _drawn: Tensors = field(init=False)  # the weights that stay home, as they were when the tuning was attached

    def __post_init__(self) -> None:
        self.params = dict(self.tuning.parameters(self.model))
        self.heads = head_names(self.model, self.params)
        self.peak = PeakMemory(self.device)
        self.prompts = label_reader(self.task, self.model, self.processor)
        self.vectors = Vectors(self.model, self.processor)
        self._drawn = self.home_tensors()
        self.start = self.tensors() if self.remember else {}

    def load(self, tensors: Tensors, *, home: Tensors | None = None) -> None:
        """Set the trained weights by `tensors`, which are named and shaped as `tensors()` gives them.

        Args:
            home: a client's own weights, by the names of `self.home`; left out or empty: as they were drawn at the start, so that
                nothing of the client before is left in place.

        Raises:
            ShapeMismatch: if names or shapes differ from those that this tuning exchanges.
        """
        wanted = self._exchanged()
        check_same_names(wanted, tensors)
        for name, value in wanted.items():
            found = form(tensors, name).shape
            if value.shape != found and not takes_any_length(self.tuning):
                raise ShapeMismatch(
                    f"tensor {name!r} has shape {tuple(found)}, the model has {tuple(value.shape)}; "
                    "were they trained with the same rank?"
                )
        own = home or self._drawn
        check_same_names(self._drawn, own)
        with torch.no_grad():
            for name in self.home:
                self.params[name].copy_(own[name])
            if isinstance(self.tuning, Exchanging):
                self.tuning.receive(self.model, tensors)
                return
            for name in wanted:
                self.params[name].copy_(tensors[name])

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return copies of what is exchanged, on the CPU, sorted by name: the trained weights, or what the tuning makes of them."""
        return clone(self._exchanged())

    @property
    def lean(self) -> bool:
        """Whether what is exchanged are the trained weights themselves, and so large that copies of all are to be avoided."""
        return not isinstance(self.tuning, Exchanging) and is_large(self._exchanged())

    def home_tensors(self) -> dict[str, torch.Tensor]:
        """Return copies of the weights that stay home, on the CPU."""
        return clone({name: self.params[name] for name in sorted(self.home)})

    @property
    def drawn(self) -> Tensors:
        """The weights that stay home, as they were drawn at the start."""
        return self._drawn

    def _exchanged(self) -> Tensors:
        found = self.tuning.exchanged(self.model) if isinstance(self.tuning, Exchanging) else self.params
        return {name: tensor for name, tensor in found.items() if name not in self.home} if self.home else found

    def precision(self) -> AbstractContextManager[Any]:
        """Return the context that forward passes run in."""
        return torch.autocast(self.device.type, dtype=torch.bfloat16) if self.bfloat16 else nullcontext()

    @contextmanager
    def untrained(self) -> Iterator[Self]:
        """Give a worker with the backbone as it is, if the tuning changes its answers before any training; else this one."""
        if not begins_elsewhere(self.model):
            yield self
            return
        with untrained(self.model) as model:
            plain = copy(self)
            plain.model, plain.plain = model, True
            yield plain

    @property
    def logits_at(self) -> LogitsAt:
        """How logits are computed at some positions alone."""
        return logits_at

    @contextmanager
    def computing(self, *, tokens: int) -> Iterator[None]:
        """Run training steps on sequences of so many tokens inside: in the worker's precision, with the quickest attention for it."""
        with self.precision(), quick_attention(self.device, bfloat16=self.bfloat16, tokens=tokens):
            yield

    def batch(self, shard: Shard, rows: Sequence[int]) -> Any:
        """Return the examples numbered `rows` as one batch on the worker's device."""
        return self.task.batch(self, shard, rows)

    def label_scores(self, texts: Sequence[str], labels: Sequence[str], *, calibrate: bool) -> list[list[float]]:
        """Return, for each text, one score a label behind the prompt in place, in nats; behind none if there is none.

        Raises:
            SettingError: if the prompt in place is for other labels.
        """
        return self.prompts.in_place(prompt_text(self.model), labels, calibrate=calibrate).scores(
            texts, batch=self.evaluation.batch_size
        )

    def behind_prompt(self) -> ReferenceReading:
        """Return the prompt for free text that is in place, as the model has read it; an empty one if there is none."""
        text = prompt_text(self.model)
        return self.prompts.references(prompt_from_json(text) if text else Prompt(instruction=""))

    def answers(self, texts: Sequence[str]) -> list[str]:
        """Return the line that the model writes for each text behind the prompt in place."""
        reading = self.behind_prompt()
        written = generate(self.model, self.processor, [reading.ids(text) for text in texts], self.evaluation.generate)
        return [first_line(text) for text in written]

    def loss(self, batch: Any) -> tuple[torch.Tensor, int]:
        """Return the sum of the task's loss over the counted targets, and their number; where it has several losses, their sum."""
        (first, counted), *others = [objective.loss(batch) for objective in self.task.objectives(self)]
        return sum((loss for loss, _ in others), first), counted

    def evaluate(self, shard: Shard, *, generate: bool, texts_alone: bool = False, train: Shard | None = None) -> Measured:
        """Return the figures of the weights in place on the whole of `shard`, and what they generate if asked; see `evaluate`.

        Rows that were scored under the same weights before are not scored again. `train` is what the client whose shard it is trains on.
        """
        began = time.perf_counter()
        seen, mark = self._what_was_seen() if len(shard) and not texts_alone else (None, b"")
        known = seen.find(shard, mark) if seen else None
        how = Pass(generate=generate, known=known, sampled=self.evaluation.local_gain, texts_alone=texts_alone, train=train)
        found = evaluate(self, shard, how)
        if seen and known is None and found.losses:
            seen.keep(shard, mark, found.losses)
        self.evaluation_seconds += time.perf_counter() - began
        return found

    def sample_loss(self, shard: Shard) -> float:
        """Return the loss of the weights in place on the rows that stand for all of `shard`; on all where they are few."""
        if len(shard) <= SAMPLE_ROWS:
            return self.evaluate(shard, generate=False).figures["loss"]
        began = time.perf_counter()
        with torch.inference_mode(), evaluating(self.model), self.precision():
            sums = self.task.losses(self, shard, Pass(sample_alone=True))
        self.evaluation_seconds += time.perf_counter() - began
        return sums.total / sums.counted

    def _what_was_seen(self) -> tuple[Seen | None, bytes]:
        """Return what was measured already, and the mark of the weights in place; nothing where a second adapter takes part, or marking is slow."""
        if self.remember or self.plain or self.lean:
            return None, b""
        changing = [*self.params.values(), *self._exchanged().values()]
        if self._seen is None:
            self._seen = Seen(self.model, changing)
        return self._seen, self._seen.mark(changing)
