"""The gate of a site: what it answers, whatever the server asks for, and what it withholds."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ...errors import OffManifest, RunError
from ...interfaces import Answering
from ...learning.training import one_by_one
from ...messages import FactSpec, Manifest, TensorSpec
from ...messages.glance import Named, Versioned, glance
from ...protection import Gate
from ...records import Message
from ...tensors import pick
from ..kit.policy import Policy

MOMENT = re.compile(r"[\w-]{1,40}")  # "before", "after", "round-3"
TRIES = 2  # a protocol asks at most so often for one round


@dataclass(kw_only=True)
class Guarded:
    """A client half behind the site's own gate: the manifest and the protections of the job as this site reads them, and what its owner permits."""

    half: Answering
    gate: Gate
    policy: Policy
    rounds: int  # of the job; no more are trained, whatever the server asks for
    examples: Mapping[str, int] = field(default_factory=dict)  # that figures are means over, by `FactSpec.over`
    trained: Counter[str] = field(default_factory=Counter)  # rounds, by kind of request
    kept: Mapping[str, Mapping[str, TensorSpec]] = field(init=False)  # tensors that stay here, by kind of message

    def __post_init__(self) -> None:
        self.kept = {
            kind: {
                name: tensor
                for name, tensor in {**spec.tensors, **spec.plain().tensors}.items()  # behind a code, and before
                if self.policy.keeps(tensor.revealed)
            }
            for kind, spec in self.manifest.up.items()
        }

    @property
    def manifest(self) -> Manifest:
        """What the job may send, as this site reads it."""
        return self.gate.manifest

    def answer(self, data: bytes) -> Any:
        """Return the encoded reply to an encoded message.

        Raises:
            OffManifest: if the message is not one that this site answers.
        """
        message = self.gate.enter_client(data)
        if (name := glance(message, Named).name) is not None and not MOMENT.fullmatch(name):  # it names a file at the site
            raise OffManifest(f"{name!r} is no name of a moment")
        self._count(message)
        reply = one_by_one(self.half.answer(message))
        return self.gate.leave_client(self._without_secrets(reply), asked=message)

    def _count(self, message: Message) -> None:
        """Count the rounds of training that a request asks for.

        Raises:
            RunError: if they are more than the job has.
        """
        spec = self.manifest.down[message.kind]
        if spec.trains == "nothing":
            return
        asked, most = spec.rounds_in(message), 1 if spec.trains == "once" else self.rounds
        version = glance(message, Versioned).version
        if spec.trains == "round" and (version is None or version >= self.rounds):
            raise RunError(f"round {version} was asked for, and the job has {self.rounds}")
        self.trained[message.kind] += asked
        if asked > most or self.trained[message.kind] > TRIES * most:
            raise RunError(
                f"{message.kind!r} asked for {self.trained[message.kind]} rounds of training; the job has {most} of that kind, each of which may be "
                f"tried {TRIES} times"
            )

    def _without_secrets(self, message: Message) -> Message:
        """Return the message without what the owner does not permit to be reported.

        Raises:
            RunError: if the job cannot do without it.
        """
        specs, kept = self.manifest.up[message.kind].facts, self.kept[message.kind]
        facts = {name for name in message.facts if name in specs and self.policy.withholds(specs[name], self.examples)}
        tensors = kept.keys() & message.tensors.keys()
        withheld: list[tuple[str, FactSpec | TensorSpec]] = [(name, specs[name]) for name in facts]
        withheld += [(name, kept[name]) for name in tensors]
        needed = sorted((name, spec.revealed) for name, spec in withheld if not spec.optional)
        if needed:
            name, revealed = needed[0]
            raise RunError(
                f"the job needs {name!r}, which reveals {revealed}: this site does not report that; it reports "
                f"{', '.join(self.policy.reports) or 'nothing'}, and its owner permits more by adding {revealed} to policy.reports"
            )
        left = pick(message.tensors, lambda name: name not in tensors) if tensors else message.tensors
        return replace(message, tensors=left, facts={name: value for name, value in message.facts.items() if name not in facts})
