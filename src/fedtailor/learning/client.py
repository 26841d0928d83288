"""One client of a run: what it works with, what it has, and what it keeps."""

from collections.abc import Callable
from dataclasses import dataclass

from ..ledger import Sizes
from ..models import Backbone
from ..records import ClientId
from ..tasks.shard import Shard
from .private.client import PrivateClient
from .retained import Retained
from .store import Store
from .worker import Worker


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A client's examples as the task of its worker takes them."""

    train: Shard
    validation: Shard
    test: Shard


@dataclass(frozen=True, kw_only=True)
class Client:
    """One client as a run knows it. It holds no examples itself, so that a run can have any number of clients."""

    id: ClientId
    worker: Worker  # shared with all clients that are alike
    store: Store  # what it keeps from round to round
    prepare: Callable[[], Prepared]  # returns its examples; asked at each use
    sizes: Sizes  # what its costs depend on
    backbone: Backbone | None = None  # of its own; None: the job's
    private: PrivateClient | None = None  # its DP-SGD, where the job asks for it
    reports_memory: bool = False  # whether it says how much memory is free, as its rank is chosen by it
    retained: Retained | None = None  # general text, that it measures its own weights on

    @property
    def train(self) -> Shard:
        """Its training examples."""
        return self.prepare().train

    @property
    def validation(self) -> Shard:
        """Its own validation examples."""
        return self.prepare().validation

    @property
    def test(self) -> Shard:
        """Its own test examples."""
        return self.prepare().test
