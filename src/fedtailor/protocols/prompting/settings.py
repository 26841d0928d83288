"""Prompting: the server proposes prompts, clients score them on examples of their own; only prompts and sums of scores travel."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from ...errors import SettingError
from ...limits import Few
from ...pairs import Need
from ..usual_settings import UsualSettings, one_task
from .method import Method
from .search import Search


@dataclass(frozen=True, kw_only=True)
class Prompting(UsualSettings):
    """Prompts go down, sums of scores come up; no weight is trained."""

    needs: ClassVar[Sequence[Need]] = (
        one_task("a prompt is scored on one task"),
        Need(word="shares-as-sent", why="what clients score is added up as it is sent", remedy="leave it out"),
    )
    gives: ClassVar[Mapping[str, bool | str]] = {
        "training": "which trains no weight",
        "updates": False,
        "prompts": True,
    }
    usual: ClassVar[Mapping[str, str]] = {"tuning": "none"}
    reveals_one_of: ClassVar[Sequence[str]] = ("prompt-scores",)
    sums: ClassVar[Mapping[str, str]] = {"few": "scores of prompts"}
    kind: Literal["prompting"] = "prompting"
    method: Method = field(default_factory=Search)
    few: Few = 4  # least examples that a client's sum may be over; a client that has fewer scores nothing
    quorum: float = 0.5  # least share of the asked clients whose answers make a rung

    def __post_init__(self) -> None:
        if not 0 < self.quorum <= 1:
            raise SettingError(f"quorum is a share of the asked clients, in (0, 1]; got {self.quorum}")
        if self.few < 1:
            raise SettingError(f"few is a number of examples, at least 1; got {self.few}")
        name, fewest = self.method.fewest
        if fewest < self.few:
            raise SettingError(
                f"method.{name} is {fewest}, below few: {self.few}; a score would be over fewer examples than a sum may be"
            )

    @property
    def reveals(self) -> Collection[str]:
        """Sums of scores; critiques are left out where a site does not report them, and the search continues without."""
        return self.reveals_one_of

    def inlined(self, base: Path) -> Mapping[str, Any]:
        """Return the settings that name files of prompts, with what the files hold in their place."""
        return {f"method.{name}": value for name, value in self.method.inlined(base).items()}

    def for_sites(self, plain: Mapping[str, Any], *, sent: str) -> Mapping[str, Any]:
        """Return the settings without a pool: it is the server's, and its prompts come with the messages."""
        return {**plain, "method": {**plain["method"], **self.method.of_server}}
