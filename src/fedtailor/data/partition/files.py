"""One file per client."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ...records import ClientId, Example
from .base import Embed, label_groups
from .natural import divide_by_owner


@dataclass(frozen=True, kw_only=True)
class Files:
    """Make each file of `data.train` a client, named by the file; small ones are left out as `Natural` does it."""

    kind: Literal["files"] = "files"

    @property
    def columns(self) -> tuple[str, ...]:
        """It reads no column of its own."""
        return ()

    def groups(self, examples: Sequence[Example], draw: np.random.Generator, embed: Embed | None) -> tuple[str, list[str]] | None:
        """Return the labels where there are any, else the files."""
        return label_groups(examples) or ("file", self.owners(examples))

    def divide(
        self,
        examples: Sequence[Example],
        count: int | None,
        draw: np.random.Generator,
        min_examples: int,
        embed: Embed | None = None,
    ) -> dict[ClientId, list[int]]:
        """Return the row numbers of each client; see `Partition.divide`."""
        return divide_by_owner(self.owners(examples), count, min_examples, "data.train")

    def owners(self, examples: Sequence[Example]) -> list[str]:
        """Return the name of the file, or of the client in memory, that each example comes from; without one, its id without the number."""
        return [example.source or example.id.rpartition("-")[0] for example in examples]
