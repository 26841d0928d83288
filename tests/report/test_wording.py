import pytest

from fedtailor.report.wording import change, figure, plural, spread_figure
from fedtailor.units import bytes_text, flops_text, seconds_text


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (1_850_000, "1.9 MB"), (250e9, "250 GB"), (2e18, "2000 PB")]
)
def test_bytes(count, text):
    assert bytes_text(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (9.96, "10.0 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (312, "5 min 12 s"), (7380, "2 h 03 min")],
)
def test_seconds(seconds, text):
    assert seconds_text(seconds) == text


def test_change():
    assert change(4.0, 3.0) == "−25 %"
    assert change(5.0, 56.8) == "× 11.4"
    assert change(0.0, 1.0) == ""
    assert change(None, 1.0) == ""
    assert change(1.0, float("inf")) == ""
    assert change(1.0, 1.0e10) == "× 1.00e10"


def test_figures():
    assert figure("loss", 1.2345) == "1.234"
    assert figure("loss", 1.2345, brief=True) == "1.23"
    assert figure("perplexity", 292.84, brief=True) == "293"
    assert figure("bleu", 56.84) == "56.8"
    assert figure("loss", float("nan")) == "–"
    assert figure("loss", None) == "–"
    assert figure("perplexity_word", 1.04e10) == "1.04e10"
    assert figure("perplexity_word", 1.04e10, brief=True) == "1.04e10"
    assert figure("perplexity", 2e8, brief=True) == "2.00e8"
    assert figure("perplexity", 99_999.0, brief=True) == "99,999"


@pytest.mark.parametrize("brief", [False, True])
@pytest.mark.parametrize(
    "metric", ["loss", "perplexity", "perplexity_word", "bleu", "accuracy", "cifar_fd", "prefix_cosine", "own"]
)
def test_a_figure_of_any_size_has_three_digits_at_least(metric, brief):
    for power in range(-12, 13):
        for value in (1.2345 * 10.0**power, -9.8765 * 10.0**power):
            shown = figure(metric, value, brief=brief)
            assert sum(sign.isdigit() for sign in shown.partition("e")[0].lstrip("-0.,")) >= 3, shown
            assert float(shown.replace(",", "")) == pytest.approx(value, rel=6e-3)
            assert len(shown) <= 12


def test_small_figures_and_ratios():
    assert figure("perplexity", 123_456.0, brief=True) == "1.23e5"
    assert figure("loss", 0.00042) == "0.000420"
    assert figure("loss", 3.21e-7) == "3.21e-7"
    assert figure("loss", 0.0) == "0.000"
    assert figure("", 3.24) == "3.2"  # a ratio
    assert figure("", 0.0523) == "0.0523"  # a divergence, an epsilon
    assert figure("rank", 2.5) == "2.5"
    assert (spread_figure("loss", 0.02), spread_figure("loss", 0.00012), spread_figure("loss", 0.0)) == (
        "0.020",
        "0.000120",
        "0.000",
    )
    assert (spread_figure("bleu", 0.42), spread_figure("bleu", None), spread_figure("perplexity", 3e7)) == ("0.4", "–", "3.00e7")


def test_words():
    assert flops_text(2.5e15) == "2.5 PFLOP"
    assert (plural(1, "client"), plural(2000, "client")) == ("1 client", "2,000 clients")
