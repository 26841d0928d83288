"""Codes for updates: few bits a value on the way up, and what a code loses is sent the next time.

All tensors of an update go into one payload, each in rows of so many values that share a scale (`messages/wires`). Error feedback, Seide et al., 2014, and
Karimireddy et al., 2019, arXiv:1901.09847, algorithm 1: e <- e + D - C(e + D), kept by the client and sent to nobody. A code is no protection: it hides
nothing from anyone. It comes last, after clipping and noise, so that those hold for what arrives.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from ..chance import stream_seed
from ..errors import SettingError
from ..interfaces import Crossing, OnMessages, Plan, traits_of
from ..messages import Call
from ..messages.bounds import check_values
from ..messages.glance import Versioned, glance
from ..pairs import Need
from ..records import Message
from .needs import ONE_RANK
from .payload import Code, Payload, as_payload, updates_in, without

PAYLOAD, SIZE = "codec/payload", "codec/bytes"  # the tensor in a message; the name of its most bytes in a manifest
PART = "codec"  # of a client's state: what the code has lost so far
FEEDBACK = ("ternary", "sign", "top-k")  # codes that lose too much without it
WHOLE: Literal["int16"] = "int16"  # a code whose words add up: the secure sum carries it out
LEAST_RATE = 0.25  # share of the rounds that a client takes part in, below which what it kept is of weights long gone


NEEDS = (
    Need(
        word="updates", why="it is for updates", remedy="choose the protocol's own wire where it has one, or leave the codec out"
    ),
    Need(
        word="no-control",
        why="the server adds up changes of control variates, and coded ones part from those that clients keep",
        remedy="choose fedavg, or leave the codec out",
    ),
    Need(
        word="noise-apart",
        why="the shares of the noise add up only where updates are summed as they were sent",
        remedy="choose noise: server, or leave the codec out",
    ),
    ONE_RANK,
)
OF_FEEDBACK = (
    Need(
        word="same-factors",
        name="protection: codec with feedback: true",
        why="it refactors the shared adapter each round, and what was kept is of other factors",
        remedy="set feedback: false",
    ),
)


@dataclass(frozen=True, kw_only=True)
class Codec:
    """Fewer bytes up: updates in a few bits a value."""

    kind: Literal["codec"] = "codec"
    code: Literal["auto", "bfloat16", "int16", "int8", "int4", "ternary", "sign", "top-k"] = (
        "auto"  # auto: sign with AdamW, top-k with SGD, int4 where nothing may be kept; int16, for sums, with secure-aggregation alone
    )
    feedback: bool | None = (
        None  # whether a client keeps what the code lost and adds it the next time; null: with ternary, sign and top-k, where it can
    )
    share: float = 0.05  # of all values, the longest, that top-k sends, above 0 and up to 1

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise SettingError(
                f"share is that of the values that top-k sends, above 0 and up to 1; got {self.share}; 0.05 is usual"
            )

    def settles(self, job: Any) -> Mapping[str, Any]:
        """Return the job's protections with the code in the place of auto, and with whether anything is kept."""
        protocol = job.protocol
        refactors = traits_of(protocol.aggregation).refactors
        able = not refactors and (job.clients.fraction is None or job.clients.fraction >= LEAST_RATE)
        code: Code | Literal["auto", "int16"] = self.code
        if code == "auto" and summed_in_words(job):
            code = WHOLE
        elif code == "auto":
            code = ("sign" if protocol.local.optimizer == "adamw" else "top-k") if able and self.feedback is not False else "int4"
        feedback = able and code in FEEDBACK if self.feedback is None else self.feedback
        settled = replace(self, code=code, feedback=feedback)
        return {"protection": tuple(settled if part is self else part for part in job.protection)}

    @property
    def gives(self) -> Mapping[str, bool | str]:
        """See `pairs`; what auto stands for depends on what follows."""
        return {"whole-words": self.code in ("auto", WHOLE)}

    @property
    def needs(self) -> Sequence[Need]:
        """See `pairs`; what is kept for error feedback is of the factors of its round."""
        return NEEDS + OF_FEEDBACK if self.feedback else NEEDS

    def check(self, job: Any, plan: Plan) -> list[str]:
        """Return what is to be said of a run before it.

        Raises:
            SettingError: naming what does not go together.
        """
        name = "protection: codec"
        if self.code == WHOLE:
            return self._check_whole(name, job)
        if [part for part in job.protection if isinstance(part, OnMessages)][-1] is not self:
            raise SettingError(
                f"{name} must be the last of the protections that change messages: what comes after a code would undo it; list it last"
            )
        if self.feedback and plan.rate < LEAST_RATE:
            raise SettingError(
                f"{name} with feedback keeps what a client did not send until it is asked again, and a round asks {plan.rate:.0%} of them: from "
                f"{LEAST_RATE:.0%} on that is of use; set feedback: false or code: int4, or ask more (clients.fraction, per_round)"
            )
        return self._notes(name, job)

    def _check_whole(self, name: str, job: Any) -> list[str]:
        """Hold the code that adds up against the job: secure aggregation carries it out."""
        if not summed_in_words(job):
            raise SettingError(
                f"{name}: code: int16 is of words that add up, and nothing in this job sums words; list secure-aggregation behind it, or choose code: int8"
            )
        return []

    def shape(self, call: Call) -> Call:
        """Return the call with one payload in the place of the tensors of each update."""
        if self.code == WHOLE:
            return call
        most = replace(self._payload, share=1.0).size_bytes
        return as_payload(call, (PAYLOAD, SIZE), size=self._payload.size_bytes, most=most)

    def leave(self, message: Message, crossing: Crossing) -> Message:
        """Return the message with its update as a payload; what that loses is kept."""
        update = crossing.revealing("update", message)
        if not update or self.code == WHOLE:
            return message
        version = (glance(crossing.asked, Versioned).version if crossing.asked else None) or 0
        kept = crossing.kept if self.feedback else None
        lost = kept.recall(version, PART) if kept else {}
        owed = {name: value.float() + lost[name] if name in lost else value.float() for name, value in update.items()}
        payload, made = self._payload.write(owed, updates_in(crossing), stream_seed(0, "codec", version, crossing.client))
        if kept:
            kept.keep(version + 1, {**lost, **{name: value - made[name].float() for name, value in owed.items()}}, PART)
        return without(message, update, {PAYLOAD: payload})

    def arrive(self, message: Message, crossing: Crossing) -> Message:
        """Return the message with the tensors that its payload stands for.

        Raises:
            OffManifest: if the payload is none that `leave` could have written.
        """
        if PAYLOAD not in message.tensors:
            return message
        specs = updates_in(crossing)
        found = self._payload.read(message.tensors[PAYLOAD], specs)
        for name, value in found.items():
            check_values(value, specs[name].most, f"message {message.kind!r} up: tensor {name!r} in its payload")
        return without(message, [PAYLOAD], found)

    @property
    def _payload(self) -> Payload:
        assert self.code != "auto"  # `settles` has seen to it
        assert self.code != "int16"  # which makes no payload
        return Payload(code=self.code, share=self.share)

    def _notes(self, name: str, job: Any) -> list[str]:
        adamw = job.protocol.local.optimizer == "adamw"
        if self.code == "top-k" and adamw:
            return [
                f"{name}: code: top-k with AdamW, whose updates are equally long everywhere, sends the smaller part of each; sign and ternary lose less"
            ]
        if self.code in FEEDBACK and not self.feedback:
            return [f"{name}: code: {self.code} without feedback loses much of each update for good; int4 loses little without"]
        return []


def summed_in_words(job: Any) -> bool:
    """Return whether the last of a job's protections sums words that nobody can read one by one."""
    return bool(job.protection) and getattr(job.protection[-1], "kind", "") == "secure-aggregation"
