"""Which weights belong to whom, when a model is cut between client and server."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn

from ...errors import OffManifest, SettingError
from ...learning.worker import Worker
from ...models.cut import CutModel, Part, cut_model
from ...models.kinds import kind_of
from ...tasks.shard import Batch
from ...tensors import Tensors
from ...tuning import written

Labels = Literal["u-shaped", "with-server"]
Owner = Literal["client", "server"]
CLASSES, TARGETS = "labels", "targets"  # what the loss counts: a class of each text, or tokens


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A model cut between client and server.

    The client has what lies before the cut, and in the u-shaped form norm and head besides, which it computes the loss with; the
    server has the rest.
    """

    cut_model: CutModel
    cut: int  # blocks of the client
    labels: Labels
    inner: Mapping[str, str]  # name of a trained weight -> name of its parameter in the model

    @property
    def blocks(self) -> int:
        return len(self.cut_model.blocks)

    def moved(self, cut: int) -> "Layout":
        """Return the same model, cut elsewhere.

        Raises:
            SettingError: if there is no such place.
        """
        if not 1 <= cut <= self.most_cut:
            why = (
                "; behind the last block the server would have nothing: choose labels: with-server" if cut == self.blocks else ""
            )
            raise SettingError(
                f"protocol.cut is {cut}, but this backbone has {self.blocks} blocks, and with labels: {self.labels} a client holds 1 to "
                f"{self.most_cut} of them{why}; try cut: {max(1, self.most_cut // 2)}"
            )
        return replace(self, cut=cut)

    @property
    def most_cut(self) -> int:
        """The most blocks that a client may hold: u-shaped the server must be left one."""
        return self.blocks - (self.labels == "u-shaped")

    @property
    def front(self) -> Part:
        """What the client computes first."""
        return Part(stop=self.cut)

    @property
    def middle(self) -> Part:
        """What the server computes: up to the loss, or in the u-shaped form up to the last block."""
        return Part(start=self.cut, stop=self.blocks if self.labels == "u-shaped" else None)

    @property
    def tail(self) -> Part:
        """What the client computes last in the u-shaped form."""
        return Part(start=self.blocks)

    def owner(self, parameter: str) -> Owner:
        """Return whose part a parameter, by its name in the model, belongs to."""
        place = self.cut_model.place(parameter)
        return "client" if place < self.cut or (place == self.blocks and self.labels == "u-shaped") else "server"

    def trained_by(self, owner: Owner) -> list[str]:
        """Return the names of the trained weights of one side, sorted."""
        return sorted(name for name, inner in self.inner.items() if self.owner(inner) == owner)

    @property
    def learns_in_front(self) -> bool:
        """Whether weights before the cut are trained: if not, nobody needs the gradient of the activations."""
        return any(self.cut_model.place(inner) < self.cut for inner in self.inner.values())

    def in_model(self, tensors: Tensors) -> dict[str, Tensor]:
        """Return trained weights by the names of their parameters in the model."""
        return {self.inner[name]: value for name, value in tensors.items()}


def lay_out(worker: Worker, *, cut: int, labels: Labels) -> Layout:
    """Return how the worker's model is cut behind its first `cut` blocks.

    Raises:
        SettingError: if it has not so many blocks, or the tuning makes no sense across a cut.
        BackboneError: if the model cannot be cut.
    """
    _check_tuning(worker)
    model = cut_model(worker.model, lambda: worker.loss(_two_tokens(worker)))
    by_identity = {id(parameter): name for name, parameter in worker.model.named_parameters()}
    inner = {name: by_identity[id(parameter)] for name, parameter in worker.params.items()}
    return Layout(cut_model=model, cut=1, labels=labels, inner=inner).moved(cut)


def check_part(tensors: Collection[str], layout: Layout, home: Collection[str]) -> None:
    """Raise OffManifest unless these are the names of the weights of the client's part, but for those that stay home.

    Where cuts differ, the manifest allows the weights of any cut: what belongs to this one is checked here.
    """
    due = set(layout.trained_by("client")) - set(home)
    if set(tensors) != due:
        other = sorted(set(tensors) ^ due)
        raise OffManifest(f"weights of the first {layout.cut} blocks were due; {len(other)} differ, the first: {other[0]!r}")


