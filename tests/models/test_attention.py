import pytest
import torch
import torch.nn.functional as F

from fedtailor.models.attention import LONGEST, quick_attention

CPU = torch.device("cpu")


def attend(*, bfloat16: bool, tokens: int) -> list[torch.Tensor]:
    """Return what causal attention gives, and its gradients."""
    draw = torch.Generator().manual_seed(0)
    dtype = torch.bfloat16 if bfloat16 else torch.float32
    q, k, v, up = (torch.randn(2, 3, tokens, 8, generator=draw).to(dtype) for _ in range(4))
    leaves = [x.requires_grad_() for x in (q, k, v)]
    out = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    return [out.detach(), *torch.autograd.grad(out, leaves, up)]


def attend_quickly(*, bfloat16: bool, tokens: int) -> list[torch.Tensor]:
    with quick_attention(CPU, bfloat16=bfloat16, tokens=tokens):
        return attend(bfloat16=bfloat16, tokens=tokens)


def test_outputs_and_gradients_are_those_of_exact_attention_within_bfloat16():
    exact = attend(bfloat16=False, tokens=40)
    quick = attend_quickly(bfloat16=True, tokens=40)
    assert all(torch.allclose(a.float(), b, atol=0.06, rtol=0.05) for a, b in zip(quick, exact, strict=True))


def test_the_same_bits_come_each_time():
    first, second = (attend_quickly(bfloat16=True, tokens=40) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize(("bfloat16", "tokens"), [(False, 40), (True, LONGEST + 1)], ids=["float32", "long"])
def test_elsewhere_torch_chooses(bfloat16, tokens):
    plain, quick = attend(bfloat16=bfloat16, tokens=tokens), attend_quickly(bfloat16=bfloat16, tokens=tokens)
    assert all(torch.equal(a, b) for a, b in zip(plain, quick, strict=True))


def test_torchs_own_settings_are_as_before_even_after_a_fault():
    def settings() -> tuple[bool, bool, bool]:
        cuda = torch.backends.cuda
        return cuda.flash_sdp_enabled(), cuda.math_sdp_enabled(), cuda.fp16_bf16_reduction_math_sdp_allowed()

    def fail_inside() -> None:
        with quick_attention(CPU, bfloat16=True, tokens=4):
            assert settings() == (False, True, True)
            raise KeyError

    before = settings()
    with pytest.raises(KeyError):
        fail_inside()
    assert settings() == before
