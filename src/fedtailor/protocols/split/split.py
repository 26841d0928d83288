"""Split learning: the client computes the first blocks, the server the rest; activations go up in each step, gradients come down.

Sources: Vepakomma et al., 2018, arXiv:1812.00564, sections 2 and 3 (splitting, and the u-shaped form, in which labels stay with the client);
Thapa et al., 2020, arXiv:2004.12088, SplitFed, algorithms 1 and 2 (V1: the server has a part for each client, and both parts are averaged;
V2: one server part learns from one client after the other); with LoRA this is SplitLoRA (Lin et al., 2024, arXiv:2407.00952), and with
`labels: with-server` the Split-FedLLMs of Yan et al., 2025, arXiv:2501.04436.
Differences: in V1 each copy of the server part takes optimizer steps of its own and the copies are averaged at the end of the round, by
numbers of examples; SplitFed averages their gradients in each step. Gradients are clipped by the norm of each side alone.
"""

from dataclasses import dataclass, field
from typing import Literal

from ...aggregation import FedAvg
from ...errors import SettingError
from ...interfaces import Aggregation
from ...learning.local import LocalTraining
from ...learning.worker import Worker
from .bound import BoundSplit
from .layout import Labels, Layout, lay_out
from .reuse import check_reuse
from .wire import Float32Wire, Wire


@dataclass(frozen=True, kw_only=True)
class Split:
    """Clients hold the first blocks of the model, the server the rest; each step crosses the cut."""

    kind: Literal["split"] = "split"
    cut: int  # blocks that a client holds, from the embeddings on: more of them tell less of its texts and cost it more
    labels: Labels = "u-shaped"  # head and loss stay with the client, two exchanges a step; or labels go to the server, one
    server: Literal["parallel", "sequential"] = "parallel"  # a server part for each client, averaged; or one for all in turn
    wire: Wire = field(default_factory=Float32Wire)  # code of activations and hidden states
    gradients: Wire | None = None  # code of their gradients; null: as wire
    feedback: bool = True  # what a code loses of gradients is added to the next ones
    reuse: bool = False  # activations of an example are sent once and kept by the server; if nothing changes before the cut
    aggregation: Aggregation = field(default_factory=FedAvg)  # of both parts at the end of a round; fedavg alone
    local: LocalTraining = field(default_factory=LocalTraining)
    weights: Literal["examples", "targets", "uniform"] = "examples"  # a client's share: its examples, its counted targets, or 1
    quorum: float = 0.5  # least share of the asked clients whose conversations make a round

    def __post_init__(self) -> None:
        if not 0 < self.quorum <= 1:
            raise SettingError(f"quorum is a share of the asked clients, in (0, 1]; got {self.quorum}")
        if self.cut < 1:
            raise SettingError(
                f"cut is the number of blocks that a client holds, at least 1; got {self.cut}: without a block its token ids could be "
                "read from what it sends. Try half of the blocks, or protocol: averaging, where texts never leave"
            )
        if not isinstance(self.aggregation, FedAvg):
            raise SettingError(
                f"aggregation {getattr(self.aggregation, 'kind', '')} is not known across a cut: only the parts' weighted means are; choose "
                "aggregation: fedavg, or protocol: averaging"
            )
        for name, usual in {"accumulate": 1, "keep_optimizer": False}.items():
            if getattr(self.local, name) != usual:
                raise SettingError(
                    f"local.{name} is {getattr(self.local, name)}, which protocol: split does not know; leave it out"
                    + (", and choose a larger local.batch_size" if name == "accumulate" else "")
                )

    def at(self, worker: Worker) -> BoundSplit:
        """Return the protocol, cut into the worker's model.

        Raises:
            SettingError: if the cut is not there, or tuning or home weights make no sense across it.
            BackboneError: if the model cannot be cut.
        """
        layout = lay_out(worker, cut=self.cut, labels=self.labels)
        self.check_cut(worker, layout)
        return BoundSplit(settings=self, worker=worker, layout=layout)

    def check_cut(self, worker: Worker, layout: Layout) -> None:
        """Raise SettingError if home weights or reuse make no sense at a layout's cut."""
        strange = sorted(worker.home - set(layout.trained_by("client")))
        if strange:
            raise SettingError(
                f"personalization keeps {len(strange)} weights home that lie in the server's part (first: {strange[0]!r}); name weights of "
                f"the first {layout.cut} blocks" + (" or of the head" if self.labels == "u-shaped" else "")
            )
        if self.reuse:
            check_reuse(worker, layout)
