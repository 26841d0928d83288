"""Split learning: the client computes the first blocks, the server the rest; activations go up in each step, gradients come down.

Sources: Vepakomma et al., 2018, arXiv:1812.00564, sections 2 and 3 (splitting, and the u-shaped form, in which labels are not sent);
Thapa et al., 2020, arXiv:2004.12088, SplitFed, algorithms 1 and 2 (V1: the server has a part for each client, and both parts are averaged;
V2: one server part learns from one client after the other); with LoRA this is SplitLoRA (Lin et al., 2024, arXiv:2407.00952), and with
`labels: with-server` the Split-FedLLMs of Yan et al., 2025, arXiv:2501.04436.
Differences: in V1 each copy of the server part takes optimizer steps of its own and the copies are averaged at the end of the round, by
numbers of examples; SplitFed averages their gradients in each step. `pipeline: weight-stashing` is PipeDream with two stages (Narayanan et al.,
SOSP 2019). Gradients are clipped by the norm of each side alone.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from ...aggregation import FedAvg
from ...errors import SettingError
from ...interfaces import Aggregation, traits_of
from ...learning.local import LocalTraining
from ...limits import Few
from ...messages.wires.table import Float32Wire, Wire
from ...pairs import Need
from ...records import ClientId
from ..usual_settings import UsualSettings, one_task
from .layout import Labels


@dataclass(frozen=True, kw_only=True)
class Split(UsualSettings):
    """Clients hold the first blocks of the model, the server the rest; each step crosses the cut."""

    needs: ClassVar[Sequence[Need]] = (one_task("client and server compute one task together"),)
    gives: ClassVar[Mapping[str, bool | str]] = {
        "whole-model": "where a client has only a part of the model to train",
        "updates": False,
        "cut": True,
        "any-model": "which cuts a model that is a row of blocks",
    }
    kind: Literal["split"] = "split"
    cut: Few | Literal["auto"]  # blocks that a client holds: more reveal less of its texts and cost more; auto: chosen each round
    least_cut: Few = 1  # with cut: auto, the fewest blocks that a client holds: fewer reveal more of its texts
    labels: Labels = "u-shaped"  # head and loss stay with the client, two exchanges a step; or labels go to the server, one
    server: Literal["parallel", "sequential"] = "parallel"  # a server part for each client, averaged; or one for all in turn
    wire: Wire = field(default_factory=Float32Wire)  # code of activations and hidden states
    gradients: Wire | None = None  # code of their gradients; null: as wire
    feedback: bool = True  # what a code loses of gradients is added to the next ones
    reuse: bool = False  # activations of an example are sent once and kept by the server; if nothing changes before the cut
    pipeline: Literal["none", "weight-stashing"] = "none"  # or both sides compute at once, one step stale at the client
    aggregation: Aggregation = field(default_factory=FedAvg)  # of both parts at the end of a round; fedavg alone
    local: LocalTraining = field(default_factory=LocalTraining)
    weights: Literal["examples", "targets", "uniform"] = "examples"  # a client's share: its examples, its counted targets, or 1
    quorum: float = 0.5  # least share of the asked clients whose conversations make a round

    def __post_init__(self) -> None:
        if not 0 < self.quorum <= 1:
            raise SettingError(f"quorum is a share of the asked clients, in (0, 1]; got {self.quorum}")
        self._check_cuts()
        if not traits_of(self.aggregation).plain_mean:
            raise SettingError(
                f"aggregation {getattr(self.aggregation, 'kind', '')} is not known across a cut: only the parts' weighted means are; choose "
                "aggregation: fedavg, or protocol: averaging"
            )
        if self.local.accumulate != 1:
            raise SettingError(
                f"local.accumulate is {self.local.accumulate}, which protocol: split does not know; leave it out, and choose a larger local.batch_size"
            )
        if self.local.checkpointing:
            raise SettingError(
                "local.checkpointing does not go with protocol: split, which runs the blocks of each side itself; leave it out"
            )
        if self.server == "sequential":
            self._check_sequential()
        if self.pipeline != "none" and self.labels == "u-shaped":
            raise SettingError(
                "pipeline: weight-stashing goes with one exchange a step, and labels: u-shaped, which is the default, has two; set labels: with-server, or "
                "leave pipeline out"
            )

    @property
    def reveals(self) -> Collection[str]:
        """The labels, where the loss is computed at the server."""
        return ["labels"] if self.labels == "with-server" else []

    @property
    def pipelined(self) -> bool:
        """Whether a client begins a step before the gradient of the one before has come."""
        return self.pipeline == "weight-stashing"

    def check_cuts(self, cuts: Mapping[ClientId, int]) -> None:
        """Raise SettingError if one server part is for all clients, and their cuts differ."""
        if (
            self.server == "sequential"
            and (other := next((client for client in cuts if cuts[client] != self.cut), None)) is not None
        ):
            raise SettingError(
                f"clients.overrides.{other}.protocol.cut is {cuts[other]}, which does not go with server: sequential, where one server part, with one cut, "
                "is for all; choose server: parallel, or leave the override out"
            )

    def _check_cuts(self) -> None:
        """Raise SettingError if a cut is none, or what chooses it does not go with the rest."""
        if self.cut == "auto":
            what, least = "least_cut is the fewest blocks that a client may hold", self.least_cut
        else:
            what, least = "cut is the number of blocks that a client holds", self.cut
        if least < 1:
            raise SettingError(
                f"{what}, at least 1; got {least}: without a block its token ids could be "
                "read from what it sends. Try half of the blocks, or protocol: averaging, where texts never leave"
            )
        if self.cut == "auto" and self.reuse:
            raise SettingError(
                "reuse does not go with cut: auto: each change of the cut would send all activations again; name a cut, or leave reuse out"
            )
        if self.cut != "auto" and self.least_cut != 1:
            raise SettingError(
                f"least_cut is {self.least_cut}, and holds with cut: auto alone; leave it out, as cut is {self.cut}"
            )

    def _check_sequential(self) -> None:
        """Raise SettingError if something needs a server part for each client."""
        if self.cut == "auto":
            raise SettingError(
                "cut: auto does not go with server: sequential, where one server part, with one cut, is for all; choose server: parallel, or name a cut"
            )
        if self.local.keep_optimizer:
            raise SettingError(
                "local.keep_optimizer is True, which server: sequential does not know, where one server part learns from all; choose server: "
                "parallel, or leave it out"
            )
