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


@pytest.mark.few(2)
@pytest.mark.parametrize("number", range(5))
def test_few_cases_of_a_table_are_tried_and_the_others_are_the_rest(number, request):
    if {item.originalname for item in request.session.items} == {request.node.originalname}:
        return  # it is run by name
    assert bool(request.node.get_closest_marker("rest")) == (number not in (0, 2))
