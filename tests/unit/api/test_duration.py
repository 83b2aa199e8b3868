"""Durations as people write them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cse_operator.api.duration import format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("2h", 7200), ("90m", 5400), ("1h30m", 5400), ("45s", 45), ("0s", 0), ("1m1m", 120)],
)
def test_a_duration_is_read(text, seconds):
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text", ["", "2", "h", "-2h", "2d", "1.5h", " 2h", "2h\n", "2H", "1234567s"]
)
def test_what_is_no_duration_is_refused_with_an_example(text):
    with pytest.raises(ValueError, match="such as 2h"):
        parse_duration(text)


@given(seconds=st.integers(0, 999_999))
def test_what_is_written_is_read_back(seconds):
    duration = timedelta(seconds=seconds)
    assert parse_duration(format_duration(duration)) == duration


@pytest.mark.parametrize(
    ("seconds", "text"), [(7200, "2h"), (5400, "1h30m"), (59, "59s"), (0, "0s"), (-5, "0s")]
)
def test_a_duration_is_written_shortly(seconds, text):
    assert format_duration(timedelta(seconds=seconds)) == text
