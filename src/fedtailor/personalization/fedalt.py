"""FedALT: each client continues to train its own LoRA, beside a frozen one that is the mean of the others'; a gate mixes both.

Source: Bian et al., 2025, *FedALT: Federated Fine-Tuning through Adaptive Local Training with Rest-of-World LoRA*, arXiv:2503.11880, of which the
abstract alone was at hand: local training starts from the client's own LoRA and not from an average, what others know comes as a rest-of-world LoRA, and a
mixer learns the weights of both from the input. Our reading: the rest-of-world LoRA of client k is the plain mean of the others' factors A and
B, each by itself, as of their last updates; it is frozen; the mixer is in gate.py, private, and trained with the client's LoRA.

Nothing per client is kept at the server, and all clients receive the same message: the mean m of all N clients' LoRAs, where one that was not asked
yet counts as all were at the start. A client sends the change of its own LoRA; the server adds 1 / N of it (aggregation/running_mean.py), so m is
right whoever takes part; and the client itself takes its own out: rest of the world = (N m - own) / (N - 1), own being what it sent last.
With two clients the rest of the world is the other one's LoRA. A client whose update is lost on the way has moved its own LoRA nevertheless.
A classifier's head, which is no LoRA, is the client's own; m holds the mean of all heads, for whoever joins (our reading).
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from torch import Tensor, nn

from ..aggregation import RunningMean
from ..errors import SettingError
from ..interfaces import Aggregation, Tuning
from ..learning.local import LocalTraining
from ..learning.work import Trained, Working
from ..learning.worker import Worker
from ..pairs import Need
from ..tasks import Task
from ..tensors import Tensors, clone
from ..tuning.adapters.mixture import load_factors, settings_of
from ..tuning.adapters.second import activate, active_adapters, adapter_parameters, add_adapter
from ..tuning.asked import initial_of
from .pairs.gate import Gates
from .pairs.pair import save_pair
from .technique import NEEDS_OF_PAIRS, Personal, Turn

WORLD = "world"  # name of the adapter that is the others'


@dataclass(frozen=True, kw_only=True)
class FedAlt:
    """Each client keeps its own LoRA and trains it on, beside a frozen mean of the others', mixed by a gate of its own."""

    needs: ClassVar[Sequence[Need]] = (
        *NEEDS_OF_PAIRS,
        Need(
            word="plain-mean",
            why="it has a rule of its own",
            remedy="leave protocol.aggregation out, or choose personalization: ditto",
        ),
    )
    gives: ClassVar[Mapping[str, bool | str]] = {"home-noised": False}
    kind: Literal["fedalt"] = "fedalt"

    @property
    def personal(self) -> bool:
        """Whether clients end with weights of their own."""
        return True

    @property
    def last_round(self) -> bool:
        """Whether a client's own LoRA goes with the last round's mean: it is taken out of that."""
        return True

    def stays_home(self, names: Sequence[str]) -> frozenset[str]:
        """Return no name: the gates are not among what is exchanged."""
        return frozenset()

    def check(self, *, own_validation: bool) -> None:
        """Accept any data."""

    def attach(self, model: nn.Module, *, seed: int) -> None:
        """Put the adapter of the others beside the client's own, at rest."""
        rank, alpha = settings_of(model)
        add_adapter(model, WORLD, rank=rank, alpha=alpha, trained=False, seed=seed)
        activate(model, [name for name in active_adapters(model) if name != WORLD])

    def fits(self, *, task: Task, tuning: Tuning, local: LocalTraining, wire: str, clients: int) -> None:
        """Raise SettingError, naming the setting that does not go with it."""
        if clients < 2:
            raise SettingError(
                "the rest of the world needs another client, and one alone trains; choose personalization: finetune"
            )
        if initial_of(tuning) is not None:
            raise SettingError(
                "tuning.initial: clients start from the same draw, which a resumed run must have again; leave initial out, or choose ditto"
            )
        if local.proximal:
            raise SettingError(
                f"protocol.local.proximal: {local.proximal} draws towards what was received, which is not where clients continue from here; "
                "choose proximal: 0, or personalization: ditto"
            )
        if wire != "float32":
            raise SettingError(f"protocol.wire: {wire} would round each change, and the roundings add up; choose wire: float32")

    def rule(self, clients: int) -> Aggregation | None:
        """Return the mean of all clients' last weights, whoever takes part in a round."""
        return RunningMean(clients=clients)

    def train(self, turn: Turn) -> Working[tuple[Trained, Tensors]]:
        """Train the client's own LoRA and its gates with the others' at rest; return how it changed, and what is kept of both."""
        gates = self._place(turn)
        with gates.placed():
            trained = yield from turn.train_shared(beside=gates.parameters)
        return trained, {**turn.worker.tensors(), **clone(gates.parameters)}

    def finish(self, turn: Turn) -> Personal:
        """Return the client's own LoRA with that of the others and the gates, as of the last round."""
        gates = self._place(turn)
        return Personal(shared=self._own(turn), mixture=GatedMixture(worker=turn.worker, gates=gates))

    @contextmanager
    def placed(self, turn: Turn) -> Iterator[None]:
        """Let both take part."""
        with self._place(turn).placed():
            yield

    def _own(self, turn: Turn) -> Tensors:
        """Return the client's own weights as it sent them last; those of the start if it was never asked."""
        return {name: turn.kept.get(name, turn.worker.start[name]) for name in turn.shared}

    def _place(self, turn: Turn) -> Gates:
        """Put the client's own weights and those of the others in place, and return the gates."""
        own, model = self._own(turn), turn.worker.model
        turn.worker.load(own)
        if not len(turn.client.train):  # it is none of the N: all of them are the rest of its world
            load_factors(model, WORLD, {name: turn.shared[_first(name)] for name in adapter_parameters(model, WORLD)})
            return Gates(model, WORLD, turn.kept)
        world = {
            name: rest_of_world(turn.shared[_first(name)], own[_first(name)], turn.clients)
            for name in adapter_parameters(model, WORLD)
        }
        load_factors(model, WORLD, world)
        return Gates(model, WORLD, turn.kept)


@dataclass(frozen=True, kw_only=True)
class GatedMixture:
    """A client's own LoRA and that of the others, by shares that its gates find."""

    worker: Worker
    gates: Gates

    def placed(self) -> AbstractContextManager[None]:
        """Let both take part, inside the block."""
        return self.gates.placed()

    def save(self, folder: Path) -> None:
        """Write the client's own LoRA as PEFT's, and beside it that of the others with the gates."""
        model = self.worker.model
        self.worker.tuning.save(model, folder)
        save_pair(model, folder, second=WORLD, values=self.gates.parameters, shares="gates")


def rest_of_world(mean: Tensor, own: Tensor, clients: int) -> Tensor:
    """Return the mean of the others, (N mean - own) / (N - 1)."""
    return (clients * mean - own) / (clients - 1)


def _first(name: str) -> str:
    """Return the name of the first adapter's factor where the second's is called `name`."""
    return name.replace(f".{WORLD}_", ".lora_")
