"""The client's part of distillation."""

import random
from dataclasses import dataclass

import torch
from torch import Tensor

from ...diverged import check_loss
from ...errors import ShapeMismatch
from ...interfaces import traits_of
from ...learning.client import ClientState
from ...learning.corrections import proximal
from ...learning.distil import distil, say
from ...learning.public_fit import row_scores, separability
from ...learning.training import Trained, train_locally
from ...learning.worker import OnStep, Spent, Worker
from ...messages import answer
from ...messages.wires.logits import LogitsWire
from ...personalization import OWN
from ...protection.label_noise import noised_counts
from ...records import Message
from ...tasks.shard import Shard
from ...tensors import Tensors, check_finite, check_same_names, clone
from ...tuning import LoraAmong, written
from ..evaluation import Evaluate, Evaluated, answer_evaluation, own_of
from ..personal import measure_parts
from .messages import Align, Aligned, Learn, Lesson, Said
from .public_set import PublicSet
from .settings import Distillation

REPORTED = "told/"  # a client keeps what it reported of itself, so that it reports the same again
FIT, COUNTS = f"{REPORTED}fit", f"{REPORTED}counts"


@dataclass(frozen=True, kw_only=True)
class DistillationClient:
    """Answers "train" with logits of its own model on public examples, "evaluate" and "align" with figures of that model."""

    protocol: Distillation
    worker: Worker
    state: ClientState
    public: PublicSet  # as tokens of the worker
    wire: LogitsWire
    start: Tensors  # trained weights that the client begins with
    test: Shard | None = None  # the public test set
    on_step: OnStep | None = None

    def answer(self, message: Message) -> Message:
        """Return the reply to one message."""
        return answer(message, {Learn: self._learn, Evaluate: self._evaluate, Align: self._align_last})

    def _evaluate(self, asked: Evaluate) -> Evaluated:
        assert asked.own_version is not None  # what is measured is the client's own model
        self._load(self.state.recall(asked.own_version))
        return answer_evaluation(self.worker, self.state, asked)

    def _learn(self, asked: Learn) -> Said:
        worker, state, settings = self.worker, self.state, self.protocol.local
        recalled = state.recall(asked.version)
        self._load(recalled)
        measured = worker.peak.reset()
        wanted = asked.losses or ()
        measuring = Spent(worker)
        before = worker.sample_loss(state.validation) if "before" in wanted and len(state.validation) else None
        if before is not None:
            check_loss("validation loss before training", before)
        training = Spent(worker)
        reported, extra_tokens = self._reports(recalled)
        if reported.keys() - recalled.keys():
            state.keep(asked.version, {**recalled, **reported})  # before it leaves: a round that is tried again reports the same
        scores, scored_tokens = self._scores(asked.version + 1)
        aligned = self._align(asked)
        trained = train_locally(
            worker,
            state.train,
            settings,
            round=asked.version + 1,
            client=state.id,
            rate_factor=asked.rate_factor,
            optimizer={name: value for name, value in recalled.items() if not name.startswith((OWN, REPORTED))},
            corrections=[proximal(worker.params, settings.proximal)] if settings.proximal else [],
            on_step=self.on_step,
        )
        shard = self.public.slice(asked.version + 1, asked.now)
        logits = say(worker, shard, self.wire.encode)
        seconds, peak = training.working, worker.peak.read() if measured else None
        kept = {f"{OWN}{name}": value for name, value in clone(worker.params).items()} | reported | dict(trained.optimizer)
        check_finite(kept, "weights after training")
        state.keep(asked.version + 1, kept)
        return Said(
            version=asked.version,
            examples=len(state.train),
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
            public_fit=reported[FIT].item() if len(reported.get(FIT, ())) else None,
            validation_before=before,
            evaluation_seconds=measuring.evaluating if wanted else None,
            label_counts=reported[COUNTS].tolist() if COUNTS in reported else None,
            said=logits,
            weights=worker.tensors() if traits_of(self.protocol.aggregation).needs_weights else {},
            scores=scores,
        )

    def _align(self, asked: Lesson) -> Trained | None:
        """Fit the weights in place to the logits that came, or take the weights that came; None if nothing was trained."""
        if asked.weights:
            self.worker.load(asked.weights)
        if not asked.logits:
            return None
        self.wire.check(asked.logits, self.public.places(asked.version, asked.before))
        return distil(
            self.worker,
            self.public.slice(asked.version, asked.before),
            lambda places: self.wire.decode(asked.logits, places),
            self.protocol.align,
            temperature=self.protocol.temperature,
            weight=self.protocol.weight,
            round=asked.version + 1,
            client=self.state.id,
            purpose="align-",
        )

    def _align_last(self, asked: Align) -> Aligned:
        """Align once more after the last round, keep the model in the client's folder, and return its figures.

        What the client keeps between rounds is left as it was, so that a run may resume.
        """
        worker, state = self.worker, self.state
        self._load(state.recall(asked.version))
        measured = worker.peak.reset()
        aligning = Spent(worker)
        aligned = self._align(asked)
        seconds, peak = aligning.working, worker.peak.read() if measured else None
        check_finite(dict(worker.params), "weights after the last alignment")
        figures = measure_parts(worker, state, self.test, generate=bool(asked.generate), name="aligned")
        state.write_model(lambda folder: worker.tuning.save(worker.model, folder), written(worker.tuning).folder)
        return Aligned(
            steps=len(aligned.losses) if aligned else 0,
            tokens=aligned.tokens if aligned else 0,
            seconds=seconds,
            peak_bytes=peak,
            evaluation_seconds=aligning.evaluating,
            measured=figures,
        )

    def _load(self, kept: Tensors) -> None:
        """Put the client's own weights in place: those it kept, or the ones that everybody starts from."""
        own = own_of(kept) or dict(self.start)
        if isinstance(self.worker.tuning, LoraAmong):  # its adapter takes part in the place of other clients'
            self.worker.tuning.attach(self.worker.model, self.worker.seed)
        check_same_names(self.worker.params, own)
        with torch.no_grad():
            for name, param in self.worker.params.items():
                if param.shape != own[name].shape:
                    raise ShapeMismatch(
                        f"the client kept {name!r} with shape {tuple(own[name].shape)}, its model has {tuple(param.shape)}"
                    )
                param.copy_(own[name])

    def _reports(self, kept: Tensors) -> tuple[dict[str, Tensor], int]:
        """Return what the client keeps of what it reports of itself, and the tokens that finding it took.

        It is found once and reported again as it was: noise that is drawn again would average out, and spend privacy again.
        """
        reported = {name: value for name, value in kept.items() if name.startswith(REPORTED)}
        tokens = 0
        if self.protocol.public_fit and FIT not in reported:
            area, tokens = separability(self.worker, self.state.train, self.public.shard, client=self.state.id)
            reported[FIT] = torch.tensor([] if area is None else [area], dtype=torch.float64)
        if self.protocol.label_counts and COUNTS not in reported:
            reported[COUNTS] = torch.tensor(self._label_counts(), dtype=torch.int64)
        return reported, tokens

    def _scores(self, round: int) -> tuple[Tensor | None, int]:
        """Return how like its own each public row looks to the client, where the round asks for it, and the tokens that this took."""
        if not self.protocol.scores_in(round):
            return None, 0
        return row_scores(self.worker, self.state.train, self.public.shard, round=round, client=self.state.id)

    def _label_counts(self) -> list[int]:
        assert self.state.train.labels_N is not None
        counts = torch.bincount(self.state.train.labels_N, minlength=self.wire.classes).tolist()
        epsilon = self.protocol.label_epsilon
        return counts if epsilon is None else noised_counts(counts, epsilon, random.SystemRandom())
