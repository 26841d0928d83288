"""Conversations as a model's own chat template writes them: prompt, answer, tools, and the token that ends a turn."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ...clock import ASKS, fixed_chance, fixed_clock
from ...errors import BackboneError, DataError
from .markers import Markers, Span, markers_of, templates_in
from .masking import Masked
from .memory_limit import memory_limit
from .talk import Talk, Turn, called_in, forms_of, has_answer, thought_in, without_thought
from .time_limit import TookTooLong, time_limit
from .tokenization import Prompt

MOST_SECONDS = 5.0  # for one conversation, which takes a template a millisecond
MOST_BYTES = 2**28  # of memory for one conversation, which takes kilobytes
ANSWER = "answer-of-nobody"  # stands for one where only what the template puts behind it is looked for


@dataclass(frozen=True, kw_only=True)
class Written:
    """A conversation in the words of the template."""

    prompt: Prompt
    answer: Prompt  # without the token that ends it
    end: int | None  # that token; None: the template has none


def write(talk: Talk, tokenizer: Any, moment: datetime | None) -> Written:
    """Return a conversation as the tokenizer's chat template writes it, with the spans in which markers are data.

    An answer is what the template makes of it where that is the answer's own text (some take white space off its ends), or where
    the answer holds more than a text, such as calls; what else a template would put around the text is left out.

    Raises:
        BackboneError: if the tokenizer has no chat template, or one that cannot be read.
        DataError: if the template refuses the conversation, or leaves tools or calls out.
    """
    _check_template(tokenizer)
    masked = Masked(talk, tokenizer)
    form, prompt, whole = _first_form(masked.talk, tokenizer, moment)
    if form.tools or form.calls or thought_in(form.answer):
        _check_written(form, tokenizer, moment, prompt, whole)
    answer, end = _answer(form, prompt, whole, turn_end(tokenizer, moment, tools=form.tools), markers_of(tokenizer))
    text, spans = masked.unmask(prompt)
    behind, theirs = masked.unmask(answer)
    return Written(
        prompt=Prompt(text=text, input=_said(text, talk.before), data=spans),
        answer=Prompt(text=behind, input=(), data=theirs),
        end=end,
    )


def _first_form(talk: Talk, tokenizer: Any, moment: datetime | None) -> tuple[Talk, str, str]:
    """Return the conversation in the first form that the template takes, the prompt, and the whole of it; "" where there is none."""
    faults = []
    for form in forms_of(talk):
        try:
            prompt = _render(tokenizer, form.before, form.tools, moment, ask=True)
            return form, prompt, _whole(form, tokenizer, moment)
        except BackboneError:
            raise
        except Exception as fault:  # a template is a program of others'
            faults.append(fault)
    raise _refused(talk, faults[0]) from faults[0]


def _whole(talk: Talk, tokenizer: Any, moment: datetime | None) -> str:
    if not has_answer(talk.answer):
        return ""
    try:
        return _render(tokenizer, [*talk.before, talk.answer], talk.tools, moment, ask=False)
    except BackboneError:
        raise
    except Exception:
        if called_in(talk.answer):
            raise
        return ""  # a text is trained as it stands where the template writes prompts alone


def turn_end(tokenizer: Any, moment: datetime | None = None, *, tools: Sequence[Turn] | None = None) -> int | None:
    """Return the special token by which the chat template, that for tools if there are some, ends an assistant's turn; None if it uses none."""
    kept: dict[str, int | None] = vars(tokenizer).setdefault("fedtailor_turn_end", {})
    template = _template(tokenizer, tools)
    if template not in kept:
        try:
            whole = _render(
                tokenizer, [{"role": "user", "content": "A"}, {"role": "assistant", "content": ANSWER}], tools, moment, ask=False
            )
        except BackboneError:
            raise
        except Exception:  # it demands other turns; what it writes behind those of the data is looked at there
            whole = ""
        kept[template] = _first_marker(whole.rpartition(ANSWER)[2], markers_of(tokenizer))
    return kept[template]


def writes_time(tokenizer: Any) -> bool:
    """Return whether the chat template may write the present moment."""
    return ASKS in templates_in(tokenizer)


def _template(tokenizer: Any, tools: Sequence[Turn] | None) -> str:
    """Return the template of a conversation: where a model brings one for tools, that one for those with tools, as transformers chooses."""
    chosen: str = (vars(tokenizer).get("fedtailor_tool_template") if tools else None) or tokenizer.chat_template
    return chosen


def _check_template(tokenizer: Any) -> None:
    if not tokenizer.chat_template:
        raise BackboneError(
            "task.chat is true, but the backbone's tokenizer has no chat template; leave chat out and set task.template"
        )


