"""The task of writing a target text for an input text; the loss counts the target alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Formatter
from typing import Any, ClassVar, Literal, Self

import torch
from torch import Tensor, nn

from ..errors import BackboneError, DataError, SettingError
from ..limits import Length
from ..records import Example
from .causal import causal_loss, causal_scores
from .shard import Batch, Shard
from .task import LogitsAt
from .tokenization import Prompt, Span, Tokens, encode_prompts, encode_targets, end_token, flat, leading_marks, mask_from, text_of


@dataclass(frozen=True, kw_only=True)
class Generation:
    """Input to target, phrased by a template of the user's or by the model's own chat template."""

    kind: Literal["generation"] = "generation"
    template: str = "{input}\n{target}"  # any column of the data may stand in braces; {target} comes last
    chat: bool = (
        False  # True: the model's chat template, with the roles of `messages` or the input as the user's turn; not `template`
    )
    max_tokens: Length = 512  # of prompt, target and end token together

    required: ClassVar[tuple[str, ...]] = ("input", "target")
    optional: ClassVar[tuple[str, ...]] = ("references",)
    backbone_kind: ClassVar[Literal["causal", "classifier"]] = "causal"
    metrics: ClassVar[tuple[str, ...]] = ("loss", "perplexity", "perplexity_word", "bleu", "chrf", "rougeL")
    default_metrics: ClassVar[tuple[str, ...]] = ("loss", "perplexity", "bleu", "rougeL")
    figures: ClassVar[tuple[str, ...]] = (*metrics, "examples", "tokens", "words", "texts")
    word_rule: ClassVar[str] = "words of the target parted by white space, and one for its end"

    @property
    def context(self) -> tuple[str, ...]:
        """The columns that the template names beside input and target; each may be empty."""
        return () if self.chat else tuple(dict.fromkeys(name for name in names_in(self.template) if name not in self.required))

    @property
    def may_be_empty(self) -> tuple[str, ...]:
        """The input may be empty where the template has other columns, of which one then says something."""
        return ("input",) if self.context else ()

    @property
    def extra(self) -> tuple[str, ...]:
        """The columns that a chat is made of, where the data have them."""
        return ("messages", "tools") if self.chat else ()

    def __post_init__(self) -> None:
        if not isinstance(self.chat, bool):
            raise SettingError(f"chat is true or false; got {self.chat!r}")
        if isinstance(self.max_tokens, bool) or not isinstance(self.max_tokens, int) or self.max_tokens < 2:
            raise SettingError(f"max_tokens is a whole number of tokens, at least 2; got {self.max_tokens!r}")
        check_template(self.template)

    def resolve(self, examples: Sequence[Example], base: Path) -> Self:
        """Return the task itself: it takes nothing from the data."""
        return self

    def labels_of(self, examples: Sequence[Example], base: Path = Path()) -> tuple[str, ...]:
        """Return no labels: there are no classes."""
        return ()

    def tokenize(self, examples: Sequence[Example], tokenizer: Any, *, keep_examples: bool) -> Shard:
        """Return prompt, target and end token of each example; the target and its end token are counted.

        A prompt that is too long loses the beginning of its input, a conversation what was said first; the template's own words,
        what the system says and the target stay whole.

        Args:
            keep_examples: whether the shard holds the examples themselves, as evaluation needs them.

        Raises:
            DataError: if the template names a column that an example does not have.
            BackboneError: if the tokenizer has no offsets, no end token, or no chat template where one is asked for.
        """
        end, marks = end_token(tokenizer), leading_marks(tokenizer) if not self.chat else []
        empty = [example for example in examples if not text_of(example, "target").strip()]
        dropped = {example.id: "its target is empty" for example in empty}
        usable = [example for example in examples if text_of(example, "target").strip()]
        prompts = [self.prompt(example, tokenizer) for example in usable]
        heads = _once_each(tokenizer, [prompt.text for prompt in prompts])
        targets = [text_of(example, "target") for example in usable]
        tails = encode_targets(tokenizer, [prompt.text for prompt in prompts], heads, targets)
        rows, first_targets, kept = [], [], []
        for example, prompt, head, tail in zip(usable, prompts, heads, tails, strict=True):
            room = self.max_tokens - len(marks) - len(tail) - 1
            ids = shortened(head, prompt.input, room)
            if ids is None:
                dropped[example.id] = (
                    f"its target of {len(tail)} tokens, the end token and the template do not fit into max_tokens = {self.max_tokens}"
                )
                continue
            start = [*marks, *ids] or [end]  # the first target needs something before it
            rows.append([*start, *tail, end])
            first_targets.append(len(start))
            kept.append(example)
        tokens_T, starts = flat(rows)
        return Shard(
            tokens_T=tokens_T,
            target_T=mask_from(first_targets, starts),
            starts=starts,
            words_N=torch.tensor([len(text_of(example, "target").split()) + 1 for example in kept], dtype=torch.int64),
            examples=tuple(kept) if keep_examples else (),
            dropped=tuple((example.id, dropped[example.id]) for example in examples if example.id in dropped),
        )

    def prompts(self, examples: Sequence[Example], tokenizer: Any) -> list[list[int]]:
        """Return the tokens before each target, the same as in training, for the model to go on from."""
        marks = leading_marks(tokenizer) if not self.chat else []
        prompts = [self.prompt(example, tokenizer) for example in examples]
        rows = []
        for prompt, head in zip(prompts, _once_each(tokenizer, [prompt.text for prompt in prompts]), strict=True):
            ids = shortened(head, prompt.input, self.max_tokens - len(marks) - 1)
            rows.append([*marks, *(head.ids[-self.max_tokens :] if ids is None else ids)] or [end_token(tokenizer)])
        return rows

    def prompt(self, example: Example, tokenizer: Any) -> Prompt:
        """Return the text before the target of `example`."""
        return chat_prompt(example, tokenizer) if self.chat else fill(self.template, example)

    def loss(self, model: nn.Module, batch: Batch, logits_at: LogitsAt) -> tuple[Tensor, int]:
        """Return the float32 sum of the loss over the targets' tokens, and their number."""
        return causal_loss(model, batch, logits_at)

    def scores(self, model: nn.Module, batch: Batch, logits_at: LogitsAt) -> tuple[Tensor, Tensor]:
        """Return float32 logits [N, V] over the next word at the counted targets, and these [N]."""
        return causal_scores(model, batch, logits_at)


