"""Waits grow, are bounded, and are spread."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cse_operator.core.backoff import exponential, spread

jitters = st.floats(0, 1, exclude_max=True)


@pytest.mark.parametrize(
    ("failures", "least", "most"),
    [
        (0, 0.5, 1),
        (1, 0.5, 1),
        (2, 1, 2),
        (3, 2, 4),
        (9, 128, 256),
        (10, 150, 300),
        (999, 150, 300),
    ],
)
def test_the_wait_doubles_up_to_the_limit(failures, least, most):
    assert exponential(failures, base=1, limit=300, jitter=0) == least
    assert exponential(failures, base=1, limit=300, jitter=1) == most


@given(failures=st.integers(0, 10**6), jitter=jitters)
def test_a_wait_is_never_nothing_nor_longer_than_the_limit(failures, jitter):
    assert 0.5 <= exponential(failures, base=1, limit=300, jitter=jitter) <= 300


@given(seconds=st.floats(0.1, 10**6), jitter=jitters)
def test_a_fixed_wait_is_spread_by_a_tenth(seconds, jitter):
    assert seconds * 0.9 <= spread(seconds, jitter=jitter) <= seconds * 1.1
