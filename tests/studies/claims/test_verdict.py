"""The rule, by numbers worked out by hand: with three seeds the half width is 4.3027 · sd / √3 = 2.4841 · sd."""

import pytest

from fedtailor.errors import SettingError
from fedtailor.studies.claims import Claim, Comparison, Evidence, judge, verdict_of


def claim(*compare, **facts):
    return Claim(id="x", says="…", measure="…", command="fedtailor show RUN", compare=compare, hours=1, **facts)


def line(*effects, comparison="main", **facts):
    return Evidence(
        claim="x", comparison=comparison, origin="measured", commit="c", machine="m", size="s", effects=effects, **facts
    )


def verdict(comparison, *lines, **facts):
    whole = claim(comparison, **facts)
    return verdict_of(whole, judge(whole, lines))


def test_the_interval_is_students():
    assert line(1.0, 2.0, 3.0).interval() == pytest.approx((2 - 2.4841, 2 + 2.4841), abs=1e-3)  # sd 1
    assert line(mean=2.0, sd=1.0, n=3).interval() == pytest.approx(line(1.0, 2.0, 3.0).interval())
    assert line(1.0).interval() is None
    assert line(mean=2.0).interval() is None


@pytest.mark.parametrize(
    ("effects", "word"),
    [
        ((-3.0, -2.9, -3.1), "reproduced"),  # -3.25 to -2.75 reaches -3
        ((-2.0, -2.1, -1.9), "direction reproduced"),  # -2.25 to -1.75
        ((-3.0, -1.0, 1.0), "open"),  # -5.97 to 3.97
        ((2.0, 2.1, 1.9), "contradicted"),
        ((0.01, -0.01, 0.0), "contradicted"),  # within ±0.1: too small to matter
        ((-3.0, -3.0), "open"),
    ],
)
def test_a_claim_of_less(effects, word):
    comparison = Comparison(direction="lower", size=-3.0, matters=0.1)
    assert verdict(comparison, line(*effects)) == word
    mirrored = Comparison(direction="higher", size=3.0, matters=0.1)
    assert verdict(mirrored, line(*(-each for each in effects))) == word


@pytest.mark.parametrize(
    ("effects", "word"),
    [((0.01, 0.02, 0.0), "reproduced"), ((0.5, 0.51, 0.49), "contradicted"), ((0.0, 0.2, 0.1), "open")],
)
def test_a_claim_of_the_same(effects, word):
    assert verdict(Comparison(direction="same", matters=0.1), line(*effects)) == word


def test_same_needs_to_know_what_counts():
    with pytest.raises(SettingError, match="matters"):
        Comparison(direction="same")


def test_what_does_not_depend_on_chance_is_counted_once():
    less = Comparison(direction="lower", size=-0.93, margin=0.01)
    assert verdict(less, line(-0.927)) == "open"
    assert verdict(less, line(-0.927), counted=True) == "reproduced"
    assert verdict(less, line(-0.5), counted=True) == "direction reproduced"


def test_more_seeds_count_more_and_of_equals_the_last():
    lower = Comparison(direction="lower")
    ends, rises = line(-1.0, -1.1, -0.9), line(1.0, 1.1, 0.9)
    assert verdict(lower, ends, rises) == "contradicted"
    assert verdict(lower, line(-1.0, -1.1, -0.9, -1.0), rises) == "reproduced"


def test_several_comparisons_must_all_hold():
    whole = claim(Comparison(name="a", direction="lower"), Comparison(name="b", direction="lower"))

    def of(*lines):
        return verdict_of(whole, judge(whole, lines))

    down, up, unsure = (-1.0, -1.1, -0.9), (1.0, 1.1, 0.9), (-1.0, 1.0, 0.0)
    assert of(line(*down, comparison="a"), line(*down, comparison="b")) == "reproduced"
    assert of(line(*down, comparison="a"), line(*up, comparison="b")) == "mixed"
    assert of(line(*up, comparison="a"), line(*unsure, comparison="b")) == "contradicted"
    assert of(line(*down, comparison="a"), line(*unsure, comparison="b")) == "open"
    assert of(line(*down, comparison="a")) == "open"
    assert of() == "not run"
