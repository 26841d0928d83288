"""Algebra on LoRA factors, without ever building a dense weight.

A module's adapter is s B A with B [out, r], A [r, in] and s = alpha / r. Clients k have shares p, sum(p) = 1, and the update of the
weight that averaging is after is dW* = sum p s B_k A_k, which averaging the factors one by one misses (Sun et al., 2024,
arXiv:2403.12313). The formulas here are our own derivations. All is computed in float64: the matrices are small,
and squares of norms keep half the digits.

Factors are found by name: MODULE.lora_A.weight and MODULE.lora_B.weight, as PEFT has them; every other tensor is averaged plainly.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...errors import SettingError
from ...interfaces import CARRIED
from ...records import ClientId, Update
from ...tensors import Tensors

FACTOR = re.compile(r"(?P<module>.+)\.lora_(?P<side>[AB])\.weight")


@dataclass(frozen=True, kw_only=True)
class Pair:
    """The names of one module's factors."""

    module: str
    a: str
    b: str


def is_a(name: str) -> bool:
    """Return whether a tensor is a factor A [r, in]."""
    match = FACTOR.fullmatch(name)
    return match is not None and match["side"] == "A"


def is_b(name: str) -> bool:
    """Return whether a tensor is a factor B [out, r]."""
    match = FACTOR.fullmatch(name)
    return match is not None and match["side"] == "B"


def modules_of(names: Iterable[str]) -> list[str]:
    """Return the modules that have a factor among `names`, sorted."""
    return sorted({match["module"] for name in names if (match := FACTOR.fullmatch(name))})


def pairs_of(names: Iterable[str]) -> list[Pair]:
    """Return the pairs of factors among `names`, sorted by module."""
    known = set(names)
    pairs = [Pair(module=m, a=f"{m}.lora_A.weight", b=f"{m}.lora_B.weight") for m in modules_of(known)]
    return [pair for pair in pairs if pair.a in known and pair.b in known]


def others_than_factors(delta: Tensors, pairs: Iterable[Pair]) -> dict[str, Tensor]:
    """Return the tensors that belong to none of the pairs: they are averaged plainly, whatever a rule does with factors."""
    named = {name for pair in pairs for name in (pair.a, pair.b)}
    return {name: tensor for name, tensor in delta.items() if name not in named}


def is_carried(name: str) -> bool:
    """Return whether a tensor is part of the factor that is carried beside the trained one."""
    return re.fullmatch(rf".+\.{CARRIED}_[AB]\.weight", name) is not None


def carried_beside(pair: Pair) -> Pair:
    """Return the names of the factors that are carried beside a module's trained ones."""
    return Pair(module=pair.module, a=f"{pair.module}.{CARRIED}_A.weight", b=f"{pair.module}.{CARRIED}_B.weight")


def require_factors(params: Tensors, rule: str) -> list[Pair]:
    """Return the pairs of factors that a rule works on.

    Raises:
        SettingError: if there are none, or one factor of a module without its other, naming the rule and one that works.
    """
    pairs = pairs_of(params)
    single = sorted(set(modules_of(params)) - {pair.module for pair in pairs})
    if single:
        raise SettingError(
            f"aggregation {rule} works on both LoRA factors of a module, and of {single[0]} only one is shared; share both or neither, or choose "
            "aggregation: {kind: fedavg}, which averages whatever is shared"
        )
    if not pairs:
        raise SettingError(
            f"aggregation {rule} works on LoRA factors (tensors named lora_A and lora_B), and none is shared (the first tensor "
            f"is {min(params, default='none')!r}); choose tuning: {{kind: lora}}, or aggregation: {{kind: fedavg}}, which takes any tuning"
        )
    return pairs


@dataclass(kw_only=True)
class OneScale:
    """Checks updates as they come: factors are comparable only where alpha / r is the same for all."""

    first: tuple[ClientId, Mapping[str, float]] | None = None

    def check(self, update: Update) -> Update:
        """Return the update.

        Raises:
            SettingError: naming two clients that differ.
        """
        client, known = self.first = self.first or (update.client, update.scale)
        for module, scale in update.scale.items():
            if not math.isclose(scale, known.get(module, 1.0), rel_tol=1e-6):
                raise SettingError(
                    f"{module}: client {update.client!r} trains with alpha / rank = {scale:g}, client {client!r} with "
                    f"{known.get(module, 1.0):g}; this aggregation needs one for all: set tuning.alpha and rank alike"
                )
        return update


