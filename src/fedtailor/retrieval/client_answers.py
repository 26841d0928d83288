"""Answers that are read at the clients, from the passages that won."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from .asking import Asking, Found, Send
from .messages import Answered, Read


def with_answers(asking: Asking, found: Sequence[Found], send: Send, strange: Callable[[str], None]) -> list[Found]:
    """Let each client read its winners, and return the answer nearest to each question.

    Args:
        strange: called with a client whose answer is not what was asked for.
    """
    places = [(hit.client, n, hit.place[1]) for n, one in enumerate(found) for hit in one.hits]
    mine = {
        name: [(n, place) for client, n, place in places if client == name] for name in sorted({name for name, _, _ in places})
    }
    answers = send(
        {
            name: Read(
                exchange=asking.exchange,
                questions=asking.numbers(name, [n for n, _ in some]),
                places=[place for _, place in some],
            )
            for name, some in mine.items()
        }
    )
    best: dict[int, tuple[str, str, float]] = {}
    for name, some in mine.items():
        reported, questions = answers.get(name), list(dict.fromkeys(n for n, _ in some))
        if not isinstance(reported, Answered) or not len(reported.texts) == len(reported.cosines) == len(questions):
            asking.drop(name, "did not answer from the passages that it had named")
            if reported is not None:
                strange(name)
            continue
        for n, text, cosine in zip(questions, reported.texts, reported.cosines, strict=True):
            if text and (n not in best or cosine > best[n][2]):
                best[n] = (text, name, cosine)
    return [replace(one, answer=best.get(n)) for n, one in enumerate(found)]
