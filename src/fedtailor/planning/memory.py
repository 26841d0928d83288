"""How much memory a client's process takes, by part."""

from contextlib import suppress
from dataclasses import dataclass

import psutil

from ..assembly import Parts
from ..records import Cost
from .step import Count, Size, StepCount

RESERVE = 0.15  # of what a GPU's allocator holds beyond what is used
COPIES = 3  # of what is exchanged: as received, as changed, and encoded


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Bytes at once in one client's process, at most."""

    program: float  # Python, torch, the tokenizer, the data
    weights: float  # the backbone, and what is trained with its gradients and the optimizer's moments
    exchanged: float  # copies of what is exchanged
    activations: float | None  # kept from the forward to the backward pass; None: not counted
    working: float | None  # beyond them, of a training step or of an evaluation, whichever takes more

    @property
    def peak(self) -> float:
        """All of them; what was not counted is left out."""
        return self.program + self.weights + self.exchanged + (self.activations or 0.0) + (self.working or 0.0)


def memory_of(
    cost: Cost,
    count: StepCount | None,
    *,
    exchanged: float,
    trained: int,
    program: float,
    largest: Size,
    share: float = 1.0,
    on_gpu: bool = False,
) -> Memory:
    """Return the memory of one client.

    Args:
        cost: of its round: the bytes of weights, gradients and moments are its protocol's own estimate.
        count: of a step of its model; None: not counted.
        exchanged: bytes of what is exchanged.
        trained: values whose gradients are among `cost` already.
        largest: the largest batch that it trains on.
        share: of the step that a client computes, where the server computes the rest.
    """
    reserve = RESERVE if on_gpu else 0.0
    activations = working = None
    if count is not None:
        kept = _scaled(count.train.saved_bytes, count.train, largest) * share
        step = max(0.0, _scaled(count.train.peak_bytes, count.train, largest) * share - 4.0 * trained)
        most = max(step, float(count.evaluate.peak_bytes))  # every client measures the whole model
        activations, working = kept * (1 + reserve), max(0.0, most - kept) * (1 + reserve)
    return Memory(
        program=program,
        weights=cost.memory_bytes * (1 + reserve),
        exchanged=exchanged * COPIES * (1 + reserve),
        activations=activations,
        working=working,
    )


def program_bytes(parts: Parts) -> float:
    """Return what this process takes beside the weights in it; on a GPU none of it is in the GPU's memory."""
    if parts.worker.device.type == "cuda":
        return 0.0
    process, mapped = psutil.Process(), _mapped_weights()
    held = {
        tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes()
        for worker in (parts.worker, *(own.worker for own in parts.clients.differing.values()))
        for tensor in worker.model.state_dict().values()
    }
    own = sum(size for place, size in held.items() if not any(start <= place < end for start, end, _ in mapped))
    return max(0.0, float(process.memory_info().rss - own - sum(resident for *_, resident in mapped)))


def _mapped_weights() -> list[tuple[int, int, int]]:
    """Return first and last address of each file of weights that is mapped into memory, and the bytes of it that were read so far."""
    found = []
    with suppress(AttributeError, OSError, psutil.Error):  # not every system says it
        for each in psutil.Process().memory_maps(grouped=False):
            if each.path.endswith(".safetensors"):
                start, end = (int(address, 16) for address in each.addr.split("-"))
                found.append((start, end, each.rss))
    return found


def _scaled(size_bytes: float, count: Count, size: Size) -> float:
    return size_bytes * size.padded / max(1.0, count.size.padded)
