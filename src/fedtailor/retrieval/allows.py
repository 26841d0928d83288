"""What a client allows, by a file of its own, and its log of what it was asked."""

import json
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

from ..errors import ClientError, SettingError
from ..storage import writing
from ..yaml_text import read_yaml_file
from .share import ANY, LETS_OUT, check_share

FILE, LOG = "allows.yaml", "queries.jsonl"
MINUTE_S, DAY_S = 60.0, 86_400.0


@dataclass(frozen=True, kw_only=True)
class Allows:
    """What a client allows: on one machine, where its file says nothing else, whatever is asked for."""

    share: str = ANY  # the most that may leave: scores, answers, snippets, passages; or embeddings; or any
    per_minute: int | None = None  # questions; null: any number
    per_day: int | None = None

    def __post_init__(self) -> None:
        check_share(self.share, known=(*LETS_OUT, ANY))
        for name in ("per_minute", "per_day"):
            most = getattr(self, name)
            if most is not None and (not isinstance(most, int) or isinstance(most, bool) or most < 0):
                raise SettingError(f"{name} is a number of questions, or null for any number; got {most!r}")


def read_allows(folder: Path, otherwise: Allows | None = None) -> Allows:
    """Return what a client's own file allows, or the default if there is none: anything, or `otherwise`.

    Raises:
        SettingError: if the file says what is not known.
    """
    file = folder / FILE
    if not file.is_file():
        return otherwise or Allows()
    content = read_yaml_file(file, "what a client allows", tip="write share: scores, for example")
    known = [each.name for each in fields(Allows)]
    if not isinstance(content, Mapping):
        raise SettingError(f"{file} is a mapping of {', '.join(known)}, such as share: scores; got {str(content)[:60]!r}")
    if strange := [name for name in content if name not in known]:
        raise SettingError(f"{file}: {strange[0]!r} is not known here; known are {', '.join(known)}, such as share: scores")
    try:
        return replace(otherwise or Allows(), **content)
    except SettingError as fault:
        raise SettingError(f"{file}: {fault}") from None


@dataclass(kw_only=True)
class QueryLog:
    """Counts questions against a client's limits, and writes each down in its own folder; nothing of it is sent."""

    allows: Allows
    file: Path | None = None
    now: Callable[[], float] = time.time
    _times: deque[float] = field(default_factory=deque)

    def __post_init__(self) -> None:
        if self.file is not None and self.file.is_file():  # limits hold over restarts
            for line in self.file.read_text(encoding="utf-8").splitlines():
                try:
                    content = json.loads(line)
                    self._times.extend([float(content["time"])] * len(content["questions"]))
                except (ValueError, KeyError, TypeError):
                    continue  # a line that a kill left incomplete

    def take(self, questions: Sequence[str]) -> None:
        """Write questions down before they are answered.

        Raises:
            ClientError: if there are more than the client allows.
        """
        moment = self.now()
        while self._times and self._times[0] <= moment - DAY_S:
            self._times.popleft()
        for most, span, name in ((self.allows.per_minute, MINUTE_S, "minute"), (self.allows.per_day, DAY_S, "day")):
            count = sum(at > moment - span for at in self._times) + len(questions)
            if most is not None and count > most:
                raise ClientError(
                    f"{count} questions within a {name} are more than the {most} that this client allows; ask later"
                )
        self._times.extend([moment] * len(questions))
        if self.file is not None:
            line = json.dumps({"time": moment, "questions": list(questions)}, ensure_ascii=False)
            with writing(self.file.parent), self.file.open("a", encoding="utf-8") as log:
                log.write(line + "\n")
