"""A limit on the memory of a block."""

import resource
import sys
import threading

import pytest

from fedtailor.tasks.text.memory_limit import memory_limit

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the system's limit on addresses is Linux's")
MIB = 2**20


def limit():
    return resource.getrlimit(resource.RLIMIT_AS)


def test_a_block_gets_what_it_may_have_and_no_more():
    before = limit()
    with memory_limit(512 * MIB):
        assert len(b"x" * (200 * MIB)) == 200 * MIB
        with pytest.raises(MemoryError), memory_limit(4096 * MIB):  # the block outside decides
            b"x" * (1000 * MIB)
    assert limit() == before
    assert len(b"x" * (1000 * MIB)) == 1000 * MIB


def test_blocks_of_two_threads_end_in_any_order():
    before, inside, go_on = limit(), threading.Event(), threading.Event()

    def other():
        with memory_limit(512 * MIB):
            inside.set()
            go_on.wait(20)

    thread = threading.Thread(target=other)
    with memory_limit(512 * MIB):
        thread.start()
        assert inside.wait(20)
    assert limit() != before
    go_on.set()
    thread.join(20)
    assert limit() == before
