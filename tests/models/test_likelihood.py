import pytest
import torch
from transformers import AutoModelForCausalLM

from fedtailor.errors import SettingError
from fedtailor.models.likelihood import SharedStart, packed

HEAD = [5, 6, 7, 8]
TAILS = [[10, 11, 12], [13], [14, 15]]
ANSWERS = [[20, 21, 22], [20], [23, 24]]


@pytest.fixture(scope="module", params=["tiny_backbone_folder", "tiny_gpt2_folder"])
def model(request):
    return AutoModelForCausalLM.from_pretrained(request.getfixturevalue(request.param), dtype=torch.float32).eval()


def plainly(model, start, answer):
    """The sum by one row and no cache."""
    ids = torch.tensor([[*start, *answer]])
    with torch.inference_mode():
        logp = model(input_ids=ids).logits[0].log_softmax(-1)
    return sum(float(logp[len(start) - 1 + at, token]) for at, token in enumerate(answer))


@pytest.mark.parametrize("head", [HEAD, []])
@pytest.mark.parametrize("batch", [1, 2, 16])
def test_sums_are_those_of_rows_without_a_cache(model, head, batch):
    found = SharedStart(model, head).log_likelihoods(TAILS, [ANSWERS] * 3, batch=batch)
    for tail, row in zip(TAILS, found, strict=True):
        assert row == pytest.approx([plainly(model, [*head, *tail], answer) for answer in ANSWERS], abs=1e-4)


def test_a_start_is_not_changed_by_use(model):
    start = SharedStart(model, HEAD)
    assert start.log_likelihoods(TAILS, [ANSWERS] * 3) == start.log_likelihoods(TAILS, [ANSWERS] * 3)


def test_an_answer_sees_its_text_and_itself_alone():
    ids, places, sees = packed([[1, 2], [3]], [[[4], [5, 6]], [[7], [8]]], width=2)
    assert ids.tolist() == [[1, 2, 4, 5, 6], [0, 3, 7, 8, 0]]
    assert places.tolist() == [[0, 1, 2, 2, 3], [0, 0, 1, 1, 0]]
    assert sees[0, 4].tolist() == [True, True, False, True, True]
    assert sees[1, 3].tolist() == [False, True, False, True, False]


def test_what_has_no_token_or_no_room_is_named(model):
    start = SharedStart(model, HEAD)
    with pytest.raises(SettingError, match="no token"):
        start.log_likelihoods([[1]], [[[]]])
    with pytest.raises(SettingError, match="the prompt alone has 4"):
        start.log_likelihoods([[1] * 100_000], [[[2]]])
