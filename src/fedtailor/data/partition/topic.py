"""Clients that write about different things, for text without labels.

Topics are clusters (k-means) of the texts' MiniLM embeddings; each topic's examples are divided by Dirichlet(alpha) as in dirichlet.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ...errors import DataError, SettingError
from ...limits import ClientCount, Number
from ...records import ClientId, Example
from .base import Embed, client_names
from .dirichlet import check_alpha, divide_by_dirichlet

TEXTS = ("text", "input")  # the field that is embedded: the first that there is


@dataclass(frozen=True, kw_only=True)
class Topic:
    """Find topics, then divide each of them in shares drawn from Dirichlet(alpha)."""

    kind: Literal["topic"] = "topic"
    topics: ClientCount = 10  # at least 2
    alpha: Number = 0.3  # above 0; small: clients differ much

    def __post_init__(self) -> None:
        if isinstance(self.topics, bool) or not isinstance(self.topics, int) or self.topics < 2:
            raise SettingError(f"topics is a number of clusters, at least 2, got {self.topics!r}")
        check_alpha(self.alpha)

    @property
    def columns(self) -> tuple[str, ...]:
        """It reads no column of its own."""
        return ()

    def groups(self, examples: Sequence[Example], draw: np.random.Generator, embed: Embed | None) -> tuple[str, list[str]] | None:
        """Return the topic of each example; the same for the same state of `draw`."""
        return "topic", find_topics(examples, self.topics, draw, embed)

    def divide(
        self,
        examples: Sequence[Example],
        count: int | None,
        draw: np.random.Generator,
        min_examples: int,
        embed: Embed | None = None,
    ) -> dict[ClientId, list[int]]:
        """Return the row numbers of each client; see `Partition.divide`."""
        names = client_names(count, len(examples))
        topics = find_topics(examples, self.topics, draw, embed)
        return divide_by_dirichlet(topics, names, self.alpha, draw, min_examples)


def find_topics(examples: Sequence[Example], topics: int, draw: np.random.Generator, embed: Embed | None) -> list[str]:
    """Return the topic of each example, as text.

    Raises:
        DataError: if there are fewer examples than topics, or no text.
        SettingError: if nothing is there to embed texts with.
    """
    if embed is None:
        raise SettingError(
            "clients.partition needs the text encoder minilm-l6 to find topics, and there is none; run `fedtailor models add minilm-l6`, "
            "or choose a partition by a column, such as {kind: dirichlet, by: COLUMN}"
        )
    if len(examples) < topics:
        raise DataError(
            f"clients.partition asks for {topics} topics, but the training data have {len(examples)} examples; lower topics"
        )
    field = next((name for name in TEXTS if name in examples[0].fields), None)
    if field is None:
        raise DataError(f"topics are found in a field text or input, the examples have {', '.join(sorted(examples[0].fields))}")
    from sklearn.cluster import KMeans

    vectors = embed([str(example.fields[field]) for example in examples])
    found = KMeans(n_clusters=topics, n_init=3, random_state=int(draw.integers(2**31))).fit_predict(
        np.asarray(vectors, dtype=np.float64)
    )
    return [f"{number:0{len(str(topics - 1))}d}" for number in found]
