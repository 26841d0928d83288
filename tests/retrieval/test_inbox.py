"""Questions that come to an open run: taken, answered once, and refused in a sentence."""

import pytest

from fedtailor.retrieval.inbox import MOST_WAITING, Inbox


def test_a_request_is_answered_once():
    inbox = Inbox(is_open=True)
    assert inbox.put({"ticket": "a", "questions": ["why"], "top_k": 2}) == {}
    request = inbox.take(0.1)
    assert (request.ticket, request.questions, request.top_k) == ("a", ["why"], 2)
    assert inbox.look("a") == {}
    inbox.answer("a", {"answers": [{"answer": "so"}]})
    assert inbox.look("a") == {"answers": [{"answer": "so"}]}
    assert inbox.look("a") == {}
    assert inbox.take(0.01) is None


@pytest.mark.parametrize(
    ("asked", "fault"),
    [
        ({"ticket": 1, "questions": ["why"]}, "a ticket and a list of questions"),
        ({"ticket": "a", "questions": "why"}, "a ticket and a list of questions"),
        ({"ticket": "a", "questions": []}, "0 questions came at once"),
        ({"ticket": "a", "questions": ["why"] * 65}, "the most is 64"),
        ({"ticket": "a", "questions": ["why"], "top_k": "5"}, "top_k is a whole number; got '5'"),
    ],
)
def test_what_is_no_request_is_named(asked, fault):
    assert fault in Inbox(is_open=True).put(asked)["fault"]


def test_it_is_bounded_and_may_be_closed():
    inbox = Inbox(is_open=True)
    for number in range(MOST_WAITING):
        assert inbox.put({"ticket": str(number), "questions": ["why"]}) == {}
    assert "64 requests wait already" in inbox.put({"ticket": "x", "questions": ["why"]})["fault"]
    assert "takes no questions" in Inbox().put({"ticket": "a", "questions": ["why"]})["fault"]
