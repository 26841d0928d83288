"""What a service answers requests with: questions as JSON in, answers with their sources out, one at a time."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from ..errors import FedtailorError, SettingError
from .answered import record
from .collection import ask
from .federated import Federation
from .readers import Reader

MODEL = "fedtailor-retrieval"  # the name that a chat window gets


class BadRequest(SettingError):
    """A request that cannot be answered; its text is one line."""


@dataclass(kw_only=True)
class Service:
    """Asks clients, one question after another: what they are known by is changed by each."""

    federation: Federation
    top_k: int
    reader: Reader
    answered: int = 0
    _turn: Lock = field(default_factory=Lock)

    def answer(self, path: str, body: object) -> dict[str, Any] | list[dict[str, Any]]:
        """Return the answer to what was posted to a path; of a chat that is to be streamed, its parts.

        Raises:
            BadRequest: if it is no question.
            FedtailorError: if it cannot be answered.
        """
        if not isinstance(body, Mapping):
            raise BadRequest(f"the body is a JSON {type(body).__name__}; send an object")
        if path == "/ask":
            return self._asked(self._text(body.get("question"), "question"), body.get("top_k"))
        found = self._chat(body)
        return _streamed(found) if body.get("stream") else found

    def _asked(self, question: str, top_k: object) -> dict[str, Any]:
        most = self.top_k if top_k is None else top_k
        if isinstance(most, bool) or not isinstance(most, int):
            raise BadRequest(f"top_k is a whole number; got {most!r}"[:200])
        began = time.perf_counter()
        with self._turn:
            waited = time.perf_counter() - began
            (found,) = ask(self.federation, question, top_k=most, reader=self.reader)
            self.answered += 1
        return {
            **record(found),
            "share": self.federation.share,
            "seconds": time.perf_counter() - began - waited,
            "waited": waited,
        }

    def _chat(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return an answer in the form of an OpenAI-compatible chat completion: the last message of the user is the question."""
        messages = body.get("messages")
        if not isinstance(messages, list) or not all(isinstance(one, Mapping) for one in messages):
            raise BadRequest("messages is a list of objects with role and content")
        said = [one.get("content") for one in messages if one.get("role") == "user"]
        if not said:
            raise BadRequest("no message has the role user; its content is the question")
        found = self._asked(self._text(_joined(said[-1]), "content"), None)
        message = {"role": "assistant", "content": found["answer"] or "(nothing was found)"}
        return {
            "id": f"ask-{self.answered}",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": MODEL,
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
            **{name: found[name] for name in ("sources", "supported", "cited", "asked", "notes", "share", "seconds")},
        }

    def _text(self, value: object, name: str) -> str:
        if not isinstance(value, str):
            raise BadRequest(f"{name} is a text; got {'nothing' if value is None else type(value).__name__}")
        return value


def _joined(content: object) -> object:
    """Return the content of a message as one text, where it came as a list of parts that are texts."""
    if not isinstance(content, list):
        return content
    parts = [one.get("text") if isinstance(one, Mapping) and one.get("type") == "text" else None for one in content]
    if not parts or not all(isinstance(one, str) for one in parts):
        raise BadRequest("content is a text, or a list of parts of the type text; pictures and files cannot be asked about")
    return "\n".join(str(one) for one in parts)


def _streamed(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a chat completion as the events of a stream: all of the text, with its sources, and the end."""
    shared = {**{name: found[name] for name in ("id", "created", "model")}, "object": "chat.completion.chunk"}
    more = {name: value for name, value in found.items() if name not in ("id", "created", "model", "object", "choices", "usage")}

    def choice(delta: Mapping[str, Any], reason: str | None) -> dict[str, Any]:
        return {"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}

    return [{**shared, **choice(found["choices"][0]["message"], None), **more}, {**shared, **choice({}, "stop")}]


def models() -> dict[str, Any]:
    """Return the list of models that a chat window asks for."""
    return {"object": "list", "data": [{"id": MODEL, "object": "model", "owned_by": "fedtailor"}]}


def message_of(fault: FedtailorError) -> str:
    """Return a fault in one line."""
    return " ".join(str(fault).split())
