import pytest

from fedtailor.errors import SettingError
from fedtailor.models.kinds import KINDS, kind_of
from fedtailor.tasks import TASKS


def test_every_task_names_a_kind_that_there_is():
    given = {"image-generation": {"condition": "none"}}
    known = {
        "generation": "causal",
        "language-modeling": "causal",
        "classification": "classifier",
        "label-likelihood": "causal",
        "reference-likelihood": "causal",
        "image-generation": "denoiser",
        "question-answering": "embedder",
        "retrieval": "embedder",
        "extraction": "reader",
    }
    found = {name: kind_of(task(**given.get(name, {})).backbone).name for name, task in TASKS.items()}
    assert found | known == found
    assert TASKS["image-generation"](objective="adversarial", condition="none").backbone == "gan"


@pytest.mark.parametrize("kind", [kind for kind in KINDS.values() if kind.of_texts], ids=lambda kind: kind.name)
def test_transformers_has_what_a_kind_names(kind):
    import transformers

    assert kind.auto in dir(transformers)
    assert kind.mapping in dir(transformers)


def test_an_unknown_kind_is_named():
    with pytest.raises(SettingError, match=r"'painter', which is unknown; there is causal, classifier, denoiser"):
        kind_of("painter")
