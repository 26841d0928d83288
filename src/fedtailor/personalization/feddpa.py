"""FedDPA: a global adapter that is federated, and a local one of each client's own beside it; at inference both are mixed.

Source: Yang et al., 2024, *Dual-Personalizing Adapter for Federated Foundation Models*, arXiv:2403.19211, with the authors' code
(github.com/Lydia-yang/FedDPA) where the summary at hand is silent: output W x + (1 - s) global(x) + s local(x). Variant F trains the local
adapter after the last round, variant T in every round, before the global one, each with the other at rest; while the local one is trained, s is
`trained_weight`, 0.5 in the code. At inference s is found for each input (see instance.py), or one number for all.
Differences: in the rounds the global adapter is trained alone; the local one starts from a draw of its own with B zero; a classifier's head is
global (our reading). A client that never trained a local adapter ends with the global one alone.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from torch import nn

from ..chance import stream
from ..errors import SettingError
from ..interfaces import Aggregation, Tuning
from ..learning.local import LocalTraining
from ..learning.work import Trained, Working
from ..learning.worker import Worker
from ..limits import Count, Epochs, LearningRate, Number, Steps, Width
from ..models.kinds import kind_of
from ..pairs import Need
from ..tasks import Task, Writes
from ..tensors import Tensors, clone
from ..tuning.adapters.mixture import draw_adapter, dropout_of, load_factors, mixed, save_joined, settings_of
from ..tuning.adapters.second import activate, active_adapters, adapter_parameters, add_adapter
from .own_training import check_own, own_local
from .pairs.instance import InstanceShare, share_of_inputs
from .pairs.pair import CENTROID, save_pair
from .technique import NEEDS_OF_PAIRS, Personal, Turn

OWN = "own"  # name of the local adapter


@dataclass(frozen=True, kw_only=True)
class FedDpa:
    """Beside the federated LoRA each client trains a local one; at inference both are mixed, by how alike the input is to its own."""

    needs: ClassVar[Sequence[Need]] = NEEDS_OF_PAIRS
    kind: Literal["feddpa"] = "feddpa"
    variant: Literal["F", "T"] = (
        "F"  # F: the local adapter is trained after the last round; T: in each round, before the global one
    )
    weight: Literal["instance"] | float = (
        "instance"  # share of the local adapter: from each input, or one number in [0, 1] for all
    )
    scale: float = 0.5  # of an instance's share: what an input gets that is just as the client's own, in (0, 1]
    samples: Count = 32  # training inputs, at most, that an input is compared with
    trained_weight: float = 0.5  # share of the local adapter while it is trained, in (0, 1]
    rank: Width | None = None  # of the local adapter; null: tuning.rank
    alpha: Number | None = None  # of the local adapter; null: tuning.alpha
    epochs: Epochs | None = None  # passes over the training part for the local adapter; null: as protocol.local
    steps: Steps | None = None  # or so many optimizer steps
    learning_rate: LearningRate | None = None  # null: that of protocol.local

    def __post_init__(self) -> None:
        check_own(epochs=self.epochs, steps=self.steps, learning_rate=self.learning_rate)
        if self.weight != "instance" and (isinstance(self.weight, str) or not 0 <= self.weight <= 1):
            raise SettingError(f"weight is instance, or the local adapter's share in [0, 1]; got {self.weight!r}")
        for name, value in (("scale", self.scale), ("trained_weight", self.trained_weight)):
            if not 0 < value <= 1:
                raise SettingError(f"{name} is a share, above 0 and at most 1; got {value}; the authors have 0.5")
        if self.samples < 1:
            raise SettingError(f"samples are training inputs, at least 1; got {self.samples}; the authors have 5")
        if (self.rank is not None and self.rank < 1) or (self.alpha is not None and not 0 < self.alpha < float("inf")):
            raise SettingError(f"rank and alpha must be above 0, or null for those of tuning; got {self.rank}, {self.alpha}")

    @property
    def personal(self) -> bool:
        """Whether clients end with weights of their own."""
        return True

    @property
    def last_round(self) -> bool:
        """Whether the local adapter goes with the last round's global one: in variant T, which trains it in the rounds."""
        return self.variant == "T"

    def stays_home(self, names: Sequence[str]) -> frozenset[str]:
        """Return no name: the local adapter is not among what is exchanged."""
        return frozenset()

    def check(self, *, own_validation: bool) -> None:
        """Accept any data."""

    def attach(self, model: nn.Module, *, seed: int) -> None:
        """Put the local adapter beside the global one, at rest, with the same dropout, `tuning.dropout`.

        A resting adapter's dropout: while the global one is trained, the local one has no part in the forward pass, nor has its dropout. While
        the local one is trained, the global one rests but takes part, and its dropout is on: each adapter drops values of its input by
        draws of its own. In evaluation both are off.
        """
        rank, alpha = settings_of(model)
        own_rank, own_alpha = self.rank or rank, self.alpha or alpha
        add_adapter(model, OWN, rank=own_rank, alpha=own_alpha, trained=False, seed=seed, dropout=dropout_of(model))
        activate(model, [name for name in active_adapters(model) if name != OWN])

    def fits(self, *, task: Task, tuning: Tuning, local: LocalTraining, wire: str, clients: int) -> None:
        """Raise SettingError if shares are to depend on inputs, and the task has none."""
        if self.weight == "instance" and kind_of(task.backbone).causal and not isinstance(task, Writes):
            raise SettingError(
                "weight: instance compares inputs, and in this task a text is all target; choose weight: 0.5, or another number"
            )

    def rule(self, clients: int) -> Aggregation | None:
        """Return None: any aggregation will do."""
        return None

    def train(self, turn: Turn) -> Working[tuple[Trained, Tensors]]:
        """Train the global adapter; before it, in variant T, the local one, which is kept."""
        own: Tensors = (yield from self._train_own(turn)) if self.last_round else {}
        trained = yield from turn.train_shared()
        return trained, own

    def finish(self, turn: Turn) -> Working[Personal]:
        """Return the global adapter with the local one, which variant F trains now."""
        own = turn.kept if self.last_round else (yield from self._train_own(turn))
        if not own:
            return Personal(shared=turn.shared, kept=False)
        load_factors(turn.worker.model, OWN, own)
        return Personal(shared=turn.shared, mixture=self._mixture(turn))

    @contextmanager
    def placed(self, turn: Turn) -> Iterator[None]:
        """Let both adapters take part; the global one alone where there is no local one yet."""
        turn.worker.load(turn.shared)
        if not turn.kept:
            yield
            return
        load_factors(turn.worker.model, OWN, turn.kept)
        with self._mixture(turn).placed():
            yield

    def _train_own(self, turn: Turn) -> Working[Tensors]:
        """Train the local adapter with the global one, as received, at rest; return its factors."""
        model = turn.worker.model
        if turn.kept:
            load_factors(model, OWN, turn.kept)
        else:
            draw_adapter(model, OWN, seed=turn.worker.seed)
        own = adapter_parameters(model, OWN)
        settings = own_local(turn.local, epochs=self.epochs, steps=self.steps, learning_rate=self.learning_rate)
        with mixed(model, OWN, lambda module, x: self.trained_weight):
            yield from turn.train_own(settings, only=(), beside=own)
        return clone(own)

    def _mixture(self, turn: Turn) -> "FixedMixture | InstanceMixture":
        worker = turn.worker
        if not isinstance(self.weight, str):
            return FixedMixture(worker=worker, share=float(self.weight))
        count = len(turn.client.train)
        chosen = stream(worker.seed, "centroid", client=turn.client.id).permutation(count)[: self.samples]
        share = share_of_inputs(
            worker,
            OWN,
            turn.client.train,
            sorted(chosen.tolist()),
            scale=self.scale,
            pooled=not kind_of(worker.task.backbone).causal,
            batch_size=turn.local.batch_size,
        )
        return InstanceMixture(worker=worker, share=share)


@dataclass(frozen=True, kw_only=True)
class FixedMixture:
    """Both adapters, the local one with one share for all: together they are one LoRA."""

    worker: Worker
    share: float

    def placed(self) -> AbstractContextManager[None]:
        """Let both take part, inside the block."""
        return mixed(self.worker.model, OWN, lambda module, x: self.share)

    def save(self, folder: Path) -> None:
        """Write one adapter of PEFT's, of both ranks together."""
        save_joined(self.worker.model, folder, second=OWN, share=self.share)


@dataclass(frozen=True, kw_only=True)
class InstanceMixture:
    """Both adapters, the local one with a share that each input gives."""

    worker: Worker
    share: InstanceShare

    def placed(self) -> AbstractContextManager[None]:
        """Let both take part, inside the block."""
        return self.share.placed()

    def save(self, folder: Path) -> None:
        """Write the global adapter as PEFT's, and beside it the local one with the centroid."""
        model = self.worker.model
        self.worker.tuning.save(model, folder)
        values = {CENTROID: self.share.centroid_H}
        save_pair(model, folder, second=OWN, values=values, shares="instance", scale=self.share.scale, pooled=self.share.pooled)
