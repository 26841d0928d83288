"""What a run will cost: bytes, operations, seconds and memory, for each client and in all."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from ..assembly import Parts
from ..assembly import estimate as costs_of_round
from ..ledger import forward_flops
from ..records import ClientId
from .alike import notes_on
from .client import Basis, ClientEstimate, Counts, client_estimates
from .means import Means, Speed, link_seconds, makespan
from .memory import program_bytes
from .traffic import TRAIN, Bytes, asked_in, moments_of, traffic_of
from .work import evaluation_size

VERSION = 1  # of plan.json
MOST_LISTED = 200  # clients that plain values have one by one


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a run of so many rounds costs."""

    rounds: int
    means: Means
    speed: Speed | None
    counted: bool  # whether steps were counted on shapes; else operations are by formula, and activations are left out
    bytes: Mapping[str, Bytes]  # by kind of message
    flops: Mapping[
        str, float
    ]  # of clients in training and evaluation, of the server's evaluations (general text among them); `formula` is training by formula
    seconds: Mapping[str, float | None]
    clients: Mapping[ClientId, ClientEstimate]
    partial: bool = False  # whether some clients' examples are not here, so that what they compute is not known
    notes: tuple[str, ...] = field(default=())
    # by what is estimated: "most", "least", or "rough", which may be off either way
    bounds: Mapping[str, str] = field(default_factory=dict)

    @property
    def largest(self) -> tuple[ClientId, ClientEstimate] | None:
        """The client whose process takes the most memory."""
        return max(self.clients.items(), key=lambda item: item[1].memory.peak, default=None)

    @property
    def slowest(self) -> tuple[ClientId, ClientEstimate] | None:
        """The client whose round takes longest; None where no time is known."""
        timed = [
            (client, each) for client, each in self.clients.items() if each.seconds is not None or each.link_seconds is not None
        ]
        return max(timed, key=lambda item: (item[1].seconds or 0.0) + (item[1].link_seconds or 0.0), default=None)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as plan.json and `check --json` have them: of many clients the first, the largest and the slowest."""
        named = dict(list(self.clients.items())[:MOST_LISTED])
        named |= dict(found for found in (self.largest, self.slowest) if found is not None)
        clients = {
            client: {**asdict(each), "memory": {**asdict(each.memory), "peak": each.memory.peak}}
            for client, each in named.items()
        }
        found = asdict(replace(self, clients={}))
        more = len(self.clients) - len(named)
        return {"version": VERSION, **found, "clients": clients, "more_clients": more, "notes": list(self.notes)}


def estimate(
    parts: Parts,
    *,
    rounds: int | None = None,
    means: Means | None = None,
    counts: Counts | None = None,
    speed: Speed | None = None,
    program: float | None = None,
) -> Estimate:
    """Return what the job of `parts` costs.

    Args:
        rounds: of the run; left out: all that the job allows.
        means: what clients have to work with.
        counts: of a step of each worker, see `counts_of`; without them operations are by formula, and activations are left out.
        speed: of clients in operations a second; left out: that of `means`, if it is given.
        program: bytes of a process beside its weights; left out: those of this one, as it is now.
    """
    means, counts = means or Means(), counts or {}
    rounds = parts.protocol.most_rounds(parts.job.stop.rounds) if rounds is None else rounds
    if speed is None and means.client_flops:
        speed = Speed(train=means.client_flops, evaluate=means.client_flops)
    costs, asked = costs_of_round(parts), asked_in(parts, rounds)
    program = program_bytes(parts) if program is None else program
    basis = Basis(parts=parts, means=means, counts=counts, speed=speed, program=program)
    clients = client_estimates(basis, costs)
    traffic, moments = traffic_of(parts, rounds), moments_of(parts, rounds)
    writes = moments.writing + moments.texts_alone
    flops = {
        "train": sum(each.flops * asked[client] for client, each in clients.items()),
        "formula": sum(each.formula_flops * asked[client] for client, each in clients.items()),
        "evaluate": sum(each.evaluation_flops * moments.whole + each.writing_flops * writes for each in clients.values()),
        "server": _server_evaluation(parts, counts) * moments.whole + _retained(parts, counts) * min(2, 1 + rounds),
    }
    return Estimate(
        rounds=rounds,
        means=means,
        speed=speed,
        counted=bool(counts),
        bytes=traffic,
        flops=flops,
        seconds=_seconds(basis, rounds, clients, traffic, flops),
        clients=clients,
        partial=any(not parts.clients.amounts[client].train for client in clients if client in parts.clients),
        notes=tuple(_notes(parts, writes)),
        bounds=_bounds(parts, writes),
    )


def _server_evaluation(parts: Parts, counts: Counts) -> float:
    """Return the operations of one evaluation on the public sets."""
    if not parts.protocol.evaluates:
        return 0.0
    shards, count = [part for part in (parts.server_validation, parts.server_test) if len(part)], counts.get(id(parts.worker))
    if count is None:
        return sum(forward_flops(int(part.sizes_N.sum()), parts.clients.alike.sizes) for part in shards)
    return sum(count.evaluate.flops(evaluation_size(part, parts.job.evaluation.batch_size)) for part in shards)


def _retained(parts: Parts, counts: Counts) -> float:
    """Return the operations of one pass over the general text, at the server: of the backbone as it is, and of the weights that are kept."""
    text, count = parts.clients.retained, counts.get(id(parts.worker))
    if text is None:
        return 0.0
    if count is None:
        return forward_flops(int(text.shard.sizes_N.sum()), parts.clients.alike.sizes)
    return count.evaluate.flops(evaluation_size(text.shard, parts.job.evaluation.batch_size))


def _seconds(
    basis: Basis,
    rounds: int,
    clients: Mapping[ClientId, ClientEstimate],
    traffic: Mapping[str, Bytes],
    flops: Mapping[str, float],
) -> dict[str, float | None]:
    """Return the seconds of clients one after the other, of all messages, and how long the run takes if they work at once."""
    means, speed = basis.means, basis.speed
    found: dict[str, float | None] = dict.fromkeys(("train", "evaluate", "link", "run"))
    if speed is not None:
        found["train"] = flops["train"] / speed.train
        found["evaluate"] = (flops["evaluate"] + flops["server"]) / speed.evaluate
    total = sum(traffic.values(), Bytes())
    found["link"] = link_seconds(means, size_bytes=total.up + total.down, exchanges=total.exchanges)
    if found["train"] is None and found["link"] is None:
        return found
    each = {client: (one.seconds or 0.0) + (one.link_seconds or 0.0) for client, one in clients.items()}
    rounds_seconds = _rounds_seconds(basis.parts, rounds, each, means.at_once)
    others = sum((kind for name, kind in traffic.items() if name != TRAIN), Bytes()) * (1 / max(1, len(each)))
    messages = link_seconds(means, size_bytes=others.up + others.down, exchanges=others.exchanges) or 0.0
    moments = moments_of(basis.parts, rounds)
    measuring = makespan((one.evaluation_seconds or 0.0 for one in clients.values()), means.at_once) * moments.whole
    writing = makespan((one.writing_flops / speed.evaluate if speed else 0.0 for one in clients.values()), means.at_once) * (
        moments.writing + moments.texts_alone
    )
    server = flops["server"] / speed.evaluate if speed else 0.0
    turns = 1 if means.at_once is None else -(-len(each) // means.at_once)
    found["run"] = rounds_seconds + messages * turns + measuring + writing + server
    return found


def _rounds_seconds(parts: Parts, rounds: int, each: Mapping[ClientId, float], at_once: int | None) -> float:
    """Return the seconds of all rounds, given those of each client in one."""
    if parts.sampler.coins is not None or parts.sampler.per_round >= len(each):
        return makespan(each.values(), at_once) * rounds
    drawn = (parts.sampler.draw(index) for index in range(1, rounds + 1))
    return sum(makespan((each[client] for client in asked), at_once) for asked in drawn)


def _bounds(parts: Parts, writes: int) -> dict[str, str]:
    """Return which estimates are bounds: the most are those of the largest rank where the server chooses ranks; the least leave texts out, or personal training."""
    training = ("operations", "seconds of train")
    most = {"bytes", "memory", "seconds of evaluate", *training} if parts.auto_ranks is not None else set[str]()
    least = {"seconds of evaluate"} if writes or parts.job.personalization.personal else set[str]()
    least |= set(training) if parts.job.personalization.personal else set()
    return dict.fromkeys(most, "most") | dict.fromkeys(least, "least") | dict.fromkeys(most & least, "rough")


def _notes(parts: Parts, writes: int) -> list[str]:
    notes = notes_on(len(parts.sampler.clients))
    if not parts.protocol.evaluates:
        notes.append("catalogues and passages of a retrieval are not among bytes, and its operations are not counted")
    if writes:
        notes.append(
            "operations of generated texts are those of texts as long as evaluation.generate.max_new_tokens allows; seconds of them are too few: a text is written token by token"
        )
    if parts.job.personalization.personal:
        notes.append("what clients train and measure for themselves after the last round is not among operations and seconds")
    if parts.job.protection:
        notes.append("messages of secure aggregation beside the updates are not among bytes")
    return notes
