"""How attention is computed in training: on a CPU, torch's fused kernel is slow backward in bfloat16."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

LONGEST = 256  # tokens; beyond it, the whole table of scores costs more memory than time is worth


@contextmanager
def quick_attention(device: torch.device, *, bfloat16: bool, tokens: int) -> Iterator[None]:
    """Let models compute attention, inside the block, in the way that trains fastest.

    In bfloat16 on a CPU that is by plain matrix products, up to `LONGEST` tokens. Forward and backward of 72 heads of width 64
    then take 5 ms in the place of 15 at 64 tokens, 15 of 35 at 128, 45 of 80 at 256 (torch 2.13, one thread of an AMD EPYC).
    Elsewhere torch chooses. Scores are in bfloat16, as in transformers' "eager" attention; the fused kernel holds them in float32.

    Args:
        bfloat16: whether the block computes in bfloat16.
        tokens: of the longest sequence.
    """
    if not (device.type == "cpu" and bfloat16 and tokens <= LONGEST):
        yield
        return
    before = torch.backends.cuda.fp16_bf16_reduction_math_sdp_allowed()  # type: ignore[no-untyped-call]
    torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(True)  # holds for CPUs too: without it all is cast to float32 first
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(before)
