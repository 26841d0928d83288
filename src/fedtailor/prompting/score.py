"""Scores of a prompt on texts: calibrated label likelihood for classes, loss of the reference for free text.

Calibration takes from each label's log-likelihood its mean over three texts that say nothing. Source: Zhao et al., 2021,
arXiv:2102.09690 (contextual calibration); Holtzman et al., 2021, arXiv:2104.08315 (domain-conditional PMI). Difference: the mean of
log-likelihoods is subtracted, where the former divides by the mean of probabilities.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..errors import SettingError
from ..models.likelihood import ReadTexts, SharedStart
from .prompt import Prompt
from .vectors import vectors_of

NEUTRAL = ("N/A", "...", "hello")


@dataclass(frozen=True, kw_only=True)
class Score:
    """Sums over examples; scores of several clients add up."""

    loss_sum: float  # nats: an example's cross-entropy over labels, or its reference's negative log-likelihood a token
    right: int  # examples whose label was the most likely; 0 for free text
    examples: int

    @property
    def loss(self) -> float:
        """Return the mean loss of an example."""
        return self.loss_sum / self.examples


def score_labels(
    model: Any, tokenizer: Any, prompt: Prompt, examples: Sequence[tuple[str, str]], *, calibrate: bool = True, batch: int = 16
) -> Score:
    """Return how well a prompt's labels fit texts.

    Args:
        model: a causal model in evaluation mode.
        examples: text and label; every label is one of the prompt's.

    Raises:
        SettingError: if there are fewer than two labels, labels of the same tokens, an unknown label, no example, or no room in the context.
    """
    return Reading(model, tokenizer, prompt, calibrate=calibrate).score(examples, batch=batch)


class Reading:
    """A prompt that a model has read once: labels are scored behind it for any number of texts, whoever owns them."""

    def __init__(self, model: Any, tokenizer: Any, prompt: Prompt, *, calibrate: bool = True) -> None:
        """Read the prompt; with `calibrate` also the texts that say nothing, by themselves, so that scores depend on no other text.

        Raises:
            SettingError: if there are fewer than two labels, labels of the same tokens, or no room in the context.
        """
        if len(prompt.labels) < 2:
            raise SettingError(f"prompts for classes need at least two labels; found {list(prompt.labels)}.")
        self.prompt, self._tokenizer = prompt, tokenizer
        self._answers = [token_ids(tokenizer, prompt.answer(label)) for label in prompt.labels]
        if len({tuple(ids) for ids in self._answers}) < len(self._answers):
            raise SettingError("two labels have the same tokens; give each class a name of its own.")
        head = head_ids(tokenizer, prompt)
        self._start = SharedStart(model, head)
        self._vectors = vectors_of(prompt.vectors, model.get_input_embeddings().embedding_dim)
        self._neutral = NEUTRAL if calibrate else ()
        self.tokens = len(head) + self.tokens_of(self._neutral)  # computed once, however many texts are scored
        known = self._rows(self._neutral, len(NEUTRAL))
        self._offsets = [sum(column) / len(known) for column in zip(*known, strict=True)] if known else [0.0] * len(self._answers)

    def scores(self, texts: Sequence[str], *, batch: int = 16) -> list[list[float]]:
        """Return, for each text, one score a label, in nats: the higher, the likelier."""
        return [[value - offset for value, offset in zip(row, self._offsets, strict=True)] for row in self._rows(texts, batch)]

    def score(self, examples: Sequence[tuple[str, str]], *, batch: int = 16) -> Score:
        """Return how well the labels fit texts; see `score_labels`."""
        gold = [label for _, label in examples]
        _ = [_number(self.prompt.labels, label) for label in gold]  # named before anything is computed
        return checked_score(self.prompt.labels, self.scores([text for text, _ in examples], batch=batch), gold)

    def behind(self, examples: Sequence[tuple[str, str]], *, batch: int = 16) -> "Behind":
        """Return texts read once, to be scored with one soft prompt after another in the place of the prompt's own."""
        return Behind(
            read=tuple(self._behind([text for text, _ in examples], batch)),
            neutral=tuple(self._behind(self._neutral, len(NEUTRAL))),
            answers=self._answers,
            gold=[_number(self.prompt.labels, label) for _, label in examples],
        )

    def tokens_of(self, texts: Sequence[str]) -> int:
        """Return how many tokens are computed to score these texts."""
        tails = sum(len(token_ids(self._tokenizer, self.prompt.tail(text))) for text in texts)
        return tails + len(texts) * (len(self._vectors) + sum(map(len, self._answers)))

    def _rows(self, texts: Sequence[str], batch: int) -> list[list[float]]:
        if len(self._vectors):
            read = self._behind(texts, batch)
            with torch.inference_mode():
                return [row for each in read for row in each.log_likelihoods(self._vectors, self._answers).tolist()]
        return self._start.log_likelihoods(self._tails(texts), [self._answers] * len(texts), batch=batch)

    def _behind(self, texts: Sequence[str], batch: int) -> list[ReadTexts]:
        tails = self._tails(texts)
        return [self._start.behind(tails[begin : begin + batch]) for begin in range(0, len(tails), batch)]

    def _tails(self, texts: Sequence[str]) -> list[list[int]]:
        return [token_ids(self._tokenizer, self.prompt.tail(text)) for text in texts]


