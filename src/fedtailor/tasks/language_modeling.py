"""The task of continuing text: lines are joined and cut into blocks, and every token counts."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from ..errors import SettingError


@dataclass(frozen=True, kw_only=True)
class LanguageModeling:
    """Plain text in packed blocks."""

    kind: Literal["language-modeling"] = "language-modeling"
    block: int = 256  # tokens in one sequence
    stride: int | None = None  # tokens from one block to the next, at most block - 1, which is the default: each is counted once
    join: str = "\n"  # what ends each line (row) of the data

    required: ClassVar[tuple[str, ...]] = ("text",)
    optional: ClassVar[tuple[str, ...]] = ()
    backbone_kind: ClassVar[Literal["causal", "classifier"]] = "causal"
    metrics: ClassVar[tuple[str, ...]] = ("loss", "perplexity", "perplexity_word")
    default_metrics: ClassVar[tuple[str, ...]] = ("loss", "perplexity", "perplexity_word")

    def __post_init__(self) -> None:
        if isinstance(self.block, bool) or not isinstance(self.block, int) or self.block < 2:
            raise SettingError(f"block is a whole number of tokens, at least 2; got {self.block!r}")
        if self.stride is not None and (
            isinstance(self.stride, bool) or not isinstance(self.stride, int) or not 1 <= self.stride < self.block
        ):
            raise SettingError(f"stride is a whole number of tokens from 1 to block - 1 = {self.block - 1}; got {self.stride!r}")
        if not isinstance(self.join, str):
            raise SettingError(f"join is the text that ends each line, such as a line break; got {self.join!r}")
