import pytest

from fedtailor.chance import stream
from fedtailor.errors import SettingError
from fedtailor.prompting import Prompt, prompt_from_json
from fedtailor.prompting.shots import draw_shots, of_many_labels, read_shots, with_own

PUBLIC = [("a", "x"), ("b", "x"), ("c", "x"), ("d", "y")]


def test_examples_are_of_as_many_labels_as_there_can_be():
    for seed in range(5):
        two = draw_shots(PUBLIC, 2, stream(seed, "shots"), ("x", "y"))
        assert {label for _, label in two} == {"x", "y"}
    assert draw_shots(PUBLIC, 3, stream(0, "shots"), ("x", "y")) == draw_shots(PUBLIC, 3, stream(0, "shots"), ("x", "y"))


def test_files_are_read_and_what_is_wrong_is_named(tmp_path):
    file = tmp_path / "public.jsonl"
    file.write_text('{"text": "a", "label": "top_up"}\n\n{"text": "b", "label": "x"}\n')
    assert read_shots(file) == (("a", "top up"), ("b", "x"))
    file.write_text('{"text": 12, "label": 3}\n{"text": 1.50, "label": 2.0}\n')  # as a table of data is read
    assert read_shots(file) == (("12", "3"), ("1.5", "2"))
    for text, match in (
        ("", "no examples"),
        ('{"text": "a"}\n', "line 1"),
        ('{"text": "a", "label": [3]}\n', "a text and a label"),
        ('{"text": "a", "label": null}\n', "a text and a label"),
        ("[1]\n", "a text and a label"),
    ):
        file.write_text(text)
        with pytest.raises(SettingError, match=match):
            read_shots(file)
    with pytest.raises(SettingError, match="the file has 4"):
        draw_shots(PUBLIC, 5, stream(0, "shots"), ("x", "y"))
    with pytest.raises(SettingError, match="has the label 'y'"):
        draw_shots(PUBLIC, 1, stream(0, "shots"), ("x", "z"))


def test_own_examples_are_put_in_as_far_as_they_have_room():
    prompt = Prompt(instruction="Sort.", own_shots=2)
    assert with_own(prompt, [("a", "x"), ("b", "y"), ("c", "x")]).shots == (("a", "x"), ("b", "y"))
    assert with_own(prompt, [("a", "x"), ("b" * 4_000, "y")]).shots == (("a", "x"),)
    assert with_own(prompt, []).own_shots == 0
    assert prompt_from_json(prompt.to_json()) == prompt
    assert "own_shots" not in Prompt(instruction="Sort.").to_json()
    with pytest.raises(SettingError, match="own_shots is a whole number from 0 to 64; found 65"):
        prompt_from_json(prompt.to_json().replace('"own_shots": 2', '"own_shots": 65'))


def test_rows_are_of_as_many_labels_as_there_can_be():
    assert of_many_labels([(7, "x"), (3, "x"), (5, "y"), (1, "x")], 3) == [7, 5, 3]
