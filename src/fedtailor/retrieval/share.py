"""What a client lets out in answer to a question: levels of sharing, and what each lets out."""

from collections.abc import Collection, Mapping, Sequence
from typing import Literal, TypeAlias

from ..errors import SettingError

Share: TypeAlias = Literal["passages", "snippets", "answers", "scores", "embeddings"]
SNIPPET = 300  # characters of a snippet, at most
ANSWER = 200  # characters of an answer, at most
LETS_OUT: Mapping[str, str] = {
    "passages": "raw text leaves each client: the passages that win, whole, with their source; at most top_k a question",
    "snippets": f"raw text leaves each client: one sentence of each passage that wins, of at most {SNIPPET} characters, with its source",
    "answers": f"raw text leaves each client: one answer a question, of at most {ANSWER} characters, which may quote its passages",
    "scores": "no text leaves a client: scores alone say which client holds something near a question",
    "embeddings": "the vectors of all passages leave each client, once: no text, but much of a text can be rebuilt from its vector (arXiv:2310.06816); "
    "questions stay with who asks",
}
REVEALS: Mapping[str, Sequence[str]] = {  # as words of policies
    "passages": ("scores", "passages"),
    "snippets": ("scores", "passages"),
    "answers": ("scores", "answers"),
    "scores": ("scores",),
    "embeddings": ("embeddings",),
}
ANY = "any"  # of a client that allows whatever is asked for
LEVELS = (
    "scores",
    "answers",
    "snippets",
    "passages",
)  # each lets out more than the one before; embeddings are permitted by name alone


def check_share(share: object, *, known: Collection[str] = tuple(LETS_OUT)) -> None:
    """Raise SettingError unless there is such a level."""
    if not isinstance(share, str) or share not in known:
        raise SettingError(f"share is one of {', '.join(known)}; got {share!r}")


def check_fetch(fetch: int, share: str) -> None:
    """Raise SettingError unless so many passages can be fetched to be scored at the server; 0: none beyond the winners."""
    if fetch < 0:
        raise SettingError(f"fetch is a number of passages, 0 for top_k; got {fetch}")
    if fetch and share != "passages":
        raise SettingError(
            f"fetch scores whole passages at the server, and share: {share} lets none out; choose share: passages, or leave fetch out"
        )


def permits(allowed: str, asked: str) -> bool:
    """Return whether a client that allows one level answers at another."""
    return allowed in (asked, ANY) or (asked in LEVELS and allowed in LEVELS and LEVELS.index(asked) <= LEVELS.index(allowed))