@dataclass(frozen=True, kw_only=True)
class Product:
    """A matrix left @ right, kept as its factors: left [out, n], right [n, in], float64."""

    left: Tensor
    right: Tensor

    def norm(self) -> float:
        """Return the Frobenius norm from Gram matrices: |LR|^2 = <L'L, RR'>."""
        return math.sqrt(max(0.0, float(((self.left.T @ self.left) * (self.right @ self.right.T)).sum())))

    def plus(self, other: "Product") -> "Product":
        """Return the sum of two matrices, as one product of stacks."""
        return Product(left=torch.cat([self.left, other.left], 1), right=torch.cat([self.right, other.right]))

    def times(self, factor: float) -> "Product":
        """Return this matrix times a number."""
        return Product(left=factor * self.left, right=self.right)

    def minus(self, left: Tensor, right: Tensor) -> "Product":
        """Return this matrix less left @ right."""
        return Product(left=torch.cat([self.left, -left.double()], 1), right=torch.cat([self.right, right.double()]))

    def svd(self, rank: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return the exact leading singular triplets: U [out, rank], S [rank], V' [rank, in].

        QR of both factors leaves a core of at most n x n: O((out + in) n^2) in place of O(out in min(out, in)). Where the matrix has a
        lower rank, the triplets past it have S = 0, and V' continues with orthonormal rows as long as there are any (a row of A that
        is zero beside a column of B that is zero could never be trained). Each row of V' has its largest entry positive.
        """
        if self.left.shape[1] < rank:
            return Product(left=_first(self.left, rank, 1), right=_first(self.right, rank, 0)).svd(rank)
        q_left, r_left = torch.linalg.qr(self.left)
        q_right, r_right = torch.linalg.qr(self.right.T)
        u, s, vt = torch.linalg.svd(r_left @ r_right.T)
        u, s, vt = _first(q_left @ u, rank, 1), _first(s, rank, 0), _first(vt @ q_right.T, rank, 0)
        largest = vt.gather(1, vt.abs().argmax(1, keepdim=True))
        sign = torch.where(largest < 0, -1.0, 1.0).double()
        return u * sign.T, s, vt * sign

    def factors(self, rank: int) -> tuple[Tensor, Tensor]:
        """Return the best B [out, rank] = U S and A [rank, in] = V', of the top singular triplets; the rows of A are orthonormal."""
        u, s, vt = self.svd(rank)
        return u * s, vt


def _first(tensor: Tensor, count: int, dim: int) -> Tensor:
    """Return the first `count` slices along `dim`; zeros follow where there are fewer."""
    kept = tensor.narrow(dim, 0, min(count, tensor.shape[dim]))
    missing = list(tensor.shape)
    missing[dim] = count - kept.shape[dim]
    return torch.cat([kept, tensor.new_zeros(missing)], dim)


def stacked(shares: Sequence[float], factors: Sequence[tuple[Tensor, Tensor]]) -> Product:
    """Return sum(p B A) over clients as one product of stacks: [p_1 B_1 ...] [A_1; ...]."""
    left = torch.cat([p * b.double() for p, (b, _) in zip(shares, factors, strict=True)], 1)
    return Product(left=left, right=torch.cat([a.double() for _, a in factors]))


def deviation(shares: Sequence[float], factors: Sequence[tuple[Tensor, Tensor]]) -> Product:
    """Return dW* less the product of the mean factors, by the identity sum p (B - Bm)(A - Am); m marks means."""
    mean_b = torch.stack([p * b.double() for p, (b, _) in zip(shares, factors, strict=True)]).sum(0)
    mean_a = torch.stack([p * a.double() for p, (_, a) in zip(shares, factors, strict=True)]).sum(0)
    return stacked(shares, [(b.double() - mean_b, a.double() - mean_a) for b, a in factors])


def relative(parts: Iterable[tuple[float, float]]) -> float:
    """Return the norm of what is off over the norm of all, from (off, all) per module; 0 where there is nothing at all."""
    off, whole = (math.hypot(*norms) for norms in zip(*parts, strict=True))
    return off / whole if whole else 0.0
