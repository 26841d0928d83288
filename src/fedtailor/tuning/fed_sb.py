"""Fed-SB: beside each chosen weight W a product (alpha / rank) B R A, of which the small square R alone is trained and sent.

Source: Singhal et al., 2025, arXiv:2502.15436 (Fed-SB, of which we know the abstract), which federates LoRA-SB (arXiv:2411.19557). As A [rank, in] and
B [out, rank] are frozen and the same for all, the mean of the clients' updates is B mean(R) A: averaging is exact.
Difference: the papers take A and B from the singular vectors of the first full gradient, and start R from its singular values; in a federation
that needs a round of whole gradients first. Ours are singular vectors of W itself, as in LoRA-XS (Balazy et al., 2024, arXiv:2405.17604, which
scales B by the singular values; ours are orthonormal), or orthonormal at random, and R starts at zero.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from ..chance import stream_seed, torch_draws
from ..errors import SettingError
from ..limits import Number, Width
from ..tensors import clone
from .adapters.files import check_fit, read_tensors
from .adapters.over_peft import ADAPTER, copy_into, factor_scale, restore_tensors, save_peft, trained_by_name
from .checks import check_choice
from .lora import Lora

SQUARE, TRAINED = ".lora_R", ".lora_B.square.weight"  # ends of the names of R, as sent and in the model
FILE = "fed_sb.safetensors"  # beside PEFT's files, which hold A and B R


@dataclass(frozen=True, kw_only=True)
class FedSB:
    """Train a square matrix between frozen low-rank factors beside the attention weights, and a classifier's head."""

    learning_rates: ClassVar[Mapping[str, float]] = {
        "causal": 0.03,
        "classifier": 0.01,
        "classifier-head": 0.1,
    }  # that `auto` stands for
    kind: Literal["fed-sb"] = "fed-sb"
    rank: Width = 64  # sides of the squares: weights trained and bytes sent grow with its square
    alpha: Number = 64  # the product counts alpha / rank
    dropout: float = 0.0  # share of a layer's inputs that the factors do not see in training, in [0, 1)
    targets: tuple[str, ...] | None = None  # last parts of module names, or [all-linear]; None: attention query and value
    start: Literal["weights", "random"] = "weights"  # frozen factors: singular vectors of each weight, or drawn from the seed

    def __post_init__(self) -> None:
        check_choice("start", self.start, ("weights", "random"))
        object.__setattr__(self, "targets", self._lora().targets)  # which checks the others too

    def attach(self, model: nn.Module, seed: int) -> nn.Module:
        """Return the model, in evaluation mode, with all R zero: nothing changes before training.

        A classifier's head is trained whole, and so is what the backbone's folder lacked, as with tuning lora.

        Raises:
            SettingError: if a target is not in the model, the rank is larger than a side of its weight, or `start: weights` meets packed weights.
        """
        tuned = self._lora().attach(model, seed)
        for name, layer in _layers(tuned):
            weight = layer.get_base_layer().weight
            inside, outside = layer.in_features, layer.out_features
            if self.rank > min(inside, outside):
                raise SettingError(
                    f"rank is {self.rank}, but {name} is {outside} by {inside}; choose rank: {min(inside, outside)} or less"
                )
            if self.start == "random":
                with torch_draws(stream_seed(seed, f"fed-sb {name}")):
                    b, a = _orthonormal(outside, self.rank), _orthonormal(inside, self.rank).T
            elif weight.is_floating_point():
                b, a = _singular(weight.detach().T if layer.fan_in_fan_out else weight.detach(), self.rank)
            else:
                raise SettingError("start: weights cannot read a backbone whose weights are packed; choose start: random")
            layer.lora_A[ADAPTER], layer.lora_B[ADAPTER] = Frozen(a.to(weight.device)), Between(b.to(weight.device))
        return tuned.eval()

    def parameters(self, model: nn.Module) -> Mapping[str, nn.Parameter]:
        """Return each R [rank, rank] as MODULE.lora_R, and what else is trained, sorted."""
        return dict(sorted((_named(name), p) for name, p in trained_by_name(model).items()))

    def scale(self, model: nn.Module) -> Mapping[str, float]:
        """Return alpha / rank by name of the adapted module, sorted."""
        return factor_scale(model)

    def save(self, model: nn.Module, folder: Path) -> None:
        """Write a plain LoRA that PEFT loads, A and B R; the three apart go to a file of their own, for `restore`."""
        whole = {name: value for name, value in model.state_dict().items() if not name.endswith((".square.weight", ".frozen"))}
        whole |= {f"{name}.lora_B.{ADAPTER}.weight": layer.lora_B[ADAPTER].weight for name, layer in _layers(model)}
        save_peft(model, folder, tensors=whole)
        save_file(clone(_matrices(model)), folder / FILE)

    def restore(self, model: nn.Module, folder: Path) -> None:
        """Copy what `save` wrote into the model, the frozen factors too.

        Raises:
            SettingError: if a file is missing, unreadable or of another shape.
        """
        restore_tensors({n: p for n, p in self.parameters(model).items() if not n.endswith(SQUARE)}, folder, more_in_file=True)
        path, wanted = folder / FILE, _matrices(model)
        if not path.is_file():
            raise SettingError(
                f"{folder} has no {FILE}: R cannot be derived from B R alone; name a run's adapter folder, or use tuning: lora"
            )
        found = read_tensors(path)
        check_fit(path, found, wanted)
        copy_into(wanted, found)

    def _lora(self) -> Lora:
        return Lora(rank=self.rank, alpha=self.alpha, dropout=self.dropout, targets=self.targets)


