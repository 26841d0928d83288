"""Rules that stand hostile clients: worked by hand, against dense matrices, and with clients that send anything."""

from dataclasses import replace

import pytest
import torch
from updates import MODULES, SCALE, a_of, b_of, dense, pair, random_params, random_updates, trained, update

from fedtailor.aggregation import AGGREGATIONS, ROBUST, Bucketing, GeometricMedian, Krum, Median, MultiKrum, NormClip, TrimmedMean
from fedtailor.aggregation.robust.updates import hold
from fedtailor.errors import EmptyRound, SettingError
from fedtailor.interfaces import RuleTraits, traits_of

START = {"a": torch.tensor([10.0])}
EVERY = [AGGREGATIONS[kind]() for kind in (*ROBUST, "bucketing")]


def along(*values):
    """Return clients whose update is one number each, on top of 10; weights that nobody may look at differ."""
    return [update({"a": [value]}, weight=10.0**k, client=f"c{k}") for k, value in enumerate(values)]


def stepped(rule, updates, params=START):
    outcome = rule.combine(updates, params, rule.init(params))
    return outcome, (outcome.shared["a"] - params["a"]).tolist()


def test_krum_takes_the_one_with_the_nearest_neighbours():
    # f 1 of 5: the two nearest count; 1.5 has 0.5^2 + 0.5^2, 1 and 2 have 0.5^2 + 1, 0 has 1 + 1.5^2, and 100 is far from all
    outcome, step = stepped(Krum(hostile=1), along(0.0, 1.0, 1.5, 2.0, 100.0))
    assert step == [1.5]
    assert outcome.shares == {"c0": 0.0, "c1": 0.0, "c2": 1.0, "c3": 0.0, "c4": 0.0}


def test_multi_krum_leaves_out_as_many_as_may_be_hostile():
    outcome, step = stepped(MultiKrum(hostile=1), along(0.0, 1.0, 1.5, 2.0, 100.0))
    assert step == [1.125]  # (0 + 1 + 1.5 + 2) / 4
    assert outcome.shares == {"c0": 0.25, "c1": 0.25, "c2": 0.25, "c3": 0.25, "c4": 0.0}
    _, step = stepped(MultiKrum(), along(0.0, 1.0, 1.5, 2.0, 100.0))  # of 5, one may be hostile at most
    assert step == [1.125]


def test_the_geometric_median_of_a_line_and_of_a_triangle():
    _, step = stepped(GeometricMedian(), along(0.0, 1.0, 1.5, 2.0, 100.0))
    assert step == pytest.approx([1.5], abs=1e-5)
    # Fermat's point of a right triangle with legs 1 sees each side under 120 degrees: (x, x), x = (1 - 1 / sqrt 3) / 2
    corners = [update({"a": point}, client=name) for name, point in (("x", [0, 0]), ("y", [1, 0]), ("z", [0, 1]))]
    _, step = stepped(GeometricMedian(), corners, {"a": torch.zeros(2)})
    assert step == pytest.approx([(1 - 3**-0.5) / 2] * 2, abs=1e-5)


def test_norm_clip_shortens_what_is_longer():
    outcome, step = stepped(NormClip(), along(1.0, -2.0, 8.0))  # median length 2: (1 - 2 + 2) / 3
    assert step == pytest.approx([1 / 3], abs=1e-6)
    assert list(outcome.shares.values()) == pytest.approx([1 / 3, 1 / 3, 1 / 12])
    _, step = stepped(NormClip(norm=4.0), along(1.0, -2.0, 8.0))
    assert step == pytest.approx([1.0])


def test_median_and_trimmed_mean_work_value_by_value():
    start = {"a": torch.zeros(2)}
    four = [update({"a": point}) for point in ([1, 50], [2, 6], [3, 4], [90, 2])]
    assert stepped(Median(), four, start)[1] == [2.5, 5.0]
    assert stepped(Median(), four[:3], start)[1] == [2.0, 6.0]
    assert stepped(TrimmedMean(share=0.25), four, start)[1] == [2.5, 5.0]
    five = [*four, update({"a": [-90, 3]})]
    assert stepped(TrimmedMean(share=0.2), five, start)[1] == pytest.approx([2.0, 13 / 3])


def test_bucketing_hands_the_rule_means_of_buckets_and_shuffles_again_each_round():
    updates = along(*range(6))
    rule = Bucketing(size=3, rule=NormClip(norm=100.0))
    state, seen = rule.init(START), set()
    for _ in range(4):
        outcome = rule.combine(updates, START, state)
        assert outcome.shared["a"].item() == pytest.approx(12.5)  # nobody is clipped: the mean of all
        assert sum(outcome.shares.values()) == pytest.approx(1)
        seen.add(tuple(outcome.shares))
        state = outcome.state
    assert len(seen) > 1
    assert int(state["bucketing/round"]) == 4
    one_far = along(1.0, 1.0, 1.0, 1.0, 1.0, 1000.0)
    outcome = Bucketing(size=2, rule=Median()).combine(one_far, START, {"bucketing/round": torch.zeros(1, dtype=torch.int64)})
    assert outcome.shared["a"].item() == 11.0  # means 1, 1 and 500.5


