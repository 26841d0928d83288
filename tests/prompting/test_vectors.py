import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from fedtailor.errors import SettingError
from fedtailor.models.tokenizer import load_tokenizer
from fedtailor.prompting import Prompt, Reading, prompt_from_json
from fedtailor.prompting.score import NEUTRAL, head_ids
from fedtailor.prompting.vectors import subspace, vectors_of, vectors_text

PROMPT = Prompt(instruction="Name the kind.", labels=("food", "drink place", "river"))
EXAMPLES = [("name[The Eagle]", "food"), ("The Eagle is cheap, near the river.", "river"), ("x", "food")]


@pytest.fixture(scope="module")
def parts(tiny_backbone_folder):
    model = AutoModelForCausalLM.from_pretrained(tiny_backbone_folder, dtype=torch.float32).eval()
    return model.requires_grad_(False), load_tokenizer(tiny_backbone_folder)


def plainly(model, tokenizer, vectors, text, answer):
    """The log-likelihood of an answer behind prompt, text and vectors, by one row and no cache."""
    before = head_ids(tokenizer, PROMPT) + tokenizer(PROMPT.tail(text), add_special_tokens=False)["input_ids"]
    ids = tokenizer(" " + answer, add_special_tokens=False)["input_ids"]
    words = model.get_input_embeddings()
    rows = torch.cat([words(torch.tensor(before)), vectors, words(torch.tensor(ids))])
    logp = model(inputs_embeds=rows[None]).logits[0].log_softmax(-1)
    first = len(before) + len(vectors) - 1
    return sum(logp[first + at, token] for at, token in enumerate(ids))


def drawn(model, length=3):
    return subspace(model.get_input_embeddings().weight, length=length, dimensions=6, seed=0).vectors(np.linspace(-1, 1, 6))


@pytest.mark.parametrize("calibrate", [True, False])
def test_losses_and_their_gradient_are_those_of_rows_one_by_one(parts, calibrate):
    vectors = drawn(parts[0]).requires_grad_()
    losses = []
    for text, gold in EXAMPLES:
        row = torch.stack([plainly(*parts, vectors, text, label) for label in PROMPT.labels])
        if calibrate:
            row = row - sum(torch.stack([plainly(*parts, vectors, n, label) for label in PROMPT.labels]) for n in NEUTRAL) / 3
        losses.append(row.logsumexp(0) - row[PROMPT.labels.index(gold)])
    expected = torch.stack(losses)
    found, _ = Reading(*parts, PROMPT, calibrate=calibrate).behind(EXAMPLES, batch=2).losses(vectors)
    assert found.tolist() == pytest.approx(expected.tolist(), abs=1e-4)
    wanted, got = (torch.autograd.grad(each.sum(), vectors)[0] for each in (expected, found))
    assert torch.allclose(wanted, got, atol=1e-4)


def test_a_prompt_with_vectors_in_its_file_scores_as_they_did(parts):
    vectors = drawn(parts[0])
    once = Reading(*parts, PROMPT).behind(EXAMPLES).score(vectors)
    kept = prompt_from_json(replace(PROMPT, vectors=vectors_text(vectors)).to_json())
    assert torch.equal(vectors_of(kept.vectors, vectors.shape[1]), vectors)
    assert Reading(*parts, kept).score(EXAMPLES).loss_sum == pytest.approx(once.loss_sum, abs=1e-6)


def test_a_point_of_the_subspace_lies_about_as_far_away_as_words_do(parts):
    table = torch.randn(500, 40) * 0.3
    room = subspace(table, length=5, dimensions=100, seed=1)
    there = room.vectors(np.random.default_rng(0).standard_normal(100)) - room.start
    assert float(there.std()) == pytest.approx(0.3, rel=0.2)
    assert all(any(torch.equal(row, word) for word in table) for row in room.start)
    assert not torch.equal(room.start, subspace(table, length=5, dimensions=100, seed=2).start)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("%%", "no base64"),
        ("AAAA", "no multiple of the backbone's width"),
        (vectors_text(torch.full((1, 4), math.nan)), "NaN or infinity"),
    ],
)
def test_vectors_that_cannot_be_used_are_named(text, match):
    with pytest.raises(SettingError, match=match):
        vectors_of(text, 4)
