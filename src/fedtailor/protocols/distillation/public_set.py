"""The public examples that everybody speaks of."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...chance import stream
from ...errors import OffManifest, SettingError
from ...learning.distil import NO_LABEL
from ...learning.worker import Worker
from ...records import ClientId, Example
from ...tasks import Task, counted_targets
from ...tasks.shard import Shard, TokenShard, tokens_of
from ..rounds.sampling import at_least


@dataclass(frozen=True)
class PublicSet:
    """Public examples as one worker's tokens, and the slice of them that each round is about."""

    shard: TokenShard
    seed: int
    share: float  # of the examples, in each round

    def rows(self, round: int, marks: Tensor | None = None) -> list[int]:
        """Return the numbers of the examples of `round` (from 1), in order: those that `marks` name, as `mark` makes them, if there are any;
        else drawn from (seed, round) alone, so nobody need send them.

        Raises:
            OffManifest: if the marks are not of so many examples as a round has.
        """
        if marks is not None:
            return self._marked(marks)
        count = max(1, at_least(self.share, len(self.shard)))
        if count == len(self.shard):
            return list(range(count))
        return sorted(stream(self.seed, "public-slice", round).choice(len(self.shard), count, replace=False).tolist())

    def slice(self, round: int, marks: Tensor | None = None) -> TokenShard:
        """Return the examples of `round`."""
        return self.shard.select(self.rows(round, marks))

    def places(self, round: int, marks: Tensor | None = None) -> int:
        """Return how many logits a model has to give in `round`: one a text, or one a counted token."""
        return int(self.counts_N[self.rows(round, marks)].sum())

    def mark(self, rows: Sequence[int]) -> Tensor:
        """Return the numbers of some examples as one bit for each example: uint8 [marks_size]."""
        marked_N = np.zeros(len(self.shard), dtype=bool)
        marked_N[list(rows)] = True
        return torch.from_numpy(np.packbits(marked_N))

    @property
    def marks_size(self) -> int:
        """Bytes of `mark`."""
        return math.ceil(len(self.shard) / 8)

    def _marked(self, marks: Tensor) -> list[int]:
        wanted = len(self.rows(1))
        found = np.flatnonzero(np.unpackbits(marks.numpy())).tolist()
        if len(marks) != self.marks_size or len(found) != wanted or found[-1] >= len(self.shard):
            raise OffManifest(
                f"{len(marks)} bytes mark {len(found)} public examples, where {self.marks_size} bytes and {wanted} of {len(self.shard)} are expected; "
                "do server and client have the same public set?"
            )
        return found

    @cached_property
    def counts_N(self) -> Tensor:
        """Places of each example."""
        return counted_targets(self.shard)

    @property
    def most_places(self) -> int:
        """A bound on `places`, for the manifest: that of the examples which have most."""
        return int(self.counts_N.sort(descending=True).values[: len(self.rows(1))].sum())

    @property
    def mean_places(self) -> float:
        """What `places` is on average over rounds."""
        return len(self.rows(1)) * float(self.counts_N.float().mean())

    @property
    def mean_tokens(self) -> float:
        """Tokens of a round's examples, on average."""
        return len(self.rows(1)) * float(self.shard.sizes_N.float().mean())

    @property
    def labelled(self) -> int:
        """How many examples have a label, or targets to learn from."""
        labels_N = self.shard.labels_N
        return len(self.shard) if labels_N is None else int((labels_N != NO_LABEL).sum())


def tokenize_public(examples: Sequence[Example], task: Task, tokenizer: Any) -> TokenShard:
    """Return public examples as tokens; a class label may be absent, and is NO_LABEL then.

    Raises:
        DataError: if a label is none of the task's.
    """
    names = task.labels_of(())
    if not names:
        return tokens_of(task.prepare(examples, tokenizer, keep_examples=False))
    filled = [e if "label" in e.fields else replace(e, fields={**e.fields, "label": names[0]}) for e in examples]
    shard = tokens_of(task.prepare(filled, tokenizer, keep_examples=False))
    gone = {id for id, _ in shard.dropped}
    known_N = torch.tensor(["label" in e.fields for e in examples if e.id not in gone], dtype=torch.bool)
    assert shard.labels_N is not None
    return replace(shard, labels_N=torch.where(known_N, shard.labels_N, NO_LABEL))


def check_same_words(server: Worker, client: Worker, name: ClientId) -> None:
    """Raise SettingError, naming both sides, unless the logits of two workers speak of the same classes or tokens.

    Models may differ in everything else: in size, in kind, in tuning, and for classes in tokenizer too.
    """
    ours, theirs = server.task.labels_of(()), client.task.labels_of(())
    if ours != theirs:
        raise SettingError(
            f"protocol distillation: the server knows {len(ours)} labels ({', '.join(ours[:3])}, ...), client {name!r} {len(theirs)} "
            f"({', '.join(theirs[:3])}, ...); logits go by the labels' numbers: name the same list in task.labels on both sides"
        )
    if ours:
        return
    mine, other = server.processor.get_vocab(), client.processor.get_vocab()
    if mine != other or _sample(server.processor) != _sample(client.processor):
        raise SettingError(
            f"protocol distillation: the server's tokenizer has {len(mine):,} tokens, that of client {name!r} {len(other):,}, of which "
            f"{len(mine.keys() & other.keys()):,} are the same; logits go by token ids: choose backbones of one family, "
            "which share a tokenizer (such as smollm2-135m and larger ones of SmolLM2), or protocol: averaging with one backbone"
        )


def check_same_rows(server: Shard, client: Shard, name: ClientId) -> None:
    """Raise SettingError unless two models can use the same public examples, as rounds go by their numbers."""
    lost = {id for id, _ in server.dropped} ^ {id for id, _ in client.dropped}
    if lost:
        raise SettingError(
            f"protocol.public: {len(lost)} examples are of use to the server's model or to that of client {name!r}, and not to both (the first: "
            f"{min(lost)}); take them out, or raise task.max_tokens"
        )


def _sample(tokenizer: Any) -> list[int]:
    """Return the tokens of a text in which tokenizers of one vocabulary may still differ: merges, spaces, digits, case."""
    return list(tokenizer("The Eagle's 1,024 cafés\n\n  re-opened: naïve_fn(x) == 3.5?")["input_ids"])
