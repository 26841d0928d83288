"""The task of naming the class of a text."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from ..errors import SettingError


@dataclass(frozen=True, kw_only=True)
class Classification:
    """Text to one of several classes."""

    kind: Literal["classification"] = "classification"
    labels: Sequence[str] | str | None = None  # names in the order of their numbers; or a JSON or text file; None: from the data
    max_tokens: int = 128  # longer texts lose their end

    required: ClassVar[tuple[str, ...]] = ("text", "label")
    optional: ClassVar[tuple[str, ...]] = ()
    backbone_kind: ClassVar[Literal["causal", "classifier"]] = "classifier"
    metrics: ClassVar[tuple[str, ...]] = ("loss", "accuracy", "macro_f1")
    default_metrics: ClassVar[tuple[str, ...]] = ("loss", "accuracy", "macro_f1")

    def __post_init__(self) -> None:
        if isinstance(self.max_tokens, bool) or not isinstance(self.max_tokens, int) or self.max_tokens < 2:
            raise SettingError(f"max_tokens is a whole number of tokens, at least 2; got {self.max_tokens!r}")
        if self.labels is None or isinstance(self.labels, str):
            return
        names = tuple(str(name) for name in self.labels)
        if len(names) < 2 or len(set(names)) < len(names):
            raise SettingError(f"labels are at least two distinct names, or the path of a file of names; got {list(self.labels)!r}")
        object.__setattr__(self, "labels", names)
