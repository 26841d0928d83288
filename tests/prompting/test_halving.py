import pytest

from fedtailor.errors import SettingError
from fedtailor.prompting import Halving, Prompt, Score, add_scores, advance, begin, builtin_pool, examples_of, state_from_json

SETTINGS = Halving(start=8, factor=2, keep=2, children=3, generations=2)
POOL = builtin_pool(["a", "b"])[:5]


def loss_of(prompt):
    """A made-up truth: short instructions and the later pool are better."""
    return 1 + len(prompt.instruction) / 100


def scored(state):
    return [Score(loss_sum=8 * loss_of(prompt), right=1, examples=8) for prompt in state.candidates]


def run(state, *, through_json=False):
    trail = []
    while state.part != "done":
        trail.append((state.part, state.generation, state.rung, len(state.candidates), examples_of(SETTINGS, state)))
        state = advance(SETTINGS, state, scored(state), seed=7)
        state = state_from_json(state.to_json()) if through_json else state
    return state, trail


def test_rungs_halve_and_the_test_part_is_seen_once():
    state, trail = run(begin(POOL))
    # 5 -> ceil(5 / 2) = 3 with 16 examples -> 2 kept; 2 + 3 children -> 3 -> 2; finalists, then the winner alone
    assert trail[:4] == [("train", 0, 0, 5, 8), ("train", 0, 1, 3, 16), ("train", 1, 0, 5, 8), ("train", 1, 1, 3, 16)]
    assert [step[0] for step in trail[4:]] == ["validation", "test"]
    assert trail[5][3] == 1
    assert state.winner == min(state.seen, key=loss_of)
    assert state.pool_best == min(POOL, key=loss_of)
    assert state.test_loss == loss_of(state.winner)


def test_resumed_at_every_rung_equals_unbroken():
    assert run(begin(POOL), through_json=True)[0].to_json() == run(begin(POOL))[0].to_json()


def test_ties_go_to_the_first():
    state = begin(POOL[:2])
    same = [Score(loss_sum=8, right=0, examples=8)] * 2
    assert advance(Halving(keep=1, generations=1), state, same, seed=0).candidates == (POOL[0],)


def test_a_loss_that_is_no_number_loses():
    state = begin(POOL[:2])
    scores = [Score(loss_sum=float("nan"), right=0, examples=8), Score(loss_sum=8, right=0, examples=8)]
    assert advance(Halving(keep=1, generations=1), state, scores, seed=0).candidates == (POOL[1],)


def test_clients_add_up():
    north, south = Score(loss_sum=1.5, right=1, examples=2), Score(loss_sum=2.5, right=3, examples=6)
    assert add_scores([[north], [south]]) == [Score(loss_sum=4.0, right=4, examples=8)]
    assert add_scores([[north], [south]])[0].loss == 0.5


def test_what_cannot_be_searched_is_named():
    with pytest.raises(SettingError, match="pool of prompts is empty"):
        begin([])
    with pytest.raises(SettingError, match="are the same"):
        begin([Prompt(instruction="x")] * 2)
    with pytest.raises(SettingError, match="factor is 1"):
        Halving(factor=1)
    with pytest.raises(SettingError, match="expected 5 scores"):
        advance(SETTINGS, begin(POOL), [], seed=0)
