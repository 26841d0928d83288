"""Local fine-tuning after the federation.

Source: FedGen-Edge, 2025, arXiv:2511.11585, step 7: after the last round each client trains the shared adapter for some local
epochs on its own examples, and keeps the result. Local fine-tuning after averaging is older (Wang et al., 2019, arXiv:1910.10252).
Differences: the paper gives neither epochs, learning rate nor optimizer, so these are our defaults. `keep: best` is ours: a client whose own
validation loss does not get less keeps the shared weights.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from ..errors import SettingError
from ..learning.local import LocalTraining
from ..learning.work import Trained, Working
from ..limits import BatchSize, Epochs, LearningRate, Number, Steps
from ..tensors import Tensors
from .technique import Personal, Turn


@dataclass(frozen=True, kw_only=True)
class FineTune:
    """After the rounds, each client trains the shared weights on its own examples and keeps the result."""

    gives: ClassVar[Mapping[str, bool | str]] = {"shared-adapter": True, "rank-free": True}
    kind: Literal["finetune"] = "finetune"
    epochs: Epochs = 1.0  # passes over the client's training part; a fraction is allowed
    steps: Steps | None = None  # optimizer steps; if given, `epochs` is not used
    batch_size: BatchSize = 8  # examples in one forward pass
    optimizer: Literal["adamw", "sgd"] = "adamw"  # starts fresh
    learning_rate: LearningRate | Literal["auto"] = "auto"  # constant; auto: usual for the tuning
    weight_decay: Number = 0.0  # of the optimizer
    clip_norm: Number | None = 1.0  # most Euclidean norm of the gradient over all trained weights; null: no clipping
    keep: Literal["best", "last"] = "best"  # best: a client whose own validation loss does not get less keeps the shared weights

    def __post_init__(self) -> None:
        self._local()

    @property
    def personal(self) -> bool:
        """Whether clients end with weights of their own."""
        return True

    def stays_home(self, names: Sequence[str]) -> frozenset[str]:
        """Return no name: in the rounds all weights are shared."""
        return frozenset()

    def train(self, turn: Turn) -> Working[tuple[Trained, Tensors]]:
        """Train the shared weights; nothing is kept."""
        trained = yield from turn.train_shared()
        return trained, {}

    def finish(self, turn: Turn) -> Working[Personal]:
        """Train the shared weights on the client's own examples; return them, or the shared ones where they are no worse."""
        before = _validation_loss(turn)
        yield from turn.train_own(self._local())
        trained = turn.worker.tensors()
        if self.keep == "last":
            return Personal(shared=trained, kept=True)
        turn.worker.load(trained)  # what was trained may differ from what it is exchanged as
        after = _validation_loss(turn)
        if before is None or after is None or after >= before:  # without a validation part nothing shows that it is better
            return Personal(shared=turn.shared, kept=False)
        return Personal(shared=trained, kept=True)

    def check(self, *, own_validation: bool) -> None:
        """Raise SettingError if `keep: best` has nothing to go by."""
        if self.keep == "best" and not own_validation:
            raise SettingError(
                "keep: best goes by each client's own validation part, and no client has one: data.validation names a public file, or "
                "clients.validation_share is 0; choose keep: last, or leave data.validation out"
            )

    def _local(self) -> LocalTraining:
        return LocalTraining(
            epochs=self.epochs,
            steps=self.steps,
            batch_size=self.batch_size,
            optimizer=self.optimizer,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            clip_norm=self.clip_norm,
        )


def _validation_loss(turn: Turn) -> float | None:
    """Return the loss of the weights in place on the client's own validation part, if it has one."""
    if not len(turn.client.validation):
        return None
    return turn.worker.evaluate(turn.client.validation, generate=False).figures["loss"]
