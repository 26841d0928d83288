"""Parts of unequal size.

Source: Li et al., 2022, arXiv:2102.02079, section III.D, quantity skew: the sizes are a draw from Dirichlet(alpha).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ...errors import DataError
from ...limits import Number
from ...records import ClientId, Example
from .base import REDRAWS, Embed, client_names, cut_by_shares, groups_of_labels, no_column
from .dirichlet import check_alpha, too_few


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """Divide the shuffled examples in shares drawn from Dirichlet(alpha)."""

    kind: Literal["quantity"] = "quantity"
    alpha: Number = 1.0  # above 0; small: sizes differ much

    def __post_init__(self) -> None:
        check_alpha(self.alpha)

    columns = property(no_column)
    groups = groups_of_labels

    def divide(
        self,
        examples: Sequence[Example],
        count: int | None,
        draw: np.random.Generator,
        min_examples: int,
        embed: Embed | None = None,
    ) -> dict[ClientId, list[int]]:
        """Return the row numbers of each client; see `Partition.divide`.

        Raises:
            DataError: if there are too few examples, or no draw gave every client enough.
        """
        names = client_names(count, len(examples))
        if len(names) * min_examples > len(examples):
            raise DataError(too_few(len(examples), len(names), min_examples))
        order = draw.permutation(len(examples)).tolist()
        for _ in range(REDRAWS):
            parts = cut_by_shares(order, draw.dirichlet([self.alpha] * len(names)))
            if min(map(len, parts)) >= min_examples:
                return {name: sorted(part) for name, part in zip(names, parts, strict=True)}
        raise DataError(
            f"in {REDRAWS} draws with alpha {self.alpha} some client always had fewer than clients.min_examples = {min_examples} of "
            f"the {len(examples)} examples; raise clients.partition.alpha, or lower clients.count ({len(names)}) or clients.min_examples"
        )
