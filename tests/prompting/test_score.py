import math

import pytest
import torch
from transformers import AutoModelForCausalLM

from fedtailor.errors import SettingError
from fedtailor.models.tokenizer import load_tokenizer
from fedtailor.prompting import Prompt, ReferenceReading, score_labels
from fedtailor.prompting.score import NEUTRAL, head_ids

PROMPT = Prompt(instruction="Name the kind.", labels=("food", "drink place", "river"))
EXAMPLES = [("name[The Eagle]", "food"), ("The Eagle is cheap.", "river")]


@pytest.fixture(scope="module")
def parts(tiny_backbone_folder):
    model = AutoModelForCausalLM.from_pretrained(tiny_backbone_folder, dtype=torch.float32).eval()
    return model, load_tokenizer(tiny_backbone_folder)


def plainly(model, tokenizer, prompt, text, answer):
    """The log-likelihood of an answer by one row and no cache."""
    start = head_ids(tokenizer, prompt) + tokenizer(prompt.tail(text), add_special_tokens=False)["input_ids"]
    ids = tokenizer(" " + answer, add_special_tokens=False)["input_ids"]
    with torch.inference_mode():
        logp = model(input_ids=torch.tensor([start + ids])).logits[0].log_softmax(-1)
    return sum(float(logp[len(start) - 1 + at, token]) for at, token in enumerate(ids)), len(ids)


@pytest.mark.parametrize("calibrate", [True, False])
def test_loss_is_that_of_labels_scored_one_by_one(parts, calibrate):
    expected = 0.0
    for text, gold in EXAMPLES:
        row = {label: plainly(*parts, PROMPT, text, label)[0] for label in PROMPT.labels}
        if calibrate:
            row = {
                label: value - sum(plainly(*parts, PROMPT, none, label)[0] for none in NEUTRAL) / 3
                for label, value in row.items()
            }
        expected += math.log(sum(map(math.exp, row.values()))) - row[gold]
    found = score_labels(*parts, PROMPT, EXAMPLES, calibrate=calibrate)
    assert found.loss_sum == pytest.approx(expected, abs=1e-4)
    assert found.examples == 2


def test_loss_of_references_is_a_token(parts):
    prompt = Prompt(instruction="Write.")
    sums = [plainly(*parts, prompt, text, answer) for text, answer in EXAMPLES]
    assert ReferenceReading(*parts, prompt).score(EXAMPLES).loss_sum == pytest.approx(-sum(a / n for a, n in sums), abs=1e-4)


def test_what_cannot_be_scored_is_named(parts):
    with pytest.raises(SettingError, match="at least two labels"):
        score_labels(*parts, Prompt(instruction="x", labels=("one",)), EXAMPLES)
    with pytest.raises(SettingError, match="has the label 'lake'"):
        score_labels(*parts, PROMPT, [("x", "lake")])
    with pytest.raises(SettingError, match="the same tokens"):
        score_labels(*parts, Prompt(instruction="x", labels=("food", "food")), [("x", "food")])
    with pytest.raises(SettingError, match="no example"):
        score_labels(*parts, PROMPT, [])
