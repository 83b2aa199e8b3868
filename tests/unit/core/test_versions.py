"""Versions are compared numerically, part by part; the last part is the patch."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cse_operator.core.versions import Comparison, compare, parse, satisfies

SATISFIED, BEHIND = Comparison.SATISFIED, Comparison.BEHIND
BEYOND, INCOMPARABLE = Comparison.BEYOND, Comparison.INCOMPARABLE

CASES = [
    ("2.4.0", "2.4.0", SATISFIED),
    ("2.4.3", "2.4.0", SATISFIED),  # a later patch of the same release
    ("2.4.0", "2.4.3", BEHIND),
    ("2.3.9", "2.4.0", BEHIND),
    ("2.10.0", "2.9.0", BEYOND),  # numbers, not texts
    ("2.9.0", "2.10.0", BEHIND),
    ("3.0.0", "2.4.0", BEYOND),
    ("2.1.0.16", "2.1.0.16", SATISFIED),  # Nacos has four parts
    ("2.1.0.17", "2.1.0.16", SATISFIED),
    ("2.1.1.0", "2.1.0.16", BEYOND),
    ("2.1.0.9", "2.1.0.16", BEHIND),
    ("2.4", "2.4.0", SATISFIED),  # missing parts count as zero
    ("2.4.7", "2.4", SATISFIED),
    ("2.5.0", "2.4", BEYOND),
    ("2", "2.0.0", SATISFIED),
    ("2.1.0.5", "2.1.0", SATISFIED),
    ("2.04.0", "2.4.0", SATISFIED),
    ("2.4.0-rc1", "2.4.0-rc1", SATISFIED),
    ("2.4.0-rc1", "2.4.0", INCOMPARABLE),
    ("2.3.0", "latest", INCOMPARABLE),
    ("", "2.4.0", INCOMPARABLE),
    ("\u0662.\u0664.\u0661", "2.4.0", INCOMPARABLE),  # digits, but not ASCII
]

numeric = st.lists(st.integers(0, 30), min_size=1, max_size=5).map(
    lambda parts: ".".join(map(str, parts))
)


@pytest.mark.parametrize(("current", "wanted", "expected"), CASES)
def test_compare(current, wanted, expected):
    assert compare(current, wanted) is expected
    assert satisfies(current, wanted) == (expected is SATISFIED)


@given(current=numeric, wanted=numeric)
def test_one_of_two_different_releases_is_behind_and_the_other_beyond(current, wanted):
    forth, back = compare(current, wanted), compare(wanted, current)
    assert (forth, back) in {
        (SATISFIED, SATISFIED),
        (SATISFIED, BEHIND),
        (BEHIND, SATISFIED),
        (BEHIND, BEYOND),
        (BEYOND, BEHIND),
    }


@given(text=st.text(max_size=24))
def test_any_text_satisfies_itself_and_compares_with_anything(text):
    assert satisfies(text, text)
    assert compare(text, "2.4.0") in Comparison


def test_a_part_too_long_for_a_version_is_not_numeric():
    assert parse("2." + "9" * 10) is None
