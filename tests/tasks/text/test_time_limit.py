"""A limit on the time of a block of Python code, in any thread."""

import threading
import time

import pytest

from fedtailor.tasks.text.time_limit import TookTooLong, time_limit


def _forever():
    while True:
        pass


def test_a_block_that_ends_in_time_is_left_alone():
    with time_limit(0.2):
        got = sum(range(10))
    time.sleep(0.6)  # nothing comes afterwards
    assert got == 45


def test_a_block_that_does_not_end_is_stopped_and_others_continue():
    ends = []

    def endless():
        with pytest.raises(TookTooLong), time_limit(0.2):
            _forever()
        ends.append("stopped")

    thread = threading.Thread(target=endless)
    thread.start()
    with time_limit(30):
        thread.join(timeout=20)
    assert ends == ["stopped"]


def test_a_second_block_of_a_thread_has_its_own_time():
    with pytest.raises(TookTooLong), time_limit(0.1):
        _forever()
    with time_limit(30):
        time.sleep(0.6)