def _render(tokenizer: Any, turns: Sequence[Turn], tools: Sequence[Turn] | None, moment: datetime | None, *, ask: bool) -> str:
    try:
        with fixed_clock(moment), fixed_chance(), memory_limit(MOST_BYTES), time_limit(MOST_SECONDS):
            return str(
                tokenizer.apply_chat_template(
                    [dict(turn) for turn in turns],
                    tools=None if tools is None else [dict(tool) for tool in tools],
                    chat_template=_template(tokenizer, tools),
                    tokenize=False,
                    add_generation_prompt=ask,
                )
            )
    except TookTooLong:
        raise BackboneError(
            f"the backbone's chat template has not written a conversation after {MOST_SECONDS:g} s: it loops for very long or for ever; correct it, "
            "choose another backbone, or leave task.chat out and set task.template"
        ) from None
    except (MemoryError, OverflowError) as fault:
        if "range" in str(fault).lower():  # of jinja's sandbox, which makes none of more than 100,000 numbers
            raise BackboneError(
                f"the backbone's chat template counts too far: {fault}; correct it, choose another backbone, or leave task.chat out and set task.template"
            ) from None
        raise BackboneError(
            f"the backbone's chat template takes more than {MOST_BYTES / 2**20:g} MiB of memory for one conversation; correct it, choose another "
            "backbone, or leave task.chat out and set task.template"
        ) from None


def _refused(talk: Talk, fault: Exception) -> Exception:
    from jinja2 import TemplateSyntaxError

    if isinstance(fault, TemplateSyntaxError):
        return BackboneError(f"the backbone's chat template cannot be read: {fault}; leave task.chat out and set task.template")
    roles = ", ".join(str(turn.get("role")) for turn in talk.before)
    kind = "" if type(fault).__name__ == "TemplateError" else f"{type(fault).__name__}: "
    return DataError(
        f"example {talk.id} has turns of the roles {roles}, which the backbone's chat template refuses: {kind}{fault}; "
        "correct the data, or leave task.chat out and set task.template"
    )


def _check_written(talk: Talk, tokenizer: Any, moment: datetime | None, prompt: str, whole: str) -> None:
    """Raise DataError if the template leaves out what tools there are, what was called, or what was thought before the answer."""
    turns = [*talk.before, talk.answer] if whole else talk.before
    if (thought := thought_in(talk.answer)) and (
        not whole or _render(tokenizer, [*talk.before, without_thought(talk.answer)], talk.tools, moment, ask=False) == whole
    ):
        raise _left_out(talk, thought)
    if talk.tools and _render(tokenizer, talk.before, None, moment, ask=True) == prompt:
        raise _left_out(talk, "tools")
    for number, turn in enumerate(turns):
        if called := called_in(turn):
            silent = [{**one, called: []} if place == number else one for place, one in enumerate(turns)]
            try:
                without = _render(tokenizer, silent, talk.tools, moment, ask=not whole)
            except BackboneError:
                raise
            except Exception:  # it needs the calls, so it writes them
                continue
            if without == (whole or prompt):
                raise _left_out(talk, "tool calls")


def _left_out(talk: Talk, what: str) -> DataError:
    return DataError(
        f"example {talk.id} has {what}, which the backbone's chat template leaves out; choose a backbone whose template writes them, or take them "
        "out of the data"
    )


def _answer(talk: Talk, prompt: str, whole: str, end: int | None, markers: Markers) -> tuple[str, int | None]:
    """Return the answer's text and the token that ends it."""
    content = str(talk.answer.get("content", ""))
    more = any(value for name, value in talk.answer.items() if name not in ("role", "content"))
    tail = whole[len(prompt) :] if whole.startswith(prompt) else None
    if tail is None:
        if what := "tool calls" if called_in(talk.answer) else thought_in(talk.answer):
            raise DataError(
                f"example {talk.id} has {what} in its answer, which the backbone's chat template does not write behind the prompt that it makes; "
                "leave such examples out, or choose another backbone"
            )
        return content, end
    body, ending = _split(tail, end, markers, last=more)
    as_written = more or (ending is not None and body.strip() == content.strip())
    return body if as_written else content, ending if more or end is None else end


def _split(tail: str, end: int | None, markers: Markers, *, last: bool) -> tuple[str, int | None]:
    """Return what the template wrote of an answer up to the token that ends the turn, and that token."""
    if end is not None and (name := markers.names[end]) in tail:
        return (tail.rpartition(name) if last else tail.partition(name))[0], end
    found = list(markers.pattern.finditer(tail))
    if not found or tail[found[-1].end() :].strip():
        return tail.rstrip(), None
    return tail[: found[-1].start()], next(number for number, name in markers.names.items() if name == found[-1].group())


def _first_marker(text: str, markers: Markers) -> int | None:
    found = markers.pattern.match(text.lstrip())
    return None if found is None else next(number for number, name in markers.names.items() if name == found.group())


def _said(text: str, turns: Sequence[Turn]) -> list[Span]:
    """Return where in the rendered `text` the turns' contents stand, but for the system's; in order, the template's changes left out."""
    spans, end = [], len(text)
    for turn in reversed(turns):
        content = str(turn.get("content", "")).strip()
        begin = text.rfind(content, 0, end)
        if content and begin >= 0:
            end = begin
            if turn.get("role") != "system" or len(turns) == 1:
                spans.append((begin, begin + len(content)))
    return spans[::-1]
