"""A language model behind an OpenAI-compatible URL, which the one who asks has named in a file of his own, and no job.

The file is the one that the environment variable FEDTAILOR_ENDPOINT names on the machine that asks: a job that named a URL could send a client's
examples anywhere. Answers are kept beside the file, so that a resumed run asks nothing twice; redirects are not followed, as they would carry the key.
"""

import hashlib
import json
import math
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

from ..errors import RunError, SettingError
from ..printable import printable
from ..storage import write_text
from ..yaml_text import read_yaml_file

VARIABLE = "FEDTAILOR_ENDPOINT"
PAUSES_S = (1.0, 4.0)  # before a request is sent again
MOST_REPLY = 2**20  # bytes
AGAIN = (408, 409, 429, 500, 502, 503, 504)  # statuses after which the same request may be answered
CHAT = "/chat/completions"
PROBE = ("The sky is", " blue")  # whose likelihood is asked for, to see whether there are any
TIP = f"; see the file that {VARIABLE} names"

Read: TypeAlias = Callable[[bytes], tuple[str, str | None]]


class EndpointError(RunError):
    """An endpoint gave no answer that can be used."""


@dataclass(frozen=True, kw_only=True)
class EndpointFile:
    """What the file says."""

    url: str  # such as http://127.0.0.1:8000/v1; /chat/completions is added
    model: str
    key: str = ""  # the environment variable that holds the key; empty: none is sent
    calls: int = 200  # most requests of one process
    timeout_s: float = 60.0
    tokens: int = 300  # most that an answer has

    def __post_init__(self) -> None:
        if not self.url.startswith(("http://", "https://")):
            raise SettingError(f"url begins with http:// or https://; got {self.url!r}")
        if self.calls < 1 or not self.timeout_s > 0 or self.tokens < 1:
            raise SettingError("calls, timeout_s and tokens are numbers above 0")
        if self.key and self.key not in os.environ:
            raise SettingError(f"key names the environment variable {self.key!r}, which is not set; export it, or leave key out")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any, **more: Any) -> None:
        return None


@dataclass(kw_only=True)
class Endpoint:
    """Asks, within a budget of calls."""

    settings: EndpointFile
    cache: Path  # a folder
    sleep: Callable[[float], None] = time.sleep
    asked: int = field(init=False, default=0)

    def ask(self, messages: Sequence[Mapping[str, str]]) -> str:
        """Return the text that a chat is answered with.

        Raises:
            EndpointError: if the budget is spent, or the endpoint gives nothing that can be used, a few times.
        """
        given = self.settings
        body = {"model": given.model, "messages": list(messages), "temperature": 0, "max_tokens": given.tokens}
        return self.post(CHAT, body, _text)

    def likelihoods(self, prompts: Sequence[tuple[str, str]]) -> list[float]:
        """Return the log-likelihood of a text behind each prompt, in nats: of the tokens that begin in it.

        Raises:
            EndpointError: if the endpoint does not give likelihoods of what it reads (`echo` and `logprobs` of completions), or as in `ask`.
        """
        body = {
            "model": self.settings.model,
            "prompt": [before + text for before, text in prompts],
            "max_tokens": 1,  # some refuse 0; what it writes counts for nothing
            "echo": True,
            "logprobs": 1,
            "temperature": 0,
        }
        found = json.loads(self.post("/completions", body, lambda raw: _likelihoods(raw, prompts)))
        return [float(value) for value in found]

    @cached_property
    def gives_likelihoods(self) -> bool:
        """Whether a probe is answered with likelihoods of what is read; asked once in a process, and kept as all answers are."""
        try:
            self.likelihoods([PROBE])
        except EndpointError:
            return False
        return True

    def post(self, path: str, body: Mapping[str, Any], read: Read) -> str:
        """Return what `read` makes of the reply to a request, which is kept: the same request is sent once.

        Args:
            read: gives the text, or what is wrong with a reply; that begins with "again: " if another try may help.

        Raises:
            EndpointError: as in `ask`.
        """
        given, data = self.settings, json.dumps(body, sort_keys=True).encode()
        kept = self.cache / f"{hashlib.sha256(given.url.encode() + path.encode() * (path != CHAT) + data).hexdigest()}.txt"
        if kept.is_file():
            return kept.read_text(encoding="utf-8")
        for pause in (*PAUSES_S, None):
            text, fault = self._once(path, data, read)
            if fault is None:
                self.cache.mkdir(mode=0o700, parents=True, exist_ok=True)
                write_text(kept, text)
                return text
            if pause is None or not fault.startswith("again: "):
                raise EndpointError(f"the endpoint {given.url} {fault.removeprefix('again: ')}{TIP}")
            self.sleep(pause)
        raise AssertionError

    def _once(self, path: str, data: bytes, read: Read) -> tuple[str, str | None]:
        """Return the text, or what is wrong; that begins with "again: " if another try may help."""
        given = self.settings
        if self.asked >= given.calls:
            raise EndpointError(f"the endpoint was asked {self.asked} times, the most that calls: {given.calls} allows{TIP}")
        self.asked += 1
        headers = {"Content-Type": "application/json"} | (
            {"Authorization": f"Bearer {os.environ[given.key]}"} if given.key else {}
        )
        request = urllib.request.Request(f"{given.url.rstrip('/')}{path}", data=data, headers=headers, method="POST")
        try:
            with urllib.request.build_opener(_NoRedirect).open(request, timeout=given.timeout_s) as reply:
                raw = reply.read(MOST_REPLY + 1)
        except urllib.error.HTTPError as error:
            again = "again: " if error.code in AGAIN else ""
            return "", f"{again}answered with status {error.code}"
        except TimeoutError:
            return "", f"again: did not answer within {given.timeout_s:g} s"
        except (urllib.error.URLError, OSError, ValueError) as error:
            return "", f"again: cannot be reached ({printable(str(getattr(error, 'reason', error)))[:80]})"
        return ("", f"answered with more than {MOST_REPLY:,} bytes") if len(raw) > MOST_REPLY else read(raw)


