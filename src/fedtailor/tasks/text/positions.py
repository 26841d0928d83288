"""How many tokens a model can look at together: measured where its positions are rows of a table, else as its settings say.

A table of positions shows in a short forward pass: its rows are read in rising order, one a token, from the first one that the family
uses (0 for GPT-2 and BERT, 2 for OPT and BART, padding + 1 for RoBERTa and its kin). Tables of relative positions look alike at
first, and are distinguished by a pass that is one token longer than they would allow. Where positions are rotations, which have no
end, the settings say what the model was trained for; relative positions have no limit.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

PROBE = 5  # tokens
UNLIMITED = 1 << 20
SETTINGS = ("max_position_embeddings", "n_positions", "n_ctx")  # of rotations
ALIBI = "max_seq_len"  # of MPT, whose slopes reach no further
WHICH = {
    "embedding": (0, 1),
    "gather": (0, 2),
    "index_select": (0, 2),
    "index": (0, 1),
}  # operation -> arguments: table, row numbers


def measure_context(model: nn.Module) -> int:
    """Return the most tokens of one example; UNLIMITED where nothing limits them."""
    config: Any = getattr(model, "config", None)
    if (most := _positive(config, ALIBI)) is not None:
        return most
    stated = next((value for name in SETTINGS if (value := _positive(config, name)) is not None), None)
    try:
        watch = _pass(model, PROBE)
        limits = sorted({rows - first: rows for rows, first in watch.tables if rows - first >= PROBE and rows > PROBE}.items())
        for limit, rows in limits:
            longer = _pass(model, limit + 1, beyond=rows)
            if longer.exceeded:
                return limit
            watch.turns |= longer.turns
    except Exception:  # a model that takes other inputs than tokens alone: its settings are all there is
        return stated or UNLIMITED
    return stated if stated is not None and watch.turns else UNLIMITED


def _positive(config: Any, name: str) -> int | None:
    value = getattr(config, name, None)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


class _Exceeded(Exception):
    """A row behind the last one of a table was asked for."""


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch has no types for it
    """Notes which rows of which tables a forward pass reads."""

    def __init__(self, tokens: int, beyond: int | None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.tokens, self.beyond = tokens, beyond
        self.tables: set[tuple[int, int]] = set()  # rows of a table, and the first one that is a position
        self.turns = False  # whether sines and cosines are computed
        self.exceeded = False

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        self.turns |= name in ("sin", "cos")
        if name in WHICH:
            self._look(name, args)
        return func(*args, **(kwargs or {}))

    def _look(self, name: str, args: tuple[Any, ...]) -> None:
        table, numbers = (args[place] for place in WHICH[name])
        axis = 0 if name in ("embedding", "index") else int(args[1])
        if name == "index":
            numbers = next((one for one in numbers if one is not None), None)
        if not isinstance(numbers, Tensor) or numbers.dtype not in (torch.int32, torch.int64) or not numbers.numel():
            return
        rows, last = int(table.shape[axis]), int(numbers.max())
        if rows == self.beyond and last >= rows:
            self.exceeded = True
            raise _Exceeded
        if self.beyond is None and len(set(numbers.flatten().tolist())) >= self.tokens and last - self.tokens + 1 >= 0:
            self.tables.add((rows, last - self.tokens + 1))


def _pass(model: nn.Module, tokens: int, *, beyond: int | None = None) -> _Watch:
    """Return what a forward pass over so many equal tokens reads, up to the moment at which it asks for a row behind a table of `beyond` rows."""
    config: Any = getattr(model, "config", None)
    device = next(model.parameters()).device
    reserved = {getattr(config, f"{name}_token_id", None) for name in ("pad", "eos", "bos", "sep", "cls", "unk")}
    ids_BL = torch.full((1, tokens), next(number for number in range(8) if number not in reserved), device=device)
    if getattr(config, "is_encoder_decoder", False) and isinstance(config.eos_token_id, int):
        ids_BL[0, -1] = config.eos_token_id  # where their classifiers read
    training = model.training
    model.eval()
    watch = _Watch(tokens, beyond)
    try:
        with torch.no_grad(), watch:
            model.forward(input_ids=ids_BL)  # past its hooks, which others count calls by
    except _Exceeded:
        pass
    finally:
        model.train(training)
    return watch
