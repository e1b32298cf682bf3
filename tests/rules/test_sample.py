"""The sample of tests that runs where all kinds of build are tested."""
import sys
from types import SimpleNamespace

from tree import TOP

sys.path.insert(0, str(TOP / "tests" / "integration"))

from support.sample import CASES, LONG, sampled  # noqa: E402


class Item(SimpleNamespace):
    """As much of a test of pytest as the sample looks at."""
    __hash__ = object.__hash__


def items(count, path="a.py", name="test", long=False, **params):
    return [Item(path=path, originalname=name, case=case, fixturenames=set(params),
                 callspec=SimpleNamespace(params=params), get_closest_marker=lambda _: long or None)
            for case in range(count)]


def test_each_test_keeps_some_cases_in_their_order():
    many, few = items(100), items(2, name="other")
    for kind in CASES:
        kept = sampled(many + few, kind, "7")
        assert len(kept) == CASES[kind] + 2 and kept[-2:] == few
        assert [one.case for one in kept[:-2]] == sorted(one.case for one in kept[:-2])


def test_all_cases_are_played_over_many_runs():
    many = items(20)
    assert {one.case for seed in range(60) for one in sampled(many, "tsan", str(seed))} == set(range(20))


def test_of_the_long_tests_of_a_file_some_run():
    for kind in LONG:
        kept = sampled(items(50, long=True) + items(50, name="other", long=True) + items(3, "b.py"), kind, "7")
        assert len(kept) == LONG[kind] + 3


def test_a_sanitizer_runs_nothing_that_asks_postgresql_directly():
    direct = items(1, endpoint="direct")
    assert sampled(direct, "asan", "7") == [] and sampled(direct, "debug", "7") == direct
    assert sampled(items(1, endpoint="session"), "asan", "7") != []
    assert sampled(items(1, endpoint="direct", trunkline=None), "asan", "7") != []


def test_what_there_is_no_time_for_is_left_out_case_by_case_first():
    many = [item for name in "abcde" for item in items(10, name=name)]
    assert len(sampled(many, "asan", "7", most=1000)) == 5 * CASES["asan"]
    two = sampled(many, "asan", "7", most=5 * 3 - 1)
    assert sorted(item.originalname for item in two) == sorted("abcde" * 2)
    assert len(sampled(many, "asan", "7", most=3)) == 3
    played = {item.originalname for seed in range(60) for item in sampled(many, "asan", str(seed), most=3)}
    assert played == set("abcde")
