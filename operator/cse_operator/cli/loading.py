"""Importing modules quickly."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_garbage_collection() -> Iterator[None]:
    """Stop the search for garbage during imports: they make none, and take a sixth less time."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
