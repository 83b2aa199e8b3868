"""Importing modules quickly."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_garbage_collection() -> Iterator[None]:
    """Search for no garbage during imports, which make little: they take a sixth less time."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
