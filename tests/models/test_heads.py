from pathlib import Path

import pytest
import torch

from fedtailor.errors import BackboneError
from fedtailor.models import load_backbone, logits_at
from fedtailor.tuning import Lora, Prefix, Prompt

IDS = torch.tensor([[5, 17, 130, 240, 9], [33, 2, 2, 80, 121]])
TARGET = torch.tensor([[False, True, False, True, True], [True, False, False, False, True]])


def load(folder: Path, **more):
    return load_backbone(str(folder), device=torch.device("cpu"), base=Path(), seed=0, **more).model


@pytest.fixture(params=["tiny_backbone_folder", "tiny_gpt2_folder"])
def folder(request: pytest.FixtureRequest) -> Path:
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize("wrap", [False, True], ids=["plain", "lora"])
def test_logits_are_those_of_the_selected_places_in_order(folder, wrap):
    model = load(folder)
    if wrap:
        model = Lora(rank=2).attach(model, 0).eval()
    whole = model(input_ids=IDS).logits
    with logits_at(model, TARGET):
        chosen = model(input_ids=IDS).logits
    wanted = torch.stack([whole[0, 1], whole[0, 3], whole[0, 4], whole[1, 0], whole[1, 4]])
    assert chosen.shape == (5, whole.shape[-1])
    torch.testing.assert_close(chosen, wanted, atol=1e-6, rtol=0)
    assert model(input_ids=IDS).logits.shape == whole.shape  # the hook is gone


@pytest.mark.parametrize(("tuning", "front"), [(Prompt(length=3), 3), (Prefix(length=3, hidden=4), 0)], ids=["prompt", "prefix"])
def test_places_are_those_of_the_text_where_something_stands_in_front(folder, tuning, front):
    model = tuning.attach(load(folder), 0)
    whole = model(input_ids=IDS).logits
    assert whole.shape[1] == IDS.shape[1] + front
    with logits_at(model, TARGET):
        chosen = model(input_ids=IDS).logits
    torch.testing.assert_close(chosen, whole[:, front:][TARGET], atol=1e-6, rtol=0)


def test_gradients_are_those_of_the_whole_logits(folder):
    tuning = Lora(rank=2)
    model = tuning.attach(load(folder), 0)
    for parameter in tuning.parameters(model).values():
        parameter.data.add_(0.05)

    def gradients(logits):
        model.zero_grad()
        torch.nn.functional.cross_entropy(logits, torch.arange(5), reduction="sum").backward()
        return {name: p.grad.clone() for name, p in tuning.parameters(model).items()}

    whole = gradients(model(input_ids=IDS).logits[TARGET])
    with logits_at(model, TARGET):
        chosen = gradients(model(input_ids=IDS).logits)
    for name in whole:
        torch.testing.assert_close(chosen[name], whole[name], atol=1e-6, rtol=1e-5)


def test_no_place_gives_no_logits(folder):
    model = load(folder)
    with logits_at(model, torch.zeros(2, 5, dtype=torch.bool)):
        assert model(input_ids=IDS).logits.shape[0] == 0


def test_the_hook_goes_also_when_the_block_fails(folder):
    model = load(folder)
    with pytest.raises(RuntimeError, match="stop"), logits_at(model, TARGET):
        raise RuntimeError("stop")
    assert model(input_ids=IDS).logits.shape[:2] == (2, 5)


def test_a_mask_of_another_shape_is_refused(folder):
    model = load(folder)
    with pytest.raises(BackboneError, match=r"\(2, 4\)"), logits_at(model, TARGET[:, :4]):
        model(input_ids=IDS)


def test_a_classifier_has_no_head_over_words(tiny_bert_folder):
    model = load(tiny_bert_folder, kind="classifier", labels=("a", "b"))
    with pytest.raises(BackboneError, match="no output head"), logits_at(model, TARGET):
        pass
