"""The page of PostgreSQL's facts: each test that it names exists, and each fact's test has a row."""
import re

from tree import TOP

PAGE = TOP / "docs" / "internals" / "flight-facts.md"


def rows():
    lines = [line.strip("|").split(" | ") for line in PAGE.read_text().splitlines()
             if line.startswith("| ")]
    return [(cells[0].strip(), re.findall(r"`(test_\w+)`", cells[1])) for cells in lines
            if cells[0].strip() != "fact"]


def known_tests():
    return [name for path in (TOP / "tests" / "integration").glob("test_flight_*.py")
            for name in re.findall(r"^def (test_\w+)", path.read_text(), re.M)
            if path.name == "test_flight_decoder.py" or path.name.startswith("test_flight_facts_")]


def test_every_fact_names_its_tests():
    assert len(rows()) > 60
    assert [fact for fact, tests in rows() if not tests] == []


def test_the_page_and_the_tests_name_the_same():
    named = [name for _, tests in rows() for name in tests]
    known = known_tests()
    assert len(known) == len(set(known)), "two tests of one name"
    assert set(named) - set(known) == set(), "the page names tests that don't exist"
    assert set(known) - set(named) == set(), "tests without a row"
    assert len(named) == len(set(named)), "a test with two rows"