class Frozen(nn.Module):
    """A, [rank, in]: part of the state, not under training."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight: Tensor
        self.register_buffer("weight", weight.contiguous())

    def forward(self, inputs: Tensor) -> Tensor:
        """Return A x, [..., rank]."""
        return F.linear(inputs, self.weight)


class Between(nn.Module):
    """B R with B [out, rank] frozen and R [rank, rank] under training, in the place where PEFT has B."""

    def __init__(self, frozen: Tensor) -> None:
        super().__init__()
        self.frozen: Tensor
        self.register_buffer("frozen", frozen.contiguous())
        rank = frozen.shape[1]
        self.square: nn.Linear = nn.utils.skip_init(nn.Linear, rank, rank, bias=False, device=frozen.device)  # type: ignore[no-untyped-call]
        nn.init.zeros_(self.square.weight)

    @property
    def weight(self) -> Tensor:
        """Return B R, [out, rank]: what PEFT merges and saves."""
        made: Tensor = self.frozen @ self.square.weight
        return made

    def forward(self, inputs: Tensor) -> Tensor:
        """Return B R x, [..., out]."""
        return F.linear(self.square(inputs), self.frozen)


def _layers(model: nn.Module) -> Iterator[tuple[str, Any]]:
    from peft.tuners.lora import LoraLayer

    yield from ((name, module) for name, module in model.named_modules() if isinstance(module, LoraLayer))


def _matrices(model: nn.Module) -> dict[str, Any]:
    """Return A, B and R of each module, by names of their own, sorted."""
    found: dict[str, Tensor] = {}
    for name, layer in _layers(model):
        between = layer.lora_B[ADAPTER]
        found |= {
            f"{name}.lora_A": layer.lora_A[ADAPTER].weight,
            f"{name}.lora_B": between.frozen,
            f"{name}{SQUARE}": between.square.weight,
        }
    return dict(sorted(found.items()))


def _named(name: str) -> str:
    return name.removesuffix(TRAINED) + SQUARE if name.endswith(TRAINED) else name


def _singular(weight: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Return the first left singular vectors [out, rank] and right ones [rank, in] of a weight [out, in], in float32.

    Of each pair of signs the one is taken that makes the largest value of the right vector positive.
    """
    left, _, right = torch.linalg.svd(weight.float(), full_matrices=False)
    b, a = left[:, :rank], right[:rank]
    signs = a.gather(1, a.abs().argmax(dim=1, keepdim=True)).sign()
    return b * signs.T, a * signs


def _orthonormal(rows: int, columns: int) -> Tensor:
    """Return [rows, columns] with orthonormal columns, drawn from torch's global stream."""
    q, r = torch.linalg.qr(torch.randn(rows, columns))
    made: Tensor = q * r.diagonal().sign()  # the signs of QR are a matter of the library's version
    return made
