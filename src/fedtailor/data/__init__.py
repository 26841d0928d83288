"""Examples: load them, and divide them among clients."""

from collections.abc import Mapping

from .divide import Divided, divide
from .load import load_examples
from .partition import Dirichlet, Files, Iid, Natural, Partition, Quantity, Shards, Skew, Topic
from .settings import Clients, Data

PARTITIONS: Mapping[str, type] = {
    technique.kind: technique for technique in (Iid, Dirichlet, Shards, Skew, Quantity, Natural, Topic, Files)
}

__all__ = ["PARTITIONS", "Clients", "Data", "Divided", "Partition", "divide", "load_examples"]
