"""Rules that take updates of different ranks."""

from dataclasses import replace

import pytest
import torch
from updates import MODULES, RANKS, dense, dense_rule, ideal, params_for, updates_for

from fedtailor.aggregation import AGGREGATIONS, FedAvg
from fedtailor.interfaces import RuleTraits, traits_of

RULES = [cls() for cls in AGGREGATIONS.values()]


@pytest.mark.parametrize("rule", [rule for rule in RULES if traits_of(rule).any_ranks], ids=lambda rule: rule.kind)
class TestUnequalRanks:
    @pytest.mark.parametrize("equal", [True, False], ids=["equal", "unequal"])
    @pytest.mark.parametrize("clients", range(2, 9))
    def test_the_result_is_that_of_the_dense_formula(self, rule, clients, equal):
        params = params_for(rule, rank=4)
        updates = updates_for(rule, params, clients, equal=equal, ranks=RANKS)
        outcome = rule.combine(updates, params, rule.init(params))
        off, whole = [], []
        for module in MODULES:
            want = dense_rule(rule, params, updates, module)
            got = dense(outcome.shared, module)
            assert torch.linalg.norm(got - want) <= 1e-5 * torch.linalg.norm(want)
            off.append(ideal(params, updates, module) - got)
            whole.append(ideal(params, updates, module))
        if rule.kind != "flora":  # whose bias leaves out what was carried before
            want = float(torch.linalg.norm(torch.stack(off)) / torch.linalg.norm(torch.stack(whole)))
            assert outcome.figures["bias"] == pytest.approx(want, rel=1e-5)
        form = [(name, t.dtype, t.shape) for name, t in params.items()]
        assert [(name, t.dtype, t.shape) for name, t in outcome.shared.items()] == form

    def test_other_tensors_are_averaged_plainly(self, rule):
        params = params_for(rule, rank=4)
        updates = updates_for(rule, params, 4, ranks=RANKS)
        head = [replace(one, delta={"classifier.weight": one.delta["classifier.weight"]}) for one in updates]
        want = FedAvg().combine(head, {"classifier.weight": params["classifier.weight"]}, {}).shared["classifier.weight"]
        assert torch.equal(rule.combine(updates, params, rule.init(params)).shared["classifier.weight"], want)


def test_three_rules_take_any_ranks():
    assert {rule.kind for rule in RULES if traits_of(rule).any_ranks} == {"flexlora", "raflora", "flora"}


def test_a_rule_of_somebodys_own_need_not_say_what_it_is_like():
    class Mine: ...

    assert traits_of(Mine()) == RuleTraits()
    assert not any((traits_of(Mine()).linear, traits_of(Mine()).any_ranks, traits_of(Mine()).carry))
