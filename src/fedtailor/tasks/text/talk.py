"""Conversations as data hold them: turns with their roles, the answer, tools and calls of tools."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, TypeAlias

from ...errors import DataError
from ...records import TOOLS, Example
from ...text_files import once_each
from .tokenization import text_of

Turn: TypeAlias = Mapping[str, Any]
THOUGHTS = (
    "reasoning_content",
    "thinking",
    "reasoning",
)  # what data call what is thought before an answer; transformers gives templates the first
WEIGHT = "weight"  # of a turn, in OpenAI's files: 1 where it is trained, 0 where it is not


@dataclass(frozen=True, kw_only=True)
class Talk:
    """One conversation: what was said before the answer, the answer, and the tools that may be called."""

    id: str
    before: Sequence[Turn]
    answer: Turn
    tools: Sequence[Turn] | None = None

    @property
    def calls(self) -> bool:
        """Whether a tool is called in it."""
        return any(called_in(turn) for turn in (*self.before, self.answer))


def called_in(turn: Turn) -> str:
    """Return the field of a turn that calls tools: tool_calls, or the one of older data; empty if it calls none."""
    return next((name for name in ("tool_calls", "function_call") if turn.get(name)), "")


def thought_in(turn: Turn) -> str:
    """Return the field of a turn that holds what was thought before it; empty if there is none."""
    return next((name for name in THOUGHTS if turn.get(name)), "")


def without_thought(turn: Turn) -> Turn:
    """Return a turn without what was thought before it."""
    return {name: value for name, value in turn.items() if name not in THOUGHTS}


def talk_of(example: Example) -> Talk:
    """Return the conversation that an example was read from; else its input is the user's turn, or already a list of turns.

    Raises:
        DataError: if its tools, or the arguments of a call, are in no form that is known, or weights ask for other training than that of the last turn.
    """
    given, messages = example.fields.get("input"), example.fields.get("messages")
    answer: Turn = {"role": "assistant", "content": text_of(example, "target")}
    if isinstance(given, list | tuple):
        return Talk(id=example.id, before=[_present(turn) for turn in given], answer=answer)
    asked = text_of(example, "input")
    if isinstance(messages, list) and len(messages) > 1 and all(isinstance(turn, Mapping) for turn in messages):
        *before, last = (_present(turn) for turn in messages)
        if _is_of(before, last, asked, answer["content"]):  # a column of this name may also stand unused beside input and target
            _check_weights(example, [turn.pop(WEIGHT, None) for turn in (*before, last)])
            return Talk(id=example.id, before=before, answer=last, tools=_tools(example))
    return Talk(id=example.id, before=[{"role": "user", "content": asked}], answer=answer)


def needs_chat(example: Example) -> bool:
    """Return whether an example has tools, calls or thoughts before its answer, which only a chat template can write."""
    if "messages" not in example.fields:
        return False
    talk = talk_of(example)
    return talk.calls or bool(talk.tools) or bool(thought_in(talk.answer))


def forms_of(talk: Talk) -> list[Talk]:
    """Return the conversation in the forms that templates take, the commonest first.

    Arguments of calls are mappings or JSON texts (OpenAI's data have these, and servers read them before a template sees them); the
    content of a turn that only calls is absent or empty.
    """
    if not talk.calls:
        return [talk]
    changes: list[tuple[Callable[[Any], Any], bool]] = list(product((_read, _dumped), (False, True)))
    return [
        Talk(
            id=talk.id,
            before=[_with_arguments(turn, change, filled) for turn in talk.before],
            answer=_with_arguments(talk.answer, change, filled),
            tools=talk.tools,
        )
        for change, filled in changes
    ]


def has_answer(answer: Turn) -> bool:
    """Return whether an answer holds anything; that of `try` is empty."""
    return any(value for name, value in answer.items() if name != "role")


def _is_of(before: Sequence[Turn], answer: Turn, asked: str, target: str) -> bool:
    content = str(answer.get("content", ""))
    fits = target.startswith(content) if answer.get("tool_calls") else target == content
    return fits and all(str(turn.get("content", "")) in asked for turn in before)


def _present(turn: Turn) -> dict[str, Any]:
    """Return what a turn holds: files of columns (Parquet) fill in nulls for what other turns have; so do `content` and calls."""
    return {name: _without_nulls(value) if name == "tool_calls" else value for name, value in turn.items() if value is not None}


def _without_nulls(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _without_nulls(one) for name, one in value.items() if one is not None}
    return [_without_nulls(one) for one in value] if isinstance(value, list | tuple) else value


def _check_weights(example: Example, weights: Sequence[Any]) -> None:
    """Raise DataError unless the weights of a conversation's turns, None where there is none, say what is done: the last turn alone is trained."""
    for number, weight in enumerate(weights, start=1):
        last = number == len(weights)
        if weight is not None and (isinstance(weight, bool) or weight != int(last)):
            raise DataError(
                f"example {example.id} has weight: {weight!r} at message {number} of {len(weights)}; the last message alone is trained, with weight 1, "
                f"and the others are its prompt, with weight 0: "
                + (
                    "leave the example out"
                    if last
                    else "end a conversation with each answer that is to be trained, or leave the weights out"
                )
            )


def _tools(example: Example) -> list[Turn] | None:
    """Return the tools of a conversation; None if it has none."""
    tools, functions = (_listed(example, column) for column in TOOLS)
    if tools and functions:
        raise DataError(
            f"example {example.id} has both columns {' and '.join(TOOLS)}; they say the same, so leave one of them out"
        )
    return tools or (functions and [{"type": "function", "function": function} for function in functions])


def _listed(example: Example, column: str) -> list[Turn] | None:
    given = example.fields.get(column)
    if isinstance(given, str) and given.strip():
        try:
            given = json.loads(given, object_pairs_hook=once_each)
        except (ValueError, RecursionError):
            raise _wrong_tools(example, column) from None
    if not given or isinstance(given, float):  # an empty cell
        return None
    found = _without_nulls(given)
    if not isinstance(found, list) or not all(isinstance(tool, Mapping) for tool in found):
        raise _wrong_tools(example, column)
    return found


def _wrong_tools(example: Example, column: str) -> DataError:
    shown = str(example.fields.get(column))[:60]
    return DataError(
        f"example {example.id} has {shown!r} in the column {column!r}; expected a list of functions, each a mapping or together a JSON text, as a "
        "chat template takes them; correct the data, or rename the column"
    )


def _with_arguments(turn: Turn, change: Callable[[Any], Any], filled: bool) -> Turn:
    if not turn.get("tool_calls"):
        return turn
    return {**({"content": ""} if filled else {}), **turn, "tool_calls": [_call(call, change) for call in turn["tool_calls"]]}


def _call(call: Any, change: Callable[[Any], Any]) -> Any:
    if not isinstance(call, Mapping):
        return call
    if isinstance(call.get("function"), Mapping):
        return {**call, "function": _call(call["function"], change)}
    return {**call, "arguments": change(call["arguments"])} if "arguments" in call else call


def _read(arguments: Any) -> Any:
    try:
        return json.loads(arguments, object_pairs_hook=once_each) if isinstance(arguments, str) else arguments
    except (ValueError, RecursionError):  # it stays as it is written
        return arguments


def _dumped(arguments: Any) -> Any:
    return arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
