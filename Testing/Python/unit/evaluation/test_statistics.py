import numpy as np
import pytest

from DSAReconLib.evaluation.statistics import MINIMUM_CASES, paired_difference, summarize


def test_mean_and_sample_standard_deviation_of_what_exists():
    found = summarize([1.0, None, 3.0, float("nan"), float("inf")])
    assert (found.count, found.mean) == (2, 2.0)
    assert found.std == pytest.approx(np.sqrt(2))


def test_one_value_has_no_spread_and_none_has_no_mean():
    assert np.isnan(summarize([4.0]).std)
    assert np.isnan(summarize([None]).mean)
    assert summarize([]).count == 0


def test_cases_are_paired_by_name():
    found = paired_difference({"a": 5.0, "b": 1.0, "c": None, "e": 9.0}, {"b": 0.5, "a": 4.0, "c": 1.0, "d": 2.0})
    assert (found.count, found.mean) == (2, 0.75)
    assert found.p_value is None


def _cases(values):
    return {str(number): float(value) for number, value in enumerate(values)}


def test_six_cases_that_all_favor_one_method_give_the_smallest_exact_p():
    better = paired_difference(_cases(np.arange(1, MINIMUM_CASES + 1)), _cases(np.zeros(MINIMUM_CASES)))
    assert better.p_value == pytest.approx(2 / 2**MINIMUM_CASES)
    assert paired_difference(_cases(range(1, 6)), _cases(np.zeros(5))).p_value is None


def test_the_test_has_no_side():
    first, second = _cases([3, 1, 4, 1, 5, 9, 2]), _cases([2, 7, 1, 8, 2, 8, 1])
    there, back = paired_difference(first, second), paired_difference(second, first)
    assert there.p_value == back.p_value
    assert there.mean == -back.mean


def test_equal_methods_do_not_differ():
    same = _cases(range(7))
    assert paired_difference(same, same).p_value == 1.0
