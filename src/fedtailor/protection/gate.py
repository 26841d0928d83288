"""The one way in and out of a client: checked, protected, encoded, counted; and the same backwards."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from ..errors import OffManifest
from ..interfaces import Crossing, Kept, OnMessages, Plan, Protection
from ..messages.codec import encode, read_forms, read_head, read_tensors
from ..messages.manifest import Direction, Manifest
from ..messages.stream import Stream
from ..records import ClientId, Message
from ..tensors import check_finite, is_large

Encoded: TypeAlias = bytes | Stream  # as bytes, or past 64 MiB as what gives them tensor by tensor


@dataclass(frozen=True, kw_only=True)
class Gate:
    """What every message passes, on every engine; `make_gate` makes them all."""

    manifest: Manifest
    protections: Sequence[OnMessages] = ()
    client: ClientId = ""  # at whose border it stands; "" at the server
    plan: Plan | None = None  # of the run
    kept: Mapping[ClientId, Kept] = field(default_factory=dict)  # what clients keep, of those whose border this may be

    def at(self, client: ClientId) -> "Gate":
        """Return the gate at one client's border; the same one where nothing depends on whose it is."""
        return replace(self, client=client) if self.protections else self

    def leave_client(self, message: Message, asked: Message | None = None) -> Encoded:
        """Return what leaves a client, or raise: nothing off the manifest, nothing that is not finite leaves.

        The length of what is returned is what the ledger says was sent up. All tensors have been checked by then, in streams
        too: a message whose last tensor is bad is refused before the first one is read.

        Args:
            asked: the request that it answers.
        """
        if self.protections and (crossing := self._crossing(message, asked)) is not None:
            check_finite(message.tensors, f"message {message.kind!r} up")  # a protection might make numbers of what is none
            for protection in self.protections:
                message = protection.leave(message, crossing)
        self._check(message, "up")
        return _encode(message)

    def enter_server(self, data: Encoded, asked: str | None = None) -> Message:
        """Return the message that a client sent; raise if it is off the manifest, out of its bounds or not finite.

        Args:
            asked: the kind of request that it answers; None: any kind that may go up is taken.
        """
        message = self._read(data, "up", None if asked is None else self.manifest.answers_to(asked))
        if self.protections and (crossing := self._crossing(message)) is not None:
            for protection in reversed(self.protections):
                message = protection.arrive(message, crossing)
        return message

    def leave_server(self, message: Message) -> Encoded:
        """Return what goes to a client; its length is what the ledger says was sent down."""
        self._check(message, "down")
        return _encode(message)

    def enter_client(self, data: Encoded) -> Message:
        """Return the message that the server sent; raise if it is off the manifest, out of its bounds or not finite."""
        return self._read(data, "down")

    def _crossing(self, message: Message, asked: Message | None = None) -> Crossing | None:
        """Return where a message is that goes up; None if none of its kind may."""
        spec = self.manifest.up.get(message.kind)
        if spec is None:
            return None
        return Crossing(client=self.client, spec=spec.plain(), asked=asked, plan=self.plan, kept=self.kept.get(self.client))

    def _read(self, data: Encoded, direction: Direction, due: Sequence[str] | None = None) -> Message:
        """Return a message of one of the kinds that are due; its length and form are looked at before its values are read."""
        if isinstance(data, bytes):
            head, most = self.manifest.most_bytes(direction, due)
            if len(data) > most:
                raise OffManifest(f"{len(data):,} bytes came {direction}; messages of that sort take at most {most:,}")
            message, begin = read_head(data, head)
            self._check_form(replace(message, tensors=read_forms(data, begin, most)), direction, due)
            message = replace(message, tensors=read_tensors(data, begin))
            self.manifest.check_values(message, direction)
        else:
            message = data.decode()
            self._check_form(message, direction, due)
            self.manifest.check_values(replace(message, tensors=data.tensors), direction)  # without a copy of each
        return message

    def _check_form(self, message: Message, direction: Direction, due: Sequence[str] | None) -> None:
        if due is not None and message.kind not in due:
            raise OffManifest(f"message {message.kind!r} came where {' or '.join(map(repr, due))} was due")
        self.manifest.check(message, direction)

    def _check(self, message: Message, direction: Direction) -> None:
        self.manifest.check(message, direction)
        self.manifest.check_values(message, direction)


def make_gate(
    manifest: Manifest,
    protections: Sequence[Protection] = (),
    *,
    client: ClientId = "",
    plan: Plan | None = None,
    kept: Mapping[ClientId, Kept] | None = None,
) -> Gate:
    """Return the gate for messages of this manifest; whoever sends or takes messages has made its gate here.

    Args:
        protections: of the job, in its order; those that change no messages have no part in a gate.
        client: at whose border it stands; "" at the server.
        plan: of the run.
        kept: what clients keep from round to round, of those whose border this may be.
    """
    applied = tuple(protection for protection in protections if isinstance(protection, OnMessages))
    return Gate(manifest=manifest, protections=applied, client=client, plan=plan, kept={} if kept is None else kept)


def _encode(message: Message) -> Encoded:
    return Stream(message) if is_large(message.tensors) else encode(message)
