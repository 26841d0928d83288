"""Tests of one group run on one worker, as the tests of networks and those that share a module's fixture need it."""

import gzip
import time

import pytest


@pytest.fixture(scope="module")
def shared(worker_id):
    return worker_id


@pytest.mark.parametrize("number", range(4))
def test_what_shares_a_fixture_is_on_one_worker(shared, number, request):
    if shared == "master":
        pytest.skip("there is one process")
    assert "@" in request.node.nodeid  # else pytest-xdist deals the tests out one by one, and says nothing


@pytest.mark.parametrize("packed", [gzip.compress(b"", mtime=int(time.time()))])
def test_packed_bytes_do_not_name_their_test(packed, request):
    assert "[packed]" in request.node.name  # else workers that collect in different seconds collect different names
