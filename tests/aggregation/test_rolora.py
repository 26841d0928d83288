"""RoLoRA: B in odd rounds, A in even ones."""

from updates import pair, update

from fedtailor.aggregation import RoLora


def test_factors_are_trained_in_turn_from_b_on():
    names = ("m.lora_A.weight", "m.lora_B.weight", "classifier.weight")
    found = [[RoLora().trains(round)(name) for name in names] for round in (1, 2, 3)]
    assert found == [[False, True, True], [True, False, True], [False, True, True]]


def test_what_rested_is_passed_on():
    # A: 7 + (1 * 2 + 3 * 6) / 4 = 12
    params = pair([[1.0]], [[7.0]])
    updates = [update({"m.lora_A.weight": [[2.0]]}, weight=1), update({"m.lora_A.weight": [[6.0]]}, weight=3)]
    shared = RoLora().combine(updates, params, {}).shared
    assert {name: tensor.item() for name, tensor in shared.items()} == {"m.lora_A.weight": 12.0, "m.lora_B.weight": 1.0}
