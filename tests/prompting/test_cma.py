import numpy as np
import pytest

from fedtailor.errors import SettingError
from fedtailor.prompting.cma import Strategy, ask, start, tell


def search(generations, *, n=8, cloud=None, begin=0, covariance="full"):
    strategy = Strategy(dimensions=n, population=12, covariance=covariance)
    cloud = cloud or start(np.full(n, 2.0), 1.0)
    scale = 10.0 ** np.linspace(0, 2, n)  # a bowl 100 times as steep in one direction as in another
    for generation in range(begin, generations):
        candidates = ask(cloud, strategy, np.random.default_rng(generation))
        cloud = tell(cloud, strategy, candidates, ((candidates**2) * scale).sum(1).tolist())
    return cloud


def test_it_finds_the_bottom_of_a_long_bowl():
    assert np.abs(search(300).mean).max() < 1e-5


@pytest.mark.parametrize(("covariance", "generations"), [("diagonal", 120), ("none", 1500)])
def test_less_of_the_covariance_finds_it_too(covariance, generations):
    cloud = search(generations, covariance=covariance)
    assert np.abs(cloud.mean).max() < 1e-4
    assert np.array_equal(cloud.covariance, np.diag(cloud.covariance.diagonal()))
    assert np.array_equal(cloud.axes, np.eye(8))


def test_weights_sum_to_one_and_fall():
    # (ln 2.5 - ln 1, ln 2.5 - ln 2) = 0.91629, 0.22314, of their sum 1.13943
    assert Strategy(dimensions=3, population=4).weights == pytest.approx([0.80416, 0.19584], abs=1e-5)


def test_resumed_equals_unbroken():
    half = search(20)
    assert np.array_equal(search(40, cloud=half, begin=20).mean, search(40).mean)


def test_a_loss_that_is_no_number_is_the_worst():
    strategy, cloud = Strategy(dimensions=2, population=4), start(np.zeros(2), 1.0)
    candidates = np.array([[1.0, 0.0], [2.0, 0.0], [3.0, 0.0], [4.0, 0.0]])
    one = tell(cloud, strategy, candidates, [np.nan, 1.0, 2.0, 3.0])
    assert one.mean[0] == pytest.approx(0.80416 * 2 + 0.19584 * 3, abs=1e-4)


def test_too_small_a_population_is_refused():
    with pytest.raises(SettingError, match="population >= 4"):
        Strategy(dimensions=2, population=3)


def test_the_library_cma_agrees():
    cma = pytest.importorskip("cma", reason="the library cma is not installed")
    options = {"popsize": 12, "CMA_active": False, "verbose": -9, "seed": 1, "CMA_mirrors": 0, "updatecovwait": 0}
    theirs = cma.CMAEvolutionStrategy([2.0] * 4, 1.0, options)
    strategy, ours = Strategy(dimensions=4, population=12), start(np.full(4, 2.0), 1.0)
    for _ in range(8):  # both see the same candidates
        candidates = np.array(theirs.ask())
        losses = (candidates**2 * [1, 4, 9, 16]).sum(1).tolist()
        theirs.tell(list(candidates), losses)
        ours = tell(ours, strategy, candidates, losses)
        assert ours.mean == pytest.approx(theirs.mean, rel=1e-6, abs=1e-9)
        assert ours.sigma == pytest.approx(theirs.sigma, rel=0.1)
