"""FedSA-LoRA: the factor A of each LoRA module is averaged, the factor B stays home.

Source: Guo et al., 2024, *Selective Aggregation for Low-Rank Adaptation in Federated Learning*, arXiv:2410.01463: A learns what clients have in common, B what is
each one's own. It is FedPer with home: [lora_B]. Difference: a classifier's head is averaged with the factors A (our reading).
A client that never trained has the B it was drawn with, zero: its model is the base.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from ..errors import SettingError
from ..learning.work import Trained, Working
from ..pairs import Need
from ..tensors import Tensors
from .home import matching
from .technique import NEEDS_OF_HOME, Personal, Turn

B = "lora_B"


@dataclass(frozen=True, kw_only=True)
class FedSaLora:
    """Clients share A and keep B of every LoRA module."""

    needs: ClassVar[Sequence[Need]] = NEEDS_OF_HOME
    kind: Literal["fedsa-lora"] = "fedsa-lora"

    @property
    def personal(self) -> bool:
        """Whether clients end with weights of their own."""
        return True

    def stays_home(self, names: Sequence[str]) -> frozenset[str]:
        """Return the names of the factors B.

        Raises:
            SettingError: if there are none.
        """
        if not any(B in name.split(".") for name in names):
            raise SettingError(
                "it keeps the factors B of LoRA home, and this tuning has none; choose tuning: lora, or personalization: fedper"
            )
        return matching((B,), names)

    def train(self, turn: Turn) -> Working[tuple[Trained, Tensors]]:
        """Train both factors together; B is kept."""
        trained = yield from turn.train_shared(with_home=True)
        return trained, turn.worker.home_tensors()

    def finish(self, turn: Turn) -> Personal:
        """Return the shared A with the client's own B."""
        return Personal(shared=turn.shared, home=turn.kept)

    def check(self, *, own_validation: bool) -> None:
        """Accept any data."""
