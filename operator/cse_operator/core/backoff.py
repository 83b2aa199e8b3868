"""How long to wait before looking again: exponential, bounded, and with jitter."""

from __future__ import annotations


def exponential(failures: int, *, base: float, limit: float, jitter: float) -> float:
    """Seconds to wait after so many failures in a row.

    Args:
        failures: how many in a row, from 1.
        base: seconds after the first.
        limit: no longer than this, in seconds.
        jitter: a random number in [0, 1): the wait is between half and all of the full one,
            so that many resources that failed together do not come back together.
    """
    full = min(limit, base * 2.0 ** min(max(failures, 1) - 1, 32))
    return full * (0.5 + jitter / 2)


def spread(seconds: float, *, jitter: float) -> float:
    """A fixed wait, spread by a tenth in either direction."""
    return seconds * (0.9 + jitter / 5)
