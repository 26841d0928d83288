"""What a model does with texts, found by forward passes when it is loaded rather than guessed from its name."""

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext, suppress
from functools import partial
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

from ..causes import detail_of
from ..errors import BackboneError
from .pooling import mean_over_tokens
from .quiet import quiet_transformers

# B rows, L tokens of the longest, V vocabulary or classes

Side: TypeAlias = Literal["right", "left"]
Row: TypeAlias = tuple[int, ...]

SHORT, LONG = 2, 6  # tokens of the row that is padded, and of the longest one
LETTERS = "a b c d e f g h i j k l m n o p q r s t u v w x y z"
TEXTS = ((2, 6), (6, 13))  # letters of the texts that classifiers are tried with
SAME = 1e-4  # of the largest logit: more than rounding changes in float32; padding that is seen changes 1e-3 to 1
CHANGED = 0.1  # in a coarser precision: surely more than rounding changes, where a row stands in a batch of another form
LATER = 2e-3  # the same, where two rows stand in one batch: mostly no bit differs
MOST_AGAIN = 50_000_000  # weights of a model that is computed once more in float32, to know a change from rounding


def find_padding(model: nn.Module, tokenizer: Any, *, causal: bool, what: str) -> Literal["right", "left", "none"]:
    """Return where the model bears padding, so that a row gives the same alone and in a batch; "none": nowhere.

    Two forward passes of a few tokens where padding on the right is fine: 0.2 s with 135 M weights on one core.

    Args:
        causal: whether it is to be a language model, which never looks at tokens that come later.
        what: names the model in errors.

    Raises:
        BackboneError: if a forward pass fails or gives numbers that are not finite, a language model looks at later tokens, or the result
            of a row depends on the rows beside it.
    """
    inner: Any = model
    if "attention_mask" not in inspect.signature(inner.forward).parameters:
        raise BackboneError(
            f"{what} (a {type(model).__name__}) takes no attention_mask, so batches of texts of unequal length cannot be passed to it; choose a "
            "backbone like Llama, GPT-2 or BERT"
        )
    fault: Exception | None = None
    trials = [_rows_of_tokens(model, tokenizer)] if causal else [_rows_of_texts(model, tokenizer, words) for words in TEXTS]
    for rows in filter(None, trials):
        try:
            with torch.inference_mode(), torch.random.fork_rng(devices=[]), quiet_transformers():
                return _Probe(model, tokenizer.pad_token_id, rows, causal).padding(what)
        except BackboneError:
            raise
        except Exception as raised:  # whatever a model's code raises; a pooling over several tokens may need a longer text
            fault = fault or raised
    if fault is None:
        return "right"  # a context of hardly a token
    precision = str(next(model.parameters()).dtype).removeprefix("torch.")
    raise BackboneError(
        f"{what} (a {type(model).__name__}) cannot read a short text in {precision} ({detail_of(fault)}); check its files, set precision: float32, or "
        "choose a backbone like Llama, GPT-2 or BERT"
    ) from fault


class _Probe:
    """Compares what a model gives for one row alone and among others."""

    def __init__(self, model: nn.Module, pad_id: int, rows: tuple[Row, Row, Row], causal: bool) -> None:
        """Take the model and three rows: a short one and two long ones."""
        self._model, self._pad_id, self._causal = model, pad_id, causal
        self._short, self._long, self._other = rows
        self._known: dict[tuple[object, ...], Tensor] = {}  # results of passes
        self._float32 = next(model.parameters()).dtype == torch.float32

    def padding(self, what: str) -> Literal["right", "left", "none"]:
        """Return the side, or raise BackboneError; see `find_padding`."""
        name = type(self._model).__name__
        if not bool(self._alone(exact=False).isfinite().all()):
            raise BackboneError(
                f"{what} (a {name}) gives numbers that are not finite for a short text: its weights are damaged, or the precision is too coarse for "
                "it; get its files again, or set precision: float32"
            )
        if self._causal and self._changes(self._by_later_tokens, LATER):
            raise BackboneError(
                f"{what} (a {name}) is no language model: a later token changes what it gives at earlier ones, so it would see the answers that "
                "it is to learn (BERT and its like do, unless trained with is_decoder: true); name a model that was trained to generate, "
                "such as smollm2-135m, or set task.kind: classification"
            )
        sides: tuple[Side, ...] = ("right",) if self._causal else ("right", "left")
        for side in sides:
            if not self._changes(partial(self._by_padding, side), CHANGED):
                return side
        if self._changes(self._by_neighbours, CHANGED):
            raise BackboneError(
                f"{what} (a {name}) gives a text another result when another text stands beside it in the batch, so what one example gives "
                "depends on the others; choose a backbone like Llama, GPT-2 or BERT"
            )
        return "none"

    def _changes(self, difference: Callable[[bool], float], coarse: float) -> bool:
        """Return whether a difference is more than rounding; where the precision leaves that open, it is found once more in float32."""
        found = difference(False)
        if self._float32 or found <= SAME:
            return found > SAME
        if found <= CHANGED and _fits_again(self._model):
            with suppress(Exception):  # of code that keeps to the dtype of its weights
                return difference(True) > SAME
        return found > coarse

    def _by_later_tokens(self, exact: bool) -> float:
        batch = self._batch("right", exact)
        return _apart(batch[2][: len(self._short)], batch[1][: len(self._short)])

    def _by_padding(self, side: Side, exact: bool) -> float:
        row = self._batch(side, exact)[0]
        if self._causal:
            row = row[: len(self._short)]
        return _apart(row, self._alone(exact))

    def _by_neighbours(self, exact: bool) -> float:
        return _apart(self._run((self._short, self._long[: len(self._short)]), "right", exact)[0], self._alone(exact))

    def _alone(self, exact: bool) -> Tensor:
        return self._run((self._short,), "right", exact)[0]

    def _batch(self, side: Side, exact: bool) -> Tensor:
        changed = self._long[: len(self._short)] + self._other[len(self._short) : len(self._long)]
        return self._run((self._short, self._long, changed if self._causal else self._other), side, exact)

    def _run(self, rows: tuple[Row, ...], side: Side, exact: bool) -> Tensor:
        """Return the float32 logits [B, L, V], of a classifier [B, V], or vectors [B, H] where there is no head, of one forward pass as training makes it."""
        key = (rows, side, exact)
        if key not in self._known:
            ids_BL, mask_BL = _padded(rows, self._pad_id, side)
            device = next(self._model.parameters()).device
            whole = bool(mask_BL.all())
            given: dict[str, Any] = {"input_ids": ids_BL.to(device), "attention_mask": None if whole else mask_BL.to(device)}
            if self._causal:
                given["use_cache"] = False
            if exact:
                tensors = {name: value.float() for name, value in _floating(self._model)}
                output: Any = torch.func.functional_call(self._model, tensors, (), given)
            else:
                coarse = nullcontext() if self._float32 else torch.autocast(device.type, dtype=torch.bfloat16)
                with coarse:
                    output = self._model(**given)
            found = output.get("logits")
            self._known[key] = _mean_of(output, mask_BL.to(device)) if found is None else found.float()
        return self._known[key]


