"""What is written down before anything is sent, and read again."""

import json

import pytest

from fedtailor.errors import ResumeError, RunError
from fedtailor.privacy import Budget
from fedtailor.privacy.accountant import Release, epsilon_of

ONE = Release(noise_multiplier=3.0, rate=1.0)


def budget(most=None):
    return Budget(delta=1e-5, most=most, next=ONE, seen=ONE, words=("{epsilon} at {delta}", "{epsilon} of {rounds}"))


def test_a_round_is_on_disk_as_soon_as_it_is_charged(tmp_path):
    file = tmp_path / "privacy.json"
    first = budget()
    first.open(file)
    first.charge(["a", "b"])
    first.charge(["b"])
    told = json.loads(file.read_text())
    assert told == {"releases": [{"noise_multiplier": 3.0, "rate": 1.0, "count": 2}], "clients": {"a": 1, "b": 2}}
    again = budget()
    again.open(file)
    again.charge([])
    assert again.epsilon() == epsilon_of([Release(noise_multiplier=3.0, rate=1.0, count=3)], 1e-5)
    assert again.summary()["most_rounds_of_a_client"] == 2
    assert again.summary()["epsilon_knowing_who_took_part"] == first.epsilon()


def test_other_noise_from_some_round_on_is_counted_as_it_was(tmp_path):
    first = budget()
    first.open(tmp_path / "privacy.json")
    first.charge(["a"])
    again = budget()
    again.next = Release(noise_multiplier=1.0, rate=1.0)
    again.open(tmp_path / "privacy.json")
    again.charge(["a"])
    assert again.epsilon() == epsilon_of([ONE, Release(noise_multiplier=1.0, rate=1.0)], 1e-5)


def test_a_round_beyond_the_budget_is_not_begun():
    two = epsilon_of([Release(noise_multiplier=3.0, rate=1.0, count=2)], 1e-5)
    spent = budget(most=two)
    spent.charge(["a"])
    spent.charge(["a"])
    assert not spent.affords()
    with pytest.raises(RunError, match=r"the privacy budget of epsilon .* is spent"):
        spent.charge(["a"])
    assert len(spent.releases) == 2


@pytest.mark.parametrize("text", ["{", "[]", '{"releases": [{"noise": 1}], "clients": {}}', '{"clients": {}}'])
def test_a_damaged_file_ends_the_run_before_it_spends_more(tmp_path, text):
    (tmp_path / "privacy.json").write_text(text)
    with pytest.raises(ResumeError, match="what the run has spent of its privacy budget is not known"):
        budget().open(tmp_path / "privacy.json")


def test_sentences_have_both_numbers_before_a_run_and_after_it():
    asked = budget()
    assert asked.sentences(ahead=4)[1].endswith(" of 4")  # everybody takes part in each round
    asked.charge(["a"])
    assert asked.sentences() == [f"{asked.epsilon():.3g} at 1e-05", f"{asked.epsilon():.3g} of 1"]