@dataclass(frozen=True, kw_only=True)
class Behind:
    """Texts that a model has read once, behind which soft prompts are scored."""

    read: Sequence[ReadTexts]
    neutral: Sequence[ReadTexts]  # texts that say nothing; empty: scores are not calibrated
    answers: Sequence[Sequence[int]]
    gold: Sequence[int]  # number of each text's label

    def losses(self, vectors_PD: Tensor) -> tuple[Tensor, Tensor]:
        """Return each text's cross-entropy over labels [N], in nats, and whether its label is the likeliest; gradients reach the vectors."""
        scores_NA = torch.cat([each.log_likelihoods(vectors_PD, self.answers) for each in self.read])
        for each in self.neutral:
            scores_NA = scores_NA - each.log_likelihoods(vectors_PD, self.answers).mean(0)
        gold_N = torch.tensor(self.gold, device=scores_NA.device)
        return torch.nn.functional.cross_entropy(scores_NA, gold_N, reduction="none"), scores_NA.argmax(1) == gold_N

    def score(self, vectors_PD: Tensor) -> Score:
        """Return how well the labels fit the texts behind these vectors.

        Raises:
            SettingError: if there is no text, or a loss is no finite number.
        """
        with torch.inference_mode():
            losses_N, right_N = self.losses(vectors_PD)
        return checked(losses_N.tolist(), int(right_N.sum()))


def head_ids(tokenizer: Any, prompt: Prompt) -> list[int]:
    """Return the tokens of what stands before every text, begun as the tokenizer begins every text."""
    start = tokenizer.bos_token_id
    begins = start is not None and tokenizer("")["input_ids"][:1] == [start]
    return ([start] if begins else []) + token_ids(tokenizer, prompt.head())


def token_ids(tokenizer: Any, text: str) -> list[int]:
    """Return the tokens of a text without the tokenizer's own marks."""
    return list(tokenizer(text, add_special_tokens=False)["input_ids"]) if text else []


def checked_score(labels: Sequence[str], rows: Sequence[Sequence[float]], gold: Sequence[str]) -> Score:
    """Return how well scores of labels, a row a text, fit the right ones.

    Raises:
        SettingError: if a right label is unknown, there is no text, or a loss is no finite number.
    """
    right = [_number(labels, label) for label in gold]
    losses = [log_sum(row) - row[at] for row, at in zip(rows, right, strict=True)]
    return checked(losses, sum(row.index(max(row)) == at for row, at in zip(rows, right, strict=True)))


def _number(labels: Sequence[str], label: str) -> int:
    if label not in labels:
        raise SettingError(f"an example has the label {label[:60]!r}; the prompt's labels are {', '.join(labels[:10])}.")
    return labels.index(label)


def log_sum(row: Sequence[float]) -> float:
    """Return the logarithm of the sum of exponentials."""
    most = max(row)
    return most + math.log(sum(math.exp(value - most) for value in row))


def checked(losses: Sequence[float], right: int) -> Score:
    """Return losses and hits as a score.

    Raises:
        SettingError: if there is none, or one is no finite number.
    """
    if not losses:
        raise SettingError("there is no example to score a prompt on.")
    if not all(map(math.isfinite, losses)):
        raise SettingError("a loss is no finite number: the backbone gives NaN or infinity; try precision: float32.")
    return Score(loss_sum=math.fsum(losses), right=right, examples=len(losses))