def blank_batch(worker: Worker, lengths: Sequence[int], *, labels: Tensors | None = None) -> Batch:
    """Return a batch of the form of somebody else's: real and padded positions are distinguished, tokens say nothing.

    Args:
        lengths: of the sequences, without padding.
        labels: what `labels_of` gave, if the loss is to be computed.
    """
    real_BL = real_places(lengths)
    pad = worker.processor.pad_token_id
    ids_BL = torch.where(real_BL, int(pad == 0), pad)  # a head may look for the last token that is no padding
    target_BL = torch.zeros_like(real_BL)
    if labels and TARGETS in labels:
        targets_N = labels[TARGETS].long()
        target_BL[real_BL] = targets_N >= 0
        ids_BL[real_BL] = torch.where(targets_N >= 0, targets_N, ids_BL[real_BL])
    of_texts = None if kind_of(worker.task.backbone).causal else torch.zeros(len(lengths), dtype=torch.int64)
    if labels and CLASSES in labels:
        of_texts = labels[CLASSES].long()
    return Batch(
        input_ids_BL=ids_BL.to(worker.device),
        attention_mask_BL=None if bool(real_BL.all()) else real_BL.long().to(worker.device),
        target_BL=target_BL.to(worker.device),
        labels_B=None if of_texts is None else of_texts.to(worker.device),
        tokens=sum(lengths),
    )


def labels_of(batch: Batch) -> dict[str, Tensor]:
    """Return what the loss counts, for a server that computes it: numbers of classes, or each counted token, -1 for the others."""
    if batch.labels_B is not None:
        return {CLASSES: batch.labels_B.to("cpu", torch.int32)}
    targets_BL = torch.where(batch.target_BL, batch.input_ids_BL, -1)
    return {TARGETS: targets_BL.cpu()[real_places(lengths_of(batch))].to(torch.int32)}


def lengths_of(batch: Batch) -> list[int]:
    """Return the lengths of the sequences, without padding."""
    mask_BL = batch.attention_mask_BL
    return [batch.input_ids_BL.shape[1]] * len(batch.input_ids_BL) if mask_BL is None else mask_BL.sum(1).tolist()


def real_places(lengths: Sequence[int]) -> Tensor:
    """Return bool [B, L]: where a token is none of padding."""
    lengths_B = torch.tensor(lengths)
    return torch.arange(int(lengths_B.max())) < lengths_B[:, None]


def rows_of(values_BLH: Tensor, lengths: Sequence[int]) -> Tensor:
    """Return the rows of real tokens, float32 [N, H] on the CPU."""
    return values_BLH.detach().float().cpu()[real_places(lengths)]


def table_of(values_NH: Tensor, lengths: Sequence[int], device: torch.device) -> Tensor:
    """Return the rows in their places [B, L, H], with zeros where padding is."""
    real_BL = real_places(lengths)
    table_BLH = values_NH.new_zeros(*real_BL.shape, values_NH.shape[1])
    table_BLH[real_BL] = values_NH
    return table_BLH.to(device)


def _two_tokens(worker: Worker) -> Batch:
    kind = {TARGETS: torch.tensor([-1, 1])} if kind_of(worker.task.backbone).causal else {CLASSES: torch.zeros(1)}
    return blank_batch(worker, [2], labels=kind)


def _check_tuning(worker: Worker) -> None:
    """Raise SettingError, naming the tuning, if its weights do not belong to one block each."""
    kind = worker.tuning.kind
    if written(worker.tuning).in_front:
        raise SettingError(
            f"protocol: split does not go with tuning: {kind}, whose vectors go through every block and so have no side of the cut; "
            "choose tuning: lora, or protocol: averaging"
        )
    if written(worker.tuning).every_weight and _tied(worker.model):
        raise SettingError(
            "protocol: split does not go with tuning: full here: this backbone's head is its embedding, which would be cut in two; choose "
            "tuning: lora"
        )


def _tied(model: nn.Module) -> bool:
    head, embedding = (getattr(model, f"get_{side}_embeddings", lambda: None)() for side in ("output", "input"))
    return head is not None and embedding is not None and head.weight is embedding.weight