def _text(raw: bytes) -> tuple[str, str | None]:
    try:
        text = json.loads(raw)["choices"][0]["message"]["content"]
    except (ValueError, KeyError, IndexError, TypeError, RecursionError):
        return "", f"answered with what is no chat completion: {printable(raw[:60].decode(errors='replace'))!r}"
    if not isinstance(text, str) or not text.strip():
        return "", "again: answered with an empty text"
    return text, None


def _likelihoods(raw: bytes, prompts: Sequence[tuple[str, str]]) -> tuple[str, str | None]:
    """Return the sums of the log-likelihoods of the texts' tokens, as JSON."""
    try:
        choices = sorted(json.loads(raw)["choices"], key=lambda one: one.get("index", 0))
        found = [
            sum(
                float(value)
                for value, at in zip(one["logprobs"]["token_logprobs"], one["logprobs"]["text_offset"], strict=True)
                if len(before) <= at < len(before) + len(text)
            )
            for one, (before, text) in zip(choices, prompts, strict=True)
        ]
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        return "", "gives no likelihoods of what it reads"
    if not all(math.isfinite(value) and value < 0 for value in found):  # 0: no token begins in the text
        return "", "gives no likelihoods of what it reads"
    return json.dumps(found), None


def own_endpoint() -> Endpoint | None:
    """Return the endpoint of this machine's owner; None if he names none.

    Raises:
        SettingError: if his file is missing, or holds something else.
    """
    if not (name := os.environ.get(VARIABLE)):
        return None
    path = Path(name).expanduser()
    raw = read_yaml_file(path, f"the file that {VARIABLE} names")
    known = {each.name: each.default for each in fields(EndpointFile)}
    if not isinstance(raw, Mapping) or (strange := [key for key in raw if key not in known]):
        found = f"the key {strange[0]!r}" if isinstance(raw, Mapping) else "no keys"
        raise SettingError(f"{path}: expected url and model, and {', '.join(list(known)[2:])} as one likes; found {found}")
    for key in ("url", "model"):
        if not isinstance(raw.get(key), str):
            raise SettingError(f"{path}: {key} is missing, or no text; write url: http://127.0.0.1:8000/v1 and model: its name")
    for key, kind in (("key", str), ("calls", int), ("timeout_s", (int, float)), ("tokens", int)):
        if key in raw and (not isinstance(raw[key], kind) or isinstance(raw[key], bool)):
            raise SettingError(f"{path}: {key} is {raw[key]!r}, of another type than {known[key]!r}")
    try:
        settings = EndpointFile(**raw)
    except SettingError as error:
        raise SettingError(f"{path}: {error}") from None
    return Endpoint(settings=settings, cache=path.with_name(f"{path.name}.answers"))
