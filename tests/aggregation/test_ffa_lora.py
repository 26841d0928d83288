"""FFA-LoRA: A rests, B is averaged."""

import pytest
import torch
from updates import pair, update

from fedtailor.aggregation import FfaLora


def test_only_a_rests():
    trains = FfaLora().trains(1)
    names = ("m.lora_A.weight", "m.lora_B.weight", "classifier.weight")
    assert [trains(name) for name in names] == [False, True, True]


def test_b_is_averaged_and_a_passed_on():
    # B: 1 + (1 * 2 + 3 * 6) / 4 = 6
    params = pair([[1.0]], [[7.0]])
    updates = [update({"m.lora_B.weight": [[2.0]]}, weight=1), update({"m.lora_B.weight": [[6.0]]}, weight=3)]
    shared = FfaLora().combine(updates, params, {}).shared
    assert {name: tensor.item() for name, tensor in shared.items()} == {"m.lora_A.weight": 7.0, "m.lora_B.weight": 6.0}
    assert list(shared) == list(params)


def test_a_tuning_without_factors_is_refused():
    from fedtailor.errors import SettingError

    with pytest.raises(SettingError, match=r"ffa-lora.*tuning: \{kind: lora\}"):
        FfaLora().init({"prompt": torch.ones(1)})
