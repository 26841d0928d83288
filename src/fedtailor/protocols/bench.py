"""What a protocol is made ready with."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..learning.worker import Worker
from ..records import ClientId, Example


@dataclass(frozen=True, kw_only=True)
class Bench:
    """The server's model and what is known of the job."""

    worker: Worker
    base: Path  # that paths of the settings are relative to
    name: str = "job"  # of the job
    site: Path | None = None  # the folder of the site of a network that this is; None: none
    rounds: int  # after which the run stops
    patience: int | None = None  # evaluations without a better loss, after which it stops too
    keeps_best: bool = False  # whether the best round is wanted
    public: Sequence[Example] = ()  # that everybody speaks of
    test: Sequence[Example] = ()  # that the server has
    fewest: int = 0  # training examples of the client that has the fewest
    cuts: Mapping[ClientId, int] = field(default_factory=dict)  # of the clients whose model is cut elsewhere than the job's
    own_backbones: Sequence[ClientId] = ()  # clients to which the job gives another backbone
    task: str = ""  # what the job's task is called
    tasks: Mapping[ClientId, str] = field(default_factory=dict)  # and those of clients that have another
    warn: Callable[[str], None] = lambda text: None
