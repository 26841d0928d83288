"""Unequal shares of each value of a column.

Source: Hsu, Qi and Brown, 2019, arXiv:1909.06335, section 2, in the form of Yurochkin et al., 2019, arXiv:1905.12022: each value's
examples are divided by a draw from Dirichlet(alpha), so that every example lands exactly once and sizes differ too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ...errors import DataError, SettingError
from ...limits import Number
from ...records import ClientId, Example
from .base import REDRAWS, Embed, client_names, column_values, cut_by_shares, own_column, own_groups, rows_by_value


@dataclass(frozen=True, kw_only=True)
class Dirichlet:
    """Divide the examples of each value of `by` in shares drawn from Dirichlet(alpha)."""

    kind: Literal["dirichlet"] = "dirichlet"
    by: str = "label"  # a column, or a slot of a text: input[eatType]
    alpha: Number = 0.3  # above 0; small: clients differ much; 100: nearly alike

    def __post_init__(self) -> None:
        check_alpha(self.alpha)

    columns = property(own_column)
    groups = own_groups

    def divide(
        self,
        examples: Sequence[Example],
        count: int | None,
        draw: np.random.Generator,
        min_examples: int,
        embed: Embed | None = None,
    ) -> dict[ClientId, list[int]]:
        """Return the row numbers of each client; see `Partition.divide`."""
        values = column_values(examples, self.by)
        return divide_by_dirichlet(values, client_names(count, len(examples)), self.alpha, draw, min_examples)


def check_alpha(alpha: float) -> None:
    """Raise SettingError unless `alpha` is a number above 0."""
    if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not 0 < alpha < float("inf"):
        raise SettingError(
            f"alpha is the evenness of a Dirichlet distribution, above 0, got {alpha!r}; 0.1 is very uneven, 100 even"
        )


def divide_by_dirichlet(
    values: Sequence[str], names: Sequence[ClientId], alpha: float, draw: np.random.Generator, min_examples: int
) -> dict[ClientId, list[int]]:
    """Return the row numbers of each client, drawn again until every client has `min_examples`.

    Raises:
        DataError: if that does not come about in 100 draws.
    """
    if len(names) * min_examples > len(values):
        raise DataError(too_few(len(values), len(names), min_examples))
    by_value = rows_by_value(values)
    for _ in range(REDRAWS):
        parts: list[list[int]] = [[] for _ in names]
        for rows in by_value.values():
            shares = draw.dirichlet([alpha] * len(names))
            pieces = cut_by_shares(draw.permutation(rows).tolist(), shares)
            parts = [part + piece for part, piece in zip(parts, pieces, strict=True)]
        if min(map(len, parts)) >= min_examples:
            return {name: sorted(part) for name, part in zip(names, parts, strict=True)}
    raise DataError(
        f"in {REDRAWS} draws with alpha {alpha} some client always had fewer than clients.min_examples = {min_examples} of the "
        f"{len(values)} examples; raise clients.partition.alpha, or lower clients.count ({len(names)}) or clients.min_examples"
    )


def too_few(examples: int, clients: int, min_examples: int) -> str:
    """Return the text of an error about clients that cannot all have `min_examples`."""
    return (
        f"{clients} clients with at least clients.min_examples = {min_examples} each need {clients * min_examples} training examples, "
        f"but there are {examples}; lower clients.count or clients.min_examples, or raise data.limit.train"
    )
