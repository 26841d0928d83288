"""Split learning, cut into one model: what a run is carried out with."""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from ...interfaces import Federation
from ...learning.client import Client
from ...learning.worker import OnStep, Worker
from ...ledger import Sizes
from ...messages import Call
from ...messages.wires.table import Wire
from ...personalization import Personalization, Shared
from ...records import ClientId, Cost, Round, ServerState
from ...tasks.shard import Shard
from ...tensors import Tensors
from ...units import bytes_text
from ..bench import Bench
from ..rounds.sampling import Sampler
from ..usual import UsualRun
from .client import SplitClient
from .cost import exchanges, kept_bytes, round_cost
from .messages import calls_of
from .server import serve
from .settings import Split
from .terms import Terms, terms_of


@dataclass(frozen=True, kw_only=True)
class SplitRun(UsualRun):
    """What a run is carried out with."""

    terms: Terms
    settings: Split = field(init=False)

    knows_gain: ClassVar[bool] = False  # what a client trains is but a part of the model

    def __post_init__(self) -> None:
        object.__setattr__(self, "settings", self.terms.settings)

    @property
    def wire(self) -> Wire:
        return self.settings.wire

    @property
    def notice(self) -> str:
        """What those who own the data should know before a run, in a sentence."""
        return notice(self.terms)

    def of_client(self, client: ClientId) -> "SplitRun":
        """Return the protocol as the job cuts it for a client, or as it begins if the server chooses."""
        return SplitRun(terms=self.terms.of_client(client))

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
        """Yield after each round; see `server.serve`."""
        return serve(self.terms, federation, state, sampler, rounds=rounds)

    def client(
        self,
        client: Client,
        *,
        personalization: Personalization | None = None,
        public: Shard | None = None,
        on_step: OnStep | None = None,
    ) -> SplitClient:
        """Return the part that answers messages at one client; see `UsualRun.client`."""
        technique = personalization or Shared()
        return SplitClient(terms=self.terms, client=client, personalization=technique, public=public, on_step=on_step)

    def calls(self, shared: Tensors, figures: Sequence[str] = (), *, rounds: int = 1) -> list[Call]:
        """Return what this protocol sends; see `UsualRun.calls`. All clients have one rank."""
        return calls_of(self.terms, shared)

    def sizes(
        self, shared: Tensors, *, rounds: int, validated: bool, shape: Callable[[Call], Call] = lambda call: call
    ) -> Mapping[str, int]:
        """Return nothing: bytes go by the step, and `cost` knows them."""
        return {}

    def cost(self, sizes: Sizes, *, examples: int, tokens_per_example: float) -> Cost:
        """Return what one client with so many examples spends in one round, estimated; with reuse as a mean over `sizes.rounds`."""
        return round_cost(self.terms, examples=examples, tokens_per_example=tokens_per_example, rounds=sizes.rounds)

    def exchanges_a_round(self, examples: int) -> int:
        """Return how often a client with so many training examples waits for an answer of the server in a round."""
        return exchanges(self.terms, self.local.steps_per_round(examples))

    def estimates(self, shared: Tensors, *, rounds: int, clients: int, tokens: int) -> Iterator[tuple[str, str]]:
        """Yield what it means that activations are sent once, where they are."""
        if self.settings.reuse:
            yield (
                "reuse",
                "activations of each example go up once: figures are means over the run, the first rounds send more and later ones less; the server keeps up to "
                f"{bytes_text(kept_bytes(self.terms.layout, tokens))} of them in memory, which are data of the clients",
            )


def split_run(settings: Split, bench: Bench) -> SplitRun:
    """Return the protocol, cut into the server's model; what owners of data should know is said."""
    run = SplitRun(terms=terms_of(settings, bench.worker, bench.cuts))
    bench.warn(run.notice)
    return run


def notice(terms: Terms) -> str:
    """Return what those who own the data should know before a run."""
    kept = "labels go to the server"
    if terms.u_shaped:
        kept = "labels are not sent, but who knows the head, as the server does, can read them from the loss's gradients"
    if terms.u_shaped and not terms.of_texts:
        kept = "which tokens are targets stays with the clients, but these tokens are inputs too, and hidden no better"
    least = min(terms.all_cuts)
    where = f"behind block {least}" if terms.all_cuts == [least] else f"for some behind block {least}"
    text = (
        f"split learning sends activations, which are data: text can likely be rebuilt from them, the more so the lower the cut (here {where} of "
        f"{terms.layout.blocks}); {kept}"
    )
    if terms.settings.reuse:
        text += "; with reuse the server keeps the activations of every example until the run ends, and learns by number in which steps each takes part"
    if terms.auto:
        text += "; with cut: auto the server chooses how deep the cut is, from protocol.least_cut on, and learns how much memory is free at each client"
    return text