def names_in(template: str) -> list[str]:
    """Return the columns that stand in braces, in order.

    Raises:
        ValueError: if the braces do not match.
    """
    return [name for _, name, _, _ in Formatter().parse(template) if name is not None]


def check_template(template: str) -> None:
    """Raise SettingError unless `template` has {input} once and ends with its one {target}."""
    want = 'template is a text with {input} and, at its end, {target}, such as "{input}\\n{target}"'
    if not isinstance(template, str):
        raise SettingError(f"{want}; got {template!r}")
    try:
        names = names_in(template)
    except ValueError as error:
        raise SettingError(
            f"{want}; got {template!r}, whose braces do not match ({error}); write {{{{ for a plain brace"
        ) from None
    if names.count("input") != 1 or names.count("target") != 1 or not template.endswith("{target}") or "" in names:
        raise SettingError(f"{want}, each once; got {template!r}")


def fill(template: str, example: Example) -> Prompt:
    """Return `template` up to its target, filled with the example's columns.

    Raises:
        DataError: if it names a column that the example does not have.
    """
    text, span = "", (0, 0)
    for literal, name, _, _ in Formatter().parse(template):
        text += literal
        if name is None or name == "target":
            continue
        begin = len(text)
        text += text_of(example, name)
        span = (begin, len(text)) if name == "input" else span
    return Prompt(text=text, input=[span])


def chat_prompt(example: Example, tokenizer: Any) -> Prompt:
    """Return the model's own chat template up to the answer.

    The turns are those of the conversation that the example was read from, in their roles; else the input is the user's turn, or
    already a list of turns.

    Raises:
        BackboneError: if the tokenizer has no chat template.
        DataError: if the template refuses these turns.
    """
    from jinja2 import TemplateError

    if not tokenizer.chat_template:
        raise BackboneError(
            "task.chat is true, but the backbone's tokenizer has no chat template; leave chat out and set task.template"
        )
    turns = turns_before(example)
    try:
        text = str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))
    except TemplateError as error:
        roles = ", ".join(str(turn.get("role")) for turn in turns)
        raise DataError(
            f"example {example.id} has turns of the roles {roles}, which the backbone's chat template refuses: {error}; "
            "mend the data, or leave task.chat out and set task.template"
        ) from error
    return Prompt(text=text, input=_said(text, turns))


def turns_before(example: Example) -> list[dict[str, Any]]:
    """Return what was said before the answer, each turn with its role."""
    given, messages = example.fields.get("input"), example.fields.get("messages")
    if isinstance(given, list | tuple):
        return list(given)
    asked = text_of(example, "input")
    if isinstance(messages, list) and len(messages) > 1 and all(isinstance(m, Mapping) for m in messages):
        *before, answer = messages
        # a column of this name may also stand unused beside input and target
        if answer.get("content") == example.fields.get("target") and all(str(m.get("content")) in asked for m in before):
            return [dict(m) for m in before]
    return [{"role": "user", "content": asked}]


def _said(text: str, turns: Sequence[Mapping[str, Any]]) -> list[Span]:
    """Return where in the rendered `text` the turns' contents stand, but for the system's; in order, the template's changes left out."""
    spans, end = [], len(text)
    for turn in reversed(turns):
        content = str(turn["content"]).strip()
        begin = text.rfind(content, 0, end)
        if content and begin >= 0:
            end = begin
            if turn.get("role") != "system" or len(turns) == 1:
                spans.append((begin, begin + len(content)))
    return spans[::-1]


def shortened(tokens: Tokens, input: Sequence[Span], room: int) -> Sequence[int] | None:
    """Return at most `room` tokens, taken from the beginning of the input; None if nothing of the input would be left."""
    excess = len(tokens.ids) - room
    if excess <= 0:
        return tokens.ids
    inside = [n for n, (begin, end) in enumerate(tokens.spans) if any(first <= begin < end <= last for first, last in input)]
    if excess >= len(inside):
        return None
    cut = set(inside[:excess])
    return [token for number, token in enumerate(tokens.ids) if number not in cut]


def _once_each(tokenizer: Any, texts: Sequence[str]) -> list[Tokens]:
    """Return the tokens of each prompt; prompts that repeat are encoded once."""
    distinct = list(dict.fromkeys(texts))
    found: Mapping[str, Tokens] = dict(zip(distinct, encode_prompts(tokenizer, distinct), strict=True))
    return [found[text] for text in texts]
