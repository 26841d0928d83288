"""Ways to divide examples among clients, one a file."""

from .base import Partition
from .dirichlet import Dirichlet
from .files import Files
from .iid import Iid
from .natural import Natural
from .quantity import Quantity
from .shards import Shards
from .skew import Skew
from .topic import Topic

__all__ = ["Dirichlet", "Files", "Iid", "Natural", "Partition", "Quantity", "Shards", "Skew", "Topic"]
