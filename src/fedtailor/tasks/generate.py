"""Texts written by the model: batches of like length, left padding, a key-value cache, a stop at the end token."""

from dataclasses import dataclass

from ..errors import SettingError


@dataclass(frozen=True, kw_only=True)
class Decoding:
    """How texts are generated; written into the run's record, since figures depend on it."""

    beams: int = 1  # 1 is greedy
    max_new_tokens: int = 64
    length_penalty: float = 1.0  # exponent of the length that divides a beam's score; of no effect with one beam
    no_repeat_ngram: int = 0  # n-grams of this size come once in a text; 0 switches it off
    batch_size: int = 16  # prompts at a time

    def __post_init__(self) -> None:
        for name, least in (("beams", 1), ("max_new_tokens", 1), ("no_repeat_ngram", 0), ("batch_size", 1)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise SettingError(f"{name} is a whole number, at least {least}; got {value!r}")
        if isinstance(self.length_penalty, bool) or not isinstance(self.length_penalty, int | float):
            raise SettingError(f"length_penalty is a number; got {self.length_penalty!r}")
