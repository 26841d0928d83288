"""What becomes of texts is reported before anything is done."""

import pytest

from fedtailor.assembly.texts import report_unused
from fedtailor.tasks import Generation


@pytest.mark.parametrize(
    ("task", "said"),
    [
        (Generation(chat=True, template="Q: {input} A: {target}"), 1),
        (Generation(chat=True), 0),
        (Generation(template="Q: {input} A: {target}"), 0),
    ],
)
def test_a_template_beside_a_chat_is_reported_as_unused(task, said):
    found = []
    report_unused(task, found.append)
    assert len(found) == said
    assert all(text.startswith("task.template is not used: with task.chat: true") for text in found)