def products_of(params, updates):
    return hold(updates, params, RuleTraits()).products()


def test_inner_products_are_those_of_dense_products_and_of_other_tensors():
    params = random_params()
    updates = random_updates(params, 5)
    rows = [
        torch.cat(
            [(SCALE * (dense(trained(params, one), module) - dense(params, module))).reshape(-1) for module in MODULES]
            + [one.delta["classifier.weight"].double().reshape(-1)]
        )
        for one in updates
    ]
    torch.testing.assert_close(products_of(params, updates), torch.stack(rows) @ torch.stack(rows).T, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("rule", [MultiKrum(hostile=2), GeometricMedian(), NormClip(), Krum()], ids=lambda rule: rule.kind)
@pytest.mark.parametrize("factor", [0.1, 30.0])
def test_the_same_product_as_other_factors_gets_the_same_shares(rule, factor):
    # (c B)(A / c) = B A: the same update, at a large distance between factors
    params = random_params()
    updates = [
        replace(one, delta={name: value.double() for name, value in one.delta.items()}) for one in random_updates(params, 8)
    ]
    turned = list(updates)
    for k in (1, 4):
        delta = dict(updates[k].delta)
        for module in MODULES:
            for name, c in ((b_of(module), factor), (a_of(module), 1 / factor)):
                delta[name] = c * (params[name].double() + delta[name]) - params[name].double()
        turned[k] = replace(updates[k], delta=delta)
    shares = [rule.combine(each, params, {}).shares for each in (updates, turned)]
    assert shares[0] == pytest.approx(shares[1], abs=1e-5)


@pytest.mark.parametrize("rule", EVERY, ids=lambda rule: rule.kind)
@pytest.mark.parametrize("sent", [1e30, 3e38, -1e6])
def test_one_client_may_send_any_numbers(rule, sent):
    params = random_params()
    honest = random_updates(params, 8, size=0.1)
    hostile = replace(honest[3], delta={name: torch.full_like(value, sent) for name, value in honest[3].delta.items()})
    shared = rule.combine([*honest[:3], hostile, *honest[4:]], params, rule.init(params)).shared
    for name, value in shared.items():
        assert torch.isfinite(value).all()
        assert (value.float() - params[name].float()).abs().max() < 2


@pytest.mark.parametrize("rule", EVERY, ids=lambda rule: rule.kind)
def test_clients_count_alike_whatever_they_say_of_their_examples(rule):
    params = random_params()
    updates = random_updates(params, 7)
    boosted = [replace(one, weight=1e9 if one.client == "client-2" else 1.0) for one in updates]
    one, other = (rule.combine(each, params, rule.init(params)).shared for each in (updates, boosted))
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    ("rule", "least"),
    [
        (Krum(hostile=2), 7),
        (MultiKrum(hostile=1), 5),
        (MultiKrum(), 3),
        (Median(), 3),
        (TrimmedMean(share=0.1), 10),
        (TrimmedMean(share=0.3), 4),
        (Bucketing(size=2, rule=Krum(hostile=1)), 9),
        (NormClip(), 1),
    ],
)
def test_too_few_updates_are_no_round(rule, least):
    assert traits_of(rule).least == least
    with pytest.raises(EmptyRound):
        rule.combine(along(*range(least - 1)), START, rule.init(START))
    rule.combine(along(*range(least)), START, rule.init(START))


@pytest.mark.parametrize(
    ("cls", "settings", "words"),
    [
        (Krum, {"hostile": -1}, "hostile"),
        (MultiKrum, {"hostile": -1}, "hostile"),
        (TrimmedMean, {"share": 0.5}, "median"),
        (TrimmedMean, {"share": 0.0}, "at least 1e-06"),
        (NormClip, {"norm": 0.0}, "above 0"),
        (NormClip, {"norm": float("nan")}, "above 0"),
        (Bucketing, {"size": 1}, "at least 2"),
    ],
)
def test_bad_settings_are_refused(cls, settings, words):
    with pytest.raises(SettingError, match=words):
        cls(**settings)


@pytest.mark.parametrize("rule", [Median(on="products"), TrimmedMean(on="products", share=0.34)], ids=lambda rule: rule.kind)
def test_the_middle_of_products_by_hand_and_whatever_the_factors(rule):
    # of rank 1: products 2 [1, 1], 3 [1, 1] and 100 [-1, 1]; value by value the middle of (2, 3, -100) is 2, of (2, 3, 100) 3
    params = pair([[1.0]], [[0.0, 0.0]])
    sent = [([[2.0]], [[1.0, 1.0]]), ([[6.0]], [[0.5, 0.5]]), ([[10.0]], [[-10.0, 10.0]])]
    updates = [
        replace(update({}, client=f"c{k}"), delta={name: value - params[name] for name, value in pair(b, a).items()})
        for k, (b, a) in enumerate(sent)
    ]
    outcome = rule.combine(updates, params, rule.init(params))
    product = outcome.shared[b_of("m")] @ outcome.shared[a_of("m")]
    torch.testing.assert_close(product, torch.tensor([[2.0, 3.0]]))
    assert outcome.figures["bias"] == pytest.approx(0.0, abs=1e-6)
    assert traits_of(rule).refactors
    assert not traits_of(Median()).refactors
