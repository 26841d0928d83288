"""Ranks of LoRA that the server chooses before each round, from what each client's last round took.

Source: ours; arXiv:2501.04436 leaves adaptive ranks under budgets open. A round of client k at rank r is taken to last

    t_k(r) = c_k + b_k r / w_k

with c_k the seconds of its last local training, which hardly depend on the rank, b_k the bytes of its last round for each rank, both ways, and w_k the bytes a
second that its last exchange reached. It gets the largest rank that keeps t_k(r) within the bound and, where it reports free memory, whose weights, gradients and moments
fit in what is free; the least where none does. The bound is the one of the settings, or else the median of all clients' t_k at the largest rank: whoever is slower than most sends less. Who
was not measured yet has the least rank, so that a slow link costs little before it is known.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from ..messages.rows import traffic_of, worked
from ..records import ClientId
from .ranked import RankOf

COPIES = 4  # of a trained weight at a client: itself, its gradient and two moments, float32


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What the last round of one client took."""

    rank: int
    train_seconds: float
    exchange_seconds: float
    bytes: float  # both ways
    free_bytes: float | None = None  # of memory, where the client reports it

    def seconds_at(self, rank: int) -> float:
        """Return how long a round at another rank would take."""
        return self.train_seconds + self.exchange_seconds * rank / self.rank

    def fits(self, rank: int) -> bool:
        """Return whether the memory that is free is enough for the larger adapter; a message down holds about its weights once."""
        if self.free_bytes is None or rank <= self.rank:
            return True
        return (rank - self.rank) * self.bytes / 2 / self.rank * COPIES <= self.free_bytes


def measured(rows: Iterable[Mapping[str, Any]]) -> dict[ClientId, Measured]:
    """Return what the last round took of each client that sent an update, of rows of clients.parquet in the order of rounds."""
    found: dict[ClientId, Measured] = {}
    for row in rows:
        work, traffic = worked(row), traffic_of(row)
        if work is not None and work.rank:
            found[work.client] = Measured(
                rank=int(work.rank),
                train_seconds=work.seconds,
                exchange_seconds=traffic.seconds,
                bytes=float(traffic.up_bytes) + float(traffic.down_bytes),
                free_bytes=work.free_bytes,
            )
    return found


def choose(known: Mapping[ClientId, Measured], ranks: Sequence[int], *, bound_s: float | None) -> dict[ClientId, int]:
    """Return the rank of the next round for each client that was measured.

    Args:
        ranks: to choose among, rising.
        bound_s: seconds that a client's round may take; None: the median over clients at the largest rank.
    """
    if not known:
        return {}
    bound = median(each.seconds_at(ranks[-1]) for each in known.values()) if bound_s is None else bound_s
    return {
        client: max((rank for rank in ranks if each.seconds_at(rank) <= bound and each.fits(rank)), default=ranks[0])
        for client, each in known.items()
    }


@dataclass(kw_only=True)
class AutoRanks(Mapping[ClientId, RankOf]):
    """The ranks of a run's next round; all that they follow from are rows of its clients, so a resumed run has the same."""

    ranks: Sequence[int]  # rising; the last is that of the shared factors
    alpha: float
    bound_s: float | None
    chosen: dict[ClientId, int] = field(default_factory=dict)

    def learn(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Choose again by all rows of clients so far."""
        self.chosen = choose(measured(rows), self.ranks, bound_s=self.bound_s)

    def rank(self, client: ClientId) -> int:
        """Return the rank that a client trains next."""
        return self.chosen.get(client, self.ranks[0])

    def __getitem__(self, client: ClientId) -> RankOf:
        return self.at(self.rank(client))

    def at(self, rank: int) -> RankOf:
        """Return what a client of a rank differs in."""
        return RankOf(rank=rank, scale=self.alpha / rank, shared_scale=self.alpha / self.ranks[-1])

    def __iter__(self) -> Iterator[ClientId]:
        return iter(self.chosen)

    def __len__(self) -> int:
        return len(self.chosen)
