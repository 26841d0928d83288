"""What was measured already: the same rows under the same weights are scored once."""

import hashlib
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from ..tasks.losses import Losses
from ..tasks.shard import Shard

MOST = 512  # results that are kept, the newest: some floats each, and a class for each row


class Seen:
    """The sums of losses of the last evaluations, by the weights in place and the rows."""

    def __init__(self, model: nn.Module, changing: Iterable[Tensor]) -> None:
        """Take the model as it is, and the tensors that are known to change; all others are watched by their versions."""
        known = {id(tensor) for tensor in changing}
        self._model = model
        self._still = {
            id(tensor): tensor for tensor in _tensors(model) if id(tensor) not in known
        }  # held: an id is never taken twice
        self._found: dict[tuple[bytes, int], tuple[Shard, Losses]] = {}

    def find(self, shard: Shard, mark: bytes) -> Losses | None:
        """Return what was found for these rows under the weights of `mark`, or None."""
        found = self._found.get((mark, id(shard)))
        return None if found is None else found[1]

    def keep(self, shard: Shard, mark: bytes, losses: Losses) -> None:
        """Keep a result; the oldest makes room for it."""
        if len(self._found) >= MOST:
            del self._found[next(iter(self._found))]
        self._found[mark, id(shard)] = (shard, losses)

    def mark(self, changing: Iterable[Tensor]) -> bytes:
        """Return a digest of all weights in place: the contents of those that change, the versions of all others."""
        digest = hashlib.sha256()
        contents = {id(tensor): tensor for tensor in changing}
        for tensor in _tensors(self._model):
            if id(tensor) in self._still and id(tensor) not in contents and not tensor.is_inference():
                digest.update(f"{id(tensor)}:{tensor._version}".encode())
            else:
                contents.setdefault(id(tensor), tensor)
        for tensor in contents.values():
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
        return digest.digest()


def _tensors(model: nn.Module) -> list[Tensor]:
    return [*model.parameters(), *model.buffers()]
