"""Times in HTTP headers, in all documented forms and in invalid ones."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cse_operator.core.http_time import MAX_RETRY_AFTER, http_date, retry_after


@pytest.mark.parametrize(
    "value",
    [
        "Fri, 31 Dec 9999 23:59:59 -1200",
        "Sun, 06 Nov 1994 99:99:99 GMT",
        "soon",
    ],
)
def test_a_date_that_cannot_be_is_none(value: str) -> None:
    assert http_date(value) is None


@given(st.text(max_size=64))
def test_no_date_raises_an_error(value: str) -> None:
    found = http_date(value)
    assert found is None or found.utcoffset() is not None


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": ""}, None),
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": " 2.5 "}, 2.5),
        ({"Retry-After": "-3"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "\uff11\uff12"}, None),
        ({"Retry-After": "1e9"}, None),
        ({"Retry-After": "999999999"}, MAX_RETRY_AFTER),
        ({"Retry-After": "9" * 500}, None),
        ({"Retry-After": "Sun, 01 Jun 2025 12:00:30 GMT"}, 30.0),
        ({"Retry-After": "Sun, 01 Jun 2025 11:00:00 GMT"}, 0.0),
        ({"Retry-After": "Sun, 01 Jun 2099 12:00:00 GMT"}, MAX_RETRY_AFTER),
        (
            {
                "Retry-After": "Sun, 01 Jun 2025 20:00:30 GMT",
                "Date": "Sun, 01 Jun 2025 20:00:00 GMT",
            },
            30.0,
        ),
    ],
)
def test_retry_after_is_read_in_all_its_forms(
    headers: dict[str, str], seconds: float | None
) -> None:
    assert retry_after(headers, datetime(2025, 6, 1, 12, 0, tzinfo=UTC)) == seconds


@given(value=st.text())
def test_no_retry_after_raises_an_error(value: str) -> None:
    seconds = retry_after({"Retry-After": value})
    assert seconds is None or 0 <= seconds <= MAX_RETRY_AFTER
