"""Algebra on factors, against dense matrices."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from updates import pair, random_params, update

from fedtailor.aggregation.factors.held import Held, mean_and_bias
from fedtailor.aggregation.factors.lowrank import OneScale, Product, deviation, modules_of, pairs_of, require_factors, stacked
from fedtailor.errors import SettingError

SHAPES = st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 4), st.integers(1, 5), st.integers(0, 10**6))


def factors(out, inner, rank, clients, seed):
    draw = torch.Generator().manual_seed(seed)
    made = [(torch.randn(out, rank, generator=draw), torch.randn(rank, inner, generator=draw)) for _ in range(clients)]
    shares = torch.rand(clients, generator=draw).double() + 0.1
    return (shares / shares.sum()).tolist(), made


@settings(deadline=None, max_examples=50)
@given(SHAPES)
def test_the_bias_identity(shape):
    shares, made = factors(*shape)
    ideal = sum(p * b.double() @ a.double() for p, (b, a) in zip(shares, made, strict=True))
    mean_b = sum(p * b.double() for p, (b, _) in zip(shares, made, strict=True))
    mean_a = sum(p * a.double() for p, (_, a) in zip(shares, made, strict=True))
    off = deviation(shares, made)
    torch.testing.assert_close(off.left @ off.right, ideal - mean_b @ mean_a)
    assert off.norm() == pytest.approx(torch.linalg.norm(ideal - mean_b @ mean_a).item(), rel=1e-5, abs=1e-7)


@settings(deadline=None, max_examples=50)
@given(SHAPES)
def test_the_triplets_are_those_of_the_dense_matrix(shape):
    out, inner, rank, *_ = shape
    shares, made = factors(*shape)
    product = stacked(shares, made)
    whole = product.left @ product.right
    b, a = product.factors(rank)
    assert (b.shape, a.shape) == ((out, rank), (rank, inner))
    u, s, vt = torch.linalg.svd(whole, full_matrices=False)
    best = u[:, :rank] * s[:rank] @ vt[:rank]
    torch.testing.assert_close(b @ a, best, rtol=1e-7, atol=1e-9)
    kept = min(rank, out, inner)
    torch.testing.assert_close(b.norm(dim=0)[:kept], s[:kept], rtol=1e-7, atol=1e-9)
    rows = min(rank, inner)
    torch.testing.assert_close(a[:rows] @ a[:rows].T, torch.eye(rows).double())
    torch.testing.assert_close(product.minus(b, a).norm(), torch.linalg.norm(whole - best).item(), rtol=1e-4, atol=1e-6)


def test_a_matrix_that_is_zero_has_zero_triplets_and_finite_factors():
    b, a = Product(left=torch.zeros(4, 2).double(), right=torch.randn(2, 3).double()).factors(2)
    assert b.abs().max() == 0
    torch.testing.assert_close(a @ a.T, torch.eye(2).double())


def test_signs_are_fixed_by_the_largest_entry():
    # the same matrix from factors of other signs gives the same triplets
    left, right = torch.randn(6, 2).double(), torch.randn(2, 5).double()
    one, other = Product(left=left, right=right).factors(2), Product(left=-left, right=-right).factors(2)
    torch.testing.assert_close(one, other)
    assert (one[1].gather(1, one[1].abs().argmax(1, keepdim=True)) > 0).all()


def test_factors_are_found_by_name():
    names = ["a.lora_A.weight", "a.lora_B.weight", "a.score.weight", "b.lora_A.weight", "c.lora_embedding_A", "lora_A.weight"]
    assert modules_of(names) == ["a", "b"]
    assert [p.module for p in pairs_of(names)] == ["a"]
    with pytest.raises(SettingError, match=r"flexlora.*lora_A.*'w'.*fedavg"):
        require_factors({"w": torch.ones(1)}, "flexlora")


def test_clients_that_differ_in_scale_are_named():
    same = [update({}, client="a", scale={"m": 2.0}), update({}, client="b", scale={"m": 2.0})]
    check = OneScale().check
    assert [check(one) for one in same] == same
    with pytest.raises(SettingError, match=r"m: client 'c' .* 4, client 'a' with 2"):
        check(update({}, client="c", scale={"m": 4.0}))


def test_bias_by_hand():
    # rank 1: (B, A) = (1, 1) and (3, 3), alike in weight: mean of products 5, product of means 4; bias 1 / 5
    params = pair([[0.0]], [[1.0]])
    updates = [update(pair([[1.0]], [[0.0]])), update(pair([[3.0]], [[2.0]]))]
    mean, figures = mean_and_bias(updates, params)
    assert mean["m.lora_B.weight"].item() == 2.0
    assert figures["bias"] == pytest.approx(0.2)


def test_bias_is_left_out_where_it_has_no_meaning():
    params = pair([[0.0]], [[1.0]])
    assert mean_and_bias([update(pair([[1.0]], [[0.0]]))], params)[1] == {}  # one update may be the sum of many
    assert mean_and_bias([update({"w": [1.0]})] * 2, {"w": torch.zeros(1)})[1] == {}
    zero = [update(pair([[0.0]], [[0.0]]))] * 2
    assert mean_and_bias(zero, params)[1] == {"bias": 0.0}


def test_factors_past_the_limit_are_let_go():
    params = random_params()
    held = Held(params=params, most_bytes=1000)
    for k in range(20):
        held.see(update(random_params(seed=k)))
        assert sum(tensor.nbytes for delta in held._deltas for tensor in delta.values()) <= 1000
    assert held.bias() == {}
