"""How the process keeps its memory small: by Python's collector and the C library's allocator."""

from __future__ import annotations

import ctypes
import gc
from typing import Final

COLLECT_AFTER: Final = 10_000
"""New objects, beyond those that went away, after which garbage is collected."""


def spare_the_collector() -> None:
    """Have Python look for circles of garbage less often, and not among what stays for good.

    Next to nothing here is garbage in circles, and at the default the search for it took an
    eighth of a burst's time (docs/performance.md).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER, 20, 20)


def give_back() -> None:
    """Give what lies free between blocks in use back to the system; it takes a millisecond.

    By itself glibc gives back only what is free at the end. Where the C library is another one,
    nothing happens.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
