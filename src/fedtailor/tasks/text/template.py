"""A text in which columns stand in braces, filled with an example's."""

from string import Formatter

from ...errors import SettingError
from ...printable import unfit_character
from ...records import Example
from .tokenization import Prompt, text_of


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
    if strange := next((name for _, name, spec, way in Formatter().parse(template) if spec or way), None):
        raise SettingError(
            f"{want}; got {template!r}, where {{{strange}}} has a format behind it, and columns are written as they are; take it off"
        )
    if bad := unfit_character(template):
        raise SettingError(f"{want}; got {template!r}, which holds {bad!a}, and no text may hold that; take it out")
    if names.count("input") != 1 or names.count("target") != 1 or not template.endswith("{target}") or "" in names:
        raise SettingError(f"{want}, each once; got {template!r}")


def fill(template: str, example: Example) -> Prompt:
    """Return `template` up to its target, filled with the example's columns.

    Raises:
        DataError: if it names a column that the example does not have.
    """
    text, span, data = "", (0, 0), []
    for literal, name, _, _ in Formatter().parse(template):
        text += literal
        if name is None or name == "target":
            continue
        begin = len(text)
        text += text_of(example, name)
        data.append((begin, len(text)))
        span = data[-1] if name == "input" else span
    return Prompt(text=text, input=[span], data=data)
