"""Each tuning says how its result is written, and writes it so."""

from types import SimpleNamespace

import pytest
import torch

from fedtailor.errors import SettingError
from fedtailor.export.forms import check_early, check_possible, other_form, possible_forms
from fedtailor.models import load_backbone
from fedtailor.tuning import Adapter, FedSB, Full, Lora, LoraAmong, PeftMethod, Prefix, Prompt, written

SMALL = [
    Lora(rank=2),
    FedSB(rank=2, alpha=2),
    Full(),
    Adapter(width=4),
    Prefix(length=2, hidden=8),
    Prompt(length=2),
    PeftMethod(type="ia3"),
]


@pytest.mark.parametrize("tuning", SMALL, ids=lambda tuning: tuning.kind)
def test_the_files_are_those_that_it_names(tuning, tiny_backbone_folder, tmp_path):
    backbone = load_backbone(str(tiny_backbone_folder), device=torch.device("cpu"), base=tmp_path, seed=0)
    model = tuning.attach(backbone.model, 0)
    tuning.save(model, tmp_path)
    assert all((tmp_path / name).is_file() for name in written(tuning).files)
    whole = sum(parameter.numel() for parameter in set(tuning.parameters(model).values())) == backbone.parameters
    assert written(tuning).every_weight == whole


def test_folders_and_forms():
    assert {tuning.kind: (written(tuning).folder, *written(tuning).forms) for tuning in SMALL} == {
        "lora": ("adapter", "merged", "peft"),
        "fed-sb": ("adapter", "merged", "peft"),
        "full": ("model", "merged"),
        "adapter": ("adapter", "adapter"),
        "prefix": ("adapter", "peft"),
        "prompt": ("adapter", "peft"),
        "peft": ("adapter", "merged", "peft"),
    }
    assert possible_forms(Lora(), pooled=True) == ("pooled", "adapter")
    assert (other_form(Lora(), "merged", pooled=False), other_form(Full(), "merged", pooled=False)) == ("peft", "")


def test_one_that_says_nothing_is_written_as_an_adapter_of_peft():
    assert written(SimpleNamespace(kind="mine")) == written(Lora())
    assert written(LoraAmong(tuning=Lora())) == written(Lora())


@pytest.mark.parametrize(
    ("tuning", "to", "words"),
    [
        (Full(), "peft", "to peft and tuning full do not go together: every weight was trained, so there is no adapter; try --to merged"),
        (Prefix(), "merged", "a prefix stands before the text, not in the weights; try --to peft"),
        (Adapter(), "merged", "they join no weights, and PEFT has no such method; try --to adapter"),
        (Lora(), "adapter", "that form is for bottleneck adapters, and for heads that read the mean; try --to merged"),
        (Lora(), "pooled", "for heads that read the mean (task.pooling: mean); try --to merged"),
    ],
)  # fmt: skip
def test_a_form_that_there_is_not_is_answered_with_the_reason(tuning, to, words):
    with pytest.raises(SettingError) as error:
        check_possible(tuning, to, pooled=False)
    assert str(error.value).endswith(words)


def test_a_form_of_a_pooled_head_is_not_refused_before_the_head_is_known():
    check_early(Lora(), "pooled")
    with pytest.raises(SettingError, match="try --to peft"):
        check_early(Prompt(), "merged")