def _mean_of(output: Any, mask_BL: Tensor) -> Tensor:
    """Return the mean over tokens [B, H] of what a model gives each: hidden states, or the two logits of a reader."""
    marks = [output[name] for name in ("start_logits", "end_logits") if name in output]
    return mean_over_tokens(torch.stack(marks, dim=-1) if marks else output.last_hidden_state, mask_BL)


def _apart(found: Tensor, wanted: Tensor) -> float:
    """Return the largest difference as a share of the largest number that is wanted."""
    difference, scale = float((found - wanted).abs().max()), float(wanted.abs().max())
    return difference / scale if scale else difference


def _padded(rows: Sequence[Row], pad_id: int, side: Side) -> tuple[Tensor, Tensor]:
    longest = max(map(len, rows))
    ids_BL, mask_BL = (torch.full((len(rows), longest), value, dtype=torch.int64) for value in (pad_id, 0))
    for row, tokens in enumerate(rows):
        place = slice(0, len(tokens)) if side == "right" else slice(longest - len(tokens), longest)
        ids_BL[row, place], mask_BL[row, place] = torch.tensor(tokens), 1
    return ids_BL, mask_BL


def _rows_of_tokens(model: nn.Module, tokenizer: Any) -> tuple[Row, Row, Row] | None:
    """Return three rows of ordinary tokens from all over the vocabulary."""
    inner: Any = model
    count = inner.get_input_embeddings().weight.shape[0]
    special = {tokenizer.pad_token_id, *getattr(tokenizer, "all_special_ids", ())}
    usual = [token for token in range(0, count, max(1, count // 64)) if token not in special]
    longest = min(LONG, _context(model))
    if len(usual) < 2 or longest <= SHORT:
        return None
    one, two = (tuple(usual[(start + step * n) % len(usual)] for n in range(longest)) for start, step in ((1, 3), (2, 5)))
    return two[:SHORT], one, two  # the short one begins otherwise than its neighbours


def _rows_of_texts(model: nn.Module, tokenizer: Any, words: tuple[int, int]) -> tuple[Row, Row, Row] | None:
    """Return three rows as the tokenizer writes texts, with its own marks, which the heads of classifiers look for."""
    few, many = words
    texts = (LETTERS[: 2 * few - 1], LETTERS[: 2 * many - 1], LETTERS[-2 * many + 1 :])
    short, other, long = (tuple(tokenizer(text)["input_ids"]) for text in texts)
    if not 0 < len(short) < min(len(long), len(other)) or max(len(long), len(other)) > _context(model):
        return None
    return short, long, other


def _context(model: nn.Module) -> int:
    settings: Any = getattr(model, "config", None)
    context = getattr(settings, "max_position_embeddings", None)
    return context if isinstance(context, int) and context > 0 else 1 << 20


def _floating(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    for named in (model.named_parameters(), model.named_buffers()):
        yield from ((name, value) for name, value in named if value.is_floating_point())


def _fits_again(model: nn.Module) -> bool:
    """Return whether a copy in float32 can and may be made: of packed weights it cannot."""
    parameters = list(model.parameters())
    return all(p.is_floating_point() for p in parameters) and sum(p.numel() for p in parameters) <= MOST_AGAIN
