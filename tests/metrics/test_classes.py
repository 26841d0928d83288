import pytest

from fedtailor.metrics.classes import accuracy, class_counts, macro_f1


def test_accuracy_and_macro_f1():
    # class 0: precision 1/2, recall 1: F 2/3; class 1: 1, 1/2: 2/3; class 2 is not seen here
    assert accuracy(class_counts([0, 0, 1], [0, 1, 1], 2)) == pytest.approx(2 / 3)
    assert macro_f1(class_counts([0, 0, 1], [0, 1, 1], 2)) == pytest.approx(2 / 3)
    # class 2 predicted once, wrongly: F 0; class 0: 2/2, 1/1 -> 1; class 1: 1/1, 1/2 -> 2/3; mean 5/9
    assert macro_f1(class_counts([0, 1, 2], [0, 1, 1], 3)) == pytest.approx(5 / 9)
