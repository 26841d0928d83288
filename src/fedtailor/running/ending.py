"""What a run does after its last round, and what it does it with."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any, TypeAlias, TypeVar

from ..assembly import Parts
from ..diverged import wording
from ..errors import RunError
from ..interfaces import Federation
from ..messages import Record, read, write
from ..records import ClientFailure, ClientId, Message
from ..tensors import Tensors
from .folder import RunFolder
from .measure import Moment, Notify
from .progress import Progress

R = TypeVar("R", bound=Record)


@dataclass(frozen=True, kw_only=True)
class End:
    """A run after its last round, as phases find it; they add rows, traffic and costs to its progress."""

    parts: Parts
    federation: Federation
    progress: Progress
    shared: Tensors  # the weights that the federation ends with
    after: Moment  # their figures
    round: int  # that they are of
    folder: RunFolder
    notify: Notify

    def ask(self, request: Record, form: type[R], what: str) -> Mapping[ClientId, R]:
        """Return the answers of the clients that train; see `interfaces.Ending`."""
        return dict(self.answers(write(request), form, what))

    def answers(self, request: Message, form: type[R], what: str) -> Iterator[tuple[ClientId, R]]:
        """Yield each answer as it comes; its bytes are added to the traffic, and who failed is an event.

        Raises:
            RunError: behind the last, if nobody answered.
        """
        asked = [info.id for info in self.parts.sampler.clients]
        failures: dict[ClientId, ClientFailure] = {}
        replies = count(1)
        for reply in self.federation.ask(dict.fromkeys(asked, request)):
            self.notify("evaluating", what=f"{reply.client}, {what}", done=next(replies), of=len(asked))
            self.progress.add_traffic(request.kind, reply.traffic.up_bytes, reply.traffic.down_bytes, reply.traffic.seconds)
            if reply.message is None:
                assert reply.error is not None
                failures[reply.client] = reply.error
                self.note_failure(reply.client, reply.error, what)
                continue
            yield reply.client, read(reply.message, form)
        if len(failures) == len(asked):
            raise RunError(f"none of {len(asked)} clients answered in {what}: {kinds_of(failures.values())}; {FIX}")

    def note_failure(self, client: ClientId, failure: ClientFailure, what: str) -> None:
        """Make an event of a client that failed."""
        self.notify("failure", client=client, text=f"in {what}: {wording(failure.kind, failure.mark)}; see its log.txt")


Phase: TypeAlias = Callable[[End], Mapping[str, Any]]
"""What is done after the last round; returns sections of the summary by their names, none where a job has no use for it."""
FIX = "see clients/ID/log.txt, fix the cause and use fedtailor run --resume RUN"


def kinds_of(failures: Collection[ClientFailure]) -> str:
    """Return how clients failed, each way once."""
    return ", ".join(sorted({wording(failure.kind, failure.mark) for failure in failures}))
