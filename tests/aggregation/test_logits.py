"""Rules for logits, against numbers worked out by hand and against dense formulas."""

import copy
import math

import pytest
import torch

from fedtailor.aggregation.logits import (
    LOGIT_AGGREGATIONS,
    Answer,
    Ensemble,
    EntropyReduced,
    EntropyWeights,
    LabelCounts,
    LogitAggregation,
    Mean,
)
from fedtailor.errors import SettingError, ShapeMismatch
from fedtailor.interfaces import traits_of

RULES = [cls() for cls in LOGIT_AGGREGATIONS.values()]


def answer(rows, client="a", examples=1, counts=None):
    """Return an answer of probabilities given as nested lists."""
    told = None if counts is None else torch.tensor(counts, dtype=torch.float32)
    return Answer(client=client, logp_MC=torch.tensor(rows).log(), examples=examples, label_counts_C=told)


def random_answers(clients=4, places=6, classes=5, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return [
        Answer(
            client=f"client-{k}",
            logp_MC=torch.log_softmax(3 * torch.randn(places, classes, generator=draw), -1),
            examples=1 + 3 * k,
            label_counts_C=torch.randint(0, 9, (classes,), generator=draw).float(),
        )
        for k in range(clients)
    ]


def combined(rule, *answers, complete=True):
    return rule.combine(answers, complete=complete).exp()


def close(found, wanted):
    torch.testing.assert_close(found, torch.tensor(wanted), rtol=1e-5, atol=1e-6)


def test_mean_of_logits_is_the_scaled_geometric_mean():
    # sqrt(0.5 * 0.9) : sqrt(0.5 * 0.1) = 3 : 1
    close(combined(Mean(), answer([[0.5, 0.5]]), answer([[0.9, 0.1]])), [[0.75, 0.25]])


def test_mean_of_probabilities_by_examples():
    # (3 * 0.5 + 1 * 0.9) / 4 = 0.6
    rule = Mean(of="probabilities", weights="examples")
    close(combined(rule, answer([[0.5, 0.5]], examples=3), answer([[0.9, 0.1]])), [[0.6, 0.4]])


def test_where_rows_are_cut_the_mean_is_that_of_probabilities():
    # (0.5 + 0.9) / 2 = 0.7
    close(combined(Mean(), answer([[0.5, 0.5]]), answer([[0.9, 0.1]]), complete=False), [[0.7, 0.3]])


def test_logits_of_mean_by_examples_do_not_hang_on_their_scale():
    draw = torch.Generator().manual_seed(3)
    raw = [torch.randn(4, 6, generator=draw) for _ in range(3)]
    answers = [Answer(client=str(k), logp_MC=torch.log_softmax(z, -1), examples=k + 1) for k, z in enumerate(raw)]
    wanted = torch.softmax(sum((k + 1) / 6 * z for k, z in enumerate(raw)), -1)
    torch.testing.assert_close(combined(Mean(of="logits", weights="examples"), *answers), wanted)


def test_entropy_reduction_sharpens_the_mean_probability():
    # means 0.6 and 0.4; the softmax of 6 and 4 gives 1 / (1 + e^-2) = 0.880797
    found = combined(EntropyReduced(temperature=0.1), answer([[0.4, 0.6]]), answer([[0.8, 0.2]]))
    close(found, [[0.880797, 0.119203]])


def test_entropy_reduction_is_refused_where_it_cannot_be_sure():
    EntropyReduced().check(77)  # e^10 / (e^10 + 76) = 0.997
    with pytest.raises(SettingError, match=r"leaves 30\.9%.*49,152.*below 0\.093.*mean"):
        EntropyReduced().check(49152)  # e^10 / (e^10 + 49151) = 0.3094
    EntropyReduced(temperature=0.09).check(49152)


def test_entropy_weights_trust_those_who_are_sure():
    # H(0.5, 0.5) = ln 2, H(1, 0) = 0: weights 2 e^(-ln 2) = 1 and 1 e^0 = 1, so that the mean is (0.75, 0.25)
    found = combined(EntropyWeights(), answer([[0.5, 0.5]], examples=2), answer([[1 - 1e-7, 1e-7]]))
    close(found, [[0.75, 0.25]])


def test_label_counts_weigh_class_by_class():
    # class 0: 3/4 * 0.8 + 1/4 * 0.4 = 0.7; class 1, which nobody has: (0.1 + 0.2) / 2 = 0.15; class 2: 0 * 0.1 + 1 * 0.4 = 0.4
    found = combined(LabelCounts(), answer([[0.8, 0.1, 0.1]], counts=[3, 0, 0]), answer([[0.4, 0.2, 0.4]], counts=[1, 0, 5]))
    close(found, [[0.7 / 1.25, 0.15 / 1.25, 0.4 / 1.25]])
    with pytest.raises(ShapeMismatch, match="1 of 2 clients reported no label counts"):
        combined(LabelCounts(), answer([[0.5, 0.5]], counts=[1, 1]), answer([[0.5, 0.5]]))


def test_the_ensemble_needs_weights_and_averages_logits():
    assert traits_of(Ensemble()).needs_weights
    close(combined(Ensemble(), answer([[0.5, 0.5]], examples=9), answer([[0.9, 0.1]])), [[0.75, 0.25]])


@pytest.mark.parametrize("rule", [EntropyReduced, EntropyWeights])
def test_temperatures_are_above_zero(rule):
    with pytest.raises(SettingError, match="above 0"):
        rule(temperature=0.0)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.kind)
class TestEveryRule:
    def test_it_keeps_the_promise(self, rule):
        assert LOGIT_AGGREGATIONS[rule.kind] is type(rule)
        described: LogitAggregation = rule
        described.check(77)

    @pytest.mark.parametrize("complete", [True, False])
    def test_rows_sum_to_one_in_float32(self, rule, complete):
        found = rule.combine(random_answers(), complete=complete)
        assert found.dtype == torch.float32
        torch.testing.assert_close(found.exp().sum(-1), torch.ones(6))

    def test_inputs_are_left_as_they_were(self, rule):
        answers = random_answers()
        before = copy.deepcopy(answers)
        rule.combine(answers, complete=True)
        assert all(torch.equal(now.logp_MC, then.logp_MC) for now, then in zip(answers, before, strict=True))

    def test_places_do_not_depend_on_each_other(self, rule):
        answers = random_answers()
        whole = rule.combine(answers, complete=True)
        for place in range(6):
            one = [
                Answer(
                    client=a.client, logp_MC=a.logp_MC[place : place + 1], examples=a.examples, label_counts_C=a.label_counts_C
                )
                for a in answers
            ]
            torch.testing.assert_close(rule.combine(one, complete=True)[0], whole[place])

    def test_one_client_alone_keeps_its_order(self, rule):
        only = random_answers(clients=1)
        only = [Answer(client="a", logp_MC=only[0].logp_MC, examples=5, label_counts_C=torch.ones(5))]
        found = rule.combine(only, complete=True)
        assert torch.equal(found.argsort(-1), only[0].logp_MC.argsort(-1))
        if rule.kind != "entropy-reduced":
            torch.testing.assert_close(found, only[0].logp_MC)

    def test_no_probability_is_lost_where_one_is_sure(self, rule):
        sure = torch.full((1, 5), -80.0)
        sure[0, 2] = 0.0
        answers = [Answer(client=c, logp_MC=sure, examples=2, label_counts_C=torch.ones(5)) for c in "ab"]
        found = rule.combine(answers, complete=True)
        assert bool(torch.isfinite(found).all())
        assert found[0].argmax() == 2
        assert math.exp(found[0, 2]) > 0.99
