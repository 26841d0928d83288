"""FLoRA: the clients' factors are stacked and carried on, and the trained ones start fresh."""

import pytest
import torch
from updates import a_of, b_of, no_room, pair, random_params, random_updates, room, update

from fedtailor.aggregation import Flora
from fedtailor.errors import SettingError


def test_the_stack_is_carried_by_hand():
    # products 2 e1 e1' and 4 e2 e2' at weights 1 and 3 and alpha / rank 2: carried 2 (1/4 * 2 e1 e1' + 3/4 * 4 e2 e2') = e1 e1' + 6 e2 e2'
    params = room(pair([[0.0], [0.0]], [[0.0, 0.0]]), 2)
    one = update(pair([[2.0], [0.0]], [[1.0, 0.0]]), weight=1, client="a", scale={"m": 2.0})
    two = update(pair([[0.0], [4.0]], [[0.0, 1.0]]), weight=3, client="b", scale={"m": 2.0})
    outcome = Flora().combine([one, two], params, Flora().init(params))
    torch.testing.assert_close(outcome.shared["m.carried_B.weight"], torch.tensor([[0.0, 1.0], [6.0, 0.0]]))
    torch.testing.assert_close(outcome.shared["m.carried_A.weight"], torch.tensor([[0.0, 1.0], [1.0, 0.0]]))
    assert outcome.shared[b_of("m")].abs().max() == 0
    assert outcome.figures == {"bias": 0.0, "carry_error": 0.0}
    # with room for one the larger stays: 1 of sqrt(1 + 36) is lost
    narrow = room(pair([[0.0], [0.0]], [[0.0, 0.0]]), 1)
    outcome = Flora().combine([one, two], narrow, Flora().init(narrow))
    torch.testing.assert_close(outcome.shared["m.carried_B.weight"], torch.tensor([[0.0], [6.0]]))
    assert outcome.figures["carry_error"] == pytest.approx(1 / 37**0.5)


def test_each_round_draws_again_from_the_first_draw():
    def rounds(seed):
        params = random_params(seed=seed, carry=6)
        state, seen = Flora().init(params), []
        for _ in range(2):
            outcome = Flora().combine(random_updates(params, 2, trains=Flora().trains(1)), params, state)
            params, state = outcome.shared, outcome.state
            seen.append({name: value for name, value in params.items() if "lora_A" in name})
        return seen

    first, again, other = rounds(0), rounds(0), rounds(1)
    names = list(first[0])
    assert all(torch.equal(first[i][name], again[i][name]) for i in (0, 1) for name in names)
    assert not torch.equal(first[0][names[0]], first[1][names[0]])
    assert not torch.equal(first[0][names[0]], first[0][names[1]])
    assert not torch.equal(first[0][names[0]], other[0][names[0]])


def test_the_draw_is_that_of_a_fresh_adapter():
    # uniform in +-1 / sqrt(in): the variance is 1 / (3 in)
    params = room(pair([[0.0] * 50], torch.randn(50, 400).tolist()), 1)
    outcome = Flora().combine([update(pair([[0.0] * 50], [[0.0] * 400] * 50))], params, Flora().init(params))
    a = outcome.shared[a_of("m")]
    assert a.abs().max() <= 400**-0.5
    assert a.var().item() == pytest.approx(1 / 1200, rel=0.05)


def test_without_room_it_is_refused_and_so_is_a_rank_that_is_none():
    with pytest.raises(SettingError, match=r"flora carries a frozen factor.*tuning: \{kind: lora\}.*flexlora"):
        Flora().init(no_room(random_params(carry=1)))
    for carry in (0, -1, 1.5, True):
        with pytest.raises(SettingError, match="carry is the rank of the carried factor"):
            Flora(carry=carry)
