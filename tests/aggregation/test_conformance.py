"""What every rule of aggregation promises."""

import copy
import weakref
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load, save
from updates import MODULES, SCALE, a_of, b_of, dense, ideal, params_for, random_params, random_updates, updates_for

from fedtailor.aggregation import AGGREGATIONS, FedAvg
from fedtailor.aggregation.factors.lowrank import pairs_of
from fedtailor.errors import SettingError
from fedtailor.interfaces import Aggregation, RuleTraits, traits_of
from fedtailor.records import Update

RULES = [cls() for cls in AGGREGATIONS.values()]
OPTIMIZERS = ("fedadam", "fedyogi", "fedadagrad")  # their step is not as long as the mean
EXACT = ("ffa-lora", "rolora", "fedsvd", "flora", "fedex-lora")  # the product of what they return is the mean of the products
AVERAGES = [rule for rule in RULES if rule.kind not in OPTIMIZERS and not traits_of(rule).alike]
TURNS = ("fedsvd", "flora", "fedex-lora")  # they change what they do not train: A, or what is carried


def several(rule, clients=3):
    """Return so many clients, or as many as the rule takes."""
    return max(clients, traits_of(rule).least)


def assert_same_bits(one, other):
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.kind)
class TestEveryRule:
    def test_it_keeps_the_promise(self, rule):
        assert AGGREGATIONS[rule.kind] is type(rule)
        described: Aggregation = rule
        assert isinstance(traits_of(described), RuleTraits)

    @pytest.mark.parametrize("round", [1, 2])
    def test_inputs_are_left_as_they_were(self, rule, round):
        params = params_for(rule)
        updates, state = updates_for(rule, params, 5, round=round), rule.init(params)
        before = copy.deepcopy((updates, params, state))
        rule.combine(updates, params, state)
        for now, then in zip((params, state), before[1:], strict=True):
            assert_same_bits(now, then)
        for now, then in zip(updates, before[0], strict=True):
            assert_same_bits(now.delta, then.delta)
            assert_same_bits(now.extra, then.extra)

    @pytest.mark.parametrize("round", [1, 2])
    def test_names_order_shapes_and_dtypes_are_kept(self, rule, round):
        params = params_for(rule)
        outcome = rule.combine(updates_for(rule, params, several(rule), round=round), params, rule.init(params))
        form = [(name, t.dtype, t.shape) for name, t in params.items()]
        assert [(name, t.dtype, t.shape) for name, t in outcome.shared.items()] == form
        assert all(t.is_contiguous() for t in (*outcome.shared.values(), *outcome.state.values()))

    def test_what_it_does_not_train_it_leaves(self, rule):
        params, trains = params_for(rule), rule.trains(2)
        shared = rule.combine(updates_for(rule, params, several(rule), round=2), params, rule.init(params)).shared
        if rule.kind not in TURNS:
            assert all(torch.equal(shared[name], params[name]) for name in params if not trains(name))

    def test_resumed_equals_unbroken(self, rule):
        unbroken = resumed = params_for(rule)
        state = kept = rule.init(unbroken)
        for round in range(1, 5):
            updates = updates_for(rule, unbroken, several(rule), round=round, seed=round)
            one = rule.combine(updates, unbroken, state)
            other = type(rule)().combine(updates, load(save(dict(resumed))), load(save(dict(kept))))
            unbroken, state, resumed, kept = one.shared, one.state, other.shared, other.state
        assert_same_bits(unbroken, resumed)
        assert_same_bits(state, kept)

    def test_updates_are_taken_in_the_order_given_from_any_iterable(self, rule):
        params = params_for(rule)
        updates = updates_for(rule, params, 5)
        listed = rule.combine(updates, params, rule.init(params))
        streamed = rule.combine(iter(updates), params, rule.init(params))
        assert_same_bits(listed.shared, streamed.shared)
        turned = rule.combine(updates[::-1], params, rule.init(params))
        for name, tensor in listed.shared.items():
            torch.testing.assert_close(
                turned.shared[name], tensor, rtol=1e-2 if tensor.dtype == torch.bfloat16 else 1e-4, atol=1e-4
            )

    def test_other_tensors_than_factors_are_averaged_plainly(self, rule):
        if rule not in AVERAGES:
            pytest.skip("its step is not the mean")
        params = params_for(rule)
        updates = updates_for(rule, params, 4)
        want = FedAvg().combine(random_updates(params, 4, trains=rule.trains(1)), params, {}).shared["classifier.weight"]
        assert torch.equal(rule.combine(updates, params, rule.init(params)).shared["classifier.weight"], want)

    def test_clients_that_differ_in_alpha_over_rank_are_refused(self, rule):
        params = params_for(rule)
        one, other = updates_for(rule, params, 2)
        with pytest.raises(SettingError, match="client-1"):
            rule.combine([one, replace(other, scale=dict.fromkeys(MODULES, 1.0))], params, rule.init(params))

    def test_figures_are_finite_numbers(self, rule):
        params = params_for(rule)
        figures = rule.combine(updates_for(rule, params, several(rule, 4)), params, rule.init(params)).figures
        assert all(isinstance(value, float) and value == value for value in figures.values())  # noqa: PLR0124


