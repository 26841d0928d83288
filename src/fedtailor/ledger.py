"""What a run costs: peak memory as the system reports it, floating-point operations and bytes by formula."""

import resource
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

CLEAR_REFS, STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """What costs depend on."""

    body_parameters: int  # of the backbone, without embeddings
    backbone_bytes: int
    trained: int  # values under training
    shared_bytes: int  # of a message with all weights that are exchanged, in float32
    up_bytes: int = 0  # of what one client sends in a round of training, on average over rounds; 0 where it hangs on the steps
    down_bytes: int = 0  # of what it gets, likewise
    rounds: int = 1  # of the run that a client takes part in, as expected: some costs fall from round to round
    full: bool = False  # whether every weight of the backbone is trained


def train_flops(tokens: int, sizes: Sizes, *, full: bool = False) -> float:
    """Return the floating-point operations of training on `tokens` tokens.

    4 N per token where the backbone is frozen (2 N forward, 2 N for the gradients of activations), 6 N where it is
    trained; N counts the backbone's weights without embeddings and the trained ones. Output head and attention scores
    are not counted. Source: Kaplan et al., 2020, arXiv:2001.08361, section 2.1, less the weight gradients of frozen matrices.
    """
    every = full or sizes.full
    per_weight = 6 if every else 4
    return float(tokens) * (per_weight * sizes.body_parameters + (0 if every else 6 * sizes.trained))


def forward_flops(tokens: int, sizes: Sizes) -> float:
    """Return the floating-point operations of forward passes alone over `tokens` tokens: 2 N per token; see `train_flops`."""
    return 2.0 * tokens * (sizes.body_parameters + sizes.trained)


def client_memory(sizes: Sizes, *, moments: int) -> int:
    """Return the bytes of weights, gradients and optimizer moments at a client, activations left out; estimated."""
    return sizes.backbone_bytes + sizes.trained * 4 * (2 + moments)


def free_memory(device: torch.device) -> int:
    """Return the bytes that could still be taken: of the GPU, or of the machine as its system reports it."""
    return int(torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else psutil.virtual_memory().available)


class PeakMemory:
    """Peak memory of this process since `reset`, in bytes.

    On Linux the kernel's high-water mark is reset, so that each client has a peak of its own; elsewhere the peak since
    the process started is all that the system reports, and `per_client` is False. On a GPU it is the allocator's peak.
    """

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"
        self.per_client = self._cuda or self.reset()

    def reset(self) -> bool:
        """Start again; return whether the system can."""
        if self._cuda:
            torch.cuda.reset_peak_memory_stats()
            return True
        try:
            CLEAR_REFS.write_text("5")
        except OSError:
            return False
        return True

    def read(self) -> int:
        """Return the peak in bytes."""
        if self._cuda:
            return torch.cuda.max_memory_allocated()
        try:
            line = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM"))
        except (OSError, StopIteration):
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        return int(line.split()[1]) * 1024
