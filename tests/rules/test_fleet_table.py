"""The table of the forerunner's assertions and defects: each test that it names exists."""
import re

from tree import TOP

PAGE = TOP / "docs" / "internals" / "fleet.md"


def rows():
    part = PAGE.read_text().partition("## Which test proves what")[2]
    lines = [line.strip("|").split(" | ") for line in part.splitlines() if line.startswith("| ")]
    return [(cells[0].strip(), cells[1].strip()) for cells in lines if cells[0].strip() not in
            ("assertion", "defect")]


def known_tests():
    names = set()
    for path in (TOP / "tests" / "unit").glob("*.c"):
        names |= set(re.findall(r"^TEST\((\w+)\)", path.read_text(), re.M))
    for path in (TOP / "tests" / "integration").glob("test_*.py"):
        names |= set(re.findall(r"^def (test_\w+)", path.read_text(), re.M))
    return names


def test_the_tests_of_the_table_exist():
    known = known_tests()
    named = {name for _, tests in rows() for name in re.findall(r"\b[a-z0-9]+(?:_[a-z0-9]+){2,}\b",
                                                                tests)}
    assert len(named) > 50 and named - known == set()


def test_every_assertion_and_every_defect_has_a_row():
    told = " ".join(about for about, _ in rows())
    assert len(rows()) > 40
    for defect in [f"A3.{number}" for number in range(1, 8)] + \
            [f"A9.{number}" for number in range(1, 13)]:
        assert re.search(rf"\b{re.escape(defect)}\b", told), defect
    for assertion in ("resolve_from_one_dns_server", "dynamic_resolution", "zero_ttl",
                      "ttl_expiration", "hardcoded_ttl", "no_records_found", "fixed", "single_host",
                      "terminate_while_rebalancing", "window_counter", "priority_list", "codel"):
        assert assertion in told, assertion
