"""Random streams."""

import torch

from fedtailor.chance import seed_torch, stream, stream_seed


def test_each_argument_changes_the_stream_and_nothing_else_does():
    base = stream_seed(0, "batches", 1, "a")
    others = [
        stream_seed(1, "batches", 1, "a"),
        stream_seed(0, "dropout", 1, "a"),
        stream_seed(0, "batches", 2, "a"),
        stream_seed(0, "batches", 1, "b"),
    ]
    assert len({base, *others}) == 5
    assert stream(0, "x", 3, "c").integers(1 << 40) == stream(0, "x", 3, "c").integers(1 << 40)


def test_arguments_do_not_run_into_each_other():
    assert stream_seed(0, "p", 1, "1") != stream_seed(0, "p", 11, "")


def test_torch_draws_the_same_after_seed_torch_as_after_its_own_manual_seed():
    seed = stream_seed(0, "dropout", 1, "a")
    torch.manual_seed(seed)
    expected = torch.rand(5)
    torch.manual_seed(0)
    seed_torch(seed, torch.device("cpu"))
    assert torch.equal(torch.rand(5), expected)
