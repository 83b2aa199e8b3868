"""How long to wait before looking again: exponential, bounded, and with jitter."""

from __future__ import annotations


def exponential(failures: int, *, base: float, limit: float, jitter: float) -> float:
    """Return the seconds to wait after a number of failures in a row.

    Args:
        failures: how many failures in a row, from 1.
        base: seconds after the first failure.
        limit: the longest wait, in seconds.
        jitter: a random number in [0, 1). The result is between half of the full wait and all of
            it, so that resources that failed together do not return together.
    """
    full = min(limit, base * 2.0 ** min(max(failures, 1) - 1, 32))
    return full * (0.5 + jitter / 2)


def spread(seconds: float, *, jitter: float) -> float:
    """Return a fixed wait, spread by a tenth in either direction."""
    return seconds * (0.9 + jitter / 5)
