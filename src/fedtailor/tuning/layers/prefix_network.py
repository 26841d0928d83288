"""What makes the vectors of a prefix: a small network, or the vectors themselves. Both take the place of PEFT's encoder.

PEFT's own encoder runs once for each example of a batch; these run once a step, and the batch sees one tensor expanded.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

# N places of the prefix, D values of a place: layers * 2 * width of keys, H hidden width, B sequences
ACTIVATIONS = {"tanh": nn.Tanh, "relu": nn.ReLU, "gelu": nn.GELU}


class PrefixVectors(nn.Module):
    """The vectors themselves, under the name that PEFT gives them."""

    def __init__(self, vectors_ND: Tensor) -> None:
        super().__init__()
        self.embedding = nn.Embedding(len(vectors_ND), vectors_ND.shape[1], _weight=vectors_ND.clone())

    def vectors(self) -> Tensor:
        """Return the prefix [N, D]."""
        made: Tensor = self.embedding.weight
        return made

    def forward(self, places_BN: Tensor) -> Tensor:
        """Return the prefix for each sequence, [B, N, D]: one tensor, expanded."""
        return self.vectors().expand(len(places_BN), -1, -1)


class PrefixNetwork(nn.Module):
    """Embedding -> Linear -> activation -> Linear, or with three linear layers.

    Source: Li and Liang, 2021, arXiv:2101.00190, section 4.3.
    """

    def __init__(self, *, length: int, width: int, hidden: int, layers: int, activation: str, values: int) -> None:
        """Draw the network from torch's global stream.

        Args:
            length: N.
            width: of the embedding of a place.
            hidden: H.
            layers: how many linear ones.
            activation: a name of ACTIVATIONS.
            values: D.
        """
        super().__init__()
        self.embedding = nn.Embedding(length, width)
        steps: list[nn.Module] = []
        for wide in [width] + [hidden] * (layers - 2):
            steps += [nn.Linear(wide, hidden), ACTIVATIONS[activation]()]
        self.transform = nn.Sequential(*steps, nn.Linear(hidden, values))
        self._first: Sequence[Tensor] = ()

    def vectors(self) -> Tensor:
        """Return the prefix [N, D]."""
        made: Tensor = self.transform(self.embedding.weight)
        return made

    def forward(self, places_BN: Tensor) -> Tensor:
        """Return the prefix for each sequence, [B, N, D]: computed once, expanded."""
        return self.vectors().expand(len(places_BN), -1, -1)

    def remember(self) -> None:
        """Keep a copy of the weights in place for `refit`, outside the state that is saved."""
        self._first = tuple(p.detach().clone() for p in self.parameters())

    @torch.no_grad()
    def refit(self, vectors_ND: Tensor) -> None:
        """Set the network to the remembered one with its last layer changed, as little as can be, to make these vectors.

        The change is the least-squares solution of least norm, in closed form and in float64. It is exact up to rounding where
        H >= N - 1 and the places' hidden states are independent, as at usual sizes. What was in place before has no influence.
        """
        for parameter, value in zip(self.parameters(), self._first, strict=True):
            parameter.copy_(value)
        hidden_NH = self.transform[:-1](self.embedding.weight).double()
        inputs_NI = torch.cat([hidden_NH, hidden_NH.new_ones(len(hidden_NH), 1)], dim=1)  # the last column for the bias
        missing_ND = vectors_ND.to(inputs_NI) - self.vectors().double()
        change_ID = torch.linalg.pinv(inputs_NI) @ missing_ND
        last = self.transform[-1]
        assert isinstance(last, nn.Linear)
        last.weight.copy_(last.weight.double() + change_ID[:-1].T)
        last.bias.copy_(last.bias.double() + change_ID[-1])
