"""What a model has read lately: each prompt once in a process, whichever client's texts are scored behind it."""

from collections.abc import Sequence
from typing import Any

from ..errors import SettingError
from .prompt import Prompt, prompt_from_json
from .references import ReferenceReading
from .score import Behind, Reading

MOST = 64  # prompts whose keys and values are kept, the newest: a rung has fewer candidates
MOST_BEHIND = 16  # clients whose texts' keys and values are kept, the newest


class PromptReader:
    """Reads prompts with one model whose weights stay as they are."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self._model, self._tokenizer = model, tokenizer
        self._read: dict[tuple[Prompt, bool], Reading] = {}
        self._references: dict[Prompt, ReferenceReading] = {}
        self._behind: dict[tuple[Prompt, bool, tuple[tuple[str, str], ...]], Behind] = {}

    def read(self, prompt: Prompt, *, calibrate: bool) -> Reading:
        """Return the prompt as the model has read it; it is read once, as long as it is among the newest."""
        key = (prompt, calibrate)
        found = self._read.pop(key, None) or Reading(self._model, self._tokenizer, prompt, calibrate=calibrate)
        self._read[key] = found  # the newest is the last
        if len(self._read) > MOST:
            del self._read[next(iter(self._read))]
        return found

    def references(self, prompt: Prompt) -> ReferenceReading:
        """Return a prompt for free text as the model has read it, as `read` does."""
        found = self._references.pop(prompt, None) or ReferenceReading(self._model, self._tokenizer, prompt)
        self._references[prompt] = found
        if len(self._references) > MOST:
            del self._references[next(iter(self._references))]
        return found

    def behind(self, prompt: Prompt, examples: Sequence[tuple[str, str]], *, calibrate: bool, batch: int) -> Behind:
        """Return texts as the model has read them behind a prompt, to be scored with one soft prompt after another."""
        key = (prompt, calibrate, tuple(examples))
        found = self._behind.pop(key, None) or self.read(prompt, calibrate=calibrate).behind(examples, batch=batch)
        self._behind[key] = found
        if len(self._behind) > MOST_BEHIND:
            del self._behind[next(iter(self._behind))]
        return found

    def in_place(self, text: str, labels: Sequence[str], *, calibrate: bool) -> Reading:
        """Return the prompt of a file `prompt.json` as the model has read it; an empty text stands for labels alone.

        Raises:
            SettingError: if the text is no such file, or for other labels.
        """
        prompt = prompt_from_json(text) if text else Prompt(instruction="", labels=tuple(labels))
        if prompt.labels != tuple(labels):
            raise SettingError(
                f"the prompt is for the labels {', '.join(prompt.labels[:5])}, and the task has {', '.join(labels[:5])}; use the labels that it was "
                "found with"
            )
        return self.read(prompt, calibrate=calibrate)
