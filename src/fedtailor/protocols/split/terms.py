"""What both sides of split learning go by, and the estimate of its costs: the settings, and where they cut one model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from ...errors import OffManifest, SettingError
from ...learning.local import LocalTraining
from ...learning.worker import Worker
from ...messages.wires.table import Wire
from ...models.cut import Draws, Part
from ...models.kinds import kind_of
from ...records import ClientId
from ...tasks.asked import block_of, most_tokens_of
from ...tasks.shard import Batch
from ...tensors import Tensors
from .layout import Layout, lay_out
from .reuse import check_reuse
from .settings import Split


@dataclass(frozen=True, kw_only=True)
class Terms:
    """The settings of `Split` together with the model that they cut."""

    settings: Split
    worker: Worker
    layout: Layout  # of clients that the job says nothing else of; with cut: auto, of their first round
    choices: tuple[int, ...]  # cuts that these may have
    cuts: Mapping[ClientId, int] = field(default_factory=dict)  # of the clients that differ

    @property
    def local(self) -> LocalTraining:
        return self.settings.local

    @property
    def wire(self) -> Wire:
        """The code of activations and hidden states."""
        return self.settings.wire

    @property
    def gradient_wire(self) -> Wire:
        return self.settings.gradients or self.settings.wire

    @property
    def u_shaped(self) -> bool:
        """Whether head and loss stay with the client."""
        return self.layout.labels == "u-shaped"

    @property
    def of_texts(self) -> bool:
        """Whether the loss counts a class of each text, and not tokens."""
        return not kind_of(self.worker.task.backbone).causal

    @property
    def longest(self) -> int:
        """The most tokens of one sequence."""
        task: Any = self.worker.task
        room = getattr(self._config, "max_position_embeddings", None)
        said = most_tokens_of(task) or block_of(task)
        return int(min(size for size in (said, room, 2**31) if size))

    @property
    def classes(self) -> int:
        return int(self._config.num_labels)

    @property
    def vocabulary(self) -> int:
        return int(self._config.vocab_size)

    @property
    def _config(self) -> Any:
        return self.worker.model.config

    @property
    def auto(self) -> bool:
        """Whether the server chooses the cut again in each round."""
        return self.settings.cut == "auto"

    @property
    def all_cuts(self) -> list[int]:
        """Every cut that a client may have."""
        return sorted({*self.choices, *self.cuts.values()})

    def fixed_cut(self, client: ClientId) -> int | None:
        """Return where the job cuts a client's model, or None if the server chooses."""
        return self.cuts.get(client, None if self.auto else self.layout.cut)

    def check_allowed(self, client: ClientId, cut: int) -> None:
        """Raise OffManifest if a client is asked to be cut where the job does not allow it: a lower cut reveals more of its texts."""
        fixed = self.fixed_cut(client)
        allowed = self.choices if fixed is None else (fixed,)
        if cut not in allowed:
            raise OffManifest(f"the server asks {client} to hold {cut} blocks; the job allows {', '.join(map(str, allowed))}")

    def at_cut(self, cut: int) -> "Terms":
        """Return the same, cut elsewhere."""
        return replace(self, layout=self.layout.moved(cut))

    def of_client(self, client: ClientId) -> "Terms":
        """Return the same as the job cuts it for a client, or as it begins if the server chooses."""
        return self.at_cut(self.fixed_cut(client) or self.layout.cut)

    def rate(self, round: int, step: int, steps: int, rate_factor: float) -> float:
        """Return the learning rate at a step (from 0), the same on both sides."""
        return self.local.peak_learning_rate * rate_factor * self.local.warmup_factor(round, step, steps)

    def run(
        self, part: Part, batch: Batch, trained: Tensors, received_BLH: Tensor | None, draws: Draws
    ) -> Tensor | tuple[Tensor, int]:
        """Return hidden states [B, L, H], or the sum of the loss and its number of targets if the part has the head.

        Args:
            trained: weights of this side, in the place of the model's own.
            received_BLH: what the part before gave, unless this one begins with the embeddings.
        """
        return self.layout.cut_model.run(
            lambda: self.worker.loss(batch),
            part,
            tensors=self.layout.in_model(trained),
            received_BLH=received_BLH,
            draws=draws,
        )

    def server_weights(self, shared: Tensors) -> dict[str, Tensor]:
        """Return the server's part of the shared weights."""
        return {name: shared[name] for name in self.layout.trained_by("server")}


def terms_of(settings: Split, worker: Worker, cuts: Mapping[ClientId, int] | None = None) -> Terms:
    """Return the settings, cut into the worker's model.

    Args:
        cuts: of the clients that differ.

    Raises:
        SettingError: if a cut is not there, or tuning or home weights make no sense across it.
        BackboneError: if the model cannot be cut.
    """
    layout = lay_out(worker, cut=1 if settings.cut == "auto" else settings.cut, labels=settings.labels)
    if settings.cut == "auto" and settings.least_cut > layout.most_cut:
        raise SettingError(
            f"protocol.least_cut is {settings.least_cut}, but this backbone has {layout.blocks} blocks, and with labels: {settings.labels} a client "
            f"holds at most {layout.most_cut} of them; try least_cut: 1"
        )
    for client, cut in sorted((cuts or {}).items()):
        try:
            check_cut(settings, worker, layout.moved(cut))
        except SettingError as error:
            raise SettingError(f"clients.overrides.{client}: {error}") from None
    choices = (layout.cut,) if settings.cut != "auto" else _possible(settings, worker, layout)
    check_cut(settings, worker, layout.moved(choices[0]))
    return Terms(settings=settings, worker=worker, layout=layout.moved(_middle(choices)), choices=choices, cuts=dict(cuts or {}))


def check_cut(settings: Split, worker: Worker, layout: Layout) -> None:
    """Raise SettingError if home weights or reuse make no sense at a layout's cut."""
    strange = sorted(worker.home - set(layout.trained_by("client")))
    if strange:
        raise SettingError(
            f"personalization keeps {len(strange)} weights home that lie in the server's part (first: {strange[0]!r}); name weights of "
            f"the first {layout.cut} blocks" + (" or of the head" if settings.labels == "u-shaped" else "")
        )
    if settings.reuse:
        check_reuse(worker, layout)


def _possible(settings: Split, worker: Worker, layout: Layout) -> tuple[int, ...]:
    """Return the cuts that a client may have, with cut: auto; if none makes sense, the last one, which then says why."""

    def makes_sense(cut: int) -> bool:
        try:
            check_cut(settings, worker, layout.moved(cut))
        except SettingError:
            return False
        return True

    found = range(settings.least_cut, layout.most_cut + 1)
    return tuple(cut for cut in found if makes_sense(cut)) or (found[-1],)


def _middle(choices: Sequence[int]) -> int:
    """Return the cut that a client has before anything is known of it."""
    return choices[(len(choices) - 1) // 2]