@pytest.mark.parametrize("rule", AVERAGES, ids=lambda rule: rule.kind)
@pytest.mark.parametrize("round", [1, 2])
def test_one_client_alone_gets_its_product(rule, round):
    params = params_for(rule)
    updates = updates_for(rule, params, 1, round=round)
    outcome = rule.combine(updates, params, rule.init(params))
    for module in MODULES:
        torch.testing.assert_close(dense(outcome.shared, module), ideal(params, updates, module), rtol=1e-5, atol=1e-5)
    assert outcome.figures.get("bias", 0.0) < 1e-6


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule.kind in EXACT], ids=lambda rule: rule.kind)
@pytest.mark.parametrize("round", [1, 2])
@pytest.mark.parametrize("equal", [True, False], ids=["equal", "unequal"])
@pytest.mark.parametrize("clients", range(2, 9))
def test_exact_rules_have_no_bias(rule, round, equal, clients):
    params = params_for(rule)
    updates = updates_for(rule, params, clients, round=round, equal=equal)
    shared = rule.combine(updates, params, rule.init(params)).shared
    for module in MODULES:
        want = ideal(params, updates, module)
        assert torch.linalg.norm(dense(shared, module) - want) <= 1e-5 * torch.linalg.norm(want)


@pytest.mark.parametrize("equal", [True, False], ids=["equal", "unequal"])
@pytest.mark.parametrize("clients", range(2, 9))
def test_flexlora_is_exact_where_the_rank_holds_the_mean(equal, clients):
    # clients that share A have a mean of rank r
    params = random_params()
    updates = random_updates(params, clients, equal=equal, trains=lambda name: "lora_A" not in name)
    outcome = AGGREGATIONS["flexlora"]().combine(updates, params, {})
    for module in MODULES:
        want = ideal(params, updates, module)
        assert torch.linalg.norm(dense(outcome.shared, module) - want) <= 1e-5 * torch.linalg.norm(want)
    assert outcome.figures["bias"] < 1e-6


@pytest.mark.parametrize("kind", ["fedavg", "fedavgm", "scaffold", "lora-fair", "fedrot-lora", "flexlora", "raflora"])
@pytest.mark.parametrize("equal", [True, False], ids=["equal", "unequal"])
@pytest.mark.parametrize("clients", range(2, 9))
def test_the_bias_reported_is_that_of_the_dense_matrices(kind, equal, clients):
    rule = AGGREGATIONS[kind]()
    params = params_for(rule)
    updates = updates_for(rule, params, clients, equal=equal)
    outcome = rule.combine(updates, params, rule.init(params))
    off = torch.stack([ideal(params, updates, module) - dense(outcome.shared, module) for module in MODULES])
    whole = torch.stack([ideal(params, updates, module) for module in MODULES])
    want = float(torch.linalg.norm(off) / torch.linalg.norm(whole))
    assert outcome.figures["bias"] == pytest.approx(want, rel=1e-5)
    assert want > 0.01


@pytest.mark.parametrize("rule", [rule for rule in RULES if traits_of(rule).carry], ids=lambda rule: rule.kind)
def test_what_does_not_fit_the_carried_rank_is_the_least_and_is_reported(rule):
    # the best of rank 1 beside what is trained on; nothing closer can be carried
    params = random_params(carry=1)
    updates = updates_for(rule, params, 4)
    outcome = rule.combine(updates, params, rule.init(params))
    off, carried, mean = [], [], []
    for module in MODULES:
        product = outcome.shared[b_of(module)].double() @ outcome.shared[a_of(module)].double()
        wanted = SCALE * (ideal(params, updates, module) - product)
        u, s, vt = torch.linalg.svd(wanted)
        got = outcome.shared[f"{module}.carried_B.weight"].double() @ outcome.shared[f"{module}.carried_A.weight"].double()
        torch.testing.assert_close(got, s[0] * torch.outer(u[:, 0], vt[0]), rtol=1e-5, atol=1e-5)
        off.append(wanted - got)
        carried.append(wanted)
        received = params[f"{module}.carried_B.weight"].double() @ params[f"{module}.carried_A.weight"].double()
        mean.append(SCALE * ideal(params, updates, module) - received)
    size = {name: float(torch.linalg.norm(torch.stack(each))) for name, each in (("off", off), ("all", carried), ("mean", mean))}
    assert outcome.figures["carry_error"] == pytest.approx(size["off"] / size["all"], rel=1e-5)
    assert outcome.figures["bias"] == pytest.approx(size["off"] / size["mean"], rel=1e-5)
    assert outcome.figures["bias"] > 0.01


@pytest.mark.parametrize("rule", [rule for rule in RULES if traits_of(rule).carry], ids=lambda rule: rule.kind)
def test_rules_that_carry_do_so_round_after_round(rule):
    # after three rounds all that was ever trained is there: each round's ideal is what the next one starts from
    shared = params_for(rule)
    state = rule.init(shared)
    for round in range(1, 4):
        updates = updates_for(rule, shared, 5, seed=round)
        outcome = rule.combine(updates, shared, state)
        for module in MODULES:
            torch.testing.assert_close(dense(outcome.shared, module), ideal(shared, updates, module), rtol=1e-5, atol=1e-4)
        assert max(outcome.figures.values()) < 1e-6
        shared, state = outcome.shared, outcome.state


def test_the_pairs_of_the_tests_are_found():
    assert [pair.module for pair in pairs_of(random_params())] == list(MODULES)


@pytest.mark.parametrize("rule", [rule for rule in RULES if traits_of(rule).linear], ids=lambda rule: rule.kind)
def test_an_update_is_let_go_before_the_next_is_asked_for(rule):
    params = params_for(rule)
    alive: list[weakref.ref[Update]] = []

    def arriving():
        for made in range(5):
            assert all(ref() is None for ref in alive), "an update is held while the next one arrives"
            one = updates_for(rule, params, 1, seed=made + 1)[0]
            alive.append(weakref.ref(one))
            yield one
            del one

    rule.combine(arriving(), params, rule.init(params))
    assert len(alive) == 5
