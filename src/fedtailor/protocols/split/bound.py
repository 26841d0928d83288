"""Split learning, cut into one model: what a run works with."""

from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor

from ...errors import OffManifest
from ...interfaces import Aggregation, Federation
from ...learning.client import ClientState
from ...learning.local import LocalTraining
from ...learning.worker import OnStep, Worker
from ...ledger import Sizes
from ...messages import Call
from ...messages.wires.table import Wire
from ...models.cut import Draws, Part
from ...models.kinds import kind_of
from ...personalization import Personalization, Shared
from ...records import ClientId, Cost, Round, ServerState
from ...tasks.shard import Batch, Shard
from ...tensors import Tensors
from ..averaging import Averaging
from ..averaging.server import serve
from ..rounds.sampling import Sampler
from .client import SplitClient
from .conversations import Conversations
from .cost import round_cost
from .layout import Layout
from .messages import Form
from .side import moment_fields
from .telling import costed, notice

if TYPE_CHECKING:
    from .split import Split


@dataclass(frozen=True, kw_only=True)
class BoundSplit:
    """The settings of `Split` together with the model that they cut."""

    trains: ClassVar[bool] = True  # see `AveragingRun`
    own_models: ClassVar[bool] = False  # see `AveragingRun`
    knows_gain: ClassVar[bool] = False  # what a client trains is but a part of the model

    settings: "Split"
    worker: Worker
    layout: Layout  # of clients that the job says nothing else of; with cut: auto, of their first round
    choices: tuple[int, ...]  # cuts that these may have
    cuts: Mapping[ClientId, int] = field(default_factory=dict)  # of the clients that differ

    @property
    def kind(self) -> str:
        return self.settings.kind

    @property
    def aggregation(self) -> Aggregation:
        return self.settings.aggregation

    @property
    def local(self) -> LocalTraining:
        return self.settings.local

    @property
    def wire(self) -> Wire:
        return self.settings.wire

    @property
    def gradient_wire(self) -> Wire:
        return self.settings.gradients or self.settings.wire

    @property
    def feedback(self) -> bool:
        return self.settings.feedback

    @property
    def form(self) -> Form:
        """What messages look like."""
        moves = self.auto and self.local.keep_optimizer
        return Form(
            layouts=[self.layout.moved(cut) for cut in self.all_cuts],
            batch_size=self.local.batch_size,
            longest=self.longest,
            wire=self.wire,
            gradients=self.gradient_wire,
            classes=not kind_of(self.worker.task.backbone).causal,
            reuse=self.settings.reuse,
            pipelined=self.settings.pipelined,
            auto=self.auto,
            moments=moment_fields(self.local) if moves else (),
        )

    @property
    def longest(self) -> int:
        """The most tokens of one sequence."""
        task: Any = self.worker.task
        room = getattr(self._config, "max_position_embeddings", None)
        said = getattr(task, "max_tokens", None) or getattr(task, "block", None)
        return int(min(size for size in (said, room, 2**31) if size))

    @property
    def classes(self) -> int:
        return int(self._config.num_labels)

    @property
    def vocabulary(self) -> int:
        return int(self._config.vocab_size)

    @property
    def _config(self) -> Any:
        return self.worker.model.config

    @property
    def notice(self) -> str:
        """What those who own the data should know before a run, in a sentence."""
        return notice(self)

    @property
    def auto(self) -> bool:
        """Whether the server chooses the cut anew in each round."""
        return self.settings.cut == "auto"

    @property
    def all_cuts(self) -> list[int]:
        """Every cut that a client may have."""
        return sorted({*self.choices, *self.cuts.values()})

    def fixed_cut(self, client: ClientId) -> int | None:
        """Return where the job cuts a client's model, or None if the server chooses."""
        return self.cuts.get(client, None if self.auto else self.layout.cut)

    def check_allowed(self, client: ClientId, cut: int) -> None:
        """Raise OffManifest if a client is asked to be cut where the job does not allow it: a lower cut tells more of its texts."""
        fixed = self.fixed_cut(client)
        allowed = self.choices if fixed is None else (fixed,)
        if cut not in allowed:
            raise OffManifest(f"the server asks {client} to hold {cut} blocks; the job allows {', '.join(map(str, allowed))}")

    def at_cut(self, cut: int) -> "BoundSplit":
        """Return the protocol, cut elsewhere."""
        return replace(self, layout=self.layout.moved(cut))

    def of_client(self, client: ClientId) -> "BoundSplit":
        """Return the protocol as the job cuts it for a client, or as it begins if the server chooses."""
        return self.at_cut(self.fixed_cut(client) or self.layout.cut)

    def rate(self, round: int, step: int, steps: int, rate_factor: float) -> float:
        """Return the learning rate at a step (from 0), the same on both sides."""
        return self.local.peak_learning_rate * rate_factor * self.local.warmup_factor(round, step, steps)

    def run(
        self, part: Part, batch: Batch, trained: Tensors, received_BLH: Tensor | None, draws: Draws
    ) -> Tensor | tuple[Tensor, int]:
        """Return hidden states [B, L, H], or the sum of the loss and its number of targets if the part has the head.

        Args:
            trained: weights of this side, in the place of the model's own.
            received_BLH: what the part before gave, unless this one begins with the embeddings.
        """
        return self.layout.cut_model.run(
            lambda: self.worker.loss(batch),
            part,
            tensors=self.layout.in_model(trained),
            received_BLH=received_BLH,
            draws=draws,
        )

    def server_weights(self, shared: Tensors) -> dict[str, Tensor]:
        """Return the server's part of the shared weights."""
        return {name: shared[name] for name in self.layout.trained_by("server")}

    def start(self, worker: Worker) -> ServerState:
        """Return the state before round 1: the weights that are in place, both parts joined."""
        return ServerState(version=0, shared=worker.tensors())

    def serve(
        self,
        federation: Federation,
        state: ServerState,
        sampler: Sampler,
        *,
        rounds: int,
        worker: Worker | None = None,
        wanted: Callable[[int], Sequence[str]] = lambda index: (),
    ) -> Generator[Round, None, None]:
        """Yield after each round, as averaging does; see `AveragingRun.serve`.

        `ServerState.method` is what the server remembers of each client; see `Past`.

        Raises:
            TooFewClients: if less than the quorum ended their conversations, twice.
        """
        talks = Conversations(protocol=self, federation=federation, memory=dict(state.method))
        start = replace(state, method={})
        for round in serve(self._averaging, talks, start, sampler, rounds=rounds):  # type: ignore[arg-type]  # it only asks
            talks.commit()
            rows, figures = costed(talks, round.clients)
            yield replace(
                round, state=replace(round.state, method=talks.memory), clients=rows, figures={**round.figures, **figures}
            )

    def client(
        self,
        worker: Worker,
        state: ClientState,
        *,
        personalization: Personalization | None = None,
        public: Shard | None = None,
        on_step: OnStep | None = None,
    ) -> SplitClient:
        """Return the half that answers messages at one client; see `AveragingRun.client`."""
        technique = personalization or Shared()
        return SplitClient(protocol=self, worker=worker, state=state, personalization=technique, public=public, on_step=on_step)

    def calls(self, shared: Tensors, figures: Sequence[str] = (), *, rounds: int = 1) -> list[Call]:
        """Return what this protocol sends; see `AveragingRun.calls`. All clients have one rank."""
        return self.form.calls(shared)

    def check(self, shared: Tensors, trained: Collection[str]) -> None:
        """Accept what `Split.at` has accepted."""

    def sizes(self, shared: Tensors, *, rounds: int, validated: bool) -> Mapping[str, int]:
        """Return nothing: bytes go by the step, and `cost` knows them."""
        return {}

    def cost(self, sizes: Sizes, *, examples: int, tokens_per_example: float) -> Cost:
        """Return what one client with so many examples spends in one round, foretold; with reuse as a mean over `sizes.rounds`."""
        return round_cost(self, examples=examples, tokens_per_example=tokens_per_example, rounds=sizes.rounds)

    @property
    def _averaging(self) -> Averaging:
        settings = self.settings
        return Averaging(
            aggregation=settings.aggregation, local=settings.local, weights=settings.weights, quorum=settings.quorum
        )  # fmt: skip
