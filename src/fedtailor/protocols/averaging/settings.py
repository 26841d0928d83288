"""Averaging: clients train the shared weights, the server averages what changed.

Source: McMahan et al., 2017, arXiv:1602.05629, algorithm 1, with any aggregation in the place of the mean.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from ...aggregation import FedAvg
from ...errors import SettingError
from ...interfaces import Aggregation, traits_of
from ...learning.local import LocalTraining
from ...messages import Call
from ...tensors import Tensors
from ..usual_settings import UsualSettings
from .messages import training_call


@dataclass(frozen=True, kw_only=True)
class Averaging(UsualSettings):
    """Clients train the shared weights on their own examples; the server averages what changed."""

    in_checkpoint: ClassVar[bool] = True
    kind: Literal["averaging"] = "averaging"
    aggregation: Aggregation = field(default_factory=FedAvg)
    local: LocalTraining = field(default_factory=LocalTraining)
    weights: Literal["examples", "targets", "uniform"] = "examples"  # a client's share: its examples, its counted targets, or 1
    wire: Literal["float32", "bfloat16"] = "float32"  # dtype of tensors in messages
    quorum: float = 0.5  # least share of the asked clients whose updates make a round

    def __post_init__(self) -> None:
        if not 0 < self.quorum <= 1:
            raise SettingError(f"quorum is a share of the asked clients, in (0, 1]; got {self.quorum}")
        if traits_of(self.aggregation).control:
            check_control(self.local, self.wire)

    @property
    def dtype(self) -> str:
        """Of the weights in messages."""
        return self.wire

    @property
    def half_wire(self) -> str:
        """The value of `wire` with which updates are half as long; empty where they are that short."""
        return "bfloat16" if self.wire == "float32" else ""

    @property
    def counts_clients(self) -> bool:
        """Whether clients know how many they are."""
        return traits_of(self.aggregation).counts_clients

    def sent(self, shared: Tensors, round: int) -> list[str]:
        """Return the names of the tensors that clients train and send in `round`, counted from 1."""
        trains = self.aggregation.trains(round)
        return [name for name in shared if trains(name)]

    def call(self, shared: Tensors, rounds: int) -> Call:
        """Return the call of a round; `rounds` are those of the run, as what is sent may differ from round to round."""
        return training_call(
            shared,
            dtype=self.wire,
            sent=[self.sent(shared, round) for round in range(1, rounds + 1)],
            control=traits_of(self.aggregation).control,
            clients=self.counts_clients,
            private=self.local.privacy is not None,
        )

    def check(self, shared: Tensors, trained: Collection[str]) -> None:
        """Raise SettingError if the aggregation does not fit the exchanged tensors, or these not the names of the trained weights."""
        self.aggregation.init(shared)
        if traits_of(self.aggregation).control and set(shared) != set(trained):
            raise SettingError(
                f"control variates belong to trained weights, and this tuning exchanges something made of them ({min(shared)!r}); "
                "choose aggregation: {kind: fedavg}, or let the tuning exchange its weights (prefix: exchange: network)"
            )


def check_control(local: LocalTraining, wire: str) -> None:
    """Raise SettingError unless a step of local training is a learning rate times a gradient, and changes travel unrounded."""
    other: dict[str, object] = {"optimizer": local.optimizer} if local.optimizer != "sgd" else {}
    other |= {name: getattr(local, name) for name in ("momentum", "weight_decay") if getattr(local, name)}
    other |= {"head_learning_rate": local.head_learning_rate} if local.head_factor != 1 else {}
    if other:
        others = ", ".join(f"local.{name}: {value}" for name, value in other.items())
        raise SettingError(
            f"aggregation scaffold does not go with {others}: its control variates are mean gradients only under plain SGD; choose "
            "local: {optimizer: sgd, learning_rate: 0.1}, or keep it and choose aggregation: fedavg with local.proximal: 0.01"
        )
    if wire != "float32":
        raise SettingError(
            f"wire: {wire} does not go with aggregation: scaffold: the server adds up changes of control variates, and rounded ones part "
            "from those that clients keep; set wire: float32, or choose aggregation: fedavg"
        )
