"""What of a question goes to the clients: its text and vector, its vector alone, or its vector with noise.

Noise of d_X-privacy: Feyisetan et al., 2020, arXiv:1910.08902, section 2.6. Two questions at a distance of d give any noised vector with
probabilities whose ratio is at most e^(epsilon d); vectors have length 1, so d is at most 2. Difference: the noised vector is scaled to length 1,
as clients state cosines; whatever is computed from it alone says no more than it.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..errors import SettingError
from ..limits import Number
from ..privacy.noise import RandomBytes, distance_noise, system_bytes


@dataclass(frozen=True, kw_only=True)
class SentQuestion:
    """What clients get of a question."""

    kind: Literal["text", "vector", "noised"] = "text"  # text: with its vector
    epsilon: Number | None = None  # of noised: per unit of distance between vectors of length 1

    def __post_init__(self) -> None:
        if self.kind not in ("text", "vector", "noised"):
            raise SettingError(f"question.kind is text, vector or noised; got {self.kind!r}")
        if (self.epsilon is not None) != (self.kind == "noised"):
            raise SettingError(
                f"question.epsilon is the noise of kind: noised; got kind: {self.kind} and epsilon: {self.epsilon}; "
                "write question: {kind: noised, epsilon: 300}, for example"
            )
        if self.epsilon is not None and not self.epsilon > 0:
            raise SettingError(f"question.epsilon is above 0, and the smaller the more noise; got {self.epsilon}")

    @property
    def has_text(self) -> bool:
        """Whether clients read the question."""
        return self.kind == "text"

    def vectors(self, clean_QW: np.ndarray, source: RandomBytes = system_bytes) -> np.ndarray:
        """Return the vectors that go out, float32 [Q, W], of length 1."""
        if self.epsilon is None:
            return clean_QW
        noised_QW = clean_QW + distance_noise(len(clean_QW), clean_QW.shape[1], self.epsilon, source)
        return np.asarray(noised_QW / np.linalg.norm(noised_QW, axis=1, keepdims=True), dtype=np.float32)

    def check(self, *, score: str, share: str, shared_statistics: bool) -> None:
        """Raise SettingError unless clients can answer without the text, where they do not get it."""
        if self.has_text:
            return
        kept = f"question: {self.kind} keeps a question's text from the clients"
        if score != "dense":
            raise SettingError(f"{kept}, and score: {score} weighs its words there; choose score: dense, or question: text")
        if share not in ("passages", "scores"):
            raise SettingError(f"{kept}: it goes with share: passages or scores; got share: {share}")
        if shared_statistics:
            raise SettingError(f"{kept}, and shared_statistics counts its words there; leave one of them out")

    @property
    def says(self) -> str:
        """What clients learn of a question, in one line."""
        if self.has_text:
            return "its text and its vector go to each client that is asked"
        if self.epsilon is None:
            return "its vector goes out and its text does not; much of a text can be rebuilt from its vector (arXiv:2310.06816)"
        return (
            f"its vector goes out with noise, epsilon {self.epsilon:g} per unit of distance; rag evaluate shows recall and how many questions can "
            "still be identified by it"
        )


@dataclass(frozen=True, kw_only=True)
class Suspects:
    """All questions that somebody may have asked, by which a vector that went out is held against each."""

    vectors_QW: np.ndarray  # without noise

    def identifies(self, number: int, sent_W: np.ndarray) -> bool:
        """Return whether a vector that went out is nearest to the question that it stands for."""
        cosines_Q = self.vectors_QW @ sent_W
        return bool(cosines_Q[number] >= cosines_Q.max())
