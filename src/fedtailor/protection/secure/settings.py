"""Secure aggregation: the server learns the sum of a round's updates, and of no single one.

Source: Bonawitz et al., 2017, Practical Secure Aggregation for Privacy-Preserving Machine Learning, figure 4, against a server that is honest but
curious, with clients that drop out. Each two clients agree on a mask that one adds and the other subtracts; each adds a mask of its own besides. The
secrets of both are shared among all, and of each client the server learns one: of those that answered that of the own mask, of those that
dropped out that of the masks with others.
Differences: shares are delivered before training, so that a client that fails while it trains is one that dropped out; no round in which clients
compare what the server sent them, so it protects against a server that keeps to the protocol; masks are AES-256 in counter mode.

What it hides is which client sent what. The sum itself says as much as it ever did.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any, ClassVar, Literal

import numpy as np
import torch

from ...chance import stream_seed
from ...errors import OffManifest, SettingError
from ...interfaces import Aggregation, Answering, Crossing, Federation, Kept, OnMessages, Plan, WhoSigns
from ...limits import ClientCount, Number
from ...messages import Call, Record
from ...messages.facts import examples
from ...messages.glance import glance
from ...messages.record import fact
from ...pairs import Need
from ...records import ClientId, Message
from ..codec import WHOLE
from ..needs import ONE_RANK
from ..payload import as_payload, count, named, names_in, updates_in, without
from .messages import CALLS, LEAST, MEMBER, MOST_CLIENTS, AskAgree, fewest
from .words import SIGNED, Bits, FixedPoint

SMALLEST = 1e-30  # of `most`: float32 has hardly smaller values
PAYLOAD, SIZE = "secure/payload", "secure/bytes"  # the tensor in a message; the name of its most bytes in a manifest
MOST = 16.0  # largest value in an update that nothing bounds


@dataclass(frozen=True, kw_only=True)
class Counted(Record):
    """An answer with a number of examples."""

    examples: int | None = fact(replace(examples("training examples of the client"), optional=True))


@dataclass(frozen=True, kw_only=True)
class SecureAggregation:
    """Secure aggregation: the server sees the sum of updates alone."""

    needs: ClassVar[Sequence[Need]] = (
        Need(
            word="whole-words",
            why="masked updates add up only as whole words, and a code has none that do",
            remedy="leave one of them out",
        ),
        Need(
            word="blind-server",
            why="the server would count the updates that are shorter, and sees none",
            remedy="give clip as a number",
        ),
        Need(
            word="shares-as-sent",
            why="shares cannot be changed after the sum",
            remedy="leave it out, or choose weights: uniform",
        ),
        ONE_RANK,
    )
    kind: Literal["secure-aggregation"] = "secure-aggregation"
    threshold: ClientCount | None = (
        None  # clients that must be there to the end, above two thirds of those asked, or half without consistency; null: the fewest that may
    )
    consistency: bool = True  # clients sign who dropped out before they open anything, so that a server that says different things to them learns nothing
    most: Number | None = (
        None  # largest value in an update; a client with a larger one is dropped, as it would run over in the sum; null: 16, with dp what its clip allows
    )
    bits: Bits = 32  # of a word: 16 is half the bytes, in coarser steps
    weights: Literal["examples", "uniform"] | None = None  # how clients count; null: as protocol.weights says, uniform with dp

    def __post_init__(self) -> None:
        if self.threshold is not None and self.threshold < 2:
            raise SettingError(f"threshold is a number of clients, at least 2; got {self.threshold}")
        if self.most is not None and not self.most >= SMALLEST:
            raise SettingError(f"most is the largest value in an update, {SMALLEST:g} or more; got {self.most}")

    def settles(self, job: Any) -> Mapping[str, Any]:
        """Return the job's protections with how clients count."""
        private = any(getattr(part, "kind", "") == "dp" for part in job.protection)
        asked = "uniform" if private else job.protocol.weights
        known: Mapping[str, Literal["examples", "uniform"]] = {"examples": "examples", "uniform": "uniform"}
        coded = any(getattr(part, "code", "") == WHOLE for part in job.protection)
        settled = replace(
            self, weights=self.weights or known.get(asked), most=self.most or _most(job), bits=16 if coded else self.bits
        )
        return {"protection": tuple(settled if part is self else part for part in job.protection)}

    def check(self, job: Any, plan: Plan) -> list[str]:
        """Return what is to be said of a run before it.

        Raises:
            SettingError: naming what does not go together.
        """
        name, asked = "protection: secure-aggregation", round(plan.expected)
        if find_spec("cryptography") is None:
            raise SettingError(f"{name} needs the package cryptography; install it with: pip install 'fedtailor[secure]'")
        if [part for part in job.protection if isinstance(part, OnMessages)][-1] is not self:
            raise SettingError(
                f"{name} must be the last of the protections that change messages: nothing can be done with a masked update; list it last"
            )
        if self.weights is None:
            raise SettingError(
                f"{name} does not go with protocol.weights: targets, which are known after training; choose examples or uniform"
            )
        if not LEAST <= asked <= MOST_CLIENTS:
            raise SettingError(f"{name} takes {LEAST} to {MOST_CLIENTS:,} clients in a round, and a round asks {asked}")
        why = "two thirds" if self.consistency else "half"
        if self.threshold is not None and not fewest(asked, consistency=self.consistency) <= self.threshold <= asked:
            raise SettingError(
                f"{name}: threshold is {self.threshold}, and must be above {why} of the {asked} clients of a round and no more than they are: two groups could "
                f"each open what the other must not{'; consistency: false permits half and one' if self.consistency else ''}"
            )
        self.fixed_point(asked)  # refuses words that are too short
        return []

    def fixed_point(self, clients: int) -> FixedPoint:
        """Return how values become words where so many clients are summed."""
        return FixedPoint(most=self.most or MOST, clients=clients, bits=self.bits)

    def lengthens(self, plan: Plan) -> float:
        """Return by how much words may lengthen an update."""
        return self.fixed_point(max(LEAST, round(plan.expected))).lengthens(plan.values)

    def shape(self, call: Call) -> Call:
        """Return the call with one payload of words in the place of the tensors of each update."""

        def size(spec: Any) -> int:
            return self.bits // 8 * count(spec)

        return as_payload(call, (PAYLOAD, SIZE), size=size, most=size)

    def calls(self) -> Sequence[Call]:
        """Return the exchanges around a round's own."""
        return [call for call in CALLS if self.consistency or call.question is not AskAgree]

    def at_client(self, half: Answering, client: ClientId, kept: Kept, who: WhoSigns | None = None) -> Answering:
        """Return what takes part in sums for a client."""
        from .identity import simulated  # here and below, as not everybody has installed what masks are made with
        from .member import Behind

        identity = who() if who is not None else simulated(client)
        return Behind(half=half, client=client, kept=kept, identity=identity, consistency=self.consistency)

    def around(self, federation: Federation) -> Federation:
        """Return a federation that opens the sum of a round's updates, and hands it on as if each client had sent the mean."""
        from .around import SummedFederation

        return SummedFederation(
            inner=federation,
            factor=self.factor,
            most=self.most or MOST,
            threshold=self.threshold,
            consistency=self.consistency,
            bits=self.bits,
        )

    def on_sum(self, rule: Aggregation, plan: Plan) -> Aggregation:
        """Return the rule, which gets the mean of all from each client."""
        from .around import OfSum

        return OfSum(inner=rule)

    def leave(self, message: Message, crossing: Crossing) -> Message:
        """Return the message with its update as masked words.

        Raises:
            OffManifest: if no secrets were shared before.
        """
        from .member import Member

        update = crossing.revealing("update", message)
        if not update:
            return message
        member = None if crossing.kept is None else crossing.kept.brief.get(MEMBER)
        if not isinstance(member, Member):
            raise OffManifest("an update was asked for before secrets were shared, and would leave unmasked")
        factor = self.factor(message, member.most_examples)
        seed = stream_seed(0, "secure", member.version, crossing.client)
        words = self.fixed_point(len(member.clients)).encode(update, factor, seed=seed)
        data = named(update, updates_in(crossing)) + member.mask(words).astype(f"<u{self.bits // 8}").tobytes()
        return without(message, update, {PAYLOAD: torch.frombuffer(bytearray(data), dtype=torch.uint8)})

    def arrive(self, message: Message, crossing: Crossing) -> Message:
        """Return the message with its masked words as tensors of whole numbers, by the names of the update.

        Raises:
            OffManifest: if the payload has another length.
        """
        if PAYLOAD not in message.tensors:
            return message
        specs, data = updates_in(crossing), message.tensors[PAYLOAD].numpy().tobytes()
        names, begin = names_in(data, specs)
        if len(data) != begin + self.bits // 8 * sum(count(specs[name]) for name in names):
            raise OffManifest(f"a masked update of {len(data)} bytes came, which is not that of {len(names)} tensors")
        words, found = np.frombuffer(data, dtype=f"<i{self.bits // 8}", offset=begin), {}
        for name in names:
            found[name] = torch.from_numpy(words[: count(specs[name])].astype(SIGNED[self.bits])).reshape(
                [int(size) for size in specs[name].shape]
            )
            words = words[count(specs[name]) :]
        return without(message, [PAYLOAD], found)

    def factor(self, message: Message, most_examples: int) -> float:
        """Return what a client's update counts, of at most 1.

        Raises:
            OffManifest: if it has more examples than the largest client.
        """
        examples = glance(message, Counted).examples
        if self.weights != "examples" or examples is None:
            return 1.0
        if examples > most_examples:
            raise OffManifest(f"a client has {examples} examples, and the largest one was said to have {most_examples}")
        return examples / most_examples


def _most(job: Any) -> float:
    """Return the largest value that an update of a job can hold: with dp its clip, and a little for the rounding of float32."""
    for part in job.protection:
        if getattr(part, "kind", "") == "dp" and part.clip != "adaptive" and part.noise == "server":
            return float(part.clip) * (1 + 2.0**-20)
    return MOST
