"""Values that are more than one text: references and conversations, as lists or as text that a table without types holds."""

import ast
import json
import re
from collections.abc import Mapping

from ..text_files import Twice, once_each
from .cells import cell

NO_REFERENCES = "holds no list of texts that are not empty"
LOST_LIST = (
    'write references as a JSON list, such as ["one", "another"] (with pandas: table[column].map(json.dumps)), or save the table as '
    "Parquet or JSON Lines"
)


def references(value: object) -> list[str] | None:
    """Return the right answers of a cell that holds a list of them or one; None if it holds something else.

    Raises:
        ValueError: if the cell is a list in a form that cannot be read back.
    """
    if isinstance(value, str) and value.lstrip().startswith("["):
        value = _written_list(value.strip())
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not texts:
        return None
    found = [cell(text) for text in texts]
    return [str(text) for text in found] if all(isinstance(text, str) and text.strip() for text in found) else None


def _written_list(text: str) -> object:
    """Return the list that a CSV file holds as JSON, or as pandas writes Python's lists; any other text stays one text."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        if not re.fullmatch(r"\[\s*(['\"]|None\b).*(['\"]|\bNone)\s*\]", text, re.DOTALL):
            return text
    try:
        found = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        found = None
    if repr(found) == text:  # ['a' 'b'], as NumPy writes it, would be read as one text
        return found
    raise ValueError(text)


def conversation(value: object) -> dict[str, object] | None:
    """Return input, target and messages of a conversation: the last answer, and all that was said before it; None if it is none.

    Raises:
        Twice: if it is a JSON text with an object that has a name twice.
    """
    if isinstance(value, str):
        try:
            value = json.loads(value, object_pairs_hook=once_each)
        except Twice:
            raise
        except (ValueError, RecursionError):
            return None
    said = value if isinstance(value, list) else []
    turns = [(m.get("role"), spoken(m)) for m in said if isinstance(m, Mapping)]
    fits = len(turns) >= 2 and len(turns) == len(said) and turns[-1][0] == "assistant"
    if not fits or not all(isinstance(role, str) and role.strip() and text.strip() for role, text in turns):
        return None
    *before, (_, answer) = turns
    asked = [text for _, text in before] if len(before) == 1 else [f"{role}: {text}" for role, text in before]
    return {"input": "\n".join(asked), "target": answer, "messages": [dict(m) for m in said]}


def why_no_conversation(value: object) -> str:
    """Return in what way a cell is no conversation, as the end of "column 'messages' ..."; see `conversation`."""
    said = value
    if isinstance(value, str):
        try:
            said = json.loads(value)
        except (ValueError, RecursionError):
            return "holds a text that is no JSON"
    if not isinstance(said, list) or not all(isinstance(turn, Mapping) for turn in said):
        return "holds no list of messages {role, content}"
    if len(said) < 2:
        return "holds fewer than two messages: what was said, and the answer"
    return next(
        filter(None, map(_why_no_turn, said)), "ends with a message of another role than assistant, and answers are trained"
    )


def _why_no_turn(turn: Mapping[str, object]) -> str:
    role, content = turn.get("role"), turn.get("content")
    if not isinstance(role, str) or not role.strip():
        theirs = " (from and value, as ShareGPT writes them, are called role and content here)" if "from" in turn else ""
        return f"holds messages without a role{theirs}"
    if isinstance(content, list):
        return "holds messages whose content is a list of parts, and here it is one text"
    if content is not None and not isinstance(content, str):
        return "holds messages whose content is no text, such as a number: put it in quotes"
    return "" if spoken(turn).strip() else "holds messages that say nothing"


def spoken(turn: Mapping[str, object]) -> str:
    """Return what a turn says, and behind it the tools that it calls, as JSON: a turn that calls may say nothing; "" if it is no turn."""
    content, calls = turn.get("content"), turn.get("tool_calls")
    if content is not None and not isinstance(content, str):
        return ""
    called = [json.dumps(call, ensure_ascii=False, default=str) for call in calls] if isinstance(calls, list) else []
    return "\n".join([*([content] if content else []), *called])
