"""Activations that never change: sent once for each example, and kept by the server.

Where nothing before the cut is trained and no dropout acts there, an example gives the same activations in each step. The client computes
them alone, without padding, so that they do not depend on the batch that it first comes in: what a run makes is the same whenever they were
sent. (Beside a run without reuse, sums of other shapes round otherwise: equal to float32 precision, bit for bit with one example a batch.)
Both sides keep what was sent in memory, and agree by a mark on what that is: after a stop it is sent again.
"""

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ...errors import OffManifest, SettingError
from ...learning.worker import Worker
from ...tensors import Tensors
from .layout import TARGETS, Layout, blank_batch

# N tokens without padding, H hidden width

MARK_CHARACTERS = 16


@dataclass(frozen=True, kw_only=True)
class Known:
    """What the server keeps of one example."""

    values_NH: Tensor
    labels: Tensors  # as `labels_of` gave them; empty where they stay with the client
    size_bytes: float  # that it took in the message that it came in


@dataclass(kw_only=True)
class Kept:
    """What the server keeps of one client's examples, by their numbers in its training part."""

    examples: int  # of the client: the most there can be
    known: dict[int, Known] = field(default_factory=dict)

    def check(self, rows: Sequence[int], lengths: Sequence[int]) -> None:
        """Raise OffManifest unless these are numbers of examples, each of which comes along (with a length above 0) or is known."""
        if not rows or len(rows) != len(lengths) or len(set(rows)) != len(rows):
            raise OffManifest(
                f"examples {list(rows)} came with lengths {list(lengths)}: one for each was due, and no example twice"
            )
        strange = [row for row in rows if not 0 <= row < self.examples]
        missing = [row for row, length in zip(rows, lengths, strict=True) if not length and row not in self.known]
        if strange or missing:
            raise OffManifest(
                f"of {self.examples} examples the numbers {strange} are none, and {missing} neither came nor are kept; did the client lose count?"
            )

    def add(self, rows: Sequence[int], lengths: Sequence[int], values_NH: Tensor, labels: Tensors, size_bytes: int) -> None:
        """Keep what came of these examples, one after the other in the rows of `values_NH`; `size_bytes` is that of all."""
        of_texts = {name: torch.split(values, list(lengths) if name == TARGETS else 1) for name, values in labels.items()}
        for place, (row, part_NH) in enumerate(zip(rows, torch.split(values_NH, list(lengths)), strict=True)):
            self.known[row] = Known(
                values_NH=part_NH,
                labels={name: parts[place] for name, parts in of_texts.items()},
                size_bytes=size_bytes * lengths[place] / sum(lengths),
            )

    def batch(self, rows: Sequence[int]) -> tuple[list[int], Tensor, dict[str, Tensor]]:
        """Return lengths, activations [N, H] and labels of a batch of known examples."""
        found = [self.known[row] for row in rows]
        labels = {name: torch.cat([each.labels[name] for each in found]) for name in found[0].labels}
        return [len(each.values_NH) for each in found], torch.cat([each.values_NH for each in found]), labels


@dataclass(kw_only=True)
class Spared:
    """What a client did not need to compute and send in a round, as the server had it."""

    tokens: int = 0
    size_bytes: float = 0.0

    def add(self, known: Known) -> None:
        self.tokens += len(known.values_NH)
        self.size_bytes += known.size_bytes


def mark_of(rows: Collection[int]) -> str:
    """Return a short text that is the same for the same numbers of examples, and for no others."""
    return hashlib.sha256(repr(sorted(rows)).encode()).hexdigest()[:MARK_CHARACTERS]


def fresh_share(*, examples: int, seen: float, rounds: int) -> float:
    """Return which share of the examples seen in all rounds is seen for the first time, as expected.

    A round that sees less than all draws them again: of n examples n (1 - (1 - seen / n) ^ rounds) are seen at some time.
    """
    distinct = examples * (1 - max(0.0, 1 - seen / examples) ** rounds)
    return min(1.0, distinct / (seen * rounds))


def check_reuse(worker: Worker, layout: Layout) -> None:
    """Raise SettingError, naming the cause, unless an example gives the same activations in each step."""
    trained = sorted(name for name, inner in layout.inner.items() if layout.cut_model.place(inner) < layout.cut)
    if trained:
        raise SettingError(
            f"protocol.reuse: true does not go with weights that are trained before the cut, which change what the client sends in each step: "
            f"tuning: {worker.tuning.kind} has {len(trained)} of them there (first: {trained[0]!r}); name modules of blocks from {layout.cut} on in "
            "tuning.targets, or leave reuse out"
        )
    if _draws(worker, layout):
        active = _dropouts(worker)
        raise SettingError(
            "protocol.reuse: true does not go with dropout before the cut, which changes what the client sends in each step"
            + (f": the backbone's config.json has {active}; set it to 0 in a copy of its folder" if active else "")
            + ", or leave reuse out"
        )


def _draws(worker: Worker, layout: Layout) -> bool:
    """Return whether anything is drawn in a forward pass of the client's blocks."""
    model, batch = layout.cut_model.model, blank_batch(worker, [2])
    training = model.training
    device = [worker.device] if worker.device.type == "cuda" else []
    try:
        with torch.random.fork_rng(devices=device), torch.no_grad():
            before = _state(worker.device)
            model.train()
            layout.cut_model.run(lambda: worker.loss(batch), layout.front, tensors={})
            return not torch.equal(before, _state(worker.device))
    finally:
        model.train(training)


def _state(device: torch.device) -> Tensor:
    if device.type == "mps":
        return torch.mps.get_rng_state()
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()


def _dropouts(worker: Worker) -> str:
    """Return the settings of dropout that are not 0 in the backbone's config, as `name: value, ...`."""
    config = vars(worker.model.config)
    found = {name: value for name, value in config.items() if ("drop" in name or name.endswith("_pdrop")) and value}
    return ", ".join(f"{name}: {value}" for name, value in found.items())
