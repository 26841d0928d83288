"""The client's part of distillation."""

import random
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ...diverged import check_loss
from ...errors import ShapeMismatch
from ...interfaces import Answer, traits_of
from ...learning.client import Client
from ...learning.corrections import proximal
from ...learning.distil import distil, say
from ...learning.public_fit import row_scores, separability
from ...learning.work import Trained, Training, Working
from ...learning.worker import OnStep, Spent
from ...messages import answer, state_of, tensors_of
from ...messages.wires.logits import LogitsWire
from ...protection.label_noise import noised_counts
from ...records import Message
from ...tasks.shard import Shard
from ...tensors import Tensors, check_finite, check_same_names, clone
from ...tuning import take_part, written
from ..evaluation import Evaluate, Evaluated, answer_evaluation
from ..personal import measure_parts
from .messages import Align, Aligned, Learn, Lesson, Said
from .public_set import PublicSet
from .settings import Distillation
from .state import Kept


@dataclass(frozen=True, kw_only=True)
class DistillationClient:
    """Answers "train" with logits of its own model on public examples, "evaluate" and "align" with figures of that model."""

    protocol: Distillation
    client: Client
    public: PublicSet  # as tokens of the worker
    wire: LogitsWire
    start: Tensors  # trained weights that the client begins with
    test: Shard | None = None  # the public test set
    on_step: OnStep | None = None

    def answer(self, message: Message) -> Answer:
        """Return the reply to one message."""
        return answer(message, {Learn: self._learn, Evaluate: self._evaluate, Align: self._align_last})

    def _evaluate(self, asked: Evaluate) -> Evaluated:
        assert asked.own_version is not None  # what is measured is the client's own model
        self._load(self._recalled(asked.own_version))
        return answer_evaluation(self.client, asked)

    def _learn(self, asked: Learn) -> Working[Said]:
        client, worker = self.client, self.client.worker
        recalled = self._recalled(asked.version)
        self._load(recalled)
        measured = worker.peak.reset()
        wanted = asked.losses or ()
        measuring = Spent(worker)
        before = self._loss_before() if "before" in wanted and len(client.validation) else None
        training = Spent(worker)
        said, extra_tokens = self._reports(recalled)
        if said is not recalled:
            client.store.keep(asked.version, tensors_of(said))  # before it leaves: a round that is tried again says the same
        scores, scored_tokens = self._scores(asked.version + 1)
        aligned = yield from self._align(asked)
        trained = yield self._training(asked, recalled.moments)
        shard = self.public.slice(asked.version + 1, asked.now)
        logits = say(worker, shard, self.wire.encode)
        seconds, peak = training.working, worker.peak.read() if measured else None
        kept = tensors_of(replace(said, own=clone(worker.params), moments=trained.optimizer))
        check_finite(kept, "weights after training")
        client.store.keep(asked.version + 1, kept)
        return Said(
            version=asked.version,
            examples=len(client.train),
            targets=trained.targets,
            tokens=trained.tokens + (aligned.tokens if aligned else 0),
            forward_tokens=int(shard.sizes_N.sum()) + extra_tokens + scored_tokens,
            steps=len(trained.losses) + (len(aligned.losses) if aligned else 0),
            first_loss=trained.losses[0],
            last_loss=trained.losses[-1],
            gradient_norm=trained.gradient_norm,
            clipped=trained.clipped,
            align_loss=aligned.losses[-1] if aligned else None,
            seconds=seconds,
            peak_bytes=peak,
            public_fit=said.fit.item() if said.fit is not None and len(said.fit) else None,
            validation_before=before,
            evaluation_seconds=measuring.evaluating if wanted else None,
            label_counts=None if said.counts is None else said.counts.tolist(),
            said=logits,
            weights=worker.tensors() if traits_of(self.protocol.aggregation).needs_weights else {},
            scores=scores,
        )

    def _loss_before(self) -> float:
        """Return the loss of the client's model on its validation part."""
        loss = self.client.worker.sample_loss(self.client.validation)
        check_loss("validation loss before training", loss)
        return loss

    def _training(self, asked: Learn, moments: Tensors) -> Training:
        """Return the training on the client's own examples."""
        worker, settings = self.client.worker, self.protocol.local
        return Training(
            worker=worker,
            shard=self.client.train,
            settings=settings,
            round=asked.version + 1,
            client=self.client.id,
            rate_factor=asked.rate_factor,
            optimizer=moments,
            corrections=[proximal(worker.params, settings.proximal)] if settings.proximal else [],
            on_step=self.on_step,
        )

    def _align(self, asked: Lesson) -> Working[Trained | None]:
        """Fit the weights in place to the logits that came, or take the weights that came; None if nothing was trained."""
        if asked.weights:
            self.client.worker.load(asked.weights)
        if not asked.logits:
            return None
        self.wire.check(asked.logits, self.public.places(asked.version, asked.before))
        return (
            yield distil(
                self.client.worker,
                self.public.slice(asked.version, asked.before),
                lambda places: self.wire.decode(asked.logits, places),
                self.protocol.align,
                temperature=self.protocol.temperature,
                weight=self.protocol.weight,
                round=asked.version + 1,
                client=self.client.id,
                purpose="align-",
            )
        )

    def _align_last(self, asked: Align) -> Working[Aligned]:
        """Align once more after the last round, keep the model in the client's folder, and return its figures.

        What the client keeps between rounds is left as it was, so that a run may resume.
        """
        client, worker = self.client, self.client.worker
        self._load(self._recalled(asked.version))
        measured = worker.peak.reset()
        aligning = Spent(worker)
        aligned = yield from self._align(asked)
        seconds, peak = aligning.working, worker.peak.read() if measured else None
        check_finite(dict(worker.params), "weights after the last alignment")
        figures = measure_parts(client, self.test, generate=bool(asked.generate), name="aligned")
        client.store.write_model(lambda folder: worker.tuning.save(worker.model, folder), written(worker.tuning).folder)
        return Aligned(
            steps=len(aligned.losses) if aligned else 0,
            tokens=aligned.tokens if aligned else 0,
            seconds=seconds,
            peak_bytes=peak,
            evaluation_seconds=aligning.evaluating,
            measured=figures,
        )

    def _recalled(self, version: int) -> Kept:
        return state_of(Kept, self.client.store.recall(version))

    def _load(self, kept: Kept) -> None:
        """Put the client's own weights in place: those it kept, or the ones that everybody starts from."""
        own = kept.own or self.start
        take_part(self.client.worker.tuning, self.client.worker.model, self.client.worker.seed)
        check_same_names(self.client.worker.params, own)
        with torch.no_grad():
            for name, param in self.client.worker.params.items():
                if param.shape != own[name].shape:
                    raise ShapeMismatch(
                        f"the client kept {name!r} with shape {tuple(own[name].shape)}, its model has {tuple(param.shape)}"
                    )
                param.copy_(own[name])

    def _reports(self, kept: Kept) -> tuple[Kept, int]:
        """Return what the client keeps with what it says of itself in it, and the tokens that finding it took.

        It is found once and said again as it was: noise that is drawn again would average out, and spend privacy again.
        """
        tokens = 0
        if self.protocol.public_fit and kept.fit is None:
            area, tokens = separability(self.client.worker, self.client.train, self.public.shard, client=self.client.id)
            kept = replace(kept, fit=torch.tensor([] if area is None else [area], dtype=torch.float64))
        if self.protocol.label_counts and kept.counts is None:
            kept = replace(kept, counts=torch.tensor(self._label_counts(), dtype=torch.int64))
        return kept, tokens

    def _scores(self, round: int) -> tuple[Tensor | None, int]:
        """Return how like its own each public row looks to the client, where the round asks for it, and the tokens that this took."""
        if not self.protocol.scores_in(round):
            return None, 0
        return row_scores(self.client.worker, self.client.train, self.public.shard, round=round, client=self.client.id)

    def _label_counts(self) -> list[int]:
        assert self.client.train.labels_N is not None
        counts = torch.bincount(self.client.train.labels_N, minlength=self.wire.classes).tolist()
        epsilon = self.protocol.label_epsilon
        return counts if epsilon is None else noised_counts(counts, epsilon, random.SystemRandom())
