"""Prompts for free text: scored by the likelihood of references, and written behind."""

from collections.abc import Sequence
from typing import Any

from ..models.likelihood import SharedStart
from .prompt import Prompt
from .score import Score, checked, head_ids, token_ids


class ReferenceReading:
    """A prompt that a model has read once: references are scored behind it for any number of texts, whoever owns them."""

    def __init__(self, model: Any, tokenizer: Any, prompt: Prompt) -> None:
        self.prompt, self._tokenizer, self._head = prompt, tokenizer, head_ids(tokenizer, prompt)
        self._start = SharedStart(model, self._head)

    @property
    def tokens(self) -> int:
        """Tokens that are computed once, however many texts are scored."""
        return len(self._head)

    def tokens_of(self, texts: Sequence[str]) -> int:
        """Return how many tokens are computed to score these texts, their references apart."""
        return sum(len(self._tail(text)) for text in texts)

    def score(self, examples: Sequence[tuple[str, str]], *, batch: int = 16) -> Score:
        """Return the sum over examples of the loss a token of the reference, in nats.

        Args:
            examples: text and reference.

        Raises:
            SettingError: if there is no example, no room in the context, or a loss is no finite number.
        """
        tails = [self._tail(text) for text, _ in examples]
        answers = [[token_ids(self._tokenizer, self.prompt.answer(reference))] for _, reference in examples]
        rows = self._start.log_likelihoods(tails, answers, batch=batch)
        return checked([-row[0] / len(each[0]) for row, each in zip(rows, answers, strict=True)], 0)

    def ids(self, text: str) -> list[int]:
        """Return the tokens that an answer is written behind."""
        return [*self._head, *self._tail(text)]

    def _tail(self, text: str) -> list[int]:
        return token_ids(self._tokenizer, self.prompt.tail(text))
