"""Importing modules without a search for garbage."""

from __future__ import annotations

import gc

import pytest

from cse_operator.cli.loading import without_garbage_collection


def failing_import() -> None:
    with without_garbage_collection():
        assert not gc.isenabled()
        import cse_operator.no_such_module  # type: ignore[import-not-found]  # noqa: F401


def test_garbage_is_collected_again_even_if_an_import_fails():
    with pytest.raises(ImportError):
        failing_import()
    assert gc.isenabled()
