import pytest
import torch
from transformers import AutoModelForCausalLM

from fedtailor.errors import SettingError
from fedtailor.models.tokenizer import load_tokenizer
from fedtailor.prompting import Prompt, PromptReader
from fedtailor.prompting.reader import MOST

LABELS = ("food", "river")


@pytest.fixture(scope="module")
def parts(tiny_backbone_folder):
    return AutoModelForCausalLM.from_pretrained(tiny_backbone_folder, dtype=torch.float32).eval(), load_tokenizer(
        tiny_backbone_folder
    )


def test_a_prompt_is_read_once_while_it_is_among_the_newest(parts):
    reader = PromptReader(*parts)
    prompts = [Prompt(instruction=f"Name {n}.", labels=LABELS) for n in range(MOST + 1)]
    first = reader.read(prompts[0], calibrate=False)
    assert reader.read(prompts[0], calibrate=False) is first
    assert reader.read(prompts[0], calibrate=True) is not first  # its scores are others
    for prompt in prompts[1:]:
        reader.read(prompt, calibrate=False)
    assert reader.read(prompts[0], calibrate=False) is not first


def test_scores_do_not_depend_on_who_else_is_scored(parts):
    reading = PromptReader(*parts).read(Prompt(instruction="Name it.", labels=LABELS), calibrate=True)
    alone = reading.scores(["The Eagle"])
    among = reading.scores(["The Eagle", "A much longer text by the river"], batch=1)
    assert among[0] == alone[0]


def test_a_file_for_other_labels_is_named(parts):
    reader, text = PromptReader(*parts), Prompt(instruction="x", labels=LABELS).to_json()
    assert reader.in_place(text, LABELS, calibrate=False).prompt.instruction == "x"
    assert reader.in_place("", LABELS, calibrate=False).prompt == Prompt(instruction="", labels=LABELS)
    with pytest.raises(SettingError, match="the task has food, lake"):
        reader.in_place(text, ("food", "lake"), calibrate=False)
